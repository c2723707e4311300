import type {
  Page,
  ReceiptClaim,
  ReceiptFilter,
  ReceiptKind,
  ReceiptRecord,
  ReceiptSettlement,
  ReceiptWork,
} from '../../core/ports.ts';
import { splitTransid } from '../../core/transid.ts';
import { FEED_KINDS, feedKindOf, reachedIn, receiptWork } from '../feed-work.ts';
import type { FeedWork } from '../feed-work.ts';
import { Audiences, UnwantedTally } from './audience.ts';
import { FeedReader } from './feed.ts';
import type { FeedRow } from './feed-tail.ts';
import { ReceiptRows } from './receipt-rows.ts';
import type { State } from './state.ts';

/** The position in the feed is written with the commits there are, this far apart; a crash repeats what came after … */
const PERSIST_MS = 50;
/** … and, where there are none, by itself while receipts are taken, … */
const PERSIST_ALONE_MS = 100;
/** … or later, where all that happened was that nobody wanted to be told. */
const PERSIST_UNWANTED_MS = 1_000;
/** Rows of the feed deleted in one transaction. */
const DELETED_MAX = 5_000;
/** Rows of the feed read at once, … */
const FEED_ROWS_MAX = 256;
/** … and looked at in one claim, where nobody wants them. */
const SCANNED_MAX = 8_192;
/** Receipts put behind a pending one in one claim. */
const BEHIND_MAX = 1_000;

interface Claimed {
  readonly work: FeedWork;
  readonly until: number;
}

/** A receipt that must not go before `due`, as an earlier one of its message is pending. */
interface Behind {
  readonly work: FeedWork;
  readonly due: number;
}

/** One claim under way. */
interface Claiming extends ReceiptClaim {
  /** Null: everything is given out, wanted or not. */
  readonly tally: UnwantedTally | null;
  readonly behind: Behind[];
  /** Rows looked at. */
  scanned: number;
}

/**
 * Receipts due. What happened stands in the feed and is read from there once, in order; a receipt has a row of its own
 * only when it did not succeed at once. `meta.feed_done` says up to where the feed is dealt with.
 */
export class Receipts {
  private readonly state: State;
  readonly reader: FeedReader;
  private readonly rows: ReceiptRows;
  private readonly audiences: Audiences;
  private readonly tally = new UnwantedTally();
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
  /** Works of all of them. */
  private openWorks = 0;
  private fence = 0;
  /** What the file knows to be dealt with; negative: not known. */
  private persisted = -1;
  private persistedAt = 0;
  /** Up to here the rows are deleted; negative: not known. */
  private deletedTo = -1;
  private mustPersist = false;

  constructor(state: State) {
    this.state = state;
    this.reader = new FeedReader(state);
    this.rows = new ReceiptRows(state);
    this.audiences = new Audiences(state);
    state.onReset((kind) => {
      this.persisted = -1;
      this.deletedTo = -1;
      if (kind === 'reopened') this.forget();
    });
    state.onTransaction(() => this.writeDone());
  }

  /** Commits were undone: their numbers in the feed will be given to something else. What is being sent is sent again. */
  private forget(): void {
    this.cursor = -1;
    this.expanded = [];
    this.expandedAt = 0;
    this.claimed.clear();
    this.open.clear();
    this.openWorks = 0;
  }

  private start(): void {
    if (this.cursor >= 0) return;
    this.repeatedTo = this.state.lastFeed();
    this.cursor = Number(this.state.meta('feed_done') ?? 0);
    this.persisted = this.cursor;
    this.rows.releaseLeases();
  }

