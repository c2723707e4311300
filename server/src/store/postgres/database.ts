import { escapeIdentifier, Pool, types } from 'pg';
import type { PoolClient, QueryConfig, QueryResult } from 'pg';
import { StoreUnavailable } from '../../core/ports.ts';
import type { Clock, Random } from '../../core/ports.ts';
import type { Scheduler } from '../../lib/timers.ts';
import { verdictOf } from './errors.ts';

/** A row as the store reads it: bigint columns are numbers (none of ours passes 2^53). */
export type Row = Record<string, string | number | boolean | null>;

const BROKEN_TRANSACTION = '25P02';
const CONNECTIONS_MAX = 10;
/** A statement that takes longer is cancelled: whoever asked has been answered by then. */
const STATEMENT_MS = 5000;
/** Where the server says nothing at all any more (stopped, cut off), this side gives up a little later. */
const ANSWER_MS = STATEMENT_MS + 1000;
/** A node that stopped within a transaction holds the locks of its users no longer than others wait for them. */
const IDLE_IN_TRANSACTION_MS = 3000;
const CONNECT_MS = 2000;
/** A migration may take long, or wait for that of another node. */
const SESSION_MS = 600_000;
/** A connection that nobody used for so long is closed. */
const IDLE_MS = 60_000;
const KEEP_ALIVE_MS = 10_000;
/** Deadlocks and races end within one or two rounds; more is a fault. */
const ATTEMPTS_MAX = 10;
/** Work whose connection broke before its commit was sent is done again on another one, so often. */
const LOST_MAX = 2;
/** How long is asked what became of a commit whose answer was lost. */
const RESOLVE_MS = 2000;
const RESOLVE_PAUSE_MS = 50;
const BACK_OFF_MS_MIN = 50;
const BACK_OFF_MS_MAX = 2000;

/**
 * Every statement here finds its rows by an index. The planner is kept from anything else: with the statistics of a
 * table that was empty a moment ago it takes to scanning, and plans made anew each time cost as much as the work.
 */
const SESSION_SETTINGS = [
  'jit=off',
  'plan_cache_mode=force_generic_plan',
  'enable_seqscan=off',
  'enable_hashjoin=off',
  'enable_mergejoin=off',
  'client_min_messages=warning',
  'tcp_keepalives_idle=10',
];

export interface DatabaseOptions {
  /** `postgres://user:password@host:port/database?sslmode=…`; a socket: `postgres://user@/database?host=/run/postgresql`. */
  readonly url: string;
  /** Name of this node among those of the installation. */
  readonly node: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly connectionsMax?: number;
}

/** What each commit writes beside its work: its share of the counts, and a mark that it was done. */
const MARK = `INSERT INTO slots AS s (node, slot, waiting, users, mark) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (node, slot) DO UPDATE SET waiting = s.waiting + excluded.waiting, users = s.users + excluded.users, mark = excluded.mark`;

/** Statements on one connection. */
export interface Session {
  all(text: string, values?: readonly unknown[]): Promise<Row[]>;
  /** Several statements without values. */
  exec(text: string): Promise<void>;
}

/** The rows read were overtaken before their users were locked: the transaction is begun anew. */
export class Overtaken extends Error {
  constructor() {
    super('overtaken by another transaction');
    this.name = 'Overtaken';
  }
}

/** As the driver does it, but for bigint, which it leaves as text. */
function parserOf(
  oid: Parameters<typeof types.getTypeParser>[0],
  format: 'text' | 'binary' = 'text',
): (value: string) => unknown {
  return oid === types.builtins.INT8 ? Number : (types.getTypeParser(oid, format) as (value: string) => unknown);
}

/** Names of prepared statements; the texts are fixed, so these are about as many as there are in the sources. */
const NAMES = new Map<string, string>();

function nameOf(text: string): string {
  const known = NAMES.get(text);
  if (known !== undefined) return known;
  const name = `c${NAMES.size}`;
  NAMES.set(text, name);
  return name;
}

async function send(client: PoolClient, text: string, values: readonly unknown[]): Promise<QueryResult<Row>> {
  return client.query<Row>({ name: nameOf(text), text, values: [...values] });
}

/**
 * One transaction. Statements go out at once, one behind the other; each promise resolves with its own answer. Those
 * that nobody waits for are waited for by the commit.
 */
export class Transaction implements Session {
  private readonly client: PoolClient;
  private readonly pending: Promise<unknown>[] = [];
  /** Changes of the counts that this transaction makes. */
  waitingChange = 0;
  usersChange = 0;
  /** Statements sent, for measuring. */
  statements = 0;

  constructor(client: PoolClient) {
    this.client = client;
  }

  private track<Result>(promise: Promise<Result>): Promise<Result> {
    this.statements += 1;
    // Told by the commit, or by whoever waits for it.
    promise.catch(() => undefined);
    this.pending.push(promise);
    return promise;
  }

