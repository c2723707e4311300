import type { LogEntry } from '../core/ports.ts';
import { replayPage } from '../core/replay.ts';
import type { ReplayItem } from '../core/replay.ts';

/** A log told again after a position, page by page, in number order. */
export class Replay {
  /** Whether numbers that hold nothing are told; not after a reset, where the device starts from nothing. */
  readonly tellsGone: boolean;
  #items: readonly ReplayItem[] = [];
  #start = 0;
  /** Everything up to here has been read. */
  #after: number;

  constructor(after: number, options: { tellsGone: boolean }) {
    this.#after = after;
    this.tellsGone = options.tellsGone;
  }

  /** Where the next page begins. */
  get after(): number {
    return this.#after;
  }

  /** Everything up to here has been taken. */
  get floor(): number {
    const next = this.#items[this.#start];
    if (next === undefined) return this.#after;
    return (next.kind === 'entry' ? next.entry.n : next.from) - 1;
  }

  take(): ReplayItem | undefined {
    const item = this.#items[this.#start];
    if (item !== undefined) this.#start += 1;
    return item;
  }

  /** `head`: the log reached it when the page was asked for, so a short page holds all up to it. */
  fill(page: readonly LogEntry[], options: { limit: number; head: number; now: number }): void {
    const last = page.at(-1)?.n ?? 0;
    const upTo = page.length < options.limit ? Math.max(options.head, last) : last;
    const told = replayPage(page, { after: this.#after, upTo, now: options.now });
    this.#items = told.items;
    this.#start = 0;
    this.#after = told.after;
  }
}
