import type { Clock, LogEntry, Random, UserKey } from '../../core/ports.ts';
import { STATE } from '../../core/delivery-state.ts';
import type { StateNumber } from '../../core/delivery-state.ts';
import type { ThreadType } from '../../core/model.ts';
import { Lru } from '../../lib/lru.ts';
import { FEED_KINDS } from '../feed-work.ts';
import type { FeedKind } from '../feed-work.ts';
import { EVENT_PRIORITY } from '../rows.ts';
import type { ThreadRef } from '../rows.ts';
import { Connection } from './connection.ts';
import type { ResetKind, Row } from './connection.ts';
import { FeedTail } from './feed-tail.ts';
import { Requests } from './requests.ts';
import { UserIndex } from './users.ts';
import { fold, FOLDED_META, Young } from './young.ts';
import type { SyncFile } from './wal-sync.ts';
import type { YoungEntry } from './young.ts';

const THREADS_CACHED_MAX = 200_000;

/**
 * What the parts of the SQLite store share: the connection, the counters that live in memory between commits and are
 * dropped after a failed one, and the rows a commit gathers before it writes them in few statements.
 */
export class State {
  readonly db: Connection;
  readonly clock: Clock;
  readonly random: Random;
  readonly users: UserIndex;
  readonly requests: Requests;
  private readonly threads = new Lru<number, ThreadRef>(THREADS_CACHED_MAX);
  private readonly feedRows: (number | string | null)[] = [];
  /** The newest rows of the feed: receipts are mostly made from them, without asking the file. */
  readonly feedTail = new FeedTail();
  private nextFeed = -1;
  private waitingTotal = -1;
  private waitingWritten = -1;
  private readonly resets: ((kind: ResetKind) => void)[] = [];
  private readonly objectListeners: (() => void)[] = [];
  private readonly purgeListeners: (() => void)[] = [];
  private readonly riders: (() => void)[] = [];
  private readonly youngEntries = new Young();
  private isYoungLoaded = false;
  private isFolded = false;

  constructor(options: {
    readonly path: string;
    readonly clock: Clock;
    readonly random: Random;
    readonly sync?: SyncFile;
  }) {
    this.db = new Connection(options.path, (kind) => this.reset(kind), options.sync);
    this.clock = options.clock;
    this.random = options.random;
    this.users = new UserIndex(this.db, (user) => this.young.last(user));
    this.requests = new Requests(this.db);
  }

  /**
   * Called when what was derived from the file must be forgotten: after a failed transaction, or, with commits that were
   * undone, when the file was opened anew.
   */
  onReset(forget: (kind: ResetKind) => void): void {
    this.resets.push(forget);
  }

  /** Called when a provisioned object changed. */
  onObjects(forget: () => void): void {
    this.objectListeners.push(forget);
  }

  objectsChanged(): void {
    for (const forget of this.objectListeners) forget();
  }

  /** Called when rows of `receipts` were purged. */
  onReceiptsPurged(forget: () => void): void {
    this.purgeListeners.push(forget);
  }

  receiptsPurged(): void {
    for (const forget of this.purgeListeners) forget();
  }

  /** Called at the end of every transaction, within it: what is not urgent is written with what is. */
  onTransaction(ride: () => void): void {
    this.riders.push(ride);
  }

  private reset(kind: ResetKind): void {
    // What a failed sync really left on the disk is known only by reading it again.
    if (kind === 'reopened') this.isYoungLoaded = false;
    else this.youngEntries.rolledBack();
    this.isFolded = false;
    for (const forget of this.resets) forget(kind);
    this.users.reset();
    this.requests.reset();
    this.threads.clear();
    this.feedRows.length = 0;
    this.feedTail.clear();
    this.nextFeed = -1;
    this.waitingTotal = -1;
  }

  /** A transaction with what its parts gathered written at its end. */
  transaction<Result>(work: () => Result): Result {
    const result = this.db.transaction(() => {
      const done = work();
      this.flush();
      return done;
    });
    this.youngEntries.committed();
    return result;
  }

  /** The deliveries whose rows are not written yet. */
  get young(): Young {
    if (!this.isYoungLoaded) {
      this.isYoungLoaded = true;
      this.youngEntries.load(this.db);
    }
    return this.youngEntries;
  }

  /** Before anything reads or changes a user's log by its rows: writes those that are missing. */
  ripen(user: UserKey): void {
    if (!this.young.has(user)) return;
    const write = (): void => {
      fold(this.db, this.young.take(user));
      this.isFolded = true;
    };
    if (this.db.isInTransaction) write();
    else this.transaction(write);
  }

  /** Writes about so many of the missing rows, whoever's; within a transaction. Returns how many. */
  foldSome(limit: number): number {
    const entries = this.young.takeNext(limit);
    if (entries.length === 0) return 0;
    fold(this.db, entries);
    this.isFolded = true;
    return entries.length;
  }

