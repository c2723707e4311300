import { TRANSFER_TABLES, TransferRefused } from '../../core/transfer.ts';
import type {
  TransferMarks,
  TransferPlace,
  TransferRow,
  TransferTable,
  TransferTarget,
  TransferValue,
} from '../../core/transfer.ts';
import type { Clock, Random } from '../../core/ports.ts';
import type { Scheduler } from '../../lib/timers.ts';
import { checkServer } from './boot.ts';
import { Columns } from './columns.ts';
import { Database } from './database.ts';
import type { Session } from './database.ts';
import { migrate } from './migrations.ts';
import { Partitions } from './partitions.ts';
import { UNFINISHED_TRANSFER } from './unfinished.ts';

/** Any number that nothing else in the database locks by: the letters "move". */
const TRANSFER_LOCK = 0x6d_6f_76_65;
const NODE = 'migrate';
/** PostgreSQL notices a moment late that a process has ended: so long is waited for those that are leaving. */
const LEAVING_MS = 3_000;
const LEAVING_CHECK_MS = 50;

/** How a table is read and written; what is not named is a column of its own name. */
interface Table {
  readonly from: string;
  readonly groupBy?: string;
  readonly key: readonly string[];
  readonly read?: Readonly<Record<string, string>>;
  /** Types of columns, where it is not text; those of {@link NUMBERS} are bigint. */
  readonly types?: Readonly<Record<string, string>>;
  /** Statements that write the rows of `q`, whose columns are the common ones. */
  readonly write: readonly string[];
}

const NUMBERS: ReadonlySet<string> = new Set([
  ...['value', 'created', 'updated', 'purged', 'head', 'waiting', 'user', 'n', 'thread', 'device', 'accepted'],
  ...['expiry', 'priority', 'purge_at', 'destination', 'member', 'state', 'sent', 'at', 'read', 'keep_ms', 'until'],
  ...['subscribed', 'base', 'floor', 'seen', 'incarnation', 'seq', 'rank', 'attempts', 'due', 'leased'],
  ...['expires', 'visits', 'minted', 'recipients'],
]);
const USER = { user: 't.user_id' };
const ID = { id: 'bigint' };
const UUID = { request: 'uuid' };
/** Not in every statement: of what is told of a request that is gone, nobody is told any more. */
const KNOWN = '(SELECT r.uid FROM requests r WHERE r.uid = t.request)';

/** `INSERT INTO t (…) SELECT …`; names in quotes, since some are words of SQL. */
function insert(table: string, columns: Readonly<Record<string, string>>, more = ''): string {
  const names = Object.keys(columns).map((name) => `"${name}"`);
  return `INSERT INTO ${table} (${names.join(', ')}) OVERRIDING SYSTEM VALUE SELECT ${Object.values(columns).join(', ')} FROM q ${more} ON CONFLICT DO NOTHING`;
}

/** The columns of a table as they are, but for those given. */
function plain(table: TransferTable, others: Readonly<Record<string, string | null>> = {}): string {
  const columns: Record<string, string> = {};
  for (const name of TRANSFER_TABLES[table]) {
    const target = name === 'user' ? 'user_id' : name;
    const expression = name in others ? (others[name] ?? null) : `q."${name}"`;
    if (expression !== null) columns[target] = expression;
  }
  for (const [name, expression] of Object.entries(others)) {
    const isCommon = (TRANSFER_TABLES[table] as readonly string[]).includes(name);
    if (!isCommon && expression !== null) columns[name] = expression;
  }
  return insert(table, columns);
}

