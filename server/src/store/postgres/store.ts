import type { RecallResult, RequestStatus, ThreadMessage } from '../../core/delivery-status.ts';
import type { ObjectKind, Objects as ObjectTypes, Profile, Thread } from '../../core/model.ts';
import type {
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
  Store,
  StoreCounts,
  StoredObject,
  ThreadPatch,
  UserKey,
  WriteBatch,
  WriteResult,
} from '../../core/ports.ts';
import type { Scheduler } from '../../lib/timers.ts';
import { backUp, restore } from './backup.ts';
import { checkServer } from './boot.ts';
import { Chores } from './chores.ts';
import { DatabaseClock } from './database-clock.ts';
import { Database } from './database.ts';
import { Ids } from './ids.ts';
import { Links } from './links.ts';
import { migrate } from './migrations.ts';
import { Nodes } from './nodes.ts';
import { Objects } from './objects.ts';
import { Partitions } from './partitions.ts';
import { People } from './people.ts';
import type { PutProfile } from './people.ts';
import { Reading } from './reading.ts';
import { ReceiptList } from './receipt-list.ts';
import { Receipts } from './receipts.ts';
import { Search } from './search.ts';
import { Status } from './status.ts';
import { Threads } from './threads.ts';
import { TransferUnfinished, UNFINISHED_TRANSFER } from './unfinished.ts';
import { BatchWrite } from './write.ts';

const BEAT_MS = 5000;
/** Some devices are looked at, at most this often. */
const DEVICES_PURGE_MS = 30_000;
/** Partitions last a week and are made a week ahead. */
const PARTITIONS_MS = 3_600_000;

export interface PostgresStoreOptions {
  /** See {@link DatabaseOptions.url}. */
  readonly url: string;
  /** Name of this node, the same at its next start; no two nodes of an installation have the same. */
  readonly node: string;
  /** This process' clock: what it shows is measured against the database's. */
  readonly local: Clock;
  /** For tests: the clock of all nodes, in place of the database's. */
  readonly clock?: Clock;
  readonly random: Random;
  readonly scheduler: Scheduler;
  /** How often this node says that it is there and measures the clock; 0: never, for tests. */
  readonly beatMs?: number;
  readonly connectionsMax?: number;
  /** Told of what goes wrong in the background: a beat that failed, a name that another process took. */
  readonly onWarning?: (warning: { readonly what: string; readonly error?: unknown }) => void;
}

/** The store in a PostgreSQL database that many nodes share. Nothing that another node may change is kept in memory. */
export class PostgresStore implements Store {
  /** The database's clock, for whoever gives times to this store. */
  readonly clock: Clock;
  /** What is to be said loudly of the server's settings. */
  readonly warnings: readonly string[];
  private readonly options: PostgresStoreOptions;
  private readonly database: Database;
  private readonly random: Random;
  private readonly ids = new Ids();
  private readonly nodes: Nodes;
  private readonly reading: Reading;
  private readonly receipts: Receipts;
  private readonly receiptList: ReceiptList;
  private readonly statuses: Status;
  private readonly search: Search;
  private readonly chores: Chores;
  private readonly partitions: Partitions;
  private readonly objects: Objects;
  private readonly links: Links;
  private readonly threads: Threads;
  private readonly people: People;
  private readonly epochText: string;
  private devicesPurgedAt = Number.NEGATIVE_INFINITY;
  private partitionsTidiedAt = Number.NEGATIVE_INFINITY;
  private cancelBeat: (() => void) | null = null;

  private constructor(
    options: PostgresStoreOptions,
    parts: { database: Database; clock: Clock; nodes: Nodes; warnings: readonly string[]; epoch: string },
  ) {
    const { database, clock } = parts;
    this.options = options;
    this.database = database;
    this.random = options.random;
    this.clock = clock;
    this.warnings = parts.warnings;
    this.nodes = parts.nodes;
    this.epochText = parts.epoch;
    this.reading = new Reading(database);
    this.receipts = new Receipts(database);
    this.receiptList = new ReceiptList(database, this.receipts);
    this.search = new Search(database);
    this.statuses = new Status(database);
    this.chores = new Chores(database);
    this.partitions = new Partitions(database);
    this.objects = new Objects(database);
    this.links = new Links(database, options.random);
    this.threads = new Threads(database, this.ids);
    this.people = new People(database, this.ids);
  }

