import type { ObjectKind, Objects as ObjectTypes, Profile, Thread } from '../../core/model.ts';
import type { RecallResult, RequestStatus, ThreadMessage } from '../../core/delivery-status.ts';
import type {
  AcceptResult,
  Clock,
  DeviceKey,
  HeldSession,
  FoundMessage,
  LinkVisit,
  LogEntry,
  MessageSearch,
  OwedQuery,
  Page,
  Random,
  ReceiptClaim,
  ReceiptFilter,
  ReceiptRecord,
  ReceiptSettlement,
  ReceiptWork,
  SessionOpened,
  SettleResult,
  Store,
  StoreCounts,
  StoredObject,
  ThreadPatch,
  UserKey,
  WriteBatch,
  WriteResult,
} from '../../core/ports.ts';
import { Accept, AcceptRows } from './accept.ts';
import { Chores } from './chores.ts';
import { Links } from './links.ts';
import { Objects } from './objects.ts';
import { People } from './people.ts';
import type { PutProfile } from './people.ts';
import { Receipts } from './receipts.ts';
import { Search } from './search.ts';
import { Sessions } from './sessions.ts';
import { Settle } from './settle.ts';
import { State } from './state.ts';
import { Status } from './status.ts';
import { Threads } from './threads.ts';
import type { SyncFile } from './wal-sync.ts';

/** Deliveries whose rows may be missing (about 200 bytes each): above it each commit writes more of them than it adds. */
const YOUNG_MAX = 400_000;
/** They are written when there was nothing else to write for so long, … */
const QUIET_MS = 1000;
/** … or when the first of them is so old: what is acknowledged before is written once instead of twice. */
const YOUNG_AGE_MS = 60_000;
const FOLD_STEP_MIN = 256;
const FOLD_ALL_STEP = 20_000;
/** Devices are looked through at most this often. */
const DEVICES_PURGE_MS = 3_600_000;

export interface SqliteStoreOptions {
  /** A file, made where it is missing (mode 0600), or `:memory:`. */
  readonly path: string;
  readonly clock: Clock;
  readonly random: Random;
  /** For tests: 0 writes every row in the commit that accepts it. */
  readonly youngMax?: number;
  /** For tests: how the write-ahead log is put on the disk. */
  readonly sync?: SyncFile;
}

/**
 * The store in one SQLite file. Everything but the sync to disk is synchronous inside, so each call sees the whole of
 * every earlier one; a promise resolves when what it tells of is on the disk.
 */
export class SqliteStore implements Store {
  private readonly state: State;
  private readonly threads: Threads;
  private readonly people: People;
  private readonly sessions: Sessions;
  private readonly acceptor: Accept;
  private readonly settler: Settle;
  private readonly receipts: Receipts;
  private readonly statuses: Status;
  private readonly chores: Chores;
  private readonly objects: Objects;
  private readonly links: Links;
  private readonly epochText: string;
  private readonly youngMax: number;
  private devicesPurgedAt = 0;
  private writtenAt = 0;
  private youngSince = 0;
  /** Entries that the fold of what is old has still to write. */
  private oldLeft = 0;

  constructor(options: SqliteStoreOptions) {
    const state = new State(options);
    this.state = state;
    this.threads = new Threads(state);
    this.people = new People(state, this.threads);
    this.sessions = new Sessions(state, this.people);
    this.acceptor = new Accept(state, this.threads);
    this.settler = new Settle(state);
    this.receipts = new Receipts(state);
    this.statuses = new Status(state, this.receipts.reader);
    this.chores = new Chores(state, this.settler);
    this.objects = new Objects(state);
    this.links = new Links(state);
    this.youngMax = options.youngMax ?? YOUNG_MAX;
    this.epochText = this.readEpoch();
    this.sessions.closeLeftOpen(options.clock.now());
    // Read now, so that the first request does not wait for it.
    this.youngSince = this.state.young.size === 0 ? 0 : this.state.clock.monotonic();
  }

