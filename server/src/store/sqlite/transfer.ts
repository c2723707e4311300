import { TRANSFER_TABLES } from '../../core/transfer.ts';
import type {
  TransferMarks,
  TransferPlace,
  TransferRow,
  TransferTable,
  TransferTarget,
  TransferValue,
} from '../../core/transfer.ts';
import { Connection } from './connection.ts';

/** How a table is read and written; what is not named is a column of its own name. */
interface Table {
  readonly from: string;
  readonly where?: string;
  readonly key: readonly string[];
  /** Expressions to be read. */
  readonly read?: Readonly<Record<string, string>>;
  /** Where it goes, where that is not the table of its name. */
  readonly into?: string;
  /** The column a value goes to; null: to none, it follows from others. */
  readonly write?: Readonly<Record<string, string | null>>;
}

const UID = '(SELECT r.uid FROM requests r WHERE r.id = t.request)';
const HEAD = 'max(coalesce((SELECT max(l.n) FROM log l WHERE l.user = t.id), 0), t.purged)';
const WAITING = '(SELECT count(*) FROM log l WHERE l.user = t.id AND l.state < 2 AND l.request IS NOT NULL)';
const FEED_REQUEST =
  '(SELECT r.uid FROM requests r WHERE r.id = coalesce(t.request, (SELECT l.request FROM log l WHERE l.user = t.user AND l.n = t.n)))';

const TABLES: Readonly<Record<TransferTable, Table>> = {
  objects: { from: 'objects t', key: ['kind', 'id'] },
  counters: {
    from: 'meta t',
    where: "(t.name = 'revision' OR t.name GLOB 'number:*')",
    key: ['name'],
    into: 'meta',
  },
  users: {
    from: 'users t',
    key: ['id'],
    read: { head: HEAD, waiting: WAITING },
    write: { head: null, waiting: null },
  },
  threads: { from: 'threads t', key: ['id'] },
  user_threads: { from: 'user_threads t', key: ['user', 'key'] },
  requests: { from: 'requests t', key: ['key'], read: { key: 't.id' }, write: { key: 'id' } },
  // A row whose request is gone is corrupt: that it names one must not get lost.
  log: {
    from: 'log t',
    key: ['user', 'n'],
    read: { request: `CASE WHEN t.request IS NULL THEN NULL ELSE coalesce(${UID}, 'gone: ' || t.request) END` },
  },
  steps: { from: 'steps t', key: ['id'] },
  devices: { from: 'devices t', key: ['id'] },
  device_acks: {
    from: 'device_acks t JOIN devices d ON d.id = t.device',
    key: ['device', 'n'],
    read: { user: 'd.user' },
    write: { user: null },
  },
  feed: {
    from: 'feed t',
    where: "t.seq > coalesce((SELECT m.value FROM meta m WHERE m.name = 'feed_done'), 0)",
    key: ['seq'],
    read: { request: FEED_REQUEST },
  },
  receipts: { from: 'receipts t', key: ['id'] },
  links: {
    from: 'links t JOIN requests r ON r.id = t.request',
    key: ['slug'],
    read: { request: 'r.uid' },
  },
  link_figures: { from: 'link_figures t', key: ['linkid'] },
  idempotency: { from: 'idempotency t', key: ['service', 'key'] },
  correlations: {
    from: 'correlations t JOIN requests r ON r.id = t.request',
    key: ['service', 'correlationid', 'request', 'destination'],
    read: { request: 'r.uid' },
  },
  once: { from: 'once t', key: ['user', 'id'] },
  replies: { from: 'replies t', key: ['id'] },
};

/** A request is written by its uid and stands in the other tables by its number. */
const REQUEST_OF_UID = '(SELECT id FROM requests WHERE uid = ?)';
const UNFINISHED = 'migration';

/** One side of a transfer: a database file that no store has open, its logs folded whole (decision 0012). */
export class SqliteTransfer implements TransferTarget {
  private readonly db: Connection;
  private places: Record<string, TransferPlace> = {};
  private epoch = '';

  constructor(path: string) {
    this.db = new Connection(path, () => undefined);
  }

  close(): void {
    this.db.close();
  }

  async marks(): Promise<TransferMarks> {
    const row = this.db.get(
      `SELECT (SELECT value FROM meta WHERE name = 'epoch') AS epoch,
         max(coalesce((SELECT max(seq) FROM feed), 0), coalesce((SELECT value FROM meta WHERE name = 'feed_done'), 0)) AS feed,
         max(coalesce((SELECT max(id) FROM users), 0), coalesce((SELECT max(id) FROM threads), 0),
           coalesce((SELECT max(id) FROM devices), 0), coalesce((SELECT max(id) FROM requests), 0),
           coalesce((SELECT value FROM meta WHERE name = 'request'), 0)) AS id`,
    );
    return { epoch: String(row?.['epoch'] ?? ''), feedLast: Number(row?.['feed']), idLast: Number(row?.['id']) };
  }