  claim(options: ReceiptClaim): ReceiptWork[] {
    this.start();
    if (this.open.size === 0) this.persistAfter(PERSIST_UNWANTED_MS);
    const tally = options.onUnwanted === undefined ? null : this.tally;
    const claiming: Claiming = { ...options, tally, behind: [], scanned: 0 };
    // Half, as long as there is news: what waits for endpoints in trouble must not hold up what happens now.
    const rowsMax = Math.ceil(options.limit / 2);
    const works = this.rows.pending > 0 ? this.rows.claim({ ...options, limit: rowsMax }) : [];
    const moreRows = works.length === rowsMax;
    const monotonic = this.state.clock.monotonic();
    for (const [lease, claimed] of this.claimed) {
      if (claimed.until > monotonic || works.length >= options.limit) break;
      this.claimed.delete(lease);
      works.push(this.lease(claimed.work, options.leaseMs));
    }
    while (works.length < options.limit && claiming.behind.length < BEHIND_MAX) {
      const work = this.nextWork(claiming);
      if (work === null) break;
      works.push(this.lease(work, options.leaseMs));
    }
    if (options.onUnwanted !== undefined) this.tally.tell(options.onUnwanted);
    this.putBehind(claiming);
    const room = options.limit - works.length;
    return moreRows && room > 0 ? [...works, ...this.rows.claim({ ...options, limit: room })] : works;
  }

  private lease(work: FeedWork, leaseMs: number): ReceiptWork {
    this.fence += 1;
    const lease = `feed ${this.fence}`;
    this.claimed.set(lease, { work, until: this.state.clock.monotonic() + leaseMs });
    return receiptWork(work, lease, 0);
  }

  /** The next receipt of the feed that may be tried now; those behind a pending one are to get a row and wait. */
  private nextWork(claiming: Claiming): FeedWork | null {
    for (;;) {
      if (this.expandedAt === this.expanded.length && !this.expand(claiming)) return null;
      const work = this.expanded[this.expandedAt];
      if (work === undefined) return null;
      this.expandedAt += 1;
      if (work.seq <= this.repeatedTo && this.rows.has(work.id)) {
        this.settled(work.seq);
        continue;
      }
      const due = this.rows.pending > 0 ? this.rows.ahead(work.orderKey, work.rank, claiming.now) : null;
      if (due === null) return work;
      claiming.behind.push({ work, due });
      if (claiming.behind.length >= BEHIND_MAX) return null;
    }
  }

  private putBehind({ behind, now }: Claiming): void {
    if (behind.length === 0) return;
    try {
      this.state.transaction(() => {
        for (const { work, due } of behind) this.rows.add(work, due, now);
      });
    } catch (error) {
      // What the disk refused to take must come again, not be passed over.
      this.expanded = [...behind.map(({ work }) => work), ...this.expanded.slice(this.expandedAt)];
      this.expandedAt = 0;
      throw error;
    }
    for (const { work } of behind) this.settled(work.seq);
  }

  /** Reads on in the feed until some works are there; a row of a large request alone may give more than a batch. */
  private expand(claiming: Claiming): boolean {
    this.start();
    const batch = Math.min(claiming.limit, FEED_ROWS_MAX);
    this.expanded = [];
    this.expandedAt = 0;
    while (this.expanded.length === 0 && claiming.scanned < SCANNED_MAX) {
      const rows = this.reader.after(this.cursor, batch);
      if (rows.length === 0) return false;
      for (const row of rows) {
        if (this.expanded.length >= batch) break;
        this.readRow(row, claiming.tally);
        claiming.scanned += 1;
      }
    }
    return this.expanded.length > 0;
  }

  private readRow(row: FeedRow, tally: UnwantedTally | null): void {
    const works = tally === null ? this.reader.works(row) : this.wantedWorks(row, tally);
    this.cursor = row.seq;
    if (works.length === 0) return;
    this.open.set(row.seq, works.length);
    this.openWorks += works.length;
    for (const work of works) this.expanded.push(work);
  }

  private wantedWorks(row: FeedRow, tally: UnwantedTally): readonly FeedWork[] {
    const route = this.reader.route(row);
    if (route !== null) {
      const kind = feedKindOf(row.kind);
      const refusal = this.audiences.refusal(kind, route);
      // A request may tell of failures, too.
      const isRefused = refusal !== null && (kind !== 'submitted' || this.audiences.refusal('failed', route) !== null);
      if (isRefused) {
        tally.add(route.serviceId, refusal);
        return [];
      }
    }
    return this.reader.works(row).filter((work) => {
      const { serviceId, url } = work;
      const refusal = this.audiences.refusal(work.kind, { serviceId, notifyUrl: url });
      if (refusal !== null) tally.add(serviceId, refusal);
      return refusal === null;
    });
  }

