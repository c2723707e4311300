import type { UserKey } from '../../core/ports.ts';
import { FeedWorks, feedKindOf, inboundOf, isInteraction } from '../feed-work.ts';
import type { FeedFact, FeedKind, FeedWork, InboundOwner, MessagePlace } from '../feed-work.ts';
import { recordOf } from '../request-record.ts';
import type { RequestRecord } from '../request-record.ts';
import { Columns, unnest } from './columns.ts';
import type { Row, Transaction } from './database.ts';
import { placeKey } from './ledger.ts';
import { RECORD_COLUMNS } from './requests.ts';

export interface FeedItem extends FeedFact {
  readonly kind: FeedKind;
  readonly request: string | null;
}

export function feedItem(row: Row): FeedItem {
  return {
    seq: Number(row['seq']),
    kind: feedKindOf(Number(row['kind'])),
    request: row['request'] as string | null,
    user: row['user_id'] as number | null,
    n: row['n'] as number | null,
    device: row['device'] as number | null,
    at: Number(row['at']),
    detail: row['detail'] as string | null,
  };
}

/** Turns rows of the feed into receipts: one row for a request is one receipt per identifier. */
export class FeedReader extends FeedWorks<FeedItem, RequestRecord, string> {
  private readonly transaction: Pick<Transaction, 'all'>;
  private readonly records = new Map<string, RequestRecord>();
  private readonly contents = new Map<string, string>();
  private readonly places = new Map<string, { member: number; threadUid: string | null }>();
  private readonly deviceids = new Map<number, string>();
  private readonly userids = new Map<number, string>();
  private readonly apps = new Map<number, string>();
  /** Services by id, and by app: the first one that listens. */
  private readonly owners = new Map<string, InboundOwner>();

  constructor(transaction: Pick<Transaction, 'all'>) {
    super();
    this.transaction = transaction;
  }

  /** Reads what {@link works} needs for these rows, in a fixed number of statements. */
  async load(items: readonly FeedItem[]): Promise<void> {
    const interactions = items.filter(({ kind }) => isInteraction(kind));
    const inbound = items.filter(({ kind }) => kind === 'inbound');
    await Promise.all([
      this.loadRecords(items, interactions),
      this.loadPlaces(items),
      this.loadDevices(items),
      this.loadUsers([...interactions, ...inbound]),
    ]);
    if (inbound.length > 0) await this.loadOwners(inbound);
  }

  private async loadRecords(items: readonly FeedItem[], interactions: readonly FeedItem[]): Promise<void> {
    const uids = [...new Set(items.flatMap(({ request }) => request ?? []))];
    if (uids.length === 0) return;
    const labelled = [...new Set(interactions.flatMap(({ request }) => request ?? []))];
    const [rows, contents] = await Promise.all([
      this.transaction.all(`SELECT ${RECORD_COLUMNS} FROM unnest($1::uuid[]) q(uid) JOIN requests r ON r.uid = q.uid`, [
        uids,
      ]),
      labelled.length === 0
        ? []
        : this.transaction.all(
            'SELECT r.uid, r.content FROM unnest($1::uuid[]) q(uid) JOIN requests r ON r.uid = q.uid',
            [labelled],
          ),
    ]);
    for (const row of rows) this.records.set(String(row['uid']), recordOf(row));
    for (const row of contents) this.contents.set(String(row['uid']), String(row['content']));
  }

  private async loadPlaces(items: readonly FeedItem[]): Promise<void> {
    const columns = new Columns(2);
    for (const { user, n } of items) if (user !== null && n !== null) columns.add(user, n);
    if (columns.isEmpty) return;
    const rows = await this.transaction.all(
      `SELECT l.user_id, l.n, l.member, t.uid AS thread_uid FROM ${unnest('bigint', 'bigint')} q(u, n)
       JOIN log l ON l.user_id = q.u AND l.n = q.n AND l.request IS NOT NULL LEFT JOIN threads t ON t.id = l.thread`,
      columns.values,
    );
    for (const row of rows) {
      this.places.set(placeKey(Number(row['user_id']), Number(row['n'])), {
        member: Number(row['member']),
        threadUid: row['thread_uid'] as string | null,
      });
    }
  }

