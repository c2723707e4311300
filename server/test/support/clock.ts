import type { Clock } from '../../src/core/ports.ts';

export { systemClock } from '../../src/lib/system.ts';

/** A clock that moves only when told. `jump` moves the wall clock alone, as an operator or NTP would. */
export class FakeClock implements Clock {
  private wallMs: number;
  private monotonicMs = 0;

  constructor(startMs: number = Date.UTC(2026, 0, 1)) {
    this.wallMs = startMs;
  }

  now(): number {
    return this.wallMs;
  }

  monotonic(): number {
    return this.monotonicMs;
  }

  advance(ms: number): void {
    this.wallMs += ms;
    this.monotonicMs += ms;
  }

  jump(ms: number): void {
    this.wallMs += ms;
  }
}