  settle(settlements: readonly ReceiptSettlement[]): void {
    this.start();
    // Only what is still held may be settled; the lease of the others passed to somebody else.
    const held = settlements.filter(({ work }) => !isOfFeed(work) || this.claimed.has(work.lease));
    if (held.some(({ kind, work }) => kind !== 'done' || !isOfFeed(work))) {
      const now = this.state.clock.now();
      this.state.transaction(() => held.forEach((one) => this.write(one, now)));
    }
    for (const { work } of held) {
      const claimed = this.claimed.get(work.lease);
      if (claimed === undefined) continue;
      this.claimed.delete(work.lease);
      this.settled(claimed.work.seq);
    }
    this.persistAfter(settlements.length === 0 ? 0 : PERSIST_ALONE_MS);
  }

  private write(settlement: ReceiptSettlement, now: number): void {
    const fromFeed = this.claimed.get(settlement.work.lease);
    if (fromFeed === undefined) this.rows.write(settlement, now);
    else this.rows.writeNew(settlement, fromFeed.work, now);
  }

  private settled(seq: number): void {
    this.openWorks -= 1;
    const left = (this.open.get(seq) ?? 1) - 1;
    if (left === 0) this.open.delete(seq);
    else this.open.set(seq, left);
  }

  /** Up to here the feed is dealt with. */
  private done(): number {
    const first = this.open.keys().next();
    return first.done === true ? this.cursor : first.value - 1;
  }

  private persistAfter(ms: number): void {
    if (this.state.clock.monotonic() - this.persistedAt >= ms) this.persist();
  }

  /** Writes how far the feed is dealt with, and lets go of what is. */
  persist(): void {
    this.start();
    this.persistedAt = this.state.clock.monotonic();
    if (this.done() === this.persisted && this.deletable() <= this.deletedTo) return;
    this.mustPersist = true;
    try {
      this.state.transaction(() => undefined);
    } finally {
      this.mustPersist = false;
    }
  }

  /** At the end of every transaction. */
  private writeDone(): void {
    const now = this.state.clock.monotonic();
    if (this.cursor < 0 || (!this.mustPersist && now - this.persistedAt < PERSIST_MS)) return;
    this.persistedAt = now;
    const done = this.done();
    if (done !== this.persisted) this.state.setMeta('feed_done', done);
    this.persisted = done;
    const from = this.deletedBefore();
    const to = Math.min(this.deletable(), from + DELETED_MAX);
    if (to <= from) return;
    this.state.db.run('DELETE FROM feed WHERE seq <= ?', to);
    this.deletedTo = to;
  }

  private deletedBefore(): number {
    if (this.deletedTo < 0) {
      const first = this.state.db.get('SELECT min(seq) AS first FROM feed')?.['first'] ?? null;
      this.deletedTo = first === null ? this.done() : Number(first) - 1;
    }
    return this.deletedTo;
  }

  /** What tells of young entries is their only record until they are folded. */
  private deletable(): number {
    return Math.min(this.done(), this.state.young.feedNeededFrom() - 1);
  }

  list(filter: ReceiptFilter): Page<ReceiptRecord> {
    return this.rows.list(filter);
  }

  replay(clientId: string, id: string, now: number): boolean {
    return this.rows.replay(clientId, id, now) ?? this.replayTaken(clientId, id, now);
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
    this.rows.add({ ...work, rank }, now, now);
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
    const reached = reachedIn(row, kind);
    if (reached === null) return null;
    const works = this.reader.works({ ...base, ...reached, kind: FEED_KINDS.indexOf(kind) });
    return works.find((work) => work.id === id) ?? null;
  }

  counts(now: number): { pending: number; dead: number; oldestMs: number } {
    this.start();
    const created = [this.rows.oldest() ?? now];
    const done = this.done();
    if (done < this.state.lastFeed()) {
      const first = this.state.db.get('SELECT at FROM feed WHERE seq > ? ORDER BY seq LIMIT 1', done);
      created.push(Number(first?.['at'] ?? now));
    }
    return {
      // A row that was not read yet counts as one, however many it will be.
      pending: this.state.lastFeed() - this.cursor + this.openWorks + this.rows.pending,
      dead: this.rows.dead,
      oldestMs: Math.max(0, now - Math.min(...created)),
    };
  }
}

function isOfFeed(work: ReceiptWork): boolean {
  return work.lease.startsWith('feed ');
}