  /**
   * Connects, checks the server, brings the tables up to date and enters among the nodes. Rejects with StoreUnavailable
   * where there is no server, with DatabaseTooOld, SchemaTooNew or TransferUnfinished
   * where it is the wrong one.
   */
  static async open(options: PostgresStoreOptions): Promise<PostgresStore> {
    const { local, random } = options;
    const database = databaseOf(options);
    try {
      const warnings = await database.session(async (session) => {
        const found = await checkServer(session);
        await migrate(session);
        return found;
      });
      const measured = new DatabaseClock(local);
      const clock = options.clock ?? measured;
      if (options.clock === undefined) await measured.measure(() => askTime(database));
      const epoch = await readEpoch(database, freshEpoch(random));
      const nodes = new Nodes(database, clock);
      await nodes.enter();
      const store = new PostgresStore(options, { database, clock, nodes, warnings, epoch });
      store.scheduleBeat(measured);
      return store;
    } catch (error) {
      await database.close();
      throw error;
    }
  }

  /**
   * Looks at the server as {@link open} does, and changes nothing. Rejects as that does, but for tables that are too new.
   */
  static async check(options: PostgresStoreOptions): Promise<{ version: string; warnings: readonly string[] }> {
    const database = databaseOf(options);
    try {
      return await database.session(async (session) => {
        const warnings = await checkServer(session);
        const rows = await session.all("SELECT current_setting('server_version') AS version");
        return { version: String(rows[0]?.['version']), warnings };
      });
    } finally {
      await database.close();
    }
  }

  /**
   * Puts what {@link backup} wrote into a database that holds nothing yet, and gives it a new epoch, which it resolves
   * with: positions of the time before mean nothing any more. See {@link restore}.
   */
  static async restore(options: PostgresStoreOptions, path: string): Promise<string> {
    const epoch = freshEpoch(options.random);
    const database = databaseOf(options);
    try {
      await database.session(async (session) => {
        await checkServer(session);
        await migrate(session);
      });
      await restore(database, path, epoch);
      return epoch;
    } finally {
      await database.close();
    }
  }

  private scheduleBeat(measured: DatabaseClock): void {
    const { scheduler, beatMs = BEAT_MS } = this.options;
    if (beatMs === 0) return;
    this.cancelBeat = scheduler.after(beatMs, () => {
      void this.beat(measured).finally(() => {
        if (this.cancelBeat !== null) this.scheduleBeat(measured);
      });
    });
  }

  private async beat(measured: DatabaseClock): Promise<void> {
    const { onWarning } = this.options;
    try {
      await measured.measure(() => askTime(this.database));
      const isMine = await this.nodes.beat();
      if (!isMine) onWarning?.({ what: `another process runs as the node ${this.database.node}` });
    } catch (error) {
      onWarning?.({ what: 'this node could not say that it is there', error });
    }
  }

  /** Statements that the last transaction sent, its begin and commit included; for measuring. */
  get lastStatements(): number {
    return this.database.lastStatements;
  }

  async write(batch: WriteBatch): Promise<WriteResult> {
    const { opens, accepts, settlements, closes } = batch;
    if (opens.length + accepts.length + settlements.length + closes.length === 0) {
      return { opens: [], accepts: [], settlements: [] };
    }
    const parts = { node: this.database.node, ids: this.ids, random: this.random };
    return this.database.transaction((transaction) => new BatchWrite(parts, transaction, batch).run());
  }

  epoch(): string {
    return this.epochText;
  }

  head(user: UserKey): Promise<number> {
    return this.reading.head(user);
  }

