import { expect, test, vi } from 'vitest';
import { MemoryBus } from '../bus/memory.ts';
import { STATE } from '../core/delivery-state.ts';
import { systemRandom } from '../lib/system.ts';
import { systemScheduler } from '../lib/timers.ts';
import type { Scheduler } from '../lib/timers.ts';
import { SqliteStore } from '../store/sqlite/store.ts';
import { makeUnit, START_MS } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/clock.ts';
import { seedTenant } from '../../test/support/seed.ts';
import { silentObserver } from '../../test/support/silent-observer.ts';
import { Chores } from './chores.ts';
import { GroupWriter } from './writer.ts';

/** Remembers what is planned and lets the test call it. */
class HandScheduler implements Scheduler {
  readonly waits: number[] = [];
  private call: (() => void) | null = null;

  after(ms: number, call: () => void): () => void {
    this.waits.push(ms);
    this.call = call;
    return () => {
      if (this.call === call) this.call = null;
    };
  }

  async run(): Promise<void> {
    const before = this.waits.length;
    this.call?.();
    await vi.waitFor(() => expect(this.waits.length).toBeGreaterThan(before));
  }
}

async function world() {
  const clock = new FakeClock(START_MS);
  const store = new SqliteStore({ path: ':memory:', clock, random: systemRandom });
  await seedTenant(store);
  const bus = new MemoryBus();
  const scheduler = new HandScheduler();
  const chores = new Chores({ store, bus, clock, observer: silentObserver, scheduler });
  const writer = new GroupWriter({ store, bus, clock, observer: silentObserver, scheduler: systemScheduler });
  chores.start();
  await vi.waitFor(() => expect(scheduler.waits).toHaveLength(1));
  return { clock, store, bus, scheduler, chores, writer };
}

test('a message ends at its expiry, and its receipt is due', async () => {
  const { clock, store, bus, scheduler, chores, writer } = await world();
  let hints = 0;
  const accepted = await writer.accept(makeUnit({ expiry: START_MS + 400 }));
  bus.subscribe('receipts', () => (hints += 1));
  await scheduler.run();
  expect(scheduler.waits.at(-1)).toBe(400);
  const user = accepted.kind === 'accepted' ? (accepted.entries[0]?.user ?? 0) : 0;
  expect((await store.readLog(user, 0, 10))[0]?.state).toBe(STATE.queued);
  clock.advance(400);
  await scheduler.run();
  expect((await store.readLog(user, 0, 10))[0]?.state).toBe(STATE.expired);
  expect(hints).toBe(1);
  await chores.stop();
  await store.close();
});

test('a wall clock that goes back ends nothing twice and un-expires nothing', async () => {
  const { clock, store, scheduler, chores, writer } = await world();
  const accepted = await writer.accept(makeUnit({ expiry: START_MS + 60_000 }));
  const user = accepted.kind === 'accepted' ? (accepted.entries[0]?.user ?? 0) : 0;
  clock.jump(7_200_000);
  await scheduler.run();
  clock.jump(-14_400_000);
  await scheduler.run();
  await scheduler.run();
  expect((await store.readLog(user, 0, 10))[0]?.state).toBe(STATE.expired);
  const claims = await store.claimReceipts({ limit: 10, leaseMs: 1000, now: clock.now() });
  expect(claims.map((claim) => claim.kind)).toEqual(['submitted', 'expired']);
  expect(Math.min(...scheduler.waits)).toBeGreaterThan(0);
  await chores.stop();
  await store.close();
});

test('an expiry that is near wakes the chores by itself', async () => {
  const { scheduler, chores, writer, store } = await world();
  const before = scheduler.waits.length;
  await writer.accept(makeUnit({ expiry: START_MS + 100 }));
  await vi.waitFor(() => expect(scheduler.waits.length).toBeGreaterThan(before));
  expect(scheduler.waits.at(-1)).toBe(100);
  await chores.stop();
  await store.close();
});

test('after stop nothing runs', async () => {
  const { scheduler, chores, bus, store } = await world();
  await chores.stop();
  const before = scheduler.waits.length;
  bus.publish('timers');
  await Promise.resolve();
  expect(scheduler.waits).toHaveLength(before);
  await store.close();
});
