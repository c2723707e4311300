import type { ReceiptAttempt, ReceiptClaim, ReceiptSettlement, ReceiptWork } from '../../core/ports.ts';
import { Audiences, UnwantedTally } from './audience.ts';
import type { Reason } from './audience.ts';
import { Columns, unnest } from './columns.ts';
import type { Database, Row, Transaction } from './database.ts';
import { feedItem, FeedReader } from './feed.ts';
import type { FeedItem, FeedWork } from './feed.ts';

/** How long a receipt waits for the one before it (contract §3). */
const ORDER_WAIT_MS = 35 * 60_000;
const HISTORY_MAX = 20;
export const PENDING = 0;
export const DEAD = 1;
export const DONE = 2;
/** Any number that nothing else in the database locks by: the letters "feed". */
const FEED_LOCK = 0x66_65_65_64;
/** Rows of the feed read at once, … */
const FEED_ROWS_MAX = 1024;
/** … and looked at in one claim, where nobody wants them. */
const SCANNED_MAX = 8_192;
/** Rounds of looking for what is due, where most of it waits for something else. */
const ROUNDS_MAX = 8;

/** A receipt that may be an earlier one's. */
interface Candidate {
  readonly id: string;
  readonly orderKey: string;
  readonly rank: number;
}

interface Refusal {
  readonly serviceId: string;
  readonly reason: Reason;
}

/**
 * Receipts due. What happened stands in the feed, is taken out of it by one node at a time, in order, and gets a row
 * here until it is told. A claim is the due time moved on under a number that grows: whoever comes late with an older
 * one changes nothing. Nothing of an order key is claimed while an earlier one of it is pending anywhere.
 */
export class Receipts {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  async claim(options: ReceiptClaim): Promise<ReceiptWork[]> {
    const { works, tally } = await this.database.transaction(async (transaction) => {
      const tally = options.onUnwanted === undefined ? null : new UnwantedTally();
      // Half, as long as there is news: what waits for endpoints in trouble must not hold up what happens now.
      const half = Math.ceil(options.limit / 2);
      const old = await this.claimRows(transaction, options, half);
      const fresh = await this.takeFromFeed(transaction, { ...options, limit: options.limit - old.length }, tally);
      const room = options.limit - old.length - fresh.length;
      const more = old.length === half && room > 0 ? await this.claimRows(transaction, options, room) : [];
      return { works: [...old, ...fresh, ...more], tally };
    });
    if (options.onUnwanted !== undefined) tally?.tell(options.onUnwanted);
    return works;
  }

  // ------------------------------------------------------------------------------------------ rows

  private async claimRows(transaction: Transaction, options: ReceiptClaim, limit: number): Promise<ReceiptWork[]> {
    const works: ReceiptWork[] = [];
    for (let rounds = 0; rounds < ROUNDS_MAX && works.length < limit; rounds += 1) {
      const rows = await transaction.all(
        `SELECT id, rank, order_key, work, attempts, fence FROM receipts WHERE state = ${PENDING} AND due <= $1
         ORDER BY due, rank LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED`,
        [options.now, limit - works.length],
      );
      if (rows.length === 0) break;
      const ahead = await this.ahead(transaction, rows.map(candidateOf), options.now);
      const free = rows.filter((row) => !ahead.has(String(row['id'])));
      this.moveOn(transaction, ahead);
      works.push(...this.leaseRows(transaction, free, options));
    }
    return works;
  }

  private leaseRows(transaction: Transaction, rows: readonly Row[], options: ReceiptClaim): ReceiptWork[] {
    if (rows.length === 0) return [];
    void transaction.run(
      'UPDATE receipts SET due = $1, leased = true, fence = fence + 1 WHERE id = ANY($2::text[])',
      [options.now + options.leaseMs, rows.map((row) => row['id'])],
    );
    return rows.map((row) => {
      const work = JSON.parse(String(row['work'])) as FeedWork;
      return receiptWork(work, Number(row['fence']) + 1, Number(row['attempts']));
    });
  }

