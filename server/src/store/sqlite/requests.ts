import type { Priority } from '../../core/model.ts';
import type { IdentifierType, RequestContent, RequestKey, UserKey } from '../../core/ports.ts';
import { Lru } from '../../lib/lru.ts';
import type { Connection } from './connection.ts';

/** Requests whose content stays in memory; what is being delivered now is among them. */
const CONTENTS_CACHED_MAX = 4096;
const MEMBERS_CACHED_MAX = 256;
/** Requests of which is known whom their receipts go to (about 100 bytes each). */
const ROUTES_CACHED_MAX = 65_536;

/** One identifier of a request: where it went. `n` null: nowhere, and `code` says why. */
export interface Member {
  readonly destination: number;
  readonly correlationid: string | null;
  readonly type: IdentifierType;
  readonly value: string;
  readonly user: UserKey | null;
  readonly n: number | null;
  readonly code: string | null;
  /** The store's number of the thread its entry is on; null with `n`. */
  readonly thread: number | null;
  /** An earlier identifier of the same object meant the same user: this one shares its entry. */
  readonly shared: boolean;
}

/** What receipts and status need beside the content. */
export interface RequestRecord {
  readonly key: RequestKey;
  readonly uid: string;
  readonly client: string;
  readonly service: string;
  readonly app: string;
  readonly accepted: number;
  readonly expiry: number;
  readonly priority: Priority;
  readonly word: string;
  readonly notifyUrl: string | null;
  readonly callback: string | null;
  readonly members: readonly Member[];
}

/** Whom the receipts of a request go to. */
export interface ReceiptRoute {
  readonly serviceId: string;
  /** The request's own; null: the service's. */
  readonly notifyUrl: string | null;
}

const TYPES: readonly IdentifierType[] = ['customerid', 'msisdn', 'userid'];

/** Compact JSON: `[destination, correlationid|0, type, value, user|0, n|0, code|0, shared, thread|0]` per identifier. */
export function encodeMembers(members: readonly Member[]): string {
  const parts: string[] = [];
  for (const member of members) {
    const label = member.correlationid === null ? '0' : JSON.stringify(member.correlationid);
    const code = member.code === null ? '0' : `"${member.code}"`;
    parts.push(
      `[${member.destination},${label},${TYPES.indexOf(member.type)},${JSON.stringify(member.value)},` +
        `${member.user ?? 0},${member.n ?? 0},${code},${member.shared ? 1 : 0},${member.thread ?? 0}]`,
    );
  }
  return `[${parts.join(',')}]`;
}

type Packed = [number, string | 0, number, string, number, number, string | 0, 0 | 1, number];

export function decodeMembers(text: string): Member[] {
  return (JSON.parse(text) as Packed[]).map(([destination, label, type, value, user, n, code, shared, thread]) => ({
    destination,
    correlationid: label === 0 ? null : label,
    type: TYPES[type] ?? 'customerid',
    value,
    user: user === 0 ? null : user,
    n: n === 0 ? null : n,
    code: code === 0 ? null : code,
    shared: shared === 1,
    thread: thread === 0 ? null : thread,
  }));
}

/** Requests by number and by uid, with what is used again and again kept in memory. */
export class Requests {
  private readonly db: Connection;
  private readonly contents = new Lru<RequestKey, RequestContent>(CONTENTS_CACHED_MAX);
  private readonly records = new Lru<RequestKey, RequestRecord>(MEMBERS_CACHED_MAX);
  private readonly routes = new Lru<RequestKey, ReceiptRoute>(ROUTES_CACHED_MAX);
  private nextKey = -1;

  constructor(db: Connection) {
    this.db = db;
  }

  reset(): void {
    this.contents.clear();
    this.records.clear();
    this.routes.clear();
    this.nextKey = -1;
  }

  /** The newest request there is. */
  lastKey(): RequestKey {
    this.readNext();
    return this.nextKey - 1;
  }

  newKey(): RequestKey {
    this.readNext();
    const key = this.nextKey;
    this.nextKey += 1;
    return key;
  }

  private readNext(): void {
    if (this.nextKey < 0) {
      // Never below a number that was purged: entries may still be told by it for a moment.
      const row = this.db.get(
        "SELECT max(coalesce((SELECT max(id) FROM requests), 0), coalesce((SELECT value FROM meta WHERE name = 'request'), 0)) AS last",
      );
      this.nextKey = Number(row?.['last'] ?? 0) + 1;
    }
  }

  /** `notifyUrl`: the request's own; not given: to be asked of the file. */
  remember(content: RequestContent, notifyUrl?: string | null): void {
    this.contents.set(content.key, content);
    if (notifyUrl !== undefined) this.routes.set(content.key, { serviceId: content.serviceId, notifyUrl });
  }

  /** Null: there is no such request any more. */
  route(key: RequestKey): ReceiptRoute | null {
    const known = this.routes.get(key);
    if (known !== undefined) return known;
    const row = this.db.get('SELECT service, notify_url FROM requests WHERE id = ?', key);
    if (row === undefined) return null;
    const route = { serviceId: String(row['service']), notifyUrl: row['notify_url'] as string | null };
    this.routes.set(key, route);
    return route;
  }

  /** The content of a request whose entry exists. A missing one is corruption. */
  content(key: RequestKey): RequestContent {
    const known = this.contents.get(key);
    if (known !== undefined) return known;
    const row = this.db.get(
      'SELECT uid, service, app, accepted, expiry, priority, content FROM requests WHERE id = ?',
      key,
    );
    if (row === undefined) throw new Error(`the log names request ${key}, which is not there`);
    const content: RequestContent = {
      key,
      uid: String(row['uid']),
      serviceId: String(row['service']),
      appId: String(row['app']),
      acceptedAt: Number(row['accepted']),
      expiry: Number(row['expiry']),
      priority: Number(row['priority']) as Priority,
      content: String(row['content']),
    };
    this.contents.set(key, content);
    return content;
  }

  keyOf(uid: string): RequestKey | null {
    const row = this.db.get('SELECT id FROM requests WHERE uid = ?', uid);
    return row === undefined ? null : Number(row['id']);
  }

  record(key: RequestKey): RequestRecord | null {
    const known = this.records.get(key);
    if (known !== undefined) return known;
    const row = this.db.get(
      'SELECT uid, client, service, app, accepted, expiry, priority, word, notify_url, callback, members FROM requests WHERE id = ?',
      key,
    );
    if (row === undefined) return null;
    const record: RequestRecord = {
      key,
      uid: String(row['uid']),
      client: String(row['client']),
      service: String(row['service']),
      app: String(row['app']),
      accepted: Number(row['accepted']),
      expiry: Number(row['expiry']),
      priority: Number(row['priority']) as Priority,
      word: String(row['word']),
      notifyUrl: row['notify_url'] as string | null,
      callback: row['callback'] as string | null,
      members: decodeMembers(String(row['members'])),
    };
    this.records.set(key, record);
    return record;
  }

  forget(key: RequestKey): void {
    this.contents.delete(key);
    this.records.delete(key);
    this.routes.delete(key);
  }
}