  async count(table: TransferTable): Promise<number> {
    const { from, where = 'true' } = TABLES[table];
    return Number(this.db.get(`SELECT count(*) AS rows FROM ${from} WHERE ${where}`)?.['rows'] ?? 0);
  }

  async read(
    table: TransferTable,
    place: TransferPlace,
    limit: number,
  ): Promise<{ rows: readonly TransferRow[]; place: TransferPlace }> {
    const names: readonly string[] = TRANSFER_TABLES[table];
    const { from, where = 'true', key, read = {} } = TABLES[table];
    const of = (name: string): string => read[name] ?? `t."${name}"`;
    const keys = key.map((name) => (name === 'request' ? 't.request' : of(name)));
    const fresh = place.after === null ? '' : `AND (${keys.join(', ')}) > (${keys.map(() => '?').join(', ')})`;
    const found = this.db.all(
      `SELECT ${[...names.map(of), ...keys].map((expression, index) => `${expression} AS c${index}`).join(', ')}
       FROM ${from} WHERE ${where} ${fresh} ORDER BY ${keys.join(', ')} LIMIT ?`,
      ...(place.after ?? []),
      limit,
    );
    const rows = found.map((row) => Object.values(row).slice(0, names.length));
    const last = found.at(-1);
    if (last === undefined) return { rows, place };
    return { rows, place: { after: Object.values(last).slice(names.length), rows: place.rows + rows.length } };
  }

  async begin(epoch: string): Promise<ReadonlyMap<TransferTable, TransferPlace>> {
    this.epoch = epoch;
    const value = this.db.get('SELECT value FROM meta WHERE name = ?', UNFINISHED)?.['value'] ?? null;
    if (value !== null) {
      this.places = (JSON.parse(String(value)) as { places: Record<string, TransferPlace> }).places;
    }
    return new Map(Object.entries(this.places) as [TransferTable, TransferPlace][]);
  }

  /** The source of an unfinished transfer into this file; null: there is none. */
  unfinishedOf(): string | null {
    const value = this.db.get('SELECT value FROM meta WHERE name = ?', UNFINISHED)?.['value'] ?? null;
    return value === null ? null : (JSON.parse(String(value)) as { epoch: string }).epoch;
  }

  async write(table: TransferTable, rows: readonly TransferRow[], place: TransferPlace): Promise<void> {
    const names: readonly string[] = TRANSFER_TABLES[table];
    const { into = table, write = {} } = TABLES[table];
    const places = names.flatMap((name, index) => (write[name] === null ? [] : [{ name, index }]));
    const columns = places.map(({ name }) => `"${write[name] ?? name}"`);
    const values = places.map(({ name }) => (name === 'request' ? REQUEST_OF_UID : '?'));
    const text = `INSERT INTO ${into} (${columns.join(', ')}) VALUES (${values.join(', ')}) ON CONFLICT DO NOTHING`;
    this.db.transaction(() => {
      for (const row of rows) this.db.run(text, ...places.map(({ index }): TransferValue => row[index] ?? null));
      this.places = { ...this.places, [table]: place };
      this.setMeta(UNFINISHED, JSON.stringify({ epoch: this.epoch, places: this.places }));
    });
    await this.db.unsynced();
  }

  async settle({ epoch, feedLast, idLast }: TransferMarks): Promise<void> {
    this.db.transaction(() => {
      const row = this.db.get(
        `SELECT (SELECT count(*) FROM log WHERE state < 2 AND request IS NOT NULL) AS waiting,
           (SELECT min(seq) FROM feed) AS first, (SELECT max(id) FROM requests) AS request,
           (SELECT max(id) FROM users) AS user, (SELECT count(*) FROM users) AS users`,
      );
      this.setMeta('epoch', epoch);
      this.setMeta('waiting', Number(row?.['waiting'] ?? 0));
      this.setMeta('feed_done', row?.['first'] === null ? feedLast : Number(row?.['first']) - 1);
      // Every row is in `log`, and no number is given again.
      this.setMeta('folded', Number(row?.['request'] ?? 0));
      this.setMeta('request', idLast);
      this.setMeta('users_left_out', Number(row?.['user'] ?? 0) - Number(row?.['users'] ?? 0));
    });
    await this.db.unsynced();
  }

  async finish(): Promise<void> {
    this.db.transaction(() => this.db.run('DELETE FROM meta WHERE name = ?', UNFINISHED));
    await this.db.unsynced();
  }

  private setMeta(name: string, value: string | number): void {
    this.db.run('INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)', name, value);
  }
}