const TABLES: Readonly<Record<TransferTable, Table>> = {
  objects: { from: 'objects t', key: ['kind', 'id'], write: [plain('objects')] },
  counters: { from: 'counters t', key: ['name'], write: [plain('counters')] },
  users: {
    from: 'users t JOIN heads h ON h.user_id = t.id',
    key: ['id'],
    read: { purged: 'h.purged', head: 'h.head', waiting: 'h.waiting' },
    types: ID,
    write: [
      plain('users', { purged: null, head: null, waiting: null }),
      insert('heads', {
        user_id: 'q.id',
        head: 'q.head',
        waiting: 'q.waiting',
        purged: 'q.purged',
        erased: 'coalesce(q.userid, q.customerid, q.msisdn) IS NULL',
      }),
    ],
  },
  threads: { from: 'threads t', key: ['id'], types: ID, write: [plain('threads')] },
  user_threads: {
    from: 'user_threads t',
    key: ['user', 'key'],
    read: USER,
    write: [
      insert(
        'user_threads',
        { user_id: 'q."user"', key: 'q.key', thread: 'q.thread', uid: 'h.uid' },
        'JOIN threads h ON h.id = q.thread',
      ),
    ],
  },
  requests: {
    from: 'requests t',
    key: ['uid'],
    types: { uid: 'uuid', key: 'bigint' },
    write: [plain('requests')],
  },
  log: { from: 'log t', key: ['user', 'n'], read: USER, types: UUID, write: [plain('log')] },
  steps: { from: 'steps t', key: ['user', 'n', 'id'], read: USER, types: ID, write: [plain('steps')] },
  devices: {
    from: 'devices t',
    key: ['user', 'id'],
    read: { ...USER, subscribed: 't.subscribed::integer' },
    types: ID,
    write: [plain('devices', { subscribed: 'q.subscribed = 1', node: "''" })],
  },
  device_acks: {
    from: 'device_acks t',
    key: ['user', 'device', 'n'],
    read: USER,
    write: [plain('device_acks')],
  },
  feed: {
    from: 'feed t',
    key: ['seq'],
    read: { ...USER, request: KNOWN },
    types: { ...UUID, kind: 'bigint' },
    write: [plain('feed')],
  },
  receipts: {
    from: 'receipts t',
    key: ['id'],
    read: { leased: 't.leased::integer' },
    write: [plain('receipts', { leased: 'q.leased = 1', shown: 'true', fence: '0' })],
  },
  links: {
    from: 'links t JOIN requests r ON r.uid = t.request',
    key: ['slug'],
    read: USER,
    types: UUID,
    write: [plain('links')],
  },
  link_figures: {
    from: 'link_figures t',
    groupBy: 't.linkid',
    key: ['linkid'],
    read: {
      minted: 'sum(t.minted)::bigint',
      visits: 'sum(t.visits)::bigint',
      recipients: 'sum(t.recipients)::bigint',
    },
    write: [plain('link_figures', { shard: '0' })],
  },
  idempotency: { from: 'idempotency t', key: ['service', 'key'], write: [plain('idempotency')] },
  correlations: {
    from: 'correlations t JOIN requests r ON r.uid = t.request',
    key: ['service', 'correlationid', 'request', 'destination'],
    types: UUID,
    write: [plain('correlations')],
  },
  once: { from: 'once t', key: ['user', 'id'], read: USER, write: [plain('once')] },
  replies: { from: 'replies t', key: ['user', 'id'], read: USER, types: ID, write: [plain('replies')] },
};

function typeOf(table: TransferTable, name: string): string {
  return TABLES[table].types?.[name] ?? (NUMBERS.has(name) ? 'bigint' : 'text');
}

export interface PostgresTransferOptions {
  readonly url: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly scheduler: Scheduler;
}

/** One side of a transfer: a database that no node works on. */
export class PostgresTransfer implements TransferTarget {
  private readonly session: Session;
  private places: Record<string, TransferPlace> = {};
  private epoch = '';

  private constructor(session: Session) {
    this.session = session;
  }

