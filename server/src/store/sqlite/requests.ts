import type { RequestContent, RequestKey } from '../../core/ports.ts';
import { Lru } from '../../lib/lru.ts';
import { contentOf, recordOf } from '../request-record.ts';
import type { RequestRecord as CommonRecord } from '../request-record.ts';
import type { Connection } from './connection.ts';

/** Requests whose content stays in memory; what is being delivered now is among them. */
const CONTENTS_CACHED_MAX = 4096;
const MEMBERS_CACHED_MAX = 256;
/** Requests of which is known whom their receipts go to (about 100 bytes each). */
const ROUTES_CACHED_MAX = 65_536;

/** The same with the number by which this store knows it. */
export interface RequestRecord extends CommonRecord {
  readonly key: RequestKey;
}

/** Whom the receipts of a request go to. */
export interface ReceiptRoute {
  readonly serviceId: string;
  /** The request's own; null: the service's. */
  readonly notifyUrl: string | null;
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
      'SELECT id AS key, uid, service, app, accepted, expiry, priority, content FROM requests WHERE id = ?',
      key,
    );
    if (row === undefined) throw new Error(`the log names request ${key}, which is not there`);
    const content = contentOf(row);
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
    const record: RequestRecord = { key, ...recordOf(row) };
    this.records.set(key, record);
    return record;
  }

  forget(key: RequestKey): void {
    this.contents.delete(key);
    this.records.delete(key);
    this.routes.delete(key);
  }
}