  private readEpoch(): string {
    const known = this.state.meta('epoch');
    if (known !== null) return String(known);
    const epoch = this.newEpoch();
    this.state.transaction(() => this.state.setMeta('epoch', epoch));
    return epoch;
  }

  private newEpoch(): string {
    return Buffer.from(this.state.random.bytes(5)).toString('hex');
  }

  /** After a backup was put in place of the data: positions of the time before mean nothing any more. */
  renewEpoch(): string {
    const epoch = this.newEpoch();
    this.state.transaction(() => this.state.setMeta('epoch', epoch));
    return epoch;
  }

  write(batch: WriteBatch): Promise<WriteResult> {
    return this.run(() =>
      this.state.transaction(() => {
        this.writtenAt = this.state.clock.monotonic();
        const settlements: SettleResult[] = batch.settlements.map((one) => this.settler.settle(one));
        for (const session of batch.closes) this.sessions.close(session);
        const opens: SessionOpened[] = batch.opens.map((session) => this.sessions.open(session));
        const rows = new AcceptRows();
        const accepts: AcceptResult[] = batch.accepts.map((unit) => this.acceptor.accept(unit, rows));
        rows.flush(this.state);
        if (accepts.length > 0) this.foldUnderPressure(accepts);
        return { opens, accepts, settlements };
      }),
    );
  }

  private foldUnderPressure(accepts: readonly AcceptResult[]): void {
    const now = this.state.clock.monotonic();
    if (this.youngSince === 0) this.youngSince = now;
    if (this.state.young.size <= this.youngMax) return;
    let added = 0;
    for (const result of accepts) if (result.kind === 'accepted') added += result.entries.length;
    this.state.foldSome(Math.max(added * 2, FOLD_STEP_MIN));
  }

  tidy(limit: number): Promise<{ more: boolean }> {
    return this.run(() => {
      const { young, clock } = this.state;
      if (young.size === 0) this.youngSince = 0;
      const now = clock.monotonic();
      const isQuiet = now - this.writtenAt >= QUIET_MS;
      const isOld = now - this.youngSince >= YOUNG_AGE_MS;
      if (young.size === 0 || (!isQuiet && !isOld && young.size <= this.youngMax / 2)) return { more: false };
      if (isOld && this.oldLeft <= 0) this.oldLeft = young.size;
      this.oldLeft -= this.state.transaction(() => this.state.foldSome(limit));
      // What came meanwhile has its own minute.
      if (isOld && this.oldLeft <= 0) this.youngSince = now;
      return { more: young.size > 0 };
    });
  }

  /** Writes every row that is missing: then the file alone says all. */
  async foldAll(): Promise<void> {
    for (let left = 1; left > 0;) {
      left = await this.run(() => this.state.transaction(() => this.state.foldSome(FOLD_ALL_STEP)));
    }
  }

  epoch(): string {
    return this.epochText;
  }

  head(user: UserKey): Promise<number> {
    return this.run(() => this.state.users.head(this.state.users.byKey(user)));
  }

  heads(users: readonly UserKey[]): Promise<ReadonlyMap<UserKey, number>> {
    return this.run(() => this.state.users.heads(users));
  }

  readLog(user: UserKey, after: number, limit: number): Promise<readonly LogEntry[]> {
    return this.run(() => this.sessions.read(user, after, limit));
  }

  readOwed(query: OwedQuery): Promise<readonly LogEntry[]> {
    return this.run(() => this.sessions.owed(query));
  }

  countMessages(user: UserKey): Promise<{ head: number; unread: number; total: number }> {
    return this.run(() => this.sessions.countMessages(user));
  }

  findUser(appId: string, userid: string): Promise<UserKey | null> {
    return this.run(() => this.state.users.find(appId, { type: 'userid', value: userid })?.id ?? null);
  }

