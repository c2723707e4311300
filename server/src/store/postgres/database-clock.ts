import type { Clock } from '../../core/ports.ts';

/** Samples taken at once; the one that was answered quickest says most exactly what time it is there. */
const SAMPLES = 5;
/** An answer that took longer than this says too little. */
const ROUND_TRIP_MS_MAX = 2000;

/**
 * The wall clock of the database, as every node of an installation has it whatever its own says: the time since the
 * last measurement is counted by this process' monotonic clock. Off by half a round trip at most.
 */
export class DatabaseClock implements Clock {
  private readonly local: Clock;
  /** What is added to the monotonic clock. */
  private offsetMs: number;
  /** How wrong the offset may be. */
  private errorMs = Number.POSITIVE_INFINITY;

  /** `local`: this process' clock; until the first measurement its wall clock is taken for the database's. */
  constructor(local: Clock) {
    this.local = local;
    this.offsetMs = local.now() - local.monotonic();
  }

  now(): number {
    return Math.round(this.local.monotonic() + this.offsetMs);
  }

  monotonic(): number {
    return this.local.monotonic();
  }

  /** This process' wall clock minus the database's, ms. */
  get differenceMs(): number {
    return this.local.now() - this.now();
  }

  /** At most this wrong, ms; infinite: never measured. */
  get uncertaintyMs(): number {
    return this.errorMs;
  }

  /** Asks the database what time it is there; `ask` gives its `clock_timestamp()` in milliseconds since 1970. */
  async measure(ask: () => Promise<number>): Promise<void> {
    let best: { offsetMs: number; errorMs: number } | null = null;
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      const before = this.local.monotonic();
      const there = await ask();
      const roundTripMs = this.local.monotonic() - before;
      const errorMs = roundTripMs / 2;
      if (best === null || errorMs < best.errorMs) best = { offsetMs: there - before - errorMs, errorMs };
    }
    if (best === null || best.errorMs * 2 > ROUND_TRIP_MS_MAX) return;
    this.offsetMs = best.offsetMs;
    this.errorMs = best.errorMs;
  }
}