  /** Rejects with TransferRefused where somebody works on the database, StoreUnavailable where there is none. */
  static async run<Result>(
    options: PostgresTransferOptions,
    as: 'source' | 'target',
    work: (side: PostgresTransfer) => Promise<Result>,
  ): Promise<Result> {
    const database = new Database({ ...options, node: NODE, connectionsMax: 2 });
    try {
      return await database.session(async (session) => {
        await checkServer(session);
        await migrate(session);
        await session.exec('SET idle_in_transaction_session_timeout = 0');
        await beAlone(session, options);
        if (as === 'target') await new Partitions(database).tidy(options.clock.now());
        // A source is read as it is at one moment.
        else await session.exec('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
        return work(new PostgresTransfer(session));
      });
    } finally {
      await database.close();
    }
  }

  async marks(): Promise<TransferMarks> {
    const [row] = await this.session.all(
      `SELECT (SELECT value FROM meta WHERE name = 'epoch') AS epoch,
         (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM feed_seq_seq) AS feed,
         (SELECT CASE WHEN is_called THEN last_value + 999 ELSE last_value - 1 END FROM ids) AS id`,
    );
    const epoch = row?.['epoch'] ?? null;
    return { epoch: String(epoch ?? ''), feedLast: Number(row?.['feed']), idLast: Number(row?.['id']) };
  }

  /** Throws {@link TransferRefused} where it holds no installation, or half of one. */
  async checkSource(): Promise<void> {
    const rows = await this.session.all('SELECT name FROM meta');
    const names = rows.map((row) => row['name']);
    if (names.includes(UNFINISHED_TRANSFER)) {
      throw new TransferRefused('The database holds an unfinished migration: finish that first.');
    }
    if (!names.includes('epoch')) throw new TransferRefused('The database holds no installation.');
  }

  async count(table: TransferTable): Promise<number> {
    const { from, groupBy } = TABLES[table];
    const counted = groupBy === undefined ? '*' : `DISTINCT ${groupBy}`;
    const rows = await this.session.all(`SELECT count(${counted}) AS rows FROM ${from}`);
    return Number(rows[0]?.['rows'] ?? 0);
  }

  async read(
    table: TransferTable,
    place: TransferPlace,
    limit: number,
  ): Promise<{ rows: readonly TransferRow[]; place: TransferPlace }> {
    const names: readonly string[] = TRANSFER_TABLES[table];
    const { from, groupBy, key, read = {} } = TABLES[table];
    const of = (name: string): string => read[name] ?? `t."${name}"`;
    const keys = key.map(of);
    const bounds = key.map((name, index) => `$${index + 2}::${typeOf(table, name)}`);
    const found = await this.session.all(
      `SELECT ${[...names.map(of), ...keys].map((expression, index) => `${expression} AS c${index}`).join(', ')}
       FROM ${from} ${place.after === null ? '' : `WHERE (${keys.join(', ')}) > (${bounds.join(', ')})`}
       ${groupBy === undefined ? '' : `GROUP BY ${groupBy}`} ORDER BY ${keys.join(', ')} LIMIT $1`,
      [limit, ...(place.after ?? [])],
    );
    const last = found.at(-1);
    if (last === undefined) return { rows: [], place };
    const rows = found.map((row) => (Object.values(row) as TransferValue[]).slice(0, names.length));
    const after = (Object.values(last) as TransferValue[]).slice(names.length);
    const next = { after, rows: place.rows + rows.length };
    return { rows: table === 'feed' ? await this.numbered(rows, place.rows) : rows, place: next };
  }

  /** Numbers of transactions that failed are missing in the feed, and the other store has none missing. */
  private async numbered(rows: readonly TransferRow[], before: number): Promise<TransferRow[]> {
    const [{ feedLast }, count] = [await this.marks(), await this.count('feed')];
    return rows.map(([, ...rest], index) => [feedLast - count + before + index + 1, ...rest]);
  }

  async begin(epoch: string): Promise<ReadonlyMap<TransferTable, TransferPlace>> {
    this.epoch = epoch;
    const rows = await this.session.all('SELECT value FROM meta WHERE name = $1', [UNFINISHED_TRANSFER]);
    const value = rows[0]?.['value'];
    if (typeof value === 'string') {
      const unfinished = JSON.parse(value) as { epoch: string; places: Record<string, TransferPlace> };
      if (unfinished.epoch !== epoch) {
        throw new TransferRefused('The database holds an unfinished migration of another installation.');
      }
      this.places = unfinished.places;
      return new Map(Object.entries(this.places) as [TransferTable, TransferPlace][]);
    }
    const there = await this.session.all(
      `SELECT EXISTS (SELECT 1 FROM meta) OR EXISTS (SELECT 1 FROM objects) OR EXISTS (SELECT 1 FROM users)
         OR EXISTS (SELECT 1 FROM requests) AS yes`,
    );
    if (there[0]?.['yes'] === true) throw new TransferRefused('The database holds an installation already.');
    await this.note();
    return new Map();
  }

  async write(table: TransferTable, rows: readonly TransferRow[], place: TransferPlace): Promise<void> {
    const names: readonly string[] = TRANSFER_TABLES[table];
    const columns = new Columns(names.length);
    for (const row of rows) columns.add(...row);
    const arrays = names.map((name, index) => `$${index + 1}::${typeOf(table, name)}[]`);
    const list = names.map((name) => `"${name}"`);
    await this.session.exec('BEGIN');
    for (const text of TABLES[table].write) {
      await this.session.all(
        `WITH q AS (SELECT * FROM unnest(${arrays.join(', ')}) AS u(${list.join(', ')})) ${text}`,
        columns.values,
      );
    }
    this.places = { ...this.places, [table]: place };
    await this.note();
    await this.session.exec('COMMIT');
  }

  private async note(): Promise<void> {
    await this.session.all(
      'INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
      [UNFINISHED_TRANSFER, JSON.stringify({ epoch: this.epoch, places: this.places })],
    );
  }

  async settle({ epoch, feedLast, idLast }: TransferMarks): Promise<void> {
    await this.session.exec('BEGIN');
    await this.session.all("SELECT setval('ids', $1, false)", [idLast + 1]);
    await this.session.all("SELECT setval('feed_seq_seq', $1, false)", [feedLast + 1]);
    for (const table of ['steps', 'replies']) {
      await this.session.all(
        `SELECT setval('${table}_id_seq', coalesce((SELECT max(id) FROM ${table}), 0) + 1, false)`,
      );
    }
    // Nobody's share: each node adds its own. This connection's row is of no node.
    await this.session.all('DELETE FROM slots WHERE node = $1', [NODE]);
    await this.session.all(
      `INSERT INTO slots (node, slot, waiting, users)
       SELECT '', 0, coalesce((SELECT sum(waiting) FROM heads), 0), (SELECT count(*) FROM users)
       ON CONFLICT (node, slot) DO UPDATE SET waiting = excluded.waiting, users = excluded.users`,
    );
    await this.session.all(
      "INSERT INTO meta (name, value) VALUES ('epoch', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
      [epoch],
    );
    await this.session.exec('COMMIT');
    // The planner knows nothing of tables that were just filled.
    await this.session.exec('ANALYZE');
  }

  async finish(): Promise<void> {
    await this.session.all('DELETE FROM meta WHERE name = $1', [UNFINISHED_TRANSFER]);
  }
}

/** Rejects with TransferRefused where somebody else is still there after a while. */
async function beAlone(session: Session, { clock, scheduler }: PostgresTransferOptions): Promise<void> {
  const until = clock.monotonic() + LEAVING_MS;
  for (;;) {
    const reason = await whyNotAlone(session);
    if (reason === null) return;
    if (clock.monotonic() >= until) throw new TransferRefused(reason);
    await new Promise<void>((resolve) => {
      scheduler.after(LEAVING_CHECK_MS, resolve);
    });
  }
}

async function whyNotAlone(session: Session): Promise<string | null> {
  const [lock] = await session.all('SELECT pg_try_advisory_lock($1) AS mine', [TRANSFER_LOCK]);
  if (lock?.['mine'] !== true) return 'Another migration works on the database.';
  const rows = await session.all(
    `SELECT DISTINCT application_name AS name FROM pg_stat_activity
     WHERE datname = current_database() AND application_name LIKE 'carillon %' AND application_name <> $1`,
    [`carillon ${NODE}`],
  );
  if (rows.length === 0) return null;
  const names = rows.map((row) => String(row['name']).replace('carillon ', ''));
  return `Nodes work on the database (${names.join(', ')}): stop them first.`;
}
