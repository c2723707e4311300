import type { ReceiptAttempt, ReceiptClaim, ReceiptSettlement, ReceiptWork } from '../../core/ports.ts';
import { receiptWork } from '../feed-work.ts';
import type { FeedWork } from '../feed-work.ts';
import { Audiences, UnwantedTally } from './audience.ts';
import type { Reason } from './audience.ts';
import { Columns, unnest } from './columns.ts';
import type { Database, Row, Transaction } from './database.ts';
import { feedItem, FeedReader } from './feed.ts';
import type { FeedItem } from './feed.ts';
import { ReceiptOrder } from './receipt-order.ts';
import type { Ranked } from './receipt-order.ts';

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
/** An identifier in the list of a request, as the database packs it. */
const MEMBER_BYTES = 15;
/** Rounds of looking for what is due, where most of it waits for something else. */
const ROUNDS_MAX = 8;

/** One claim under way. */
interface Claim {
  readonly transaction: Transaction;
  readonly options: ReceiptClaim;
  readonly order: ReceiptOrder;
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
      const order = new ReceiptOrder(transaction, options.now);
      const claim = { transaction, options, order };
      const old = await this.claimRows(claim, half);
      const fresh = await this.takeFromFeed(claim, options.limit - old.length, tally);
      const room = options.limit - old.length - fresh.length;
      const more = old.length === half && room > 0 ? await this.claimRows(claim, room) : [];
      return { works: [...old, ...fresh, ...more], tally };
    });
    if (options.onUnwanted !== undefined) tally?.tell(options.onUnwanted);
    return works;
  }

  // ------------------------------------------------------------------------------------------ rows

  private async claimRows(claim: Claim, limit: number): Promise<ReceiptWork[]> {
    const { transaction, options, order } = claim;
    const works: ReceiptWork[] = [];
    for (let rounds = 0; rounds < ROUNDS_MAX && works.length < limit; rounds += 1) {
      const rows = await transaction.all(
        `SELECT id, rank, order_key, work, attempts, fence FROM receipts WHERE state = ${PENDING} AND due <= $1
         ORDER BY due, rank LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED`,
        [options.now, limit - works.length],
      );
      if (rows.length === 0) break;
      // Those that wait longest come first, whatever their rank: what is before one of them may be behind it here.
      const byRank = rows.toSorted((a, b) => Number(a['rank']) - Number(b['rank']));
      await order.load(byRank.map(candidateOf));
      const leased: Row[] = [];
      const waits = new Columns(3);
      for (const row of byRank) {
        const candidate = candidateOf(row);
        const wait = order.wait(candidate);
        if (wait !== null) waits.add(candidate.id, wait.due, wait.shown);
        else {
          leased.push(row);
          order.hold(candidate.id);
        }
      }
      if (!waits.isEmpty) void transaction.run(MOVE_ON, waits.values);
      works.push(...leaseRows(transaction, leased, options));
    }
    return works;
  }

  // ------------------------------------------------------------------------------------------ the feed

  /** One node at a time takes from the feed: so the rows of one message get here in their order. */
  private async takeFromFeed(claim: Claim, limit: number, tally: UnwantedTally | null): Promise<ReceiptWork[]> {
    const { transaction } = claim;
    if (limit <= 0) return [];
    const lock = await transaction.one('SELECT pg_try_advisory_xact_lock($1) AS mine', [FEED_LOCK]);
    if (lock?.['mine'] !== true) return [];
    const audiences = new Audiences();
    const works: ReceiptWork[] = [];
    for (let scanned = 0; scanned < SCANNED_MAX && works.length < limit;) {
      const rows = await transaction.all(
        `SELECT f.*, r.service, r.notify_url, CASE WHEN f.kind = 0 THEN pg_column_size(r.members) ELSE 0 END AS bytes FROM (SELECT * FROM feed ORDER BY seq LIMIT $1) f
         LEFT JOIN requests r ON r.uid = f.request ORDER BY f.seq`,
        [tally === null ? Math.min(limit - works.length, FEED_ROWS_MAX) : FEED_ROWS_MAX],
      );
      if (rows.length === 0) break;
      const refused = tally === null ? new Map<Row, Refusal>() : await this.refusals(transaction, rows, audiences);
      const wanted = rows.filter((row) => !refused.has(row));
      // Not more than asked for, of what somebody wants: the rest stays for others.
      const taken = firstOf(wanted, limit - works.length);
      const last = taken.length < wanted.length ? Number(taken.at(-1)?.['seq']) : Number(rows.at(-1)?.['seq']);
      const gone = rows.filter((row) => Number(row['seq']) <= last);
      for (const row of gone) {
        const refusal = refused.get(row);
        if (refusal !== undefined) tally?.add(refusal.serviceId, refusal.reason);
      }
      scanned += gone.length;
      works.push(...(await this.expand(claim, taken, { audiences, tally, room: limit - works.length })));
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
    await audiences.load(
      transaction,
      rows.flatMap((row) => (row['service'] === null ? [] : String(row['service']))),
    );
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
    claim: Claim,
    rows: readonly Row[],
    { audiences, tally, room }: { audiences: Audiences; tally: UnwantedTally | null; room: number },
  ): Promise<ReceiptWork[]> {
    if (rows.length === 0) return [];
    const { transaction, order } = claim;
    const items: FeedItem[] = rows.map(feedItem);
    const reader = new FeedReader(transaction);
    await reader.load(items);
    const all = items.flatMap((item) => reader.works(item));
    const works = tally === null ? all : await wantedWorks(transaction, all, audiences, tally);
    if (works.length === 0) return [];
    await order.load(works);
    return this.insert(claim, works, room);
  }

  private async insert(
    { transaction, options, order }: Claim,
    works: readonly FeedWork[],
    room: number,
  ): Promise<ReceiptWork[]> {
    const { now, leaseMs } = options;
    const columns = new Columns(13);
    const leased: FeedWork[] = [];
    for (const work of works) {
      const { id, rank, client, serviceId, kind, facts, orderKey } = work;
      const before = order.wait(work);
      const isLeased = before === null && leased.length < room;
      const wait = before ?? { due: now, shown: false };
      if (isLeased) {
        leased.push(work);
        order.hold(id);
      } else {
        order.block(work, wait);
      }
      const due = isLeased ? now + leaseMs : wait.due;
      const fence = isLeased ? 1 : 0;
      const transid = facts?.transid;
      const text = JSON.stringify(work);
      columns.add(id, rank, client, serviceId, kind, transid, orderKey, wait.shown, due, isLeased, fence, now, text);
    }
    const made = await transaction.all(INSERT, columns.values);
    // One of the same id is there: it was told once more by hand.
    const ids = new Set(made.map((row) => row['id']));
    return leased.filter(({ id }) => ids.has(id)).map((work) => receiptWork(work, leaseOf(work.id, 1), 0));
  }

  /** A receipt that is due from now on, not tried yet. */
  async add(transaction: Transaction, work: FeedWork, now: number): Promise<void> {
    const { id, rank, client, serviceId, kind, facts, orderKey } = work;
    const columns = new Columns(13);
    columns.add(
      id,
      rank,
      client,
      serviceId,
      kind,
      facts?.transid,
      orderKey,
      true,
      now,
      false,
      0,
      now,
      JSON.stringify(work),
    );
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
      changed.add(
        row['id'],
        state,
        Number(row['attempts']) + (attempt === null ? 0 : 1),
        due,
        JSON.stringify(history.slice(-HISTORY_MAX)),
      );
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

const MOVE_ON = `UPDATE receipts r SET due = q.due, leased = false, shown = r.shown OR q.shown
  FROM ${unnest('text', 'bigint', 'boolean')} q(id, due, shown) WHERE r.id = q.id`;

function leaseRows(transaction: Transaction, rows: readonly Row[], options: ReceiptClaim): ReceiptWork[] {
  if (rows.length === 0) return [];
  void transaction.run('UPDATE receipts SET due = $1, leased = true, fence = fence + 1 WHERE id = ANY($2::text[])', [
    options.now + options.leaseMs,
    rows.map((row) => row['id']),
  ]);
  return rows.map((row) => {
    const work = JSON.parse(String(row['work'])) as FeedWork;
    return receiptWork(work, leaseOf(work.id, Number(row['fence']) + 1), Number(row['attempts']));
  });
}

const INSERT = `INSERT INTO receipts (id, rank, client, service, kind, transid, order_key, state, shown, attempts, due, leased, fence, created, work, history)
  SELECT q.id, q.rank, q.client, q.service, q.kind, q.transid, q.order_key, ${PENDING}, q.shown, 0, q.due, q.leased, q.fence, q.created, q.work, '[]'
  FROM ${unnest('text', 'bigint', 'text', 'text', 'text', 'text', 'text', 'boolean', 'bigint', 'boolean', 'bigint', 'bigint', 'text')}
    q(id, rank, client, service, kind, transid, order_key, shown, due, leased, fence, created, work)
  ON CONFLICT DO NOTHING RETURNING id`;

/**
 * The first one behind what ended need not wait for its own time. One that is being tried keeps its lease. Also where its
 * time seems to have come: a claim that is under way may just be moving it on.
 */
function release(transaction: Transaction, orderKeys: readonly unknown[], now: number): void {
  void transaction.run(
    `UPDATE receipts r SET due = $2 FROM (
       SELECT (SELECT e.id FROM receipts e WHERE e.order_key = q.order_key AND e.state = ${PENDING} ORDER BY e.rank LIMIT 1) AS id
       FROM unnest($1::text[]) q(order_key)) next
     WHERE r.id = next.id AND r.attempts = 0 AND NOT r.leased`,
    [orderKeys, now],
  );
}

/** So many rows that they give about as many receipts as asked for: that of a request gives one for each identifier. */
function firstOf(rows: readonly Row[], limit: number): readonly Row[] {
  let expected = 0;
  let count = 0;
  while (count < rows.length && expected < limit) {
    expected += Math.max(1, Number(rows[count]?.['bytes'] ?? 0) / MEMBER_BYTES);
    count += 1;
  }
  return rows.slice(0, count);
}

async function wantedWorks(
  transaction: Transaction,
  works: readonly FeedWork[],
  audiences: Audiences,
  tally: UnwantedTally,
): Promise<FeedWork[]> {
  await audiences.load(
    transaction,
    works.map(({ serviceId }) => serviceId),
  );
  return works.filter(({ kind, serviceId, url }) => {
    const refusal = audiences.refusal(kind, { serviceId, notifyUrl: url });
    if (refusal !== null) tally.add(serviceId, refusal);
    return refusal === null;
  });
}

function candidateOf(row: Row): Ranked {
  return { id: String(row['id']), orderKey: String(row['order_key']), rank: Number(row['rank']) };
}

/** The handle of a claim: the fence first, by which a settlement is checked. */
function leaseOf(id: string, fence: number): string {
  return `${fence} ${id}`;
}
