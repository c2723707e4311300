import type {
  Page,
  ReceiptAttempt,
  ReceiptFilter,
  ReceiptRecord,
  ReceiptSettlement,
  ReceiptWork,
} from '../../core/ports.ts';
import { receiptWork } from '../feed-work.ts';
import type { FeedWork } from '../feed-work.ts';
import { RECEIPT_STATES, receiptRecordOf } from '../rows.ts';
import type { Row } from './connection.ts';
import type { State } from './state.ts';

/** How long a receipt waits for the one before it (contract §3). */
const ORDER_WAIT_MS = 35 * 60_000;
const HISTORY_MAX = 20;
const PENDING = 0;
const DEAD = 1;
const DONE = 2;

/** The table of receipts that did not succeed at once. */
export class ReceiptRows {
  private readonly state: State;
  /** Rows being tried, with the due time that is their lease. */
  private readonly leased = new Map<string, number>();
  private pendingCount = -1;
  private deadCount = -1;

  constructor(state: State) {
    this.state = state;
    state.onReset((kind) => {
      this.pendingCount = -1;
      this.deadCount = -1;
      if (kind === 'reopened') this.leased.clear();
    });
    state.onReceiptsPurged(() => {
      this.deadCount = -1;
    });
  }

  /** Leases end with the process that held them: what it was trying is due at once. */
  releaseLeases(): void {
    const { db, clock } = this.state;
    if (db.get('SELECT 1 AS yes FROM receipts WHERE leased = 1 LIMIT 1') === undefined) return;
    this.state.transaction(() => db.run('UPDATE receipts SET due = ?, leased = 0 WHERE leased = 1', clock.now()));
  }

  has(id: string): boolean {
    return this.state.db.get('SELECT 1 AS yes FROM receipts WHERE id = ?', id) !== undefined;
  }

  /** Rows that wait to be tried, or tried again. */
  get pending(): number {
    if (this.pendingCount < 0) this.pendingCount = this.count('SELECT count(*) AS rows FROM receipts WHERE state = 0');
    return this.pendingCount;
  }

  get dead(): number {
    if (this.deadCount < 0) this.deadCount = this.count('SELECT count(*) AS rows FROM receipts WHERE state = 1');
    return this.deadCount;
  }

  private count(text: string): number {
    return Number(this.state.db.get(text)?.['rows'] ?? 0);
  }

  /** When the oldest one that waits was made; null: none waits. */
  oldest(): number | null {
    if (this.pending === 0) return null;
    return Number(this.state.db.get('SELECT min(created) AS oldest FROM receipts WHERE state = 0')?.['oldest'] ?? 0);
  }

  /** When a receipt may go though an earlier one of its message is pending; null: nothing is before it. */
  ahead(orderKey: string, rank: number, now: number): number | null {
    const row = this.state.db.get(
      'SELECT min(due) AS due, max(created) AS created FROM receipts WHERE order_key = ? AND state = 0 AND rank < ? AND created > ?',
      orderKey,
      rank,
      now - ORDER_WAIT_MS,
    );
    if (row === undefined || row['due'] === null) return null;
    return Math.max(now + 1, Math.min(Number(row['due']) + 1, Number(row['created']) + ORDER_WAIT_MS));
  }

  claim(options: { limit: number; leaseMs: number; now: number }): ReceiptWork[] {
    const { db } = this.state;
    const rows = db.all(
      'SELECT * FROM receipts WHERE state = 0 AND due <= ? ORDER BY due, rank LIMIT ?',
      options.now,
      options.limit,
    );
    if (rows.length === 0) return [];
    const works: ReceiptWork[] = [];
    this.state.transaction(() => {
      for (const row of rows) {
        const ahead = this.ahead(String(row['order_key']), Number(row['rank']), options.now);
        // A lease is the due time moved on: a crash frees it by itself, and the value fences a late settlement.
        const due = ahead ?? options.now + options.leaseMs;
        db.run('UPDATE receipts SET due = ?, leased = ? WHERE id = ?', due, ahead === null ? 1 : 0, String(row['id']));
        if (ahead !== null) continue;
        this.leased.set(String(row['id']), due);
        works.push(rowWork(row, due));
      }
    });
    return works;
  }

  /** Of a receipt from the feed that was not taken at its first try. Within a transaction. */
  writeNew(settlement: ReceiptSettlement, work: FeedWork, now: number): void {
    if (settlement.kind === 'done') return;
    const attempt = settlement.kind === 'defer' ? null : settlement.attempt;
    this.insert(work, {
      state: settlement.kind === 'dead' ? DEAD : PENDING,
      attempts: attempt === null ? 0 : 1,
      due: settlement.kind === 'dead' ? now : settlement.at,
      history: attempt === null ? [] : [attempt],
      now,
    });
  }

  /** One that waits until `due`, not tried yet. Within a transaction. */
  add(work: FeedWork, due: number, now: number): void {
    this.insert(work, { state: PENDING, attempts: 0, due, history: [], now });
  }

