import { afterEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/clock.ts';
import { seededRandom } from '../../test/support/random.ts';
import { FakeRemoteBus } from '../../test/support/remote-bus.ts';
import { FakeScheduler } from '../../test/support/scheduler.ts';
import type { LogEntry, UserHint, UserKey } from '../core/ports.ts';
import { PolledBus } from './polled.ts';
import type { PollLimits } from './polled.ts';

function hint(user: number, head: number, entry: LogEntry | null = null): UserHint {
  return { user, head, entry };
}

/** Everything that follows from promises that are settled already. */
async function settle(): Promise<void> {
  await new Promise(setImmediate);
}

class World {
  readonly clock = new FakeClock();
  readonly scheduler = new FakeScheduler(this.clock);
  readonly inner = new FakeRemoteBus();
  readonly truth = new Map<UserKey, number>();
  /** When which users were asked for. */
  readonly queries: { readonly at: number; readonly users: readonly UserKey[] }[] = [];
  readonly warnings: string[] = [];
  readonly told: string[] = [];
  revision = 0;
  failure: Error | null = null;
  /** While not null, queries wait, and are answered from what is true when they are let go. */
  held: (() => void)[] | null = null;
  readonly bus: PolledBus;

  constructor(limits: Partial<PollLimits> = {}) {
    this.bus = new PolledBus({
      inner: this.inner,
      store: { heads: (users) => this.heads(users), objectsRevision: () => Promise.resolve(this.revision) },
      clock: this.clock,
      random: seededRandom(7),
      scheduler: this.scheduler,
      onWarning: ({ what }) => this.warnings.push(what),
      limits,
    });
  }

  private async heads(users: readonly UserKey[]): Promise<ReadonlyMap<UserKey, number>> {
    this.queries.push({ at: this.clock.monotonic(), users: [...users] });
    const { held } = this;
    if (held !== null) await new Promise<void>((resolve) => held.push(resolve));
    if (this.failure !== null) throw this.failure;
    return new Map(users.flatMap((user) => (this.truth.has(user) ? [[user, this.truth.get(user)!]] : [])));
  }

  release(): void {
    const { held } = this;
    this.held = null;
    for (const go of held ?? []) go();
  }

  watch(user: UserKey): () => void {
    return this.bus.watch(user, ({ head, entry }) => this.told.push(`${user}:${head}${entry === null ? '' : '+'}`));
  }

  /** As the network would: another node's hint, or a forged one. */
  async hear(...hints: readonly UserHint[]): Promise<void> {
    this.inner.publishUsers(hints);
    await settle();
  }

  async advance(ms: number, stepMs = 10): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.scheduler.advance(stepMs);
      await settle();
    }
  }
}

let world: World;
function begin(limits: Partial<PollLimits> = {}): World {
  world = new World(limits);
  return world;
}
afterEach(() => world.bus.close());

const ENTRY: LogEntry = { user: 1, n: 5, priority: 2, state: 3, message: null, event: { type: 'read' } };

