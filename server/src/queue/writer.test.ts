import { expect, test } from 'vitest';
import { MemoryBus } from '../bus/memory.ts';
import { StoreUnavailable } from '../core/ports.ts';
import type { Store, UserHint, WriteBatch, WriteResult } from '../core/ports.ts';
import { systemRandom } from '../lib/system.ts';
import { SqliteStore } from '../store/sqlite/store.ts';
import { destinationOf, makeSession, makeUnit, START_MS, userid } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/clock.ts';
import { seedTenant } from '../../test/support/seed.ts';
import { silentObserver } from '../../test/support/silent-observer.ts';
import { GroupWriter } from './writer.ts';
import { systemScheduler } from '../lib/timers.ts';

/** The real store, with each batch seen and, where wanted, refused at this edge. */
async function world(refuse: (batch: WriteBatch) => Error | null = () => null) {
  const clock = new FakeClock(START_MS);
  const real = new SqliteStore({ path: ':memory:', clock, random: systemRandom });
  await seedTenant(real);
  const batches: WriteBatch[] = [];
  const write = (batch: WriteBatch): Promise<WriteResult> => {
    batches.push(batch);
    const error = refuse(batch);
    return error === null ? real.write(batch) : Promise.reject(error);
  };
  const store: Store = new Proxy(real, {
    get: (target, name) => (name === 'write' ? write : Reflect.get(target, name).bind(target)),
  });
  const bus = new MemoryBus();
  const writer = new GroupWriter({
    store,
    bus,
    clock,
    observer: silentObserver,
    scheduler: systemScheduler,
    limits: { requestsMax: 100 },
  });
  return { store: real, bus, writer, batches, clock };
}

test('requests of one turn of the event loop share a commit', async () => {
  const { writer, batches, store } = await world();
  const results = await Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      writer.accept(makeUnit({ destinations: [destinationOf(userid(`u${index}`))] })),
    ),
  );
  expect(results.every((result) => result.kind === 'accepted')).toBe(true);
  expect(batches).toHaveLength(1);
  expect(batches[0]?.accepts).toHaveLength(50);
  await store.close();
});

test('a commit is bounded in destinations; the rest follows', async () => {
  const { writer, batches, store } = await world();
  const destinations = Array.from({ length: 1000 }, (_, index) => destinationOf(userid(`u${index}`)));
  await Promise.all(Array.from({ length: 5 }, () => writer.accept(makeUnit({ destinations }))));
  expect(batches.map((batch) => batch.accepts.length)).toEqual([2, 2, 1]);
  await store.close();
});

test('the user is told after the commit, with the entry', async () => {
  const { writer, bus, store } = await world();
  const opened = await writer.open(makeSession());
  const hints: UserHint[] = [];
  bus.watch(opened.user, (hint) => hints.push(hint));
  const result = await writer.accept(makeUnit());
  expect(hints).toHaveLength(1);
  expect(hints[0]).toMatchObject({ user: opened.user, head: 1 });
  expect(result.kind === 'accepted' && result.entries[0]).toBe(hints[0]?.entry);
  expect(await store.head(opened.user)).toBe(1);
  await store.close();
});

test('one bad unit fails alone', async () => {
  const bad = makeUnit();
  const { writer, store } = await world((batch) =>
    batch.accepts.some((unit) => unit.uid === bad.uid) ? new Error('bad row') : null,
  );
  const good = Array.from({ length: 7 }, () => makeUnit());
  const results = await Promise.allSettled(
    [...good.slice(0, 3), bad, ...good.slice(3)].map((unit) => writer.accept(unit)),
  );
  expect(results.map((result) => result.status)).toEqual([
    'fulfilled',
    'fulfilled',
    'fulfilled',
    'rejected',
    'fulfilled',
    'fulfilled',
    'fulfilled',
    'fulfilled',
  ]);
  const opened = await writer.open(makeSession());
  expect((await store.readLog(opened.user, 0, 100)).map((entry) => entry.n)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  await store.close();
});

test('a store that refuses fails the whole group at once, and works again afterwards', async () => {
  let broken = true;
  const { writer, batches, store } = await world(() => (broken ? new StoreUnavailable('disk full') : null));
  const results = await Promise.allSettled([writer.accept(makeUnit()), writer.accept(makeUnit())]);
  expect(results.map((result) => result.status)).toEqual(['rejected', 'rejected']);
  expect(batches).toHaveLength(1);
  broken = false;
  expect((await writer.accept(makeUnit())).kind).toBe('accepted');
  await store.close();
});

test('more requests than may wait are refused, not buffered', async () => {
  const { writer, store } = await world();
  const results = await Promise.allSettled(Array.from({ length: 150 }, () => writer.accept(makeUnit())));
  const refused = results.filter((result) => result.status === 'rejected');
  expect(refused).toHaveLength(50);
  expect(refused[0]?.reason).toBeInstanceOf(StoreUnavailable);
  await writer.drained();
  expect(writer.depth).toBe(0);
  await store.close();
});

test('acknowledgements alone wait for others, and for nothing else', async () => {
  const { writer, batches, store } = await world();
  const opened = await writer.open(makeSession());
  await writer.accept(makeUnit());
  await writer.accept(makeUnit());
  const before = batches.length;
  const fact = { kind: 'delivered', user: opened.user, device: opened.device, at: START_MS, sentAt: null } as const;
  const first = writer.settle({ ...fact, ref: { n: 1 } });
  await new Promise((resolve) => setImmediate(resolve));
  const second = writer.settle({ ...fact, ref: { n: 2 } });
  // A request that comes in the meantime takes them along.
  await writer.accept(makeUnit());
  expect((await first).outcome).toBe('done');
  expect((await second).outcome).toBe('done');
  expect(batches.length - before).toBe(1);
  // Alone they are written too.
  expect((await writer.settle({ ...fact, ref: { n: 3 } })).outcome).toBe('done');
  await store.close();
});

test('an acknowledgement that the store refused is offered again; who waits for an answer is told', async () => {
  let isBroken = false;
  const { writer, store, batches } = await world(() => (isBroken ? new StoreUnavailable('away') : null));
  const opened = await writer.open(makeSession());
  await writer.accept(makeUnit());
  const fact = { user: opened.user, device: opened.device, at: START_MS, ref: { n: 1 } } as const;
  isBroken = true;
  const delivered = writer.settle({ ...fact, kind: 'delivered', sentAt: null });
  await expect(writer.settle({ ...fact, kind: 'read' })).rejects.toBeInstanceOf(StoreUnavailable);
  expect(batches.at(-1)?.settlements).toHaveLength(2);
  isBroken = false;
  expect((await delivered).outcome).toBe('done');
  await store.close();
});

test('an end does not wait for a store that is away', async () => {
  let isBroken = false;
  const { writer, store } = await world(() => (isBroken ? new StoreUnavailable('away') : null));
  const opened = await writer.open(makeSession());
  await writer.accept(makeUnit());
  isBroken = true;
  const fact = { kind: 'delivered', user: opened.user, device: opened.device, at: START_MS, sentAt: null } as const;
  const delivered = writer.settle({ ...fact, ref: { n: 1 } });
  // Together with a request, which is refused: from then on the acknowledgement is kept.
  await expect(writer.accept(makeUnit())).rejects.toBeInstanceOf(StoreUnavailable);
  const drained = writer.drained();
  await expect(delivered).rejects.toBeInstanceOf(StoreUnavailable);
  await drained;
  expect(writer.depth).toBe(0);
  await store.close();
});