  all(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    return this.track(send(this.client, text, values).then((result) => result.rows));
  }

  async one(text: string, values: readonly unknown[] = []): Promise<Row | undefined> {
    const rows = await this.all(text, values);
    return rows[0];
  }

  /** Rows changed. */
  run(text: string, values: readonly unknown[] = []): Promise<number> {
    return this.track(send(this.client, text, values).then((result) => result.rowCount ?? 0));
  }

  exec(text: string): Promise<void> {
    return this.track(this.client.query(text).then(() => undefined));
  }

  /** What failed first: the statements behind it only say that the transaction is broken. */
  async cause(error: unknown): Promise<unknown> {
    if ((error as { code?: unknown } | null)?.code !== BROKEN_TRANSACTION) return error;
    return this.settled().then(
      () => error,
      (first: unknown) => first,
    );
  }

  /** Rejects with the first failure of what was sent. */
  async settled(): Promise<void> {
    await Promise.all(this.pending);
  }
}

/** Connections to one database, and transactions on them. */
export class Database {
  readonly node: string;
  private readonly options: DatabaseOptions;
  private readonly pool: Pool;
  private readonly slots = new Map<PoolClient, number>();
  private failures = 0;
  private blockedUntil = 0;
  private marks = 0;
  private readonly markPrefix: string;
  private isClosed = false;
  /** Statements of the last write, for measuring. */
  lastStatements = 0;

  constructor(options: DatabaseOptions) {
    this.options = options;
    this.node = options.node;
    this.markPrefix = Buffer.from(options.random.bytes(9)).toString('base64url');
    this.pool = new Pool({
      connectionString: options.url,
      max: options.connectionsMax ?? CONNECTIONS_MAX,
      connectionTimeoutMillis: CONNECT_MS,
      idleTimeoutMillis: IDLE_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
      application_name: `carillon ${options.node}`.slice(0, 63),
      statement_timeout: STATEMENT_MS,
      query_timeout: ANSWER_MS,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
      options: SESSION_SETTINGS.map((setting) => `-c ${setting}`).join(' '),
      pipeline: true,
      types: {
        getTypeParser: parserOf as typeof types.getTypeParser,
      },
    });
    // A connection that breaks while nobody uses it is none any more; who uses it is told by its statements.
    this.pool.on('error', () => undefined);
    this.pool.on('connect', (client) => client.on('error', () => undefined));
    this.pool.on('remove', (client) => this.slots.delete(client));
  }

  // ------------------------------------------------------------------------------------------ connections

  private async connect(): Promise<PoolClient> {
    const { clock, random } = this.options;
    if (this.isClosed) throw new StoreUnavailable('the store is closed');
    if (clock.monotonic() < this.blockedUntil) throw new StoreUnavailable('the database could not be reached just now');
    try {
      const client = await this.pool.connect();
      this.failures = 0;
      return client;
    } catch (error) {
      this.failures += 1;
      const waitMs = Math.min(BACK_OFF_MS_MAX, BACK_OFF_MS_MIN * 2 ** Math.min(this.failures, 10));
      this.blockedUntil = clock.monotonic() + waitMs * (0.5 + random.unit() / 2);
      throw error;
    }
  }

  /** The row of `slots` that this connection alone writes. */
  private slotOf(client: PoolClient): number {
    const known = this.slots.get(client);
    if (known !== undefined) return known;
    const used = new Set(this.slots.values());
    let slot = 0;
    while (used.has(slot)) slot += 1;
    this.slots.set(client, slot);
    return slot;
  }

  private release(client: PoolClient, error: unknown): void {
    client.release(verdictOf(error) === 'lost');
  }

  // ------------------------------------------------------------------------------------------ reading

  /** Rows of one statement, by itself. */
  async all(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    return this.withRetries(async () => {
      const client = await this.connect();
      try {
        const { rows } = await send(client, text, values);
        client.release();
        return rows;
      } catch (error) {
        this.release(client, error);
        throw error;
      }
    });
  }

  async one(text: string, values: readonly unknown[] = []): Promise<Row | undefined> {
    const rows = await this.all(text, values);
    return rows[0];
  }

  /** A connection of its own for work that is no transaction of ours: migrations. */
  async session<Result>(work: (session: Session) => Promise<Result>): Promise<Result> {
    const client = await this.connect().catch((error: unknown) => {
      throw explain(error);
    });
    const patient = (text: string, values: readonly unknown[]): Promise<QueryResult<Row>> =>
      client.query<Row>({ text, values: [...values], query_timeout: SESSION_MS } as QueryConfig);
    try {
      await client.query(`SET statement_timeout = ${SESSION_MS}`);
      return await work({
        all: async (text, values = []) => (await patient(text, values)).rows,
        exec: async (text) => {
          await client.query({ text, query_timeout: SESSION_MS } as QueryConfig);
        },
      });
    } catch (error) {
      throw explain(error);
    } finally {
      // Settings, locks and half a transaction end with it.
      client.release(true);
    }
  }

