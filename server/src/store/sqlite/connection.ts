import { chmodSync, existsSync } from 'node:fs';
import { totalmem } from 'node:os';
import { backup as sqliteBackup, DatabaseSync } from 'node:sqlite';
import type { SQLInputValue, StatementSync } from 'node:sqlite';
import { StoreUnavailable } from '../../core/ports.ts';
import { MIGRATIONS } from './schema.ts';
import { WalSync } from './wal-sync.ts';
import type { SyncFile } from './wal-sync.ts';

/** Below it a WAL reset could corrupt a database with two connections (fixed in 3.51.3). */
const SQLITE_VERSION_MIN = '3.51.3';
/** Checkpointing every 1,000 pages kept the p99 of a 1,000-destination commit at 24 ms against 40 at 10,000. */
const CHECKPOINT_PAGES = 1000;
/** Pages kept: a sixteenth of the machine, since a working set that does not fit costs a read per look-up. */
const CACHE_KIB_MIN = 32_768;
const CACHE_KIB_MAX = 524_288;
const CACHE_SHARE = 16;
const BUSY_MS = 5000;

/** Primary result codes after which the handle is closed: CORRUPT 11, NOTADB 26. */
const BROKEN_CODES = new Set([11, 26]);
/** NOMEM 7, IOERR 10, FULL 13: a commit may have got half-way, see {@link Connection.prove}. */
const SUSPECT_CODES = new Set([7, 10, 13]);
/** BUSY 5, LOCKED 6, READONLY 8, CANTOPEN 14: refused, and nothing was begun. */
const REFUSED_CODES = new Set([5, 6, 8, 14]);

/** What was undone: the transaction that failed, or whatever was not on the disk yet. */
export type ResetKind = 'rolled back' | 'reopened';

/** A row as node:sqlite gives it. */
export type Row = Record<string, string | number | null>;

/**
 * One connection to one file in WAL mode. A commit that returned is on the disk when {@link Connection.unsynced} says
 * so: before that nobody may be told of it. After an I/O error the disk has to prove itself, and the handle is opened
 * anew, before anything more is written.
 */
export class Connection {
  private readonly path: string;
  private readonly sync: SyncFile | undefined;
  private readonly onReset: (kind: ResetKind) => void;
  private handle: DatabaseSync | null = null;
  /** Of the handle; null: in memory, or no handle. */
  private wal: WalSync | null = null;
  /** Frames of the log that were moved into the database. */
  private framesMoved = 0;
  private isMoving = false;
  private readonly statements = new Map<string, StatementSync>();
  private readonly inserts = new Map<string, string>();
  private inTransaction = false;
  /** A commit failed, and the disk has not taken one since. */
  private isSuspect = false;
  /** In memory: what was there is gone with the handle. */
  private isClosed = false;

  /** `onReset` must drop what was derived from the file: the transaction that failed, or, where it was opened anew, all. */
  constructor(path: string, onReset: (kind: ResetKind) => void, sync?: SyncFile) {
    this.path = path;
    this.sync = sync;
    this.onReset = onReset;
    migrate(this.open());
    this.wal?.committed();
  }

  /** Resolves when every commit until now is on the disk; null: they are. Rejects, and undoes them, where it refused. */
  unsynced(): Promise<void> | null {
    return this.wal?.pending() ?? null;
  }

  get isInTransaction(): boolean {
    return this.inTransaction;
  }

  /** The prepared statement of a text; prepared once per connection. */
  sql(text: string): StatementSync {
    const known = this.statements.get(text);
    if (known !== undefined) return known;
    const statement = this.open().prepare(text);
    this.statements.set(text, statement);
    return statement;
  }

  get(text: string, ...values: SQLInputValue[]): Row | undefined {
    return this.sql(text).get(...values) as Row | undefined;
  }

  all(text: string, ...values: SQLInputValue[]): Row[] {
    return this.sql(text).all(...values) as Row[];
  }

  /** Rows changed. */
  run(text: string, ...values: SQLInputValue[]): number {
    return Number(this.sql(text).run(...values).changes);
  }

  /**
   * Many rows in few statements: `values` holds them one after the other. Half the cost of a statement per row.
   * `head` is `INSERT INTO t (a, b)` with `columns` columns.
   */
  insertMany(head: string, columns: number, values: SQLInputValue[]): void {
    let start = 0;
    for (const rows of [64, 16, 4, 1]) {
      const width = rows * columns;
      while (values.length - start >= width) {
        this.sql(this.insertText(head, columns, rows)).run(...values.slice(start, start + width));
        start += width;
      }
    }
  }

