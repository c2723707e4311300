import { expect, it, vi } from 'vitest';
import type { ReceiptWork } from '../../core/ports.ts';
import { StoreUnavailable } from '../../core/ports.ts';
import { destinationOf, HOUR_MS, makeUnit, userid } from '../../../test/support/builders.ts';
import { FakeClock } from '../../../test/support/clock.ts';
import { seededRandom } from '../../../test/support/random.ts';
import { seedTenant } from '../../../test/support/seed.ts';
import type { State } from './state.ts';
import { SqliteStore } from './store.ts';

const NOTHING = { opens: [], accepts: [], settlements: [], closes: [] };

async function setUp() {
  const clock = new FakeClock();
  const store = new SqliteStore({ path: ':memory:', clock, random: seededRandom(1) });
  await seedTenant(store);
  const claim = (limit: number): Promise<readonly ReceiptWork[]> =>
    store.claimReceipts({ limit, leaseMs: 30_000, now: clock.now() });
  const send = async (name: string) => {
    const unit = makeUnit({ acceptedAt: clock.now(), destinations: [destinationOf(userid(name))] });
    const [result] = (await store.write({ ...NOTHING, accepts: [unit] })).accepts;
    if (result?.kind !== 'accepted') throw new Error('not accepted');
    return result.entries[0]!;
  };
  const retry = (work: ReceiptWork, at: number) =>
    store.settleReceipts([{ kind: 'retry', work, at, attempt: { at: clock.now(), status: 500, error: null, ms: 1 } }]);
  return { clock, store, claim, send, retry };
}

it('reads again what it could not put behind a pending one, for want of a disk', async () => {
  const { clock, store, claim, send, retry } = await setUp();
  const { user, n } = await send('ann');
  const [submitted] = await claim(10);
  await retry(submitted!, clock.now() + 1_000);
  await store.write({
    ...NOTHING,
    settlements: [{ kind: 'delivered', user, at: clock.now(), device: null, ref: { n }, sentAt: null }],
  });
  const { state } = store as unknown as { state: State };
  const refused = vi.spyOn(state, 'transaction').mockImplementation(() => {
    throw new StoreUnavailable('the disk is full');
  });
  await expect(claim(10)).rejects.toThrow('full');
  refused.mockRestore();
  expect(await claim(10)).toEqual([]);
  clock.advance(HOUR_MS);
  const kinds: string[] = [];
  for (let rounds = 0; rounds < 3; rounds += 1) {
    const works = await claim(10);
    kinds.push(...works.map((work) => work.kind));
    await store.settleReceipts(works.map((work) => ({ kind: 'done', work, attempt: null })));
    clock.advance(1);
  }
  expect(kinds).toEqual(['submitted', 'delivered']);
  await store.close();
});

it('gives what happens now its share, however much is due again', async () => {
  const { clock, store, claim, send, retry } = await setUp();
  for (let index = 0; index < 40; index += 1) await send(`u-${index}`);
  for (const work of await claim(40)) await retry(work, clock.now() + 1_000);
  clock.advance(5_000);
  await send('ann');
  const works = await claim(10);
  expect(works).toHaveLength(10);
  expect(works.filter((work) => work.attempts === 0).map((work) => work.facts?.destination)).toEqual(['ann']);
  // Without news the rest is for those that are due again.
  expect(await claim(40)).toHaveLength(31);
  await store.close();
});
