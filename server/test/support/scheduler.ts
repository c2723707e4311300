import type { Scheduler } from '../../src/lib/timers.ts';
import type { FakeClock } from './clock.ts';

interface Timer {
  readonly at: number;
  readonly run: () => void;
}

/** Timers on a {@link FakeClock}: nothing is called before {@link FakeScheduler.advance}. */
export class FakeScheduler implements Scheduler {
  private readonly clock: FakeClock;
  private readonly timers = new Set<Timer>();

  constructor(clock: FakeClock) {
    this.clock = clock;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.clock.monotonic() + Math.max(0, ms), run };
    this.timers.add(timer);
    return () => {
      this.timers.delete(timer);
    };
  }

  /** Moves the clock on and calls what falls due on the way, each at its own time. */
  advance(ms: number): void {
    const end = this.clock.monotonic() + ms;
    for (;;) {
      const next = [...this.timers].filter((timer) => timer.at <= end).toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.timers.delete(next);
      this.clock.advance(Math.max(0, next.at - this.clock.monotonic()));
      next.run();
    }
    this.clock.advance(end - this.clock.monotonic());
  }
}