  // ------------------------------------------------------------------------------------------ transactions

  /**
   * All or nothing, synced when it resolves. Done anew after a deadlock or a race, and where the connection broke before
   * the commit was sent; so `work` must not change anything outside but what it sets anew each time.
   */
  async transaction<Result>(
    work: (transaction: Transaction) => Promise<Result>,
    attemptsMax = ATTEMPTS_MAX,
  ): Promise<Result> {
    return this.withRetries(() => this.attempt(work), attemptsMax);
  }

  private async attempt<Result>(work: (transaction: Transaction) => Promise<Result>): Promise<Result> {
    const client = await this.connect();
    const transaction = new Transaction(client);
    let commit: { slot: number; mark: string } | null = null;
    let result: Result | undefined;
    try {
      const slot = this.slotOf(client);
      void transaction.exec('BEGIN');
      result = await work(transaction);
      this.marks += 1;
      const mark = `${this.markPrefix}.${this.marks}`;
      void transaction.run(MARK, [this.node, slot, transaction.waitingChange, transaction.usersChange, mark]);
      // Sent behind the rest without waiting: where one of them failed it rolls back.
      commit = { slot, mark };
      void transaction.exec('COMMIT');
      await transaction.settled();
      this.lastStatements = transaction.statements;
      client.release();
      return result;
    } catch (failure) {
      const error = await transaction.cause(failure);
      if (verdictOf(error) === 'lost') {
        client.release(true);
        if (commit !== null && (await this.wasDone(commit, error))) return result as Result;
      } else {
        await this.rollBack(client);
      }
      throw error;
    }
  }

  private async rollBack(client: PoolClient): Promise<void> {
    try {
      await client.query('ROLLBACK');
      client.release();
    } catch {
      client.release(true);
    }
  }

  /**
   * The answer to a commit was lost: whether it was done says its mark. Reading it under a lock waits for the old
   * session to end. (Asking for the status of the transaction's number would not do: after a crash of the server the
   * number of a transaction that left no trace is given again, to another one.)
   */
  private async wasDone(commit: { slot: number; mark: string }, cause: unknown): Promise<boolean> {
    const { clock } = this.options;
    const until = clock.monotonic() + RESOLVE_MS;
    let last = cause;
    for (
      let tries = 0;
      tries === 0 || (clock.monotonic() < until && tries < RESOLVE_MS / RESOLVE_PAUSE_MS);
      tries += 1
    ) {
      try {
        return await this.isCommitted(commit);
      } catch (error) {
        last = error;
        await this.pause(RESOLVE_PAUSE_MS);
      }
    }
    throw new StoreUnavailable(
      'the connection to the database broke during a commit: whether it was done is not known',
      {
        cause: last,
      },
    );
  }

  private async isCommitted({ slot, mark }: { slot: number; mark: string }): Promise<boolean> {
    const client = await this.pool.connect();
    try {
      const { rows } = await send(client, 'SELECT mark FROM slots WHERE node = $1 AND slot = $2 FOR UPDATE', [
        this.node,
        slot,
      ]);
      client.release();
      return rows[0]?.['mark'] === mark;
    } catch (error) {
      this.release(client, error);
      throw error;
    }
  }

  private async withRetries<Result>(attempt: () => Promise<Result>, attemptsMax = ATTEMPTS_MAX): Promise<Result> {
    let lost = 0;
    for (let attempts = 1; ; attempts += 1) {
      try {
        return await attempt();
      } catch (error) {
        const verdict = error instanceof Overtaken ? 'retry' : verdictOf(error);
        if (verdict === 'lost') lost += 1;
        const isWorthIt = verdict === 'retry' || (verdict === 'lost' && lost <= LOST_MAX);
        if (!isWorthIt || attempts >= attemptsMax) throw explain(error);
        // Those that met wait for unlike times.
        if (attempts > 1) await this.pause(this.options.random.unit() * 2 ** attempts);
      }
    }
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.options.scheduler.after(ms, resolve);
    });
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    await this.pool.end();
  }
}

/** Whether an error, or what it was caused by, has this code. */
export function withCode(error: unknown, code: string): boolean {
  if (!(error instanceof Error)) return false;
  return (error as { code?: unknown }).code === code || withCode(error.cause, code);
}

/** A name as it stands in a statement. */
export function quoteName(name: string): string {
  return escapeIdentifier(name);
}

function explain(error: unknown): unknown {
  if (error instanceof StoreUnavailable) return error;
  if (error instanceof Overtaken) {
    return new StoreUnavailable('the database had no time without a conflict', { cause: error });
  }
  if (verdictOf(error) === 'bug') return error;
  return new StoreUnavailable(`the database refused: ${(error as Error).message}`, { cause: error });
}