  /** When those may go that have an earlier receipt of their order key pending, by id; the others are free. */
  private async ahead(
    transaction: Transaction,
    candidates: readonly Candidate[],
    now: number,
  ): Promise<Map<string, { due: number; shown: boolean }>> {
    if (candidates.length === 0) return new Map();
    const columns = new Columns(3);
    for (const { id, orderKey, rank } of candidates) columns.add(id, orderKey, rank);
    const rows = await transaction.all(
      `SELECT q.id, min(e.due) AS due, max(e.created) AS created, bool_or(e.shown) AS shown
       FROM ${unnest('text', 'text', 'bigint')} q(id, order_key, rank)
       JOIN receipts e ON e.order_key = q.order_key AND e.state = ${PENDING} AND e.rank < q.rank
       WHERE e.created > $4 GROUP BY q.id`,
      [...columns.values, now - ORDER_WAIT_MS],
    );
    return new Map(
      rows.map((row) => {
        const due = Math.max(now + 1, Math.min(Number(row['due']) + 1, Number(row['created']) + ORDER_WAIT_MS));
        return [String(row['id']), { due, shown: row['shown'] === true }];
      }),
    );
  }

  private moveOn(transaction: Transaction, ahead: ReadonlyMap<string, { due: number; shown: boolean }>): void {
    if (ahead.size === 0) return;
    const columns = new Columns(3);
    for (const [id, { due, shown }] of ahead) columns.add(id, due, shown);
    void transaction.run(
      `UPDATE receipts r SET due = q.due, leased = false, shown = r.shown OR q.shown
       FROM ${unnest('text', 'bigint', 'boolean')} q(id, due, shown) WHERE r.id = q.id`,
      columns.values,
    );
  }

  // ------------------------------------------------------------------------------------------ the feed

  /** One node at a time takes from the feed: so the rows of one message get here in their order. */
  private async takeFromFeed(
    transaction: Transaction,
    options: ReceiptClaim,
    tally: UnwantedTally | null,
  ): Promise<ReceiptWork[]> {
    if (options.limit <= 0) return [];
    const lock = await transaction.one('SELECT pg_try_advisory_xact_lock($1) AS mine', [FEED_LOCK]);
    if (lock?.['mine'] !== true) return [];
    const audiences = new Audiences();
    const works: ReceiptWork[] = [];
    for (let scanned = 0; scanned < SCANNED_MAX && works.length < options.limit; ) {
      const rows = await transaction.all(
        `SELECT f.*, r.service, r.notify_url FROM (SELECT * FROM feed ORDER BY seq LIMIT $1) f
         LEFT JOIN requests r ON r.uid = f.request ORDER BY f.seq`,
        [tally === null ? Math.min(options.limit - works.length, FEED_ROWS_MAX) : FEED_ROWS_MAX],
      );
      if (rows.length === 0) break;
      const refused = tally === null ? new Map<Row, Refusal>() : await this.refusals(transaction, rows, audiences);
      const wanted = rows.filter((row) => !refused.has(row));
      // Not more than asked for, of what somebody wants: the rest stays for others.
      const taken = wanted.slice(0, options.limit - works.length);
      const last = taken.length < wanted.length ? Number(taken.at(-1)?.['seq']) : Number(rows.at(-1)?.['seq']);
      const gone = rows.filter((row) => Number(row['seq']) <= last);
      for (const row of gone) {
        const refusal = refused.get(row);
        if (refusal !== undefined) tally?.add(refusal.serviceId, refusal.reason);
      }
      scanned += gone.length;
      works.push(...(await this.expand(transaction, taken, { options, audiences, tally, room: options.limit - works.length })));
      void transaction.run('DELETE FROM feed WHERE seq = ANY($1::bigint[])', [gone.map((row) => row['seq'])]);
    }
    return works;
  }

  /** The rows of which the request alone says that nobody wants to hear. */
  private async refusals(
    transaction: Transaction,
    rows: readonly Row[],
    audiences: Audiences,
  ): Promise<Map<Row, Refusal>> {
    await audiences.load(transaction, rows.flatMap((row) => (row['service'] === null ? [] : String(row['service']))));
    const refused = new Map<Row, Refusal>();
    for (const row of rows) {
      if (row['service'] === null) continue;
      const serviceId = String(row['service']);
      const route = { serviceId, notifyUrl: row['notify_url'] as string | null };
      const { kind } = feedItem(row);
      const reason = audiences.refusal(kind, route);
      // A request may tell of failures, too.
      const isRefused = reason !== null && (kind !== 'submitted' || audiences.refusal('failed', route) !== null);
      if (isRefused) refused.set(row, { serviceId, reason });
    }
    return refused;
  }