  private insert(
    work: FeedWork,
    row: { state: number; attempts: number; due: number; history: readonly ReceiptAttempt[]; now: number },
  ): void {
    // Counted before: a count taken after would hold this row already.
    const { pending, dead } = this;
    const added = this.state.db.run(
      'INSERT OR IGNORE INTO receipts (id, rank, client, service, kind, transid, order_key, state, attempts, due, created, work, history) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      work.id,
      work.rank,
      work.client,
      work.serviceId,
      work.kind,
      work.facts?.transid ?? null,
      work.orderKey,
      row.state,
      row.attempts,
      row.due,
      row.now,
      JSON.stringify(work),
      JSON.stringify(row.history),
    );
    if (added === 0) return;
    if (row.state === PENDING) this.pendingCount = pending + 1;
    else this.deadCount = dead + 1;
  }

  write(settlement: ReceiptSettlement, now: number): void {
    const { db } = this.state;
    const [, due = '', id = ''] = /^row (\d+) (.*)$/s.exec(settlement.work.lease) ?? [];
    const row = db.get(
      'SELECT history, attempts, order_key FROM receipts WHERE id = ? AND state = 0 AND due = ?',
      id,
      Number(due),
    );
    // Another claim of it is newer.
    if (row === undefined) return;
    this.leased.delete(id);
    const attempt = settlement.kind === 'defer' ? null : settlement.attempt;
    const history = JSON.parse(String(row['history'])) as ReceiptAttempt[];
    if (attempt !== null) history.push(attempt);
    const state = { done: DONE, dead: DEAD, retry: PENDING, defer: PENDING }[settlement.kind];
    // Counted before: a count taken after would lack this row already.
    const { pending, dead } = this;
    db.run(
      'UPDATE receipts SET state = ?, attempts = ?, due = ?, history = ?, leased = 0 WHERE id = ?',
      state,
      Number(row['attempts']) + (attempt === null ? 0 : 1),
      'at' in settlement ? settlement.at : now,
      JSON.stringify(history.slice(-HISTORY_MAX)),
      id,
    );
    if (state === PENDING) return;
    this.pendingCount = pending - 1;
    if (state === DEAD) this.deadCount = dead + 1;
    this.release(String(row['order_key']), now);
  }

  /** The first one behind what was settled need not wait for its own time. One that is being tried keeps its lease. */
  private release(orderKey: string, now: number): void {
    const { db } = this.state;
    const next = db.get(
      'SELECT id, due FROM receipts WHERE order_key = ? AND state = 0 AND attempts = 0 ORDER BY rank LIMIT 1',
      orderKey,
    );
    if (next === undefined || this.leased.get(String(next['id'])) === Number(next['due'])) return;
    db.run('UPDATE receipts SET due = ? WHERE id = ?', now, String(next['id']));
  }

  list(filter: ReceiptFilter): Page<ReceiptRecord> {
    const where: string[] = ['1 = 1'];
    const values: (string | number)[] = [];
    const add = (condition: string, ...given: (string | number)[]): void => {
      where.push(condition);
      values.push(...given);
    };
    if (filter.clientId !== null) add('client = ?', filter.clientId);
    if (filter.serviceId !== undefined) add('service = ?', filter.serviceId);
    if (filter.transid !== undefined) add('transid = ?', filter.transid.toLowerCase());
    if (filter.state !== undefined) add('state = ?', RECEIPT_STATES.indexOf(filter.state));
    const [, created, id] = /^(\d{1,16}) (.*)$/s.exec(filter.cursor ?? '') ?? [];
    if (created !== undefined && id !== undefined) add('(created, id) < (?, ?)', Number(created), id);
    const rows = this.state.db.all(
      `SELECT * FROM receipts WHERE ${where.join(' AND ')} ORDER BY created DESC, id DESC LIMIT ?`,
      ...values,
      filter.limit + 1,
    );
    const items = rows.slice(0, filter.limit).map(receiptRecordOf);
    const last = items.at(-1);
    return { items, next: rows.length > filter.limit && last !== undefined ? `${last.createdAt} ${last.id}` : null };
  }

  /** Makes a row due again. Undefined: there is none; false: it is another client's. Within a transaction. */
  replay(clientId: string, id: string, now: number): boolean | undefined {
    const row = this.state.db.get('SELECT client, state FROM receipts WHERE id = ?', id);
    if (row === undefined) return undefined;
    if (clientId !== '*' && row['client'] !== clientId) return false;
    const { pending, dead } = this;
    this.state.db.run('UPDATE receipts SET state = 0, attempts = 0, due = ?, leased = 0 WHERE id = ?', now, id);
    if (row['state'] !== PENDING) this.pendingCount = pending + 1;
    if (row['state'] === DEAD) this.deadCount = dead - 1;
    return true;
  }
}

function rowWork(row: Row, due: number): ReceiptWork {
  const work = JSON.parse(String(row['work'])) as FeedWork;
  return receiptWork(work, `row ${due} ${work.id}`, Number(row['attempts']));
}