  private insertText(head: string, columns: number, rows: number): string {
    const key = `${rows} ${head}`;
    const known = this.inserts.get(key);
    if (known !== undefined) return known;
    const tuple = `(${Array.from({ length: columns }, () => '?').join(',')})`;
    const text = `${head} VALUES ${Array.from({ length: rows }, () => tuple).join(',')}`;
    this.inserts.set(key, text);
    return text;
  }

  /** All or nothing, as {@link unsynced} says. Throws StoreUnavailable where the disk refused; other errors are bugs. */
  transaction<Result>(work: () => Result): Result {
    if (this.inTransaction) throw new Error('a transaction within a transaction');
    if (this.isSuspect) this.attempt(() => this.prove());
    this.attempt(() => this.sql('BEGIN IMMEDIATE').run());
    this.inTransaction = true;
    try {
      const result = work();
      this.sql('COMMIT').run();
      this.wal?.committed();
      return result;
    } catch (error) {
      this.rollback();
      throw this.explain(error);
    } finally {
      this.inTransaction = false;
    }
  }

  /** Runs a read outside a transaction with the same handling of errors. */
  attempt<Result>(work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      throw this.explain(error);
    }
  }

  private rollback(): void {
    try {
      if (this.handle?.isTransaction === true) this.sql('ROLLBACK').run();
      this.onReset('rolled back');
    } catch {
      // What cannot be rolled back is closed: SQLite rolls it back when the file is next opened.
      this.drop();
    }
  }

  private explain(error: unknown): unknown {
    const code = primaryCode(error);
    if (code === null) return error;
    if (BROKEN_CODES.has(code)) this.drop();
    else if (SUSPECT_CODES.has(code)) this.isSuspect = this.path !== ':memory:';
    else if (!REFUSED_CODES.has(code)) return error;
    return new StoreUnavailable(`the database refused: ${(error as Error).message}`, { cause: error });
  }

  /**
   * Frames of a commit that failed stand in the write-ahead log with valid checksums, in the page cache and perhaps
   * nowhere else: Linux forgets what it could not write, and the next sync succeeds. A handle opened now would take them
   * for a commit, and a power loss would cut off everything appended after them. So the log is cut before them, and once
   * that is synced, the file is opened anew.
   */
  private prove(): void {
    this.wal?.cut();
    this.isSuspect = false;
    this.drop();
  }

  /** What was committed since the last sync is undone at once, so that nobody reads it, or as soon as the disk lets us. */
  private syncFailed(): void {
    this.isSuspect = true;
    try {
      this.prove();
    } catch {
      // Whoever comes next tries again and is told.
    }
  }

  /** Moves what is synced into the database when there is enough of it: never within a commit somebody waits for. */
  private synced(frames: number): void {
    if (frames < this.framesMoved) this.framesMoved = 0;
    const { wal } = this;
    if (frames - this.framesMoved < CHECKPOINT_PAGES || this.isMoving) return;
    this.isMoving = true;
    // Those who waited for the sync first.
    setImmediate(() => {
      this.isMoving = false;
      if (wal !== null && this.wal === wal && !wal.isFailed) this.move(wal, frames);
    });
  }

  private move(wal: WalSync, frames: number): void {
    try {
      const { busy, log, checkpointed } = this.get('PRAGMA wal_checkpoint(PASSIVE)') ?? {};
      this.framesMoved = Number(checkpointed);
      if (busy === 0 && log === checkpointed) wal.allSynced();
    } catch {
      // The log keeps everything, and grows until a later one succeeds.
      this.framesMoved = frames;
    }
  }

  private drop(): void {
    try {
      this.close();
    } catch {
      // Nothing more can be done for it; the file is opened anew.
    }
    this.onReset('reopened');
  }

  private open(): DatabaseSync {
    if (this.wal?.isFailed === true) this.prove();
    if (this.handle !== null) return this.handle;
    if (this.isClosed) throw new StoreUnavailable('the database is closed');
    const handle = open(this.path);
    try {
      if (this.path !== ':memory:') this.wal = this.watch(handle);
    } catch (error) {
      handle.close();
      throw error;
    }
    this.framesMoved = 0;
    this.handle = handle;
    return handle;
  }

  private watch(handle: DatabaseSync): WalSync {
    const frames = handle.prepare('PRAGMA wal_checkpoint(NOOP)');
    const wal: WalSync = new WalSync({
      path: `${this.path}-wal`,
      frames: () => Number((frames.get() as Row)['log']),
      onSynced: (count) => {
        if (this.wal === wal) this.synced(count);
      },
      onFailed: () => {
        if (this.wal === wal) this.syncFailed();
      },
      sync: this.sync,
    });
    return wal;
  }

  /**
   * Copies from a connection of its own: a step on the writing one fails while a commit runs. Its read transaction
   * holds one snapshot, so that commits in the meantime neither get in nor make the copy begin anew.
   */
  async backup(path: string, onProgress?: (share: number) => void): Promise<void> {
    const source = this.path === ':memory:' ? this.open() : new DatabaseSync(this.path, { readOnly: true });
    try {
      if (this.path !== ':memory:') source.exec('BEGIN; SELECT count(*) FROM meta');
      await sqliteBackup(source, path, {
        rate: 1000,
        progress: ({ totalPages, remainingPages }) => {
          onProgress?.(totalPages === 0 ? 1 : 1 - remainingPages / totalPages);
        },
      });
    } finally {
      if (this.path !== ':memory:') source.close();
    }
    chmodSync(path, 0o600);
  }

  close(): void {
    const { handle, wal } = this;
    this.handle = null;
    this.wal = null;
    this.isClosed = this.path === ':memory:';
    this.statements.clear();
    try {
      handle?.close();
    } finally {
      wal?.retire();
    }
  }
}

