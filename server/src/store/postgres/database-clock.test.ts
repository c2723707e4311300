import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../test/support/clock.ts';
import { DatabaseClock } from './database-clock.ts';

const FIVE_MINUTES_MS = 300_000;

/** A database whose clock goes as this process' monotonic one, and answers after a round trip. */
function databaseOf(local: FakeClock, aheadMs: number, roundTripsMs: readonly number[]) {
  const start = local.now() - local.monotonic();
  let asked = 0;
  return (): Promise<number> => {
    const roundTripMs = roundTripsMs[asked % roundTripsMs.length] ?? 0;
    asked += 1;
    local.advance(roundTripMs / 2);
    const there = start + local.monotonic() + aheadMs;
    local.advance(roundTripMs / 2);
    return Promise.resolve(there);
  };
}

describe("the database's clock", () => {
  it("shows the database's time, however wrong this machine's is", async () => {
    const local = new FakeClock();
    const clock = new DatabaseClock(local);
    await clock.measure(databaseOf(local, FIVE_MINUTES_MS, [2]));
    expect(clock.now()).toBe(local.now() + FIVE_MINUTES_MS);
    expect(clock.differenceMs).toBe(-FIVE_MINUTES_MS);
    expect(clock.uncertaintyMs).toBe(1);
    local.jump(-FIVE_MINUTES_MS);
    local.advance(1000);
    expect(clock.now()).toBe(local.now() + 2 * FIVE_MINUTES_MS);
  });

  it('goes by the answer that came quickest', async () => {
    const local = new FakeClock();
    const clock = new DatabaseClock(local);
    await clock.measure(databaseOf(local, 1000, [900, 4, 800, 700, 600]));
    expect(clock.uncertaintyMs).toBe(2);
    expect(clock.now()).toBe(local.now() + 1000);
  });

  it('keeps what it knows where every answer was slow', async () => {
    const local = new FakeClock();
    const clock = new DatabaseClock(local);
    await clock.measure(databaseOf(local, 1000, [2]));
    await clock.measure(databaseOf(local, 99_000, [5000]));
    expect(clock.now()).toBe(local.now() + 1000);
  });

  it("follows the database's clock when that is set", async () => {
    const local = new FakeClock();
    const clock = new DatabaseClock(local);
    await clock.measure(databaseOf(local, 0, [2]));
    await clock.measure(databaseOf(local, 60_000, [2]));
    expect(clock.now()).toBe(local.now() + 60_000);
  });
});