  superseded(sessions: readonly HeldSession[]): Promise<ReadonlySet<DeviceKey>> {
    return this.reading.superseded(sessions);
  }

  heads(users: readonly UserKey[]): Promise<ReadonlyMap<UserKey, number>> {
    return this.reading.heads(users);
  }

  readLog(user: UserKey, after: number, limit: number): Promise<readonly LogEntry[]> {
    return this.reading.log(user, after, limit);
  }

  readOwed(query: OwedQuery): Promise<readonly LogEntry[]> {
    return this.reading.owed(query);
  }

  countMessages(user: UserKey): Promise<{ head: number; unread: number; total: number }> {
    return this.reading.countMessages(user);
  }

  findUser(appId: string, userid: string): Promise<UserKey | null> {
    return this.people.find(appId, userid);
  }

  subscribe(
    user: UserKey,
    device: DeviceKey,
    isKept = true,
  ): Promise<{ base: number; head: number; purgedTo: number }> {
    return this.reading.subscribe(user, device, isKept);
  }

  unsubscribe(user: UserKey, device: DeviceKey): Promise<void> {
    return this.reading.unsubscribe(user, device);
  }

  expireDue(now: number, limit: number): Promise<{ expired: number; more: boolean; nextAt: number | null }> {
    return this.chores.expire(now, limit);
  }

  async purge(now: number, limit: number): Promise<{ purged: number; more: boolean }> {
    const monotonic = this.options.local.monotonic();
    if (monotonic - this.devicesPurgedAt >= DEVICES_PURGE_MS) {
      this.devicesPurgedAt = monotonic;
      await this.chores.purgeDevices(now);
    }
    return this.chores.purge(now, limit);
  }

  async tidy(): Promise<{ more: boolean }> {
    const now = this.clock.now();
    const monotonic = this.options.local.monotonic();
    if (monotonic - this.partitionsTidiedAt >= PARTITIONS_MS) {
      this.partitionsTidiedAt = monotonic;
      await this.partitions.tidy(now);
    }
    return { more: await this.nodes.tidy(now) };
  }

  claimReceipts(options: ReceiptClaim): Promise<readonly ReceiptWork[]> {
    return this.receipts.claim(options);
  }

  settleReceipts(settlements: readonly ReceiptSettlement[]): Promise<void> {
    return this.receipts.settle(settlements, this.clock.now());
  }

  listReceipts(filter: ReceiptFilter): Promise<Page<ReceiptRecord>> {
    return this.receiptList.list(filter);
  }

  replayReceipt(clientId: string, id: string, now: number): Promise<boolean> {
    return this.receiptList.replay(clientId, id, now);
  }

  requestStatus(serviceId: string, transid: string): Promise<RequestStatus | null> {
    return this.statuses.status(serviceId, transid);
  }

  transidsByCorrelationid(serviceId: string, correlationid: string, limit: number): Promise<readonly string[]> {
    return this.statuses.transids(serviceId, correlationid, limit);
  }

  findMessages(search: MessageSearch): Promise<readonly FoundMessage[]> {
    return this.search.find(search);
  }

  recall(serviceId: string, transid: string, now: number): Promise<readonly RecallResult[] | null> {
    return this.statuses.recall(serviceId, transid, now);
  }

  visitLink(slug: string, visit: { now: number; count: boolean }): Promise<LinkVisit> {
    return this.links.visit(slug, visit);
  }

  linkFigures(linkid: string): Promise<{ minted: number; visits: number; recipients: number }> {
    return this.links.figures(linkid);
  }

  createThread(thread: Omit<Thread, 'createdAt' | 'updatedAt'>, now: number): Promise<Thread> {
    return this.threads.create(thread, now);
  }

  getThread(appId: string, id: string): Promise<Thread | null> {
    return this.threads.get(appId, id);
  }

  listThreads(query: {
    appId: string;
    user: UserKey | null;
    start: number;
    limit: number;
  }): Promise<{ total: number; threads: readonly Thread[] }> {
    return this.threads.list(query);
  }

