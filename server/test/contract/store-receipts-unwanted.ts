import { describe, expect, it } from 'vitest';
import type { Service } from '../../src/core/model.ts';
import type { ReceiptWork, UnwantedReceipts } from '../../src/core/ports.ts';
import { destinationOf, msisdn, userid } from '../support/builders.ts';
import { deliver } from './receipt-steps.ts';
import { kindsOf, LEASE_MS, type MakeStore, type StoreFixture, useStore } from './store-fixture.ts';

/** Receipts: what nobody wants to be told of is passed over, where the claimer asks for that. */
export function storeReceiptsUnwantedSuite(makeStore: MakeStore): void {
  describe('receipts: what nobody wants', () => {
    unwantedCases(makeStore);
  });
}

const HOOK = 'https://hook.example/n';

async function change(f: StoreFixture, changes: Partial<Service>): Promise<void> {
  const service = await f.store.getObject('service', f.tenant.serviceId);
  await f.store.putObjects([{ kind: 'service', value: { ...service!, ...changes } }], 'replace');
}

/** Claims and takes until nothing more is told, as the receipt workers do it. */
async function takeWanted(f: StoreFixture): Promise<{ works: ReceiptWork[]; told: UnwantedReceipts[] }> {
  const works: ReceiptWork[] = [];
  const told: UnwantedReceipts[] = [];
  for (;;) {
    const before = told.length;
    const claim = { limit: 100, leaseMs: LEASE_MS, now: f.clock.now() };
    const claimed = await f.store.claimReceipts({ ...claim, onUnwanted: (unwanted) => told.push(unwanted) });
    if (claimed.length === 0 && told.length === before) return { works, told };
    await f.store.settleReceipts(claimed.map((work) => ({ kind: 'done', work, attempt: null })));
    works.push(...claimed);
  }
}

function sum(told: readonly UnwantedReceipts[], reason: UnwantedReceipts['reason']): number {
  return told.filter((one) => one.reason === reason).reduce((total, one) => total + one.count, 0);
}

function unwantedCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true });

  it('passes over what has no URL, for ever, and tells how much it was', async () => {
    const f = fixture();
    await deliver(f);
    const { works, told } = await takeWanted(f);
    expect(works).toEqual([]);
    expect(new Set(told.map((one) => one.serviceId))).toEqual(new Set([f.tenant.serviceId]));
    expect([sum(told, 'no-url'), sum(told, 'not-wanted')]).toEqual([2, 0]);
    expect(await f.store.counts(f.clock.now())).toMatchObject({ receiptsPending: 0, receiptsOldestMs: 0 });
    await change(f, { notifyUrl: HOOK });
    expect((await takeWanted(f)).works).toEqual([]);
    await f.reopen();
    expect(await f.takeReceipts()).toEqual([]);
  });

  it('goes by what the service is when it is claimed', async () => {
    const f = fixture();
    await f.send('ann');
    await takeWanted(f);
    await f.send('ben');
    await change(f, { notifyUrl: HOOK });
    const { works } = await takeWanted(f);
    expect(works.map((work) => work.facts!.destination)).toEqual(['ben']);
    await f.send('cyd');
    await change(f, { notifyUrl: null });
    expect((await takeWanted(f)).works).toEqual([]);
  });

  it("gives what goes to the request's own URL, its later states too", async () => {
    const f = fixture();
    const own = await f.send('ann', { notifyUrl: HOOK });
    const other = await f.send('ben');
    for (const entry of [own, other]) {
      await f.settle({ kind: 'delivered', user: entry.user, ref: { n: entry.n }, sentAt: null });
      await f.settle({ kind: 'read', user: entry.user, ref: { n: entry.n } });
    }
    const { works, told } = await takeWanted(f);
    expect(kindsOf(works)).toEqual(['submitted', 'delivered', 'read']);
    expect(new Set(works.map((work) => work.url))).toEqual(new Set([HOOK]));
    expect(sum(told, 'no-url')).toBe(3);
  });

  it('gives the statuses that are wanted, a failure at once among them', async () => {
    const f = fixture();
    await change(f, { notifyUrl: HOOK, statuses: ['Failed'] });
    await f.accepted({ destinations: [destinationOf(userid('ann'), msisdn('+4915100000000'))] });
    const { works, told } = await takeWanted(f);
    expect(works.map((work) => [work.kind, work.facts!.code])).toEqual([['failed', '7105']]);
    expect(sum(told, 'not-wanted')).toBe(2);
    await change(f, { statuses: ['Read'] });
    await f.accepted({ destinations: [destinationOf(userid('ann'), msisdn('+4915100000000'))] });
    const later = await takeWanted(f);
    expect(later.works).toEqual([]);
    expect(sum(later.told, 'not-wanted')).toBe(1);
  });

  it('asks the inbound URL alone for events', async () => {
    const f = fixture();
    await change(f, { inboundUrl: HOOK, statuses: [] });
    const entry = await f.send();
    await f.settle({ kind: 'pressed', user: entry.user, ref: { n: 1 }, once: null, identifier: 'NO', text: null });
    expect(kindsOf((await takeWanted(f)).works)).toEqual(['postback']);
    await change(f, { inboundUrl: null });
    await f.settle({ kind: 'pressed', user: entry.user, ref: { n: 1 }, once: null, identifier: 'NO', text: null });
    expect((await takeWanted(f)).works).toEqual([]);
  });

  it('comes to what is wanted behind very much that is not', async () => {
    const f = fixture();
    // What fails at once waits for nobody.
    const accepts = Array.from({ length: 9_000 }, () => f.unit({ expiry: f.clock.now() }));
    await f.write({ accepts });
    await f.send('ann', { notifyUrl: HOOK });
    const { works, told } = await takeWanted(f);
    expect(works.map((work) => work.facts!.destination)).toEqual(['ann']);
    expect(sum(told, 'no-url')).toBe(9_000);
  });
}
