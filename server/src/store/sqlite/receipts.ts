import type {
  Page,
  ReceiptAttempt,
  ReceiptFilter,
  ReceiptKind,
  ReceiptRecord,
  ReceiptSettlement,
  ReceiptWork,
} from '../../core/ports.ts';
import { splitTransid } from '../../core/transid.ts';
import type { Row } from './connection.ts';
import { FeedReader } from './feed.ts';
import type { FeedWork } from './feed.ts';
import type { State } from './state.ts';

/** How long a receipt waits for the one before it (contract §3). */
const ORDER_WAIT_MS = 35 * 60_000;
/** How often the position in the feed is written while all goes well; a crash repeats what came after. */
const PERSIST_MS = 50;
const HISTORY_MAX = 20;
/** Rows of the feed read at once. */
const FEED_ROWS_MAX = 256;
const PENDING = 0;
const DEAD = 1;
const DONE = 2;
const STATES = ['pending', 'dead', 'done'] as const;

interface Claimed {
  readonly work: FeedWork;
  readonly until: number;
}

/**
 * Receipts due. What happened stands in the feed and is read from there once, in order; a receipt has a row of its own
 * only when it did not succeed at once. `meta.feed_done` says up to where the feed is dealt with.
 */
export class Receipts {
  private readonly state: State;
  readonly reader: FeedReader;
  private cursor = -1;
  /** Feed numbers up to here were there at the start: their receipts may have been sent, or have a row, already. */
  private repeatedTo = 0;
  /** Works of the feed rows read and not claimed yet, from `expandedAt` on. */
  private expanded: FeedWork[] = [];
  private expandedAt = 0;
  /** Claimed from the feed and not settled, by lease. In order of claim, so the oldest lease is first. */
  private readonly claimed = new Map<string, Claimed>();
  /** Feed numbers with works not settled, in order: the first one bounds what is done. */
  private readonly open = new Map<number, number>();
  /** Rows being tried, with the due time that is their lease. */
  private readonly leasedRows = new Map<string, number>();
  private fence = 0;
  private pendingCount = -1;
  private persisted = -1;
  private persistedAt = 0;

  constructor(state: State) {
    this.state = state;
    this.reader = new FeedReader(state);
    state.onReset(() => {
      this.pendingCount = -1;
    });
  }

  private start(): void {
    if (this.cursor >= 0) return;
    this.cursor = Number(this.state.meta('feed_done') ?? 0);
    this.repeatedTo = Number(this.state.db.get('SELECT max(seq) AS last FROM feed')?.['last'] ?? 0);
    this.persisted = this.cursor;
    this.releaseLeases();
  }

  /** Leases end with the process that held them: what it was trying is due at once. */
  private releaseLeases(): void {
    const { db, clock } = this.state;
    if (db.get('SELECT 1 AS yes FROM receipts WHERE leased = 1 LIMIT 1') === undefined) return;
    this.state.transaction(() => db.run('UPDATE receipts SET due = ?, leased = 0 WHERE leased = 1', clock.now()));
  }

  private hasRow(id: string): boolean {
    return this.state.db.get('SELECT 1 AS yes FROM receipts WHERE id = ?', id) !== undefined;
  }

  private pending(): number {
    if (this.pendingCount < 0) {
      const row = this.state.db.get('SELECT count(*) AS pending FROM receipts WHERE state = 0');
      this.pendingCount = Number(row?.['pending'] ?? 0);
    }
    return this.pendingCount;
  }

  claim(options: { limit: number; leaseMs: number; now: number }): ReceiptWork[] {
    this.start();
    // Half, as long as there is news: what waits for endpoints in trouble must not hold up what happens now.
    const rowsMax = Math.ceil(options.limit / 2);
    const works = this.pending() > 0 ? this.claimRows({ ...options, limit: rowsMax }) : [];
    const moreRows = works.length === rowsMax;
    const lateness = this.state.clock.monotonic();
    for (const [lease, claimed] of this.claimed) {
      if (claimed.until > lateness || works.length >= options.limit) break;
      this.claimed.delete(lease);
      works.push(this.lease(claimed.work, options.leaseMs));
    }
    while (works.length < options.limit) {
      const work = this.nextWork(options.limit, options.now);
      if (work === null) break;
      works.push(this.lease(work, options.leaseMs));
    }
    const room = options.limit - works.length;
    return moreRows && room > 0 ? [...works, ...this.claimRows({ ...options, limit: room })] : works;
  }

