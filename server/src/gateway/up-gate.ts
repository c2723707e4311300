import type { GatewayLimits } from './limits.ts';

/**
 * How fast a device may send events: a bucket of tokens, and a bound on events that wait for the store. A device that
 * is faster is not refused but read more slowly, so that what it gathered while it was offline is not lost.
 */
export class UpGate {
  readonly #limits: GatewayLimits;
  #tokens: number;
  #at: number;
  #pending = 0;

  constructor(limits: GatewayLimits, nowMs: number) {
    this.#limits = limits;
    this.#tokens = limits.upEventsBurst;
    this.#at = nowMs;
  }

  /** An event came. */
  enter(nowMs: number): void {
    this.#refill(nowMs);
    this.#tokens -= 1;
    this.#pending += 1;
  }

  /** An event was answered. */
  leave(): void {
    this.#pending -= 1;
  }

  isOpen(nowMs: number): boolean {
    this.#refill(nowMs);
    return this.#tokens > 0 && this.#pending < this.#limits.upEventsPendingMax;
  }

  #refill(nowMs: number): void {
    const gained = ((nowMs - this.#at) / 1_000) * this.#limits.upEventsPerSecond;
    this.#tokens = Math.min(this.#limits.upEventsBurst, this.#tokens + gained);
    this.#at = nowMs;
  }
}
