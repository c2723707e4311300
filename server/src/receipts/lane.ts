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
  /** Of a try; null: none was made. */
  private averageMs: number | null = null;
  private pacedAt = 0;
  private silentSince = 0;
  private readonly limits: ReceiptLimits;

  constructor(origin: string, limits: ReceiptLimits) {
    this.origin = origin;
    this.limits = limits;
  }

  get idle(): boolean {
    return this.waiting.length === 0 && this.inFlight === 0;
  }

  /**
   * What waits is likely to be worked off so soon that it is better waited for than given back. An origin that has not
   * answered yet gets the benefit of the doubt for that long.
   */
  worthWaiting(now: number): boolean {
    if (this.averageMs === null) return this.inFlight > 0 && now - this.silentSince <= this.limits.doubtMs;
    return this.quick && this.waiting.length * this.intervalMs() <= this.limits.drainMs;
  }

  get troubled(): boolean {
    return this.trouble >= TROUBLED_FROM;
  }

  /** Between two receipts that this origin takes; 0: not known. A quick one is about to have all its tries, if it has them not yet. */
  private intervalMs(): number {
    return (this.averageMs ?? 0) / (this.quick ? this.limits.originInFlightMax : this.window);
  }

  /** How many may wait here. `plenty`: memory is not scarce. */
  capacity(plenty: boolean, now: number): number {
    const { limits } = this;
    if (this.troubled || (!this.quick && !plenty)) return limits.troubledWaitingMax;
    // A claim that was under way when the queue filled up still finds its place.
    if (this.worthWaiting(now)) return this.fullFrom + limits.claimMax;
    return plenty ? this.fullFrom : limits.slowWaitingMax;
  }

  /** So many waiting are enough to keep the origin busy. */
  get fullFrom(): number {
    return this.quick ? this.limits.quickWaitingMax : this.limits.slowWaitingMax;
  }

  /** A try begins. `now`: wall ms, as everywhere here. */
  noteStart(now: number): void {
    if (this.inFlight === 0) this.silentSince = now;
    this.inFlight += 1;
  }

  /** A try ended; null: it says nothing of the origin. */
  noteEnd(pace: Pace | null, now: number): void {
    this.inFlight -= 1;
    if (pace !== null) this.judge(pace, now);
    // It ran dry while something was to come back later: that was spread too widely.
    if (this.idle) this.pacedAt = 0;
  }

  private judge(pace: Pace, now: number): void {
    this.averageMs = this.averageMs === null ? pace.ms : this.averageMs + (pace.ms - this.averageMs) * LATEST;
    if (pace.kind === 'failed') {
      const isSlow = pace.ms > this.limits.quickAnswerMs;
      this.trouble = Math.min(TROUBLE_MAX, this.trouble + (isSlow ? TROUBLED_FROM : 1));
      this.window = isSlow ? 1 : Math.max(1, this.window >> 1);
      if (this.troubled) this.quick = false;
      return;
    }
    this.silentSince = now;
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
   * When a receipt that finds no room here shall come again. The longer the origin has been silent, the later; and
   * spread, so that what was given back does not come back all at once only to be given back again.
   */
  deferAt(now: number): number {
    const { deferMs, deferMaxMs } = this.limits;
    const troubleMs = deferMs * 2 ** Math.floor(this.trouble / TROUBLED_FROM);
    const silentMs = this.inFlight > 0 ? now - this.silentSince : 0;
    const firstMs = Math.min(deferMaxMs, Math.max(troubleMs, silentMs));
    const next = Math.max(now + firstMs, this.pacedAt + this.limits.deferSpacingMs);
    this.pacedAt = Math.min(next, now + deferMaxMs);
    return Math.ceil(this.pacedAt);
  }
}