  private lease(work: FeedWork, leaseMs: number): ReceiptWork {
    this.fence += 1;
    const lease = `feed ${this.fence}`;
    this.claimed.set(lease, { work, until: this.state.clock.monotonic() + leaseMs });
    return receiptWork(work, lease, 0);
  }

  /** The next receipt of the feed that may be tried now; those behind a pending one get a row and wait. */
  private nextWork(batch: number, now: number): FeedWork | null {
    for (;;) {
      if (this.expandedAt === this.expanded.length && !this.expand(batch)) return null;
      const work = this.expanded[this.expandedAt];
      if (work === undefined) return null;
      const isRepeated = work.seq <= this.repeatedTo && this.hasRow(work.id);
      const ahead = !isRepeated && this.pending() > 0 ? this.ahead(work.orderKey, work.rank, now) : null;
      if (ahead !== null) {
        this.state.transaction(() => this.insert(work, { state: PENDING, attempts: 0, due: ahead, history: [], now }));
      }
      // Not before: what the disk refused to take must be read again, not be passed over.
      this.expandedAt += 1;
      if (ahead === null && !isRepeated) return work;
      this.settled(work.seq);
    }
  }

  /** Reads on in the feed until some works are there; a row of a large request alone may give more than a batch. */
  private expand(batch: number): boolean {
    this.expanded = [];
    this.expandedAt = 0;
    while (this.expanded.length === 0) {
      const rows = this.state.db.all(
        'SELECT * FROM feed WHERE seq > ? ORDER BY seq LIMIT ?',
        this.cursor,
        Math.min(batch, FEED_ROWS_MAX),
      );
      if (rows.length === 0) return false;
      for (const row of rows) {
        if (this.expanded.length >= batch) break;
        this.readRow(row);
      }
    }
    return true;
  }

  private readRow(row: Row): void {
    const seq = Number(row['seq']);
    const works = this.reader.works(row);
    this.cursor = seq;
    if (works.length > 0) this.open.set(seq, works.length);
    for (const work of works) this.expanded.push(work);
  }

  /** When a receipt may go though an earlier one of its message is pending; null: nothing is before it. */
  private ahead(orderKey: string, rank: number, now: number): number | null {
    const row = this.state.db.get(
      'SELECT min(due) AS due, max(created) AS created FROM receipts WHERE order_key = ? AND state = 0 AND rank < ? AND created > ?',
      orderKey,
      rank,
      now - ORDER_WAIT_MS,
    );
    if (row === undefined || row['due'] === null) return null;
    return Math.max(now + 1, Math.min(Number(row['due']) + 1, Number(row['created']) + ORDER_WAIT_MS));
  }

