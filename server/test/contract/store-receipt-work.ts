import { describe, expect, it } from 'vitest';
import { DAY_MS, destinationOf, HOUR_MS, MINUTE_MS, userid } from '../support/builders.ts';
import { seedTenant } from '../support/seed.ts';
import { attempt, deliver, done, retry } from './receipt-steps.ts';
import { kindsOf, LEASE_MS, type MakeStore, tidOf, useStore } from './store-fixture.ts';

/** Receipts: that nothing is lost or doubled under leases, tries, what people see of them, replay. */
export function storeReceiptWorkSuite(makeStore: MakeStore): void {
  describe('receipts: leases', () => {
    leaseCases(makeStore);
  });
  describe('receipts: tries', () => {
    tryCases(makeStore);
  });
  describe('receipts: list and replay', () => {
    listCases(makeStore);
  });
}

function leaseCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true });

  it('gives a work to one claimer at a time', async () => {
    const f = fixture();
    for (let count = 0; count < 10; count += 1) await f.send();
    const claims = [await f.claim(4), await f.claim(4), await f.claim(4), await f.claim(4)];
    expect(claims.map((works) => works.length)).toEqual([4, 4, 2, 0]);
    expect(new Set(claims.flat().map((work) => work.id)).size).toBe(10);
  });

  it('gives it again, with the same id and another lease, once the lease ended', async () => {
    const f = fixture();
    await f.send();
    const [first] = await f.claim();
    f.clock.advance(LEASE_MS - 1);
    expect(await f.claim()).toEqual([]);
    f.clock.advance(2);
    const [second] = await f.claim();
    expect(second).toMatchObject({ id: first!.id, kind: 'submitted', attempts: 0, facts: first!.facts });
    expect(second!.lease).not.toBe(first!.lease);
  });

  it('fences a claimer whose lease ended: its verdict does not touch the next claim', async () => {
    const f = fixture();
    await f.send();
    const [late] = await f.claim();
    f.clock.advance(LEASE_MS + 1);
    const [current] = await f.claim();
    await f.store.settleReceipts([{ kind: 'dead', work: late!, attempt: attempt(f) }]);
    expect((await f.store.counts(f.clock.now())).receiptsDead).toBe(0);
    await retry(f, late!, DAY_MS);
    f.clock.advance(LEASE_MS + 1);
    const [again] = await f.claim();
    expect(again!.id).toBe(current!.id);
    await done(f, [again!]);
    expect(await f.takeReceipts()).toEqual([]);
  });

  it('fences one that failed before, too', async () => {
    const f = fixture();
    await f.send();
    const [first] = await f.claim();
    await retry(f, first!, MINUTE_MS);
    f.clock.advance(MINUTE_MS);
    const [late] = await f.claim();
    f.clock.advance(LEASE_MS + 1);
    const [current] = await f.claim();
    await f.store.settleReceipts([{ kind: 'dead', work: late!, attempt: attempt(f) }]);
    await retry(f, late!, DAY_MS);
    await done(f, [late!]);
    expect(await f.store.counts(f.clock.now())).toMatchObject({ receiptsPending: 1, receiptsDead: 0 });
    await done(f, [current!]);
    f.clock.advance(2 * DAY_MS);
    expect(await f.takeReceipts()).toEqual([]);
    const { items } = await f.store.listReceipts({ clientId: null, cursor: null, limit: 10 });
    expect(items).toMatchObject([{ state: 'done', attempts: 2 }]);
  });

  it('takes the verdict on two of one message that were claimed together', async () => {
    const f = fixture();
    await deliver(f);
    const [submitted, ...behind] = await f.claim();
    const at = f.clock.now();
    await f.store.settleReceipts([
      { kind: 'retry', work: submitted!, at: at + HOUR_MS, attempt: attempt(f) },
      ...behind.map((work) => ({ kind: 'defer', work, at: at + HOUR_MS }) as const),
    ]);
    f.clock.advance(2 * HOUR_MS);
    const works = await f.claim();
    expect(kindsOf(works).toSorted()).toEqual(['delivered', 'submitted']);
    await done(f, works);
    f.clock.advance(DAY_MS);
    expect(await f.claim()).toEqual([]);
    expect((await f.store.counts(f.clock.now())).receiptsPending).toBe(0);
  });

  it('goes on after a restart with nothing left to tell', async () => {
    const f = fixture();
    await deliver(f);
    await f.takeReceipts();
    await f.reopen();
    await deliver(f);
    expect(kindsOf(await f.takeReceipts())).toEqual(['submitted', 'delivered']);
    await f.crash();
    f.clock.advance(LEASE_MS + 1);
    await deliver(f);
    expect(kindsOf(await f.takeReceipts()).slice(-2)).toEqual(['submitted', 'delivered']);
  });

  it('loses and doubles nothing over a restart', async () => {
    const f = fixture();
    for (const name of ['ann', 'ben', 'cyd', 'dan']) await deliver(f, name);
    const before = await f.claim(4);
    await done(f, before.slice(0, 2));
    await retry(f, before[2]!, MINUTE_MS);
    await f.reopen();
    f.clock.advance(LEASE_MS + MINUTE_MS + 1);
    const after = (await f.takeReceipts()).map((work) => work.id);
    expect(new Set(after).size).toBe(after.length);
    for (const work of before.slice(2)) expect(after).toContain(work.id);
    // What was taken just before the end may come once more, under the id it had: at least once.
    expect(new Set([...before.map((work) => work.id), ...after]).size).toBe(8);
    await f.reopen();
    f.clock.advance(DAY_MS);
    expect(await f.takeReceipts()).toEqual([]);
  });

  it('loses nothing over a crash; what was taken may come again, under its id and in its order', async () => {
    const f = fixture();
    for (const name of ['ann', 'ben', 'cyd', 'dan']) await deliver(f, name);
    const first = await f.takeReceipts();
    await deliver(f, 'eve');
    const [open] = await f.claim(1);
    await f.crash();
    f.clock.advance(LEASE_MS + 1);
    const again = await f.takeReceipts();
    const eve = again.filter((work) => work.facts!.destination === 'eve');
    expect(kindsOf(eve)).toEqual(['submitted', 'delivered']);
    expect(eve[0]!.id).toBe(open!.id);
    expect(new Set(again.map((work) => work.id)).size).toBe(again.length);
    expect(new Set([...first, ...again].map((work) => work.id)).size).toBe(10);
  });

  it('gives what nobody claimed before a restart the id it would have had', async () => {
    const f = fixture();
    await deliver(f);
    const [first] = await f.claim(1);
    await f.reopen();
    f.clock.advance(LEASE_MS + 1);
    const works = await f.takeReceipts();
    expect(kindsOf(works)).toEqual(['submitted', 'delivered']);
    expect(works[0]!.id).toBe(first!.id);
  });

  it('forgets no work over a commit that fails', async () => {
    const f = fixture();
    const unit = f.unit();
    await f.write({ accepts: [unit] });
    await f.send('ben');
    const first = await f.claim();
    for (const work of first) await retry(f, work, MINUTE_MS);
    f.clock.advance(MINUTE_MS);
    const works = await f.claim();
    await expect(f.write({ accepts: [unit] })).rejects.toThrow();
    await retry(f, works[0]!, MINUTE_MS);
    await expect(f.write({ accepts: [unit] })).rejects.toThrow();
    await done(f, works.slice(1));
    expect((await f.store.counts(f.clock.now())).receiptsPending).toBe(1);
    f.clock.advance(MINUTE_MS);
    expect((await f.takeReceipts()).map((work) => work.id)).toEqual([works[0]!.id]);
    expect((await f.store.counts(f.clock.now())).receiptsPending).toBe(0);
  });

  it('claims no more than asked for', async () => {
    const f = fixture();
    await f.accepted({ destinations: Array.from({ length: 50 }, (_, index) => destinationOf(userid(`u-${index}`))) });
    expect(await f.claim(7)).toHaveLength(7);
    expect(await f.takeReceipts()).toHaveLength(43);
  });
}

function tryCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore);

  it('counts tries and is due when told', async () => {
    const f = fixture();
    await f.send();
    for (const tries of [0, 1, 2]) {
      const [work] = await f.claim();
      expect(work!.attempts).toBe(tries);
      await retry(f, work!, MINUTE_MS);
      f.clock.advance(MINUTE_MS - 1);
      expect(await f.claim()).toEqual([]);
      f.clock.advance(1);
    }
    expect(await f.claim()).toHaveLength(1);
  });

  it('counts no try for a deferral', async () => {
    const f = fixture();
    await f.send();
    const [work] = await f.claim();
    await f.store.settleReceipts([{ kind: 'defer', work: work!, at: f.clock.now() + MINUTE_MS }]);
    expect(await f.claim()).toEqual([]);
    f.clock.advance(MINUTE_MS);
    expect(await f.claim()).toMatchObject([{ id: work!.id, attempts: 0 }]);
  });

  it('gives a dead one to nobody', async () => {
    const f = fixture();
    await f.send();
    const [work] = await f.claim();
    await f.store.settleReceipts([{ kind: 'dead', work: work!, attempt: attempt(f) }]);
    f.clock.advance(10 * DAY_MS);
    expect(await f.takeReceipts()).toEqual([]);
    expect(await f.store.counts(f.clock.now())).toMatchObject({ receiptsDead: 1, receiptsPending: 0 });
  });

  it('counts what is not taken yet and how old the oldest is', async () => {
    const f = fixture();
    expect(await f.store.counts(f.clock.now())).toMatchObject({ receiptsPending: 0, receiptsOldestMs: 0 });
    await f.send();
    const [work] = await f.claim();
    await retry(f, work!, HOUR_MS);
    f.clock.advance(MINUTE_MS);
    const counts = await f.store.counts(f.clock.now());
    expect(counts).toMatchObject({ receiptsPending: 1, receiptsOldestMs: MINUTE_MS });
    f.clock.advance(HOUR_MS);
    await f.takeReceipts();
    expect(await f.store.counts(f.clock.now())).toMatchObject({ receiptsPending: 0, receiptsOldestMs: 0 });
  });
}

function listCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true });
  const all = { cursor: null, limit: 100 } as const;

  it('shows what did not succeed at once, with every try', async () => {
    const f = fixture();
    const { clientId, serviceId } = f.tenant;
    const entry = await f.send();
    const [work] = await f.claim();
    const createdAt = f.clock.now();
    await retry(f, work!, MINUTE_MS);
    const [pending] = (await f.store.listReceipts({ clientId, ...all })).items;
    expect(pending).toMatchObject({
      id: work!.id,
      clientId,
      serviceId,
      kind: 'submitted',
      transid: tidOf(entry),
      state: 'pending',
      attempts: 1,
      dueAt: createdAt + MINUTE_MS,
      createdAt,
      history: [{ at: createdAt, status: 500, error: null, ms: 12 }],
    });
    f.clock.advance(MINUTE_MS);
    await done(f, await f.claim());
    const [taken] = (await f.store.listReceipts({ clientId, ...all })).items;
    expect(taken).toMatchObject({ id: work!.id, state: 'done', attempts: 2 });
    expect(taken!.history.map((tried) => tried.status)).toEqual([500, 200]);
  });

  it('filters and pages by cursor, each one once', async () => {
    const f = fixture();
    const { clientId } = f.tenant;
    for (let count = 0; count < 7; count += 1) await f.send();
    const works = await f.claim();
    for (const work of works) {
      f.clock.advance(1);
      await retry(f, work, MINUTE_MS);
    }
    await f.store.settleReceipts([]);
    const ids: string[] = [];
    let cursor: string | null = null;
    do {
      const page = await f.store.listReceipts({ clientId, cursor, limit: 3 });
      expect(page.items.length).toBeLessThanOrEqual(3);
      ids.push(...page.items.map((item) => item.id));
      cursor = page.next;
    } while (cursor !== null);
    expect(ids.toSorted()).toEqual(works.map((work) => work.id).toSorted());
    const transid = works[2]!.facts!.transid;
    expect((await f.store.listReceipts({ clientId: null, transid, ...all })).items).toMatchObject([{ transid }]);
    expect((await f.store.listReceipts({ clientId, state: 'dead', ...all })).items).toEqual([]);
    expect((await f.store.listReceipts({ clientId, state: 'pending', ...all })).items).toHaveLength(7);
    expect((await f.store.listReceipts({ clientId, serviceId: 'other', ...all })).items).toEqual([]);
    expect((await f.store.listReceipts({ clientId: 'other', ...all })).items).toEqual([]);
  });

  it('replays a dead one with the same id', async () => {
    const f = fixture();
    const { clientId } = f.tenant;
    await f.send();
    const [work] = await f.claim();
    await f.store.settleReceipts([{ kind: 'dead', work: work!, attempt: attempt(f) }]);
    await f.reopen();
    expect(await f.store.replayReceipt(clientId, work!.id, f.clock.now())).toBe(true);
    const [again] = await f.claim();
    expect(again).toMatchObject({ id: work!.id, kind: 'submitted', facts: work!.facts });
    await done(f, [again!]);
    expect(await f.store.counts(f.clock.now())).toMatchObject({ receiptsDead: 0, receiptsPending: 0 });
  });

  it('replays one that waits, and one that was taken after a retry, at once', async () => {
    const f = fixture();
    await f.send();
    const [work] = await f.claim();
    await retry(f, work!, DAY_MS);
    expect(await f.store.replayReceipt('*', work!.id, f.clock.now())).toBe(true);
    const [again] = await f.claim();
    expect(again!.id).toBe(work!.id);
    await done(f, [again!]);
    expect(await f.store.replayReceipt('*', work!.id, f.clock.now())).toBe(true);
    expect(await f.claim()).toMatchObject([{ id: work!.id }]);
  });

  it('replays one that was taken at once', async () => {
    const f = fixture();
    const { clientId } = f.tenant;
    const tid = await deliver(f);
    const works = await f.takeReceipts();
    await f.reopen();
    for (const work of works) expect(await f.store.replayReceipt(clientId, work.id, f.clock.now())).toBe(true);
    const again = await f.takeReceipts();
    const { lease: _lease, ...delivered } = works[1]!;
    expect(again.map((work) => work.id)).toEqual(works.map((work) => work.id));
    expect(again[1]).toMatchObject({ ...delivered, facts: { transid: tid } });
  });

  it("replays no other client's receipt and none it does not know", async () => {
    const f = fixture();
    const other = await seedTenant(f.store, { name: 'globex' });
    await f.send();
    const [work] = await f.claim();
    await f.store.settleReceipts([{ kind: 'dead', work: work!, attempt: null }]);
    expect(await f.store.replayReceipt(other.clientId, work!.id, f.clock.now())).toBe(false);
    expect(await f.store.replayReceipt('*', 'nothing', f.clock.now())).toBe(false);
    expect(await f.claim()).toEqual([]);
  });

  it('keeps a dead one for people until its message is purged or longer', async () => {
    const f = fixture();
    await f.send();
    const [work] = await f.claim();
    await f.store.settleReceipts([{ kind: 'dead', work: work!, attempt: attempt(f) }]);
    f.clock.advance(DAY_MS);
    await f.expireAll();
    await f.purgeAll();
    const { items } = await f.store.listReceipts({ clientId: null, state: 'dead', ...all });
    expect(items).toMatchObject([{ id: work!.id, state: 'dead' }]);
  });
}