describe('hints', () => {
  it('of this process are told at once, with their entry, and nobody is asked', async () => {
    const w = begin();
    w.watch(1);
    w.bus.publishUsers([hint(1, 5, ENTRY), hint(2, 9)]);
    expect(w.told).toEqual(['1:5+']);
    await settle();
    expect(w.queries).toEqual([]);
  });

  it('of the network are asked for, in one query for many, and told as the store says', async () => {
    const w = begin();
    for (const user of [1, 2, 3]) w.watch(user);
    w.truth.set(1, 4).set(2, 8).set(3, 1);
    await w.hear(hint(1, 4), hint(2, 7), hint(9, 1));
    expect(w.queries.map(({ users }) => users)).toEqual([[1], [2]]);
    expect(w.told).toEqual(['1:4', '2:8']);
    w.queries.length = 0;
    w.truth.set(1, 5).set(2, 9).set(3, 2);
    w.held = [];
    await w.hear(hint(1, 5));
    await w.hear(hint(2, 9), hint(3, 2), hint(2, 9));
    expect(w.queries.map(({ users }) => users)).toEqual([[1]]);
    w.release();
    await settle();
    expect(w.queries.map(({ users }) => users)).toEqual([[1], [2, 3]]);
    expect(w.told.slice(2)).toEqual(['1:5', '2:9', '3:2']);
  });

  it('that are forged cost one line of a query, tell nothing, and hide nothing that comes after', async () => {
    const w = begin();
    w.watch(1);
    w.truth.set(1, 3);
    await w.hear(hint(1, 3));
    await w.hear(hint(1, Number.MAX_SAFE_INTEGER));
    expect(w.queries).toHaveLength(2);
    expect(w.told).toEqual(['1:3']);
    w.truth.set(1, 4);
    await w.hear(hint(1, 4));
    expect(w.told).toEqual(['1:3', '1:4']);
    await w.hear(hint(77, 1));
    expect(w.queries).toHaveLength(3);
  });

  it('that are doubled, late or out of order cost nothing', async () => {
    const w = begin();
    w.watch(1);
    w.truth.set(1, 6);
    await w.hear(hint(1, 5), hint(1, 6), hint(1, 4), hint(1, 6));
    expect(w.told).toEqual(['1:6']);
    const { length } = w.queries;
    w.bus.publishUsers([hint(1, 7, ENTRY)]);
    await w.hear(hint(1, 6), hint(1, 7));
    expect(w.told).toEqual(['1:6', '1:7+']);
    expect(w.queries).toHaveLength(length);
  });

  it('an answer from before a later commit of this process takes nothing back', async () => {
    const w = begin();
    w.watch(1);
    w.truth.set(1, 5);
    w.held = [];
    await w.hear(hint(1, 5));
    w.bus.publishUsers([hint(1, 6, ENTRY)]);
    w.release();
    await settle();
    expect(w.told).toEqual(['1:6+']);
  });

  it('are not told to who left while they were asked for', async () => {
    const w = begin();
    const stop = w.watch(1);
    w.truth.set(1, 5);
    w.held = [];
    await w.hear(hint(1, 5));
    stop();
    stop();
    w.release();
    await settle();
    expect(w.told).toEqual([]);
    await w.hear(hint(1, 6));
    await w.advance(5_000);
    expect(w.queries).toHaveLength(1);
  });

  it('reach the others where a listener throws', async () => {
    const w = begin();
    w.bus.watch(1, () => {
      throw new Error('planted');
    });
    w.watch(2);
    w.truth.set(1, 1).set(2, 1);
    w.held = [];
    await w.hear(hint(3, 1), hint(1, 1), hint(2, 1));
    w.release();
    await settle();
    expect(w.told).toEqual(['2:1']);
    expect(w.warnings).toEqual(['a listener of the bus failed']);
  });
});

describe('rounds', () => {
  it('find within two seconds what no hint told, within one while the bus is away', async () => {
    const w = begin();
    w.watch(1);
    w.truth.set(1, 1);
    await w.advance(2_000);
    expect(w.told).toEqual(['1:1']);
    w.truth.set(1, 2);
    await w.advance(2_000);
    expect(w.told).toEqual(['1:1', '1:2']);
    w.inner.become(false);
    for (const head of [3, 4, 5]) {
      w.truth.set(1, head);
      await w.advance(1_000);
      expect(w.told.at(-1)).toBe(`1:${head}`);
    }
  });

  it('ask for many users in few queries, spread over the round, everybody once', async () => {
    const w = begin();
    for (let user = 0; user < 10_500; user += 1) w.watch(user);
    await w.advance(4_000);
    w.queries.length = 0;
    const from = w.clock.monotonic();
    await w.advance(20_000);
    const seconds = (w.clock.monotonic() - from) / 1_000;
    const asked = new Map<UserKey, number>();
    for (const { users } of w.queries) {
      expect(users.length).toBeLessThanOrEqual(1_000);
      for (const user of users) asked.set(user, (asked.get(user) ?? 0) + 1);
    }
    expect(asked.size).toBe(10_500);
    // Rounds of 1.6 to 2 s.
    for (const times of asked.values()) expect([10, 11, 12, 13]).toContain(times);
    expect(w.queries.length / seconds).toBeLessThan(7);
    const gaps = w.queries.slice(1).map(({ at }, index) => at - w.queries[index]!.at);
    expect(Math.min(...gaps)).toBeGreaterThan(100);
  });

  it('ask for everybody at once when the bus is back', async () => {
    const w = begin();
    for (let user = 0; user < 3_000; user += 1) w.watch(user);
    w.inner.become(false);
    await w.advance(1_000);
    w.queries.length = 0;
    w.inner.become(true);
    await w.advance(250);
    expect(new Set(w.queries.flatMap(({ users }) => users)).size).toBe(3_000);
    expect(w.queries).toHaveLength(3);
    await w.advance(1_000);
    expect(w.queries.length).toBeLessThanOrEqual(5);
  });

  it('pass over nobody where the bus comes and goes all the time', async () => {
    const w = begin();
    for (let user = 0; user < 5_000; user += 1) w.watch(user);
    for (let turn = 0; turn < 50; turn += 1) {
      w.inner.become(turn % 2 === 1);
      await w.advance(220);
    }
    const asked = new Set(w.queries.flatMap(({ users }) => users));
    expect(asked.size).toBe(5_000);
  });

  it('go on under a flood of forged hints, one query at a time', async () => {
    const w = begin({ usersPerQueryMax: 10 });
    for (let user = 0; user < 100; user += 1) w.watch(user);
    for (let user = 0; user < 100; user += 1) w.truth.set(user, 1);
    await w.advance(5_000);
    w.told.length = 0;
    w.truth.set(99, 2);
    let most = 0;
    let head = 1_000;
    w.held = [];
    for (let passed = 0; passed < 5_000; passed += 10) {
      // Only 0 … 49, so that 99 is found by the round alone; and there are new ones whenever an answer comes.
      head += 1;
      w.inner.publishUsers(Array.from({ length: 50 }, (_, user) => hint(user, head)));
      w.scheduler.advance(10);
      const { held } = w;
      w.held = [];
      most = Math.max(most, held.length);
      for (const go of held) go();
      await settle();
    }
    expect(w.told).toEqual(['99:2']);
    expect(most).toBeLessThanOrEqual(1);
  });

  it('wake who waits for receipts and timers, and for objects only where some changed', async () => {
    const w = begin();
    const woken: string[] = [];
    for (const topic of ['receipts', 'timers', 'objects'] as const) w.bus.subscribe(topic, () => woken.push(topic));
    await w.advance(2_000);
    expect(woken).toEqual(['receipts', 'timers', 'objects']);
    await w.advance(2_000);
    expect(woken.slice(3)).toEqual(['receipts', 'timers']);
    w.revision = 1;
    await w.advance(2_000);
    expect(woken.slice(5)).toEqual(['receipts', 'timers', 'objects']);
    w.inner.publish('objects');
    w.bus.publish('timers');
    expect(woken.slice(8)).toEqual(['objects', 'timers']);
  });

  it('notice once that a user was erased', async () => {
    const w = begin();
    let woken = 0;
    w.bus.subscribe('erased', () => (woken += 1));
    for (const user of [1, 2]) w.watch(user);
    w.truth.set(1, 1).set(2, 1);
    await w.advance(4_000);
    expect(woken).toBe(0);
    w.truth.delete(2);
    await w.advance(10_000);
    expect(woken).toBe(1);
  });

  it('are no work of more than a few milliseconds at a time for 100,000 users', async () => {
    const w = begin();
    for (let user = 0; user < 100_000; user += 1) {
      w.bus.watch(user, () => undefined);
      w.truth.set(user, 1);
    }
    await w.advance(2_000, 1_000);
    const stretches: number[] = [];
    const from = w.clock.monotonic();
    while (w.clock.monotonic() - from < 2_000) {
      const start = performance.now();
      w.scheduler.advance(10);
      await settle();
      stretches.push(performance.now() - start);
    }
    expect(w.queries.length).toBeGreaterThanOrEqual(100);
    // The median: a busy machine stretches single ones.
    expect(stretches.toSorted((a, b) => a - b)[Math.floor(stretches.length / 2)]).toBeLessThan(10);
  });
});

