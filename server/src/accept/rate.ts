import type { Clock } from '../core/ports.ts';

interface Bucket {
  /** Destinations that may go now; below zero after a request larger than what was left. */
  tokens: number;
  /** Monotonic ms of the last refill. */
  at: number;
}

/** Services whose use is remembered. */
const BUCKETS_MAX = 10_000;

/**
 * Rate of a service in destinations a second, with one second's worth at once. Whether there is room is asked before the
 * body is read (7020 goes before 7000), so the size of the request is not known yet: the one that finds room passes whole
 * and what it takes too much is waited for by those after it. So the rate holds over any longer time, whatever the sizes.
 */
export class RateLimiter {
  private readonly clock: Clock;
  private readonly buckets = new Map<string, Bucket>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** Seconds until there is room again; 0: there is. */
  waitSeconds(serviceId: string, ratePerSecond: number | null): number {
    if (ratePerSecond === null) return 0;
    const { tokens } = this.refilled(serviceId, ratePerSecond);
    return tokens >= 1 ? 0 : (1 - tokens) / ratePerSecond;
  }

  /** Uses up so many destinations; a negative count gives them back. */
  take(serviceId: string, ratePerSecond: number | null, destinations: number): void {
    if (ratePerSecond === null) return;
    this.refilled(serviceId, ratePerSecond).tokens -= destinations;
  }

  private refilled(serviceId: string, ratePerSecond: number): Bucket {
    const now = this.clock.monotonic();
    const burst = Math.max(1, ratePerSecond);
    let bucket = this.buckets.get(serviceId);
    if (bucket === undefined) {
      this.makeRoom();
      bucket = { tokens: burst, at: now };
      this.buckets.set(serviceId, bucket);
    }
    bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.at) * ratePerSecond) / 1_000);
    bucket.at = now;
    return bucket;
  }

  /** Forgets the service seen first: at this many it costs a service its debt at worst. */
  private makeRoom(): void {
    if (this.buckets.size < BUCKETS_MAX) return;
    const [oldest] = this.buckets.keys();
    if (oldest !== undefined) this.buckets.delete(oldest);
  }
}
