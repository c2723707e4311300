import type { Priority } from '../core/model.ts';
import type { LogEntry } from '../core/ports.ts';

/**
 * What waits for one session, of one priority: entries in number order, read ahead up to a bound, and the knowledge
 * whether the store holds more behind them. `hinted > after` means that it may.
 */
export class Lane {
  readonly priority: Priority;
  #entries: LogEntry[] = [];
  #start = 0;
  /** Every owed entry up to this number has been in the buffer. */
  after: number;
  /** Up to this number the log may hold entries of this priority. */
  hinted: number;

  constructor(priority: Priority, after: number, hinted: number) {
    this.priority = priority;
    this.after = after;
    this.hinted = Math.max(after, hinted);
  }

  get waiting(): number {
    return this.#entries.length - this.#start;
  }

  get isComplete(): boolean {
    return this.hinted <= this.after;
  }

  peek(): LogEntry | undefined {
    return this.#entries[this.#start];
  }

  take(): LogEntry | undefined {
    const entry = this.#entries[this.#start];
    if (entry === undefined) return undefined;
    this.#start += 1;
    if (this.#start === this.#entries.length) {
      this.#entries.length = 0;
      this.#start = 0;
    }
    return entry;
  }

  /** A live entry: kept where it continues the buffer and there is room, else remembered as something to read. */
  offer(entry: LogEntry, entriesMax: number): void {
    if (entry.n <= this.after) return;
    if (this.isComplete && this.waiting < entriesMax) {
      this.#entries.push(entry);
      this.after = entry.n;
      this.hinted = entry.n;
    } else {
      this.hinted = Math.max(this.hinted, entry.n);
    }
  }

  /** Entries read from the store after {@link after}. `asked`: what was hinted when the read began. */
  fill(entries: readonly LogEntry[], options: { asked: number; limit: number }): void {
    for (const entry of entries) {
      if (entry.n <= this.after) continue;
      this.#entries.push(entry);
      this.after = entry.n;
    }
    if (entries.length < options.limit) this.after = Math.max(this.after, options.asked);
    this.hinted = Math.max(this.hinted, this.after);
  }

  /** Forgets a message that was taken back while it waited. */
  drop(matches: (entry: LogEntry) => boolean): void {
    if (this.waiting === 0) return;
    this.#entries = this.#entries.slice(this.#start).filter((entry) => !matches(entry));
    this.#start = 0;
  }

  /** What was read ahead may be out of date: it is read again when its turn comes. */
  forget(): void {
    const first = this.peek();
    if (first === undefined) return;
    this.after = first.n - 1;
    this.#entries = [];
    this.#start = 0;
  }

  /** The lowest number that is not dealt with yet, less one. */
  get floor(): number {
    const first = this.peek();
    if (first !== undefined) return first.n - 1;
    return this.isComplete ? Number.POSITIVE_INFINITY : this.after;
  }
}

/** The next thing to do for a session. */
export type LaneStep =
  | { readonly kind: 'entry'; readonly lane: Lane; readonly entry: LogEntry }
  /** The lane ran dry and the store may hold more: nothing lower goes out before that is known. */
  | { readonly kind: 'read'; readonly lane: Lane }
  | { readonly kind: 'idle' };

const IDLE: LaneStep = { kind: 'idle' };

/** The lanes of a session, highest priority first. */
export class Lanes {
  readonly #lanes: readonly Lane[];
  /** The highest number known to be in the log: a jump past it means that hints were lost. */
  #seen: number;

  constructor(after: number, head: number) {
    this.#lanes = [new Lane(3, after, head), new Lane(2, after, head), new Lane(1, after, head)];
    this.#seen = Math.max(after, head);
  }

  get seen(): number {
    return this.#seen;
  }

  /** The log grew by this entry. */
  offer(entry: LogEntry, entriesMax: number): void {
    if (entry.n > this.#seen + 1) this.expect(entry.n - 1);
    this.#seen = Math.max(this.#seen, entry.n);
    for (const lane of this.#lanes) {
      if (lane.priority === entry.priority) lane.offer(entry, entriesMax);
    }
  }

  /** The log may hold anything up to this number, and a recall of what was read ahead is something. */
  expect(head: number): void {
    if (head <= this.#seen) return;
    this.#seen = head;
    for (const lane of this.#lanes) {
      lane.hinted = Math.max(lane.hinted, head);
      lane.forget();
    }
  }

  next(): LaneStep {
    for (const lane of this.#lanes) {
      const entry = lane.peek();
      if (entry !== undefined) return { kind: 'entry', lane, entry };
      if (!lane.isComplete) return { kind: 'read', lane };
    }
    return IDLE;
  }

  drop(matches: (entry: LogEntry) => boolean): void {
    for (const lane of this.#lanes) lane.drop(matches);
  }

  /** Everything up to here has been taken from the lanes. */
  get floor(): number {
    let floor = this.#seen;
    for (const lane of this.#lanes) floor = Math.min(floor, lane.floor);
    return floor;
  }
}