function primaryCode(error: unknown): number | null {
  const code = (error as { errcode?: unknown } | null)?.errcode;
  return typeof code === 'number' ? code & 0xff : null;
}

function open(path: string): DatabaseSync {
  const isNew = path !== ':memory:' && !existsSync(path);
  const handle = new DatabaseSync(path, { timeout: BUSY_MS });
  try {
    if (isNew) chmodSync(path, 0o600);
    prepare(handle);
    return handle;
  } catch (error) {
    // Not left to the collector: it would keep the index of a log that is cut, and no handle after it could read.
    handle.close();
    throw error;
  }
}

function prepare(handle: DatabaseSync): void {
  checkVersion(handle);
  handle.exec('PRAGMA journal_mode = WAL');
  // No sync within a commit, no checkpoint within one either: see WalSync.
  handle.exec('PRAGMA synchronous = NORMAL');
  handle.exec('PRAGMA wal_autocheckpoint = 0');
  const cacheKib = Math.floor(totalmem() / 1024 / CACHE_SHARE);
  handle.exec(`PRAGMA cache_size = -${Math.min(Math.max(cacheKib, CACHE_KIB_MIN), CACHE_KIB_MAX)}`);
  handle.exec('PRAGMA mmap_size = 0');
  handle.exec('PRAGMA trusted_schema = OFF');
  handle.exec('PRAGMA cell_size_check = ON');
  handle.exec('PRAGMA temp_store = MEMORY');
  // What a process before this one left in the log may be in the page cache alone, after a sync that failed: moved into
  // the database it is written and synced once more.
  handle.exec('PRAGMA wal_checkpoint');
}

function checkVersion(handle: DatabaseSync): void {
  const row = handle.prepare('SELECT sqlite_version() AS version').get() as Row;
  const number = (text: string): number => text.split('.').reduce((sum, part) => sum * 1000 + Number(part), 0);
  if (number(String(row['version'])) < number(SQLITE_VERSION_MIN)) {
    throw new Error(
      `SQLite ${String(row['version'])} can corrupt a database (its WAL-reset bug): this needs ${SQLITE_VERSION_MIN} or newer`,
    );
  }
}

function migrate(handle: DatabaseSync): void {
  const row = handle.prepare('PRAGMA user_version').get() as Row;
  const present = Number(row['user_version']);
  if (present > MIGRATIONS.length) {
    throw new Error(
      `the database has version ${present}, this program knows ${MIGRATIONS.length}: start the newer program, or restore a backup`,
    );
  }
  for (let version = present; version < MIGRATIONS.length; version += 1) {
    handle.exec('BEGIN IMMEDIATE');
    try {
      handle.exec(MIGRATIONS[version] ?? '');
      handle.exec(`PRAGMA user_version = ${version + 1}`);
      handle.exec('COMMIT');
    } catch (error) {
      handle.exec('ROLLBACK');
      throw error;
    }
  }
}