  subscribe(
    user: UserKey,
    device: DeviceKey,
    isKept = true,
  ): Promise<{ base: number; head: number; purgedTo: number }> {
    return this.run(() => this.sessions.subscribe(user, device, isKept));
  }

  unsubscribe(user: UserKey, device: DeviceKey): Promise<void> {
    return this.run(() => this.sessions.unsubscribe(user, device));
  }

  superseded(sessions: readonly HeldSession[]): Promise<ReadonlySet<DeviceKey>> {
    return this.run(() => this.sessions.superseded(sessions));
  }

  expireDue(now: number, limit: number): Promise<{ expired: number; more: boolean; nextAt: number | null }> {
    return this.run(() => {
      const next = this.chores.nextExpiry();
      if (next === null || next > now) return { expired: 0, more: false, nextAt: next };
      const step = this.state.transaction(() => this.chores.expire(now, limit));
      return { ...step, nextAt: this.chores.nextExpiry() };
    });
  }

  purge(now: number, limit: number): Promise<{ purged: number; more: boolean }> {
    return this.run(() => {
      const monotonic = this.state.clock.monotonic();
      const devices = monotonic - this.devicesPurgedAt >= DEVICES_PURGE_MS;
      if (devices) this.devicesPurgedAt = monotonic;
      return this.state.transaction(() => {
        if (devices) this.chores.purgeDevices(now);
        return this.chores.purge(now, limit);
      });
    });
  }

  claimReceipts(options: ReceiptClaim): Promise<readonly ReceiptWork[]> {
    return this.run(() => this.receipts.claim(options));
  }

  settleReceipts(settlements: readonly ReceiptSettlement[]): Promise<void> {
    return this.run(() => this.receipts.settle(settlements));
  }

  listReceipts(filter: ReceiptFilter): Promise<Page<ReceiptRecord>> {
    return this.run(() => this.receipts.list(filter));
  }

  replayReceipt(clientId: string, id: string, now: number): Promise<boolean> {
    return this.run(() => this.state.transaction(() => this.receipts.replay(clientId, id, now)));
  }

  requestStatus(serviceId: string, transid: string): Promise<RequestStatus | null> {
    return this.run(() => this.statuses.status(serviceId, transid));
  }

  findMessages(search: MessageSearch): Promise<readonly FoundMessage[]> {
    return this.run(() => new Search(this.state).find(search));
  }

  transidsByCorrelationid(serviceId: string, correlationid: string, limit: number): Promise<readonly string[]> {
    return this.run(() => this.statuses.transids(serviceId, correlationid, limit));
  }

  recall(serviceId: string, transid: string, now: number): Promise<readonly RecallResult[] | null> {
    return this.run(() => this.state.transaction(() => this.statuses.recall(serviceId, transid, now)));
  }

  visitLink(slug: string, visit: { now: number; count: boolean }): Promise<LinkVisit> {
    return this.run(() => {
      const found = this.links.find(slug, visit.now);
      const { place } = found;
      if (place === null) return found.visit;
      if (!visit.count) return { ...found.visit, entries: [] };
      const entries = this.state.transaction(() => {
        this.links.count(slug, place);
        const { user, n, linkid } = place;
        const about = { user, at: visit.now, device: null, ref: { n }, once: `link ${slug}` };
        return this.settler.settle({ kind: 'clicked', ...about, identifier: `link_${linkid}`, url: found.visit.url })
          .entries;
      });
      return { ...found.visit, entries };
    });
  }

  linkFigures(linkid: string): Promise<{ minted: number; visits: number; recipients: number }> {
    return this.run(() => this.links.figures(linkid));
  }

  createThread(thread: Omit<Thread, 'createdAt' | 'updatedAt'>, now: number): Promise<Thread> {
    return this.run(() => this.state.transaction(() => this.threads.create(thread, now)));
  }

