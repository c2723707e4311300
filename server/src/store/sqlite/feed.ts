import type { InboundEvent } from '@carillon/protocol/inbound.ts';
import type { ReceiptKind, ReceiptSource, UserKey } from '../../core/ports.ts';
import { transidOf } from '../../core/transid.ts';
import { Lru } from '../../lib/lru.ts';
import type { Member } from '../request-record.ts';
import type { Row } from './connection.ts';
import type { FeedRow } from './feed-tail.ts';
import type { ReceiptRoute, RequestRecord } from './requests.ts';
import { FEED_KINDS } from './state.ts';
import type { FeedKind, State } from './state.ts';

const DEVICES_CACHED_MAX = 50_000;
const FEED_AFTER =
  'SELECT seq, kind, request, user, n, device, at, detail FROM feed WHERE seq > ? ORDER BY seq LIMIT ?';

/** A receipt as the feed tells it, before it has a lease. */
export interface FeedWork {
  readonly id: string;
  readonly seq: number;
  /** Rank among the receipts of one message: what comes first has the smaller one. */
  readonly rank: number;
  readonly client: string;
  readonly kind: ReceiptKind;
  readonly serviceId: string;
  readonly url: string | null;
  readonly orderKey: string;
  readonly at: number;
  readonly facts: ReceiptSource | null;
  readonly inbound: InboundEvent | null;
}

interface MessagePlace {
  readonly record: RequestRecord;
  readonly member: Member;
  readonly index: number;
  /** The store's number of the message's thread; null: it took no number. */
  readonly thread: number | null;
}

export function feedKindOf(row: FeedRow): FeedKind {
  const kind = FEED_KINDS[row.kind];
  if (kind === undefined) throw new Error(`the feed has a row of unknown kind ${row.kind}`);
  return kind;
}

/** Turns rows of the feed into receipts: one row for a request is one receipt per identifier. */
export class FeedReader {
  private readonly state: State;
  private readonly devices = new Lru<number, string>(DEVICES_CACHED_MAX);

  constructor(state: State) {
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
    const kind = feedKindOf(row);
    if (kind === 'submitted') return this.submitted(row);
    if (kind === 'inbound') return this.inbound(row);
    const place = this.place(row);
    // Purged or erased since: nobody can be told about it any more.
    return place === null ? [] : [this.work(row, place, kind)];
  }

  /** Submitted for every identifier, and at once the failure of those that could not be routed. */
  private submitted(row: FeedRow): FeedWork[] {
    const record = row.request === null ? null : this.state.requests.record(row.request);
    if (record === null) return [];
    const works: FeedWork[] = [];
    record.members.forEach((member, index) => {
      if (member.shared) return;
      const place = { record, member, index, thread: null };
      works.push(this.work(row, place, 'submitted'));
      if (member.code !== null) works.push(this.work(row, place, 'failed', member.code));
    });
    return works;
  }

  private work(row: FeedRow, place: MessagePlace, kind: Exclude<FeedKind, 'inbound'>, failure?: string): FeedWork {
    const { record, member, index } = place;
    const transid = transidOf(record.uid, member.destination);
    const { seq } = row;
    // Presses may be many; every other state is told once, so its name alone is its id.
    const suffix = kind === 'pressed' || kind === 'postback' ? `_${seq}` : '';
    return {
      // No full stop: the signed text of a receipt (Standard Webhooks) joins its parts with one.
      id: `${transid}_${index}_${kind}${suffix}`,
      seq,
      // One row can give two receipts of a message: Submitted and, behind it, the failure.
      rank: seq * 2 + (failure === undefined ? 0 : 1),
      client: record.client,
      kind,
      serviceId: record.service,
      url: kind === 'postback' ? null : record.notifyUrl,
      orderKey: `${kind === 'postback' ? 'postback ' : ''}${transid}.${index}`,
      at: row.at,
      facts: this.facts(row, place, { kind, transid, code: failure ?? this.code(kind, row) }),
      inbound: null,
    };
  }

  private code(kind: FeedKind, row: FeedRow): string {
    if (kind === 'expired') return '7301';
    return kind === 'failed' ? (row.detail ?? '7011') : '';
  }

  private facts(
    row: FeedRow,
    place: MessagePlace,
    about: { kind: FeedKind; transid: string; code: string },
  ): ReceiptSource {
    const { record, member } = place;
    const isInteraction = about.kind === 'pressed' || about.kind === 'clicked' || about.kind === 'postback';
    const detail = isInteraction
      ? (JSON.parse(row.detail ?? '{}') as {
          identifier?: string | null;
          url?: string | null;
          text?: string | null;
        })
      : {};
    return {
      transid: about.transid,
      correlationid: member.correlationid,
      callbackData: record.callback,
      channelWord: record.word,
      destination: member.value,
      destinationType: member.type,
      deviceid: row.device === null ? '' : this.deviceid(row.device),
      code: about.code,
      content: isInteraction ? this.state.requests.content(record.key).content : null,
      appId: record.app,
      userid: isInteraction && member.user !== null && row.user !== null ? this.userid(row.user) : '',
      threadId: about.kind === 'postback' && place.thread !== null ? this.state.thread(place.thread).id : null,
      identifier: detail.identifier ?? null,
      url: detail.url ?? null,
      text: detail.text ?? null,
    };
  }

  private inbound(row: FeedRow): FeedWork[] {
    const { service, event } = JSON.parse(String(row.detail)) as { service: string | null; event: InboundEvent };
    const { seq, user } = row;
    if (user === null) return [];
    const app = this.state.users.byKey(user).app;
    const serviceId = service ?? this.serviceOf(app);
    if (serviceId === null) return [];
    const owner = this.state.db.get("SELECT client FROM objects WHERE kind = 'service' AND id = ?", serviceId);
    return [
      {
        id: `inbound_${event.tid}_${event.event}_${seq}`,
        seq,
        rank: seq * 2,
        client: String(owner?.['client'] ?? ''),
        kind: 'inbound',
        serviceId,
        url: null,
        orderKey: `inbound ${user}`,
        at: row.at,
        facts: null,
        inbound: event,
      },
    ];
  }

  /** A thread made without a service (by the app's own secret): the first service of the app that listens. */
  private serviceOf(app: string): string | null {
    const row = this.state.db.get(
      "SELECT id FROM objects WHERE kind = 'service' AND json_extract(body, '$.appId') = ? AND json_extract(body, '$.inboundUrl') IS NOT NULL ORDER BY id LIMIT 1",
      app,
    );
    return row === undefined ? null : String(row['id']);
  }

  private place({ user, n }: FeedRow): MessagePlace | null {
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

  private userid(user: UserKey): string {
    return String(this.state.db.get('SELECT userid FROM users WHERE id = ?', user)?.['userid'] ?? '');
  }
}