describe('a store that fails', () => {
  it('is said once, asked less often, and what was hinted meanwhile is told when it is back', async () => {
    // Rounds an hour long: what is told is told for the hints.
    const w = begin({ connectedMs: 3_600_000 });
    for (let user = 0; user < 2_500; user += 1) w.watch(user);
    w.failure = new Error('planted');
    w.truth.set(7, 1).set(2_400, 1);
    await w.hear(hint(7, 1), hint(2_400, 1));
    await w.advance(30_000);
    expect(w.warnings).toEqual(['the store could not be polled for what other nodes did']);
    expect(w.queries.length).toBeLessThan(50);
    w.failure = null;
    await w.advance(1_000);
    expect(w.told.toSorted()).toEqual(['2400:1', '7:1']);
    w.failure = new Error('planted again');
    await w.hear(hint(7, 2));
    await w.advance(5_000);
    expect(w.warnings).toHaveLength(2);
  });

  it('and does not answer at all: the query is given up, its late answer is not used', async () => {
    const w = begin();
    w.watch(1);
    w.truth.set(1, 5);
    w.held = [];
    await w.hear(hint(1, 5));
    const late = w.held;
    await w.advance(9_900);
    expect(w.queries).toHaveLength(1);
    w.held = null;
    await w.advance(400);
    expect(w.warnings).toHaveLength(1);
    expect(w.told).toEqual(['1:5']);
    w.truth.set(1, 6);
    for (const go of late) go();
    await settle();
    expect(w.told).toEqual(['1:5']);
  });
});

describe('the end', () => {
  it('stops asking and telling, with a query under way too', async () => {
    const w = begin();
    w.watch(1);
    w.truth.set(1, 5);
    w.held = [];
    await w.hear(hint(1, 5));
    await w.bus.close();
    w.release();
    await w.advance(20_000);
    await w.hear(hint(1, 6));
    expect(w.told).toEqual([]);
    expect(w.queries).toHaveLength(1);
    expect(w.warnings).toEqual([]);
  });
});