  private async loadDevices(items: readonly FeedItem[]): Promise<void> {
    const columns = new Columns(2);
    for (const { user, device } of items) if (user !== null && device !== null) columns.add(user, device);
    if (columns.isEmpty) return;
    const rows = await this.transaction.all(
      `SELECT d.id, d.deviceid FROM ${unnest('bigint', 'bigint')} q(u, id) JOIN devices d ON d.user_id = q.u AND d.id = q.id`,
      columns.values,
    );
    for (const row of rows) this.deviceids.set(Number(row['id']), String(row['deviceid']));
  }

  private async loadUsers(items: readonly FeedItem[]): Promise<void> {
    const users = [...new Set(items.flatMap(({ user }) => user ?? []))];
    if (users.length === 0) return;
    const rows = await this.transaction.all('SELECT id, app, userid FROM users WHERE id = ANY($1::bigint[])', [users]);
    for (const row of rows) {
      this.userids.set(Number(row['id']), String(row['userid'] ?? ''));
      this.apps.set(Number(row['id']), String(row['app']));
    }
  }

  /** A thread made without a service (by the app's own secret): the first service of the app that listens. */
  private async loadOwners(inbound: readonly FeedItem[]): Promise<void> {
    const services = inbound.flatMap(({ detail }) => inboundOf(detail).service ?? []);
    const apps = inbound.flatMap(({ user }) => (user === null ? [] : (this.apps.get(user) ?? [])));
    const [byId, byApp] = await Promise.all([
      this.transaction.all("SELECT id, client FROM objects WHERE kind = 'service' AND id = ANY($1::text[])", [
        [...new Set(services)],
      ]),
      this.transaction.all(
        `SELECT DISTINCT ON (body::json ->> 'appId') body::json ->> 'appId' AS app, id, client FROM objects
         WHERE kind = 'service' AND body::json ->> 'appId' = ANY($1::text[]) AND body::json ->> 'inboundUrl' IS NOT NULL
         ORDER BY body::json ->> 'appId', id`,
        [[...new Set(apps)]],
      ),
    ]);
    for (const row of byId) this.owners.set(`id ${String(row['id'])}`, ownerOf(row));
    for (const row of byApp) this.owners.set(`app ${String(row['app'])}`, ownerOf(row));
  }

  works(item: FeedItem): FeedWork[] {
    return this.worksOf(item.kind, item);
  }

  protected record({ request }: FeedItem): RequestRecord | null {
    return this.records.get(request ?? '') ?? null;
  }

  protected place({ user, n, request }: FeedItem): MessagePlace<RequestRecord, string> | null {
    const row = user === null || n === null ? undefined : this.places.get(placeKey(user, n));
    const record = this.records.get(request ?? '');
    const member = row === undefined ? undefined : record?.members[row.member];
    if (row === undefined || record === undefined || member === undefined) return null;
    return { record, member, index: row.member, thread: row.threadUid };
  }

  protected content(record: RequestRecord): string | null {
    return this.contents.get(record.uid) ?? null;
  }

  protected userid(user: UserKey): string {
    return this.userids.get(user) ?? '';
  }

  protected threadId(thread: string): string {
    return thread;
  }

  protected owner(user: UserKey, service: string | null): InboundOwner | null {
    if (service === null) return this.owners.get(`app ${this.apps.get(user) ?? ''}`) ?? null;
    return this.owners.get(`id ${service}`) ?? { serviceId: service, client: '' };
  }

  deviceid(device: number): string {
    return this.deviceids.get(device) ?? '';
  }
}

function ownerOf(row: Row): InboundOwner {
  return { serviceId: String(row['id']), client: String(row['client']) };
}
