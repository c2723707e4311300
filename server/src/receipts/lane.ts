import type { ReceiptLimits } from './limits.ts';

/** What a try said of its origin; `failed`: no answer, or none that came to an end. */
export interface Pace {
  readonly kind: 'quick' | 'slow' | 'asked-for-less' | 'failed';
  readonly ms: number;
}

/** Failures in a row that make an origin a troubled one; a failure that also took long counts for as many. */
const TROUBLED_FROM = 3;
/** Beyond it the delay grows no more. */
const TROUBLE_MAX = 18;
/** Tries under way at an origin that answers, but slowly. */
const SLOW_WINDOW_MAX = 4;
/** Weight of the latest answer in the average. */
const LATEST = 0.2;
/** Taken for an origin of which nothing is known. */
const GUESSED_MS = 100;

/** One origin: what waits for it, and how much it is trusted with. Starts with one try and earns more by quick answers. */
export class Lane<Item> {
  readonly origin: string;
  readonly waiting: Item[] = [];
  inFlight = 0;
  /** Tries allowed at once. */
  window = 1;
  /** Its last answers came quickly: it may use the room kept for such origins. */
  quick = false;
  private trouble = 0;
  private averageMs = GUESSED_MS;
  private pacedAt = 0;
  private readonly limits: ReceiptLimits;

  constructor(origin: string, limits: ReceiptLimits) {
    this.origin = origin;
    this.limits = limits;
  }

  get idle(): boolean {
    return this.waiting.length === 0 && this.inFlight === 0;
  }

  /** What waits is worked off so soon that it is better waited for than given back. */
  get fast(): boolean {
    return this.quick && (this.waiting.length * this.averageMs) / this.window <= this.limits.drainMs;
  }

  /** How many may wait here. `plenty`: memory is not scarce. */
  capacity(plenty: boolean): number {
    const { limits } = this;
    if (this.trouble >= TROUBLED_FROM) return limits.troubledWaitingMax;
    // A claim that was under way when the queue filled up still finds its place.
    if (this.quick) return this.fast ? limits.originWaitingMax + limits.claimMax : limits.originWaitingMax;
    return plenty ? limits.newOriginWaitingMax : limits.troubledWaitingMax;
  }

  note(pace: Pace): void {
    this.averageMs += (pace.ms - this.averageMs) * LATEST;
    if (pace.kind === 'failed') {
      const isSlow = pace.ms > this.limits.quickAnswerMs;
      this.trouble = Math.min(TROUBLE_MAX, this.trouble + (isSlow ? TROUBLED_FROM : 1));
      this.window = isSlow ? 1 : Math.max(1, this.window >> 1);
      if (this.trouble >= TROUBLED_FROM) this.quick = false;
      return;
    }
    this.trouble = 0;
    if (pace.kind === 'asked-for-less') {
      this.window = Math.max(1, this.window >> 1);
    } else if (pace.kind === 'quick') {
      this.quick = true;
      this.window = Math.min(this.limits.originInFlightMax, this.window * 2);
    } else {
      this.quick = false;
      this.window = Math.min(SLOW_WINDOW_MAX, this.window + 1);
    }
  }

  /**
   * When a receipt that finds no room here shall come again; wall ms. Spread at the pace of this origin, so that what
   * was given back does not come back all at once only to be given back again.
   */
  deferAt(now: number): number {
    const { deferMs, deferMaxMs } = this.limits;
    const firstMs = Math.min(deferMaxMs, deferMs * 2 ** Math.floor(this.trouble / TROUBLED_FROM));
    const next = Math.max(now + firstMs, this.pacedAt + this.averageMs / this.window);
    this.pacedAt = Math.min(next, now + deferMaxMs);
    return Math.ceil(this.pacedAt);
  }
}
