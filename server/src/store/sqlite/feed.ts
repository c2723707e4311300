import type { UserKey } from '../../core/ports.ts';
import { Lru } from '../../lib/lru.ts';
import { FeedWorks, feedKindOf } from '../feed-work.ts';
import type { FeedWork, InboundOwner, MessagePlace } from '../feed-work.ts';
import type { Row } from './connection.ts';
import type { FeedRow } from './feed-tail.ts';
import type { ReceiptRoute, RequestRecord } from './requests.ts';
import type { State } from './state.ts';

const DEVICES_CACHED_MAX = 50_000;
const FEED_AFTER =
  'SELECT seq, kind, request, user, n, device, at, detail FROM feed WHERE seq > ? ORDER BY seq LIMIT ?';

type Place = MessagePlace<RequestRecord, number>;

/** Turns rows of the feed into receipts: one row for a request is one receipt per identifier. */
export class FeedReader extends FeedWorks<FeedRow, RequestRecord, number> {
  private readonly state: State;
  private readonly devices = new Lru<number, string>(DEVICES_CACHED_MAX);

  constructor(state: State) {
    super();
    this.state = state;
    state.onReset(() => this.devices.clear());
  }

  /** Rows after a number; of the newest ones the file is not asked. */
  after(seq: number, limit: number): readonly FeedRow[] {
    if (seq >= this.state.lastFeed()) return [];
    const taken = this.state.feedTail.takeAfter(seq, limit);
    if (taken !== null) return taken;
    const rows: unknown[] = this.state.db.all(FEED_AFTER, seq, limit);
    return rows as FeedRow[];
  }

  /** Whom the receipts of a row go to, without reading more than that; null: to nobody, or only {@link works} can tell. */
  route(row: FeedRow): ReceiptRoute | null {
    const request = row.request ?? this.requestOf(row);
    return request === null ? null : this.state.requests.route(request);
  }

  private requestOf({ user, n }: FeedRow): number | null {
    if (user === null || n === null) return null;
    const young = this.state.young.find(user, n);
    if (young !== undefined) return young.request;
    const row = this.state.db.get('SELECT request FROM log WHERE user = ? AND n = ?', user, n);
    return row === undefined || row['request'] === null ? null : Number(row['request']);
  }

  works(row: FeedRow): FeedWork[] {
    return this.worksOf(feedKindOf(row.kind), row);
  }

  protected record({ request }: FeedRow): RequestRecord | null {
    return request === null ? null : this.state.requests.record(request);
  }

  protected content(record: RequestRecord): string {
    return this.state.requests.content(record.key).content;
  }

  protected threadId(thread: number): string {
    return this.state.thread(thread).id;
  }

  protected owner(user: UserKey, service: string | null): InboundOwner | null {
    const serviceId = service ?? this.serviceOf(this.state.users.byKey(user).app);
    if (serviceId === null) return null;
    const owner = this.state.db.get("SELECT client FROM objects WHERE kind = 'service' AND id = ?", serviceId);
    return { serviceId, client: String(owner?.['client'] ?? '') };
  }

  /** A thread made without a service (by the app's own secret): the first service of the app that listens. */
  private serviceOf(app: string): string | null {
    const row = this.state.db.get(
      "SELECT id FROM objects WHERE kind = 'service' AND json_extract(body, '$.appId') = ? AND json_extract(body, '$.inboundUrl') IS NOT NULL ORDER BY id LIMIT 1",
      app,
    );
    return row === undefined ? null : String(row['id']);
  }

  protected place({ user, n }: FeedRow): Place | null {
    if (user === null || n === null) return null;
    const young = this.state.young.find(user, n);
    const row: Row | undefined =
      young === undefined
        ? this.state.db.get('SELECT request, member, thread FROM log WHERE user = ? AND n = ?', user, n)
        : { request: young.request, member: young.member, thread: young.thread };
    if (row === undefined || row['request'] === null) return null;
    const record = this.state.requests.record(Number(row['request']));
    const index = Number(row['member']);
    const member = record?.members[index];
    if (record === null || member === undefined) return null;
    return { record, member, index, thread: row['thread'] === null ? null : Number(row['thread']) };
  }

  deviceid(device: number): string {
    const known = this.devices.get(device);
    if (known !== undefined) return known;
    const row = this.state.db.get('SELECT deviceid FROM devices WHERE id = ?', device);
    const deviceid = String(row?.['deviceid'] ?? '');
    this.devices.set(device, deviceid);
    return deviceid;
  }

  protected userid(user: UserKey): string {
    return String(this.state.db.get('SELECT userid FROM users WHERE id = ?', user)?.['userid'] ?? '');
  }
}