  getThread(appId: string, id: string): Promise<Thread | null> {
    return this.run(() => this.threads.get(appId, id));
  }

  listThreads(query: {
    appId: string;
    user: UserKey | null;
    start: number;
    limit: number;
  }): Promise<{ total: number; threads: readonly Thread[] }> {
    return this.run(() => this.threads.list(query));
  }

  updateThread(
    appId: string,
    id: string,
    patch: ThreadPatch,
    now: number,
  ): Promise<{ thread: Thread; entries: readonly LogEntry[] } | null> {
    return this.run(() => this.state.transaction(() => this.threads.update({ appId, id, patch, now })));
  }

  threadMessages(query: {
    user: UserKey;
    threadId: string;
    start: number;
    limit: number;
  }): Promise<{ total: number; messages: readonly ThreadMessage[] }> {
    return this.run(() => this.threads.messages(query));
  }

  putProfile(profile: Omit<Profile, 'createdAt'>, now: number): Promise<PutProfile> {
    return this.run(() => this.state.transaction(() => this.people.put(profile, now)));
  }

  getProfile(appId: string, userid: string): Promise<Profile | null> {
    return this.run(() => this.people.get(appId, userid));
  }

  listProfiles(appId: string, cursor: string | null, limit: number): Promise<Page<Profile>> {
    return this.run(() => this.people.list(appId, cursor, limit));
  }

  deleteProfile(appId: string, userid: string): Promise<boolean> {
    return this.run(() => this.state.transaction(() => this.people.delete(appId, userid)));
  }

  getObject<Kind extends ObjectKind>(kind: Kind, id: string): Promise<ObjectTypes[Kind] | null> {
    return this.run(() => this.objects.get(kind, id));
  }

  listObjects<Kind extends ObjectKind>(
    kind: Kind,
    query: { clientId: string | null; cursor: string | null; limit: number },
  ): Promise<Page<ObjectTypes[Kind]>> {
    return this.run(() => this.objects.list(kind, query));
  }

  putObjects(objects: readonly StoredObject[], mode: 'create' | 'replace'): Promise<boolean> {
    return this.run(() => this.state.transaction(() => this.objects.put(objects, mode)));
  }

  deleteObject(kind: ObjectKind, id: string): Promise<boolean> {
    return this.run(() => this.state.transaction(() => this.objects.delete(kind, id)));
  }

  objectsRevision(): Promise<number> {
    return this.run(() => this.objects.revision());
  }

  nextNumber(name: string): Promise<number> {
    return this.run(() => this.state.transaction(() => this.objects.nextNumber(name)));
  }

  counts(now: number): Promise<StoreCounts> {
    return this.run(() => {
      const receipts = this.receipts.counts(now);
      const users = this.state.db.get('SELECT max(id) AS users FROM users');
      return {
        waiting: this.state.waiting(),
        // Numbers that came along from a store that gives them to threads and devices too.
        users: Number(users?.['users'] ?? 0) - Number(this.state.meta('users_left_out') ?? 0),
        receiptsPending: receipts.pending,
        receiptsDead: receipts.dead,
        receiptsOldestMs: receipts.oldestMs,
      };
    });
  }

  probe(): Promise<void> {
    return this.run(() => this.state.transaction(() => this.state.setMeta('probe', this.state.clock.now())));
  }

  backup(path: string, onProgress?: (share: number) => void): Promise<void> {
    return this.state.db.backup(path, onProgress);
  }

  async close(): Promise<void> {
    try {
      await this.run(() => this.receipts.persist());
    } finally {
      this.state.db.close();
    }
  }

  /** Nobody is told, or told of, what is not on the disk: a read waits for the commits it may have seen, too. */
  private run<Result>(work: () => Result): Promise<Result> {
    try {
      const { db } = this.state;
      const result = db.attempt(work);
      const unsynced = db.unsynced();
      return unsynced === null ? Promise.resolve(result) : unsynced.then(() => result);
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }
}