  private flush(): void {
    if (this.isFolded) {
      this.isFolded = false;
      this.setMeta(FOLDED_META, this.young.foldedTo(this.requests.lastKey()));
    }
    if (this.feedRows.length > 0) {
      this.db.insertMany('INSERT INTO feed (seq, kind, request, user, n, device, at, detail)', 8, this.feedRows);
      this.feedRows.length = 0;
    }
    if (this.waitingTotal >= 0 && this.waitingTotal !== this.waitingWritten) {
      this.setMeta('waiting', this.waitingTotal);
      this.waitingWritten = this.waitingTotal;
    }
    for (const ride of this.riders) ride();
  }

  meta(name: string): string | number | null {
    return this.db.get('SELECT value FROM meta WHERE name = ?', name)?.['value'] ?? null;
  }

  setMeta(name: string, value: string | number): void {
    this.db.run(
      'INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
      name,
      value,
    );
  }

  /** Messages that wait, over all users. */
  waiting(): number {
    if (this.waitingTotal < 0) {
      this.waitingTotal = Number(this.meta('waiting') ?? 0);
      this.waitingWritten = this.waitingTotal;
    }
    return this.waitingTotal;
  }

  countWaiting(user: UserKey, change: number): void {
    this.waitingTotal = this.waiting() + change;
    this.users.countWaiting(user, change);
  }

  /**
   * Appends to the feed, whose numbers are the order of receipts; returns the number. `request` of what happened to a
   * message (user and n) spares looking it up again.
   */
  feed(
    kind: FeedKind,
    row: { request?: number; user?: UserKey; n?: number; device?: number | null; at: number; detail?: string },
  ): number {
    const { request = null, user = null, n = null, device = null, at, detail = null } = row;
    const seq = this.lastFeed() + 1;
    const number = FEED_KINDS.indexOf(kind);
    this.feedRows.push(seq, number, request, user, n, device, at, detail);
    this.feedTail.add({ seq, kind: number, request, user, n, device, at, detail });
    this.nextFeed = seq + 1;
    return seq;
  }

  /** The newest number of the feed, or the one it begins after. */
  lastFeed(): number {
    if (this.nextFeed < 0) {
      const last = this.db.get('SELECT max(seq) AS last FROM feed')?.['last'] ?? null;
      this.nextFeed = Math.max(Number(last ?? 0), Number(this.meta('feed_done') ?? 0)) + 1;
    }
    return this.nextFeed - 1;
  }

  thread(key: number): ThreadRef {
    const known = this.threads.get(key);
    if (known !== undefined) return known;
    const row = this.db.get('SELECT uid, title, type FROM threads WHERE id = ?', key);
    if (row === undefined) throw new Error(`the log names thread ${key}, which is not there`);
    const thread: ThreadRef = {
      key,
      id: String(row['uid']),
      title: String(row['title']),
      type: row['type'] as ThreadType,
    };
    this.threads.set(key, thread);
    return thread;
  }

  forgetThread(key: number): void {
    this.threads.delete(key);
  }

  /** A numbered state event in a user's log; the caller publishes it after the commit. */
  appendEvent(user: UserKey, event: Record<string, unknown>, at: number): LogEntry {
    const state = this.users.byKey(user);
    const n = this.users.head(state) + 1;
    state.head = n;
    this.db.run(
      'INSERT INTO log (user, n, priority, state, at, detail) VALUES (?, ?, ?, ?, ?, ?)',
      user,
      n,
      EVENT_PRIORITY,
      STATE.read,
      at,
      JSON.stringify(event),
    );
    return { user, n, priority: EVENT_PRIORITY, state: STATE.read, message: null, event };
  }

  /** A young entry as everybody else knows it. */
  youngEntry(entry: YoungEntry): LogEntry {
    const { user, n, state, destination } = entry;
    const detail = entry.detail === null ? null : (JSON.parse(entry.detail) as EntryDetail);
    const message = {
      content: this.requests.content(entry.request),
      destination,
      thread: this.thread(entry.thread),
      links: detail?.links ?? null,
    };
    return { user, n, priority: entry.priority as 1 | 2 | 3, state, message, event: null };
  }

  /** A row of `log` (columns of LOG_COLUMNS) as an entry. */
  entry(row: Row): LogEntry {
    const user = Number(row['user']);
    const n = Number(row['n']);
    const priority = Number(row['priority']) as 1 | 2 | 3;
    const state = Number(row['state']) as StateNumber;
    if (row['request'] === null) {
      const event = JSON.parse(String(row['detail'])) as Record<string, unknown>;
      return { user, n, priority, state, message: null, event };
    }
    const detail = row['detail'] === null ? null : (JSON.parse(String(row['detail'])) as EntryDetail);
    return {
      user,
      n,
      priority,
      state,
      message: {
        content: this.requests.content(Number(row['request'])),
        destination: Number(row['destination']),
        thread: this.thread(Number(row['thread'])),
        links: detail?.links ?? null,
      },
      event: null,
    };
  }
}

/** The JSON of a message's `detail`. */
export interface EntryDetail {
  readonly links?: Record<string, string>;
  /** State moved: where the entry is now. */
  readonly moved?: { readonly user: UserKey; readonly n: number };
  /** State read: the device it was read on. */
  readonly reader?: number;
  /** State failed: why. */
  readonly code?: string;
}

export const LOG_COLUMNS = 'user, n, request, destination, priority, state, thread, detail';