  private claimRows(options: { limit: number; leaseMs: number; now: number }): ReceiptWork[] {
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
        this.leasedRows.set(String(row['id']), due);
        works.push(rowWork(row, due));
      }
    });
    return works;
  }

  settle(settlements: readonly ReceiptSettlement[]): void {
    const needsRows = settlements.some((one) => one.kind !== 'done' || !one.work.lease.startsWith('feed '));
    const due = this.state.clock.monotonic() - this.persistedAt >= PERSIST_MS;
    const now = this.state.clock.now();
    // Only what is still held may be settled; the lease of the others passed to somebody else.
    const held = settlements.filter((one) => !one.work.lease.startsWith('feed ') || this.claimed.has(one.work.lease));
    if (needsRows) this.state.transaction(() => held.forEach((one) => this.write(one, now)));
    for (const one of held) {
      const claimed = this.claimed.get(one.work.lease);
      if (claimed === undefined) continue;
      this.claimed.delete(one.work.lease);
      this.settled(claimed.work.seq);
    }
    if (needsRows || due) this.persist();
  }

  private settled(seq: number): void {
    const left = (this.open.get(seq) ?? 1) - 1;
    if (left === 0) this.open.delete(seq);
    else this.open.set(seq, left);
  }

  /** Writes how far the feed is dealt with, and lets go of what is. */
  persist(): void {
    this.start();
    const first = this.open.keys().next();
    const done = first.done === true ? this.cursor : first.value - 1;
    this.persistedAt = this.state.clock.monotonic();
    if (done === this.persisted) return;
    this.state.transaction(() => {
      this.state.setMeta('feed_done', done);
      // What tells of young entries is their only record until they are folded.
      const gone = Math.min(done, this.state.young.feedNeededFrom() - 1);
      this.state.db.run('DELETE FROM feed WHERE seq <= ?', gone);
    });
    this.persisted = done;
  }

  private write(settlement: ReceiptSettlement, now: number): void {
    const fromFeed = this.claimed.get(settlement.work.lease)?.work ?? null;
    if (fromFeed !== null) this.writeNew(settlement, fromFeed, now);
    else this.writeRow(settlement, now);
  }

  private writeNew(settlement: ReceiptSettlement, work: FeedWork, now: number): void {
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

  private insert(
    work: FeedWork,
    row: { state: number; attempts: number; due: number; history: readonly ReceiptAttempt[]; now: number },
  ): void {
    // Counted before: a count taken after would hold this row already.
    const pending = this.pending();
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
    if (added === 1 && row.state === PENDING) this.pendingCount = pending + 1;
  }

  private writeRow(settlement: ReceiptSettlement, now: number): void {
    const { db } = this.state;
    const [, due = '', id = ''] = /^row (\d+) (.*)$/s.exec(settlement.work.lease) ?? [];
    const row = db.get(
      'SELECT history, attempts, order_key FROM receipts WHERE id = ? AND state = 0 AND due = ?',
      id,
      Number(due),
    );
    // Another claim of it is newer.
    if (row === undefined) return;
    this.leasedRows.delete(id);
    const attempt = settlement.kind === 'defer' ? null : settlement.attempt;
    const history = JSON.parse(String(row['history'])) as ReceiptAttempt[];
    if (attempt !== null) history.push(attempt);
    const state = { done: DONE, dead: DEAD, retry: PENDING, defer: PENDING }[settlement.kind];
    // Counted before: a count taken after would lack this row already.
    const pending = this.pending();
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
    this.release(String(row['order_key']), now);
  }

  /** The first one behind what was settled need not wait for its own time. One that is being tried keeps its lease. */
  private release(orderKey: string, now: number): void {
    const { db } = this.state;
    const next = db.get(
      'SELECT id, due FROM receipts WHERE order_key = ? AND state = 0 AND attempts = 0 ORDER BY rank LIMIT 1',
      orderKey,
    );
    if (next === undefined || this.leasedRows.get(String(next['id'])) === Number(next['due'])) return;
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
    if (filter.state !== undefined) add('state = ?', STATES.indexOf(filter.state));
    const [, created, id] = /^(\d{1,16}) (.*)$/s.exec(filter.cursor ?? '') ?? [];
    if (created !== undefined && id !== undefined) add('(created, id) < (?, ?)', Number(created), id);
    const rows = this.state.db.all(
      `SELECT * FROM receipts WHERE ${where.join(' AND ')} ORDER BY created DESC, id DESC LIMIT ?`,
      ...values,
      filter.limit + 1,
    );
    const items = rows.slice(0, filter.limit).map(record);
    const last = items.at(-1);
    return { items, next: rows.length > filter.limit && last !== undefined ? `${last.createdAt} ${last.id}` : null };
  }

  replay(clientId: string, id: string, now: number): boolean {
    const row = this.state.db.get('SELECT client, state FROM receipts WHERE id = ?', id);
    if (row === undefined) return this.replayTaken(clientId, id, now);
    if (clientId !== '*' && row['client'] !== clientId) return false;
    const pending = this.pending();
    this.state.db.run('UPDATE receipts SET state = 0, attempts = 0, due = ?, leased = 0 WHERE id = ?', now, id);
    if (row['state'] !== PENDING) this.pendingCount = pending + 1;
    return true;
  }

  /** A receipt that was taken at once has no row: it is made from the state reached. */
  private replayTaken(clientId: string, id: string, now: number): boolean {
    const [, transid = '', index = '', kind = ''] =
      /^([0-9a-f-]{36})_(\d+)_(submitted|delivered|read|failed|expired)$/.exec(id) ?? [];
    const parts = splitTransid(transid);
    const key = parts === null ? null : this.state.requests.keyOf(parts.uid);
    const found = key === null ? null : this.state.requests.record(key);
    const member = found?.members[Number(index)];
    if (found === null || member === undefined || (clientId !== '*' && found.client !== clientId)) return false;
    const work = this.rebuild(found.key, member, kind as ReceiptKind, id);
    if (work === null) return false;
    // Before whatever of the message is still to be told.
    const rank = { submitted: 0, delivered: 1, failed: 1, expired: 1, read: 2 }[kind as 'submitted'];
    this.insert({ ...work, rank }, { state: PENDING, attempts: 0, due: now, history: [], now });
    return true;
  }

  private rebuild(
    request: number,
    member: { user: number | null; n: number | null },
    kind: ReceiptKind,
    id: string,
  ): FeedWork | null {
    const { db } = this.state;
    const seq = this.cursor < 0 ? 0 : this.cursor;
    const base = { seq, request, user: member.user, n: member.n, device: null, detail: null };
    const submitted = this.reader.works({
      ...base,
      kind: 0,
      at: Number(db.get('SELECT accepted FROM requests WHERE id = ?', request)?.['accepted'] ?? 0),
    });
    if (kind === 'submitted' || member.n === null) return submitted.find((work) => work.id === id) ?? null;
    if (member.user !== null) this.state.ripen(member.user);
    const row = db.get(
      'SELECT state, device, at, read, detail FROM log WHERE user = ? AND n = ?',
      member.user,
      member.n,
    );
    const state = Number(row?.['state'] ?? -1);
    const reached = {
      delivered: state === 2 || state === 3,
      read: state === 3,
      failed: state === 4,
      expired: state === 5,
    };
    if (row === undefined || !(kind in reached) || !reached[kind as keyof typeof reached]) return null;
    const at = kind === 'read' ? row['read'] : row['at'];
    const code = kind === 'failed' ? (JSON.parse(String(row['detail'] ?? '{}')) as { code?: string }).code : undefined;
    const number = { delivered: 1, read: 2, failed: 5, expired: 6 }[kind as 'delivered'];
    const works = this.reader.works({
      ...base,
      kind: number,
      device: row['device'] ?? null,
      at: at ?? 0,
      detail: code ?? null,
    });
    return works.find((work) => work.id === id) ?? null;
  }

  counts(now: number): { pending: number; dead: number; oldestMs: number } {
    this.start();
    const { db } = this.state;
    const behind = db.get('SELECT count(*) AS behind, min(at) AS oldest FROM feed WHERE seq > ?', this.persisted);
    const rows = db.get('SELECT min(created) AS oldest FROM receipts WHERE state = 0');
    const dead = db.get('SELECT count(*) AS dead FROM receipts WHERE state = 1');
    const oldest = Math.min(Number(behind?.['oldest'] ?? now), Number(rows?.['oldest'] ?? now));
    return {
      pending: Number(behind?.['behind'] ?? 0) + this.pending(),
      dead: Number(dead?.['dead'] ?? 0),
      oldestMs: Math.max(0, now - oldest),
    };
  }
}

function receiptWork(work: FeedWork, lease: string, attempts: number): ReceiptWork {
  const { id, kind, serviceId, url, orderKey, at, facts, inbound } = work;
  return { id, lease, kind, serviceId, url, orderKey, attempts, at, facts, inbound };
}

function rowWork(row: Row, due: number): ReceiptWork {
  const work = JSON.parse(String(row['work'])) as FeedWork;
  return receiptWork(work, `row ${due} ${work.id}`, Number(row['attempts']));
}

function record(row: Row): ReceiptRecord {
  return {
    id: String(row['id']),
    clientId: String(row['client']),
    serviceId: String(row['service']),
    kind: row['kind'] as ReceiptKind,
    transid: row['transid'] as string | null,
    state: STATES[Number(row['state'])] ?? 'pending',
    attempts: Number(row['attempts']),
    dueAt: Number(row['due']),
    createdAt: Number(row['created']),
    history: JSON.parse(String(row['history'])) as ReceiptAttempt[],
  };
}