  updateThread(
    appId: string,
    id: string,
    patch: ThreadPatch,
    now: number,
  ): Promise<{ thread: Thread; entries: readonly LogEntry[] } | null> {
    return this.threads.update({ appId, id, patch, now });
  }

  threadMessages(query: {
    user: UserKey;
    threadId: string;
    start: number;
    limit: number;
  }): Promise<{ total: number; messages: readonly ThreadMessage[] }> {
    return this.threads.messages(query);
  }

  putProfile(profile: Omit<Profile, 'createdAt'>, now: number): Promise<PutProfile> {
    return this.people.put(profile, now);
  }

  getProfile(appId: string, userid: string): Promise<Profile | null> {
    return this.people.get(appId, userid);
  }

  listProfiles(appId: string, cursor: string | null, limit: number): Promise<Page<Profile>> {
    return this.people.list(appId, cursor, limit);
  }

  deleteProfile(appId: string, userid: string): Promise<boolean> {
    return this.people.delete(appId, userid);
  }

  getObject<Kind extends ObjectKind>(kind: Kind, id: string): Promise<ObjectTypes[Kind] | null> {
    return this.objects.get(kind, id);
  }

  listObjects<Kind extends ObjectKind>(
    kind: Kind,
    query: { clientId: string | null; cursor: string | null; limit: number },
  ): Promise<Page<ObjectTypes[Kind]>> {
    return this.objects.list(kind, query);
  }

  putObjects(objects: readonly StoredObject[], mode: 'create' | 'replace'): Promise<boolean> {
    return this.objects.put(objects, mode);
  }

  deleteObject(kind: ObjectKind, id: string): Promise<boolean> {
    return this.objects.delete(kind, id);
  }

  objectsRevision(): Promise<number> {
    return this.objects.revision();
  }

  nextNumber(name: string): Promise<number> {
    return this.objects.nextNumber(name);
  }

  async counts(now: number): Promise<StoreCounts> {
    const [receipts, row] = await Promise.all([
      this.receiptList.counts(now),
      this.database.one(
        'SELECT coalesce(sum(waiting), 0)::bigint AS waiting, coalesce(sum(users), 0)::bigint AS users FROM slots',
      ),
    ]);
    return {
      waiting: Number(row?.['waiting'] ?? 0),
      users: Number(row?.['users'] ?? 0),
      receiptsPending: receipts.pending,
      receiptsDead: receipts.dead,
      receiptsOldestMs: receipts.oldestMs,
    };
  }

  /** A commit writes its mark, and that is all this one does. */
  async probe(): Promise<void> {
    await this.database.transaction(() => Promise.resolve());
  }

  backup(path: string, onProgress?: (share: number) => void): Promise<void> {
    return backUp(this.database, path, onProgress);
  }

  async close(): Promise<void> {
    this.cancelBeat?.();
    this.cancelBeat = null;
    await this.database.close();
  }
}

function databaseOf({ url, node, local, random, scheduler, connectionsMax }: PostgresStoreOptions): Database {
  const most = connectionsMax === undefined ? {} : { connectionsMax };
  return new Database({ url, node, clock: local, random, scheduler, ...most });
}

async function askTime(database: Database): Promise<number> {
  const row = await database.one('SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now');
  return Number(row?.['now']);
}

/** Throws {@link TransferUnfinished}. */
async function readEpoch(database: Database, fresh: string): Promise<string> {
  const unfinished = await database.one('SELECT 1 AS yes FROM meta WHERE name = $1', [UNFINISHED_TRANSFER]);
  if (unfinished !== undefined) throw new TransferUnfinished();
  await database.all("INSERT INTO meta (name, value) VALUES ('epoch', $1) ON CONFLICT DO NOTHING", [fresh]);
  const row = await database.one("SELECT value FROM meta WHERE name = 'epoch'");
  return String(row?.['value']);
}

function freshEpoch(random: Random): string {
  return Buffer.from(random.bytes(5)).toString('hex');
}