  private async expand(
    transaction: Transaction,
    rows: readonly Row[],
    claim: { options: ReceiptClaim; audiences: Audiences; tally: UnwantedTally | null; room: number },
  ): Promise<ReceiptWork[]> {
    if (rows.length === 0) return [];
    const items: FeedItem[] = rows.map(feedItem);
    const reader = new FeedReader(transaction);
    await reader.load(items);
    const all = items.flatMap((item) => reader.works(item));
    const works = claim.tally === null ? all : await wantedWorks(transaction, all, claim.audiences, claim.tally);
    if (works.length === 0) return [];
    const ahead = await this.aheadOfNew(transaction, works, claim.options.now);
    return this.insert(transaction, works, ahead, claim);
  }

  /** As {@link ahead}, for receipts without rows: an earlier one may be among them. */
  private async aheadOfNew(
    transaction: Transaction,
    works: readonly FeedWork[],
    now: number,
  ): Promise<Map<string, { due: number; shown: boolean }>> {
    const ahead = await this.ahead(transaction, works, now);
    const seen = new Set<string>();
    for (const { id, orderKey } of works) {
      if (seen.has(orderKey) && !ahead.has(id)) ahead.set(id, { due: now + ORDER_WAIT_MS, shown: false });
      seen.add(orderKey);
    }
    return ahead;
  }

  private async insert(
    transaction: Transaction,
    works: readonly FeedWork[],
    ahead: ReadonlyMap<string, { due: number; shown: boolean }>,
    { options, room }: { options: ReceiptClaim; room: number },
  ): Promise<ReceiptWork[]> {
    const columns = new Columns(13);
    const leased: FeedWork[] = [];
    for (const work of works) {
      const wait = ahead.get(work.id);
      const isLeased = wait === undefined && leased.length < room;
      if (isLeased) leased.push(work);
      const due = wait?.due ?? (isLeased ? options.now + options.leaseMs : options.now);
      const { id, rank, client, serviceId, kind, facts, orderKey } = work;
      const shown = wait?.shown === true;
      columns.add(id, rank, client, serviceId, kind, facts?.transid, orderKey, shown, due, isLeased, isLeased ? 1 : 0, options.now, JSON.stringify(work));
    }
    const made = await transaction.all(INSERT, columns.values);
    // One of the same id is there: it was told once more by hand.
    const ids = new Set(made.map((row) => row['id']));
    return leased.filter(({ id }) => ids.has(id)).map((work) => receiptWork(work, 1, 0));
  }

  /** A receipt that is due from now on, not tried yet. */
  async add(transaction: Transaction, work: FeedWork, now: number): Promise<void> {
    const { id, rank, client, serviceId, kind, facts, orderKey } = work;
    const columns = new Columns(13);
    columns.add(id, rank, client, serviceId, kind, facts?.transid, orderKey, true, now, false, 0, now, JSON.stringify(work));
    await transaction.all(INSERT, columns.values);
  }

  // ------------------------------------------------------------------------------------------ settling

  async settle(settlements: readonly ReceiptSettlement[], now: number): Promise<void> {
    if (settlements.length === 0) return;
    await this.database.transaction(async (transaction) => {
      const columns = new Columns(2);
      const byId = new Map<string, ReceiptSettlement>();
      for (const settlement of settlements) {
        const [, fence = '', id = ''] = /^(\d+) (.*)$/s.exec(settlement.work.lease) ?? [];
        columns.add(id, Number(fence));
        byId.set(`${fence} ${id}`, settlement);
      }
      // Only what is still held may be settled; the lease of the others passed to somebody else.
      const rows = await transaction.all(
        `SELECT r.id, r.fence, r.order_key, r.rank, r.attempts, r.history, r.shown FROM ${unnest('text', 'bigint')} q(id, fence)
         JOIN receipts r ON r.id = q.id AND r.fence = q.fence AND r.state = ${PENDING} AND r.leased
         ORDER BY r.id FOR NO KEY UPDATE OF r`,
        columns.values,
      );
      this.writeVerdicts(transaction, rows, byId, now);
    });
  }

  private writeVerdicts(
    transaction: Transaction,
    rows: readonly Row[],
    byId: ReadonlyMap<string, ReceiptSettlement>,
    now: number,
  ): void {
    const taken: unknown[] = [];
    const changed = new Columns(5);
    const ended = new Set<unknown>();
    for (const row of rows) {
      const settlement = byId.get(`${String(row['fence'])} ${String(row['id'])}`);
      if (settlement === undefined) continue;
      const { kind } = settlement;
      if (kind === 'done' || kind === 'dead') ended.add(row['order_key']);
      if (kind === 'done' && row['shown'] !== true) {
        taken.push(row['id']);
        continue;
      }
      const attempt = kind === 'defer' ? null : settlement.attempt;
      const history = JSON.parse(String(row['history'])) as ReceiptAttempt[];
      if (attempt !== null) history.push(attempt);
      const state = { done: DONE, dead: DEAD, retry: PENDING, defer: PENDING }[kind];
      const due = 'at' in settlement ? settlement.at : now;
      changed.add(row['id'], state, Number(row['attempts']) + (attempt === null ? 0 : 1), due, JSON.stringify(history.slice(-HISTORY_MAX)));
    }
    if (taken.length > 0) void transaction.run('DELETE FROM receipts WHERE id = ANY($1::text[])', [taken]);
    if (!changed.isEmpty) {
      void transaction.run(
        `UPDATE receipts r SET state = q.state, attempts = q.attempts, due = q.due, history = q.history, leased = false, shown = true
         FROM ${unnest('text', 'smallint', 'integer', 'bigint', 'text')} q(id, state, attempts, due, history) WHERE r.id = q.id`,
        changed.values,
      );
    }
    if (ended.size > 0) release(transaction, [...ended], now);
  }
}

const INSERT = `INSERT INTO receipts (id, rank, client, service, kind, transid, order_key, state, shown, attempts, due, leased, fence, created, work, history)
  SELECT q.id, q.rank, q.client, q.service, q.kind, q.transid, q.order_key, ${PENDING}, q.shown, 0, q.due, q.leased, q.fence, q.created, q.work, '[]'
  FROM ${unnest('text', 'bigint', 'text', 'text', 'text', 'text', 'text', 'boolean', 'bigint', 'boolean', 'bigint', 'bigint', 'text')}
    q(id, rank, client, service, kind, transid, order_key, shown, due, leased, fence, created, work)
  ON CONFLICT DO NOTHING RETURNING id`;

/** The first one behind what ended need not wait for its own time. One that is being tried keeps its lease. */
function release(transaction: Transaction, orderKeys: readonly unknown[], now: number): void {
  void transaction.run(
    `UPDATE receipts r SET due = $2 FROM (
       SELECT (SELECT e.id FROM receipts e WHERE e.order_key = q.order_key AND e.state = ${PENDING} ORDER BY e.rank LIMIT 1) AS id
       FROM unnest($1::text[]) q(order_key)) next
     WHERE r.id = next.id AND r.attempts = 0 AND NOT r.leased AND r.due > $2`,
    [orderKeys, now],
  );
}

async function wantedWorks(
  transaction: Transaction,
  works: readonly FeedWork[],
  audiences: Audiences,
  tally: UnwantedTally,
): Promise<FeedWork[]> {
  await audiences.load(transaction, works.map(({ serviceId }) => serviceId));
  return works.filter(({ kind, serviceId, url }) => {
    const refusal = audiences.refusal(kind, { serviceId, notifyUrl: url });
    if (refusal !== null) tally.add(serviceId, refusal);
    return refusal === null;
  });
}

function candidateOf(row: Row): Candidate {
  return { id: String(row['id']), orderKey: String(row['order_key']), rank: Number(row['rank']) };
}

function receiptWork(work: FeedWork, fence: number, attempts: number): ReceiptWork {
  const { id, kind, serviceId, url, orderKey, at, facts, inbound } = work;
  return { id, lease: `${fence} ${id}`, kind, serviceId, url, orderKey, attempts, at, facts, inbound };
}
