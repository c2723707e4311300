import { describe, expect, it } from 'vitest';
import { transidOf } from '../../src/core/transid.ts';
import { customerid, destinationOf, HOUR_MS, MINUTE_MS, msisdn, userid } from '../support/builders.ts';
import { kindsOf, type MakeStore, useStore } from './store-fixture.ts';
import { attempt, deliver, done, retry } from './receipt-steps.ts';

/** Receipts: what is told and in which order. Contract §3. */
export function storeReceiptsSuite(makeStore: MakeStore): void {
  describe('receipts: what is told', () => {
    contentCases(makeStore);
  });
  describe('receipts: order', () => {
    orderCases(makeStore);
  });
}

/** The port: a receipt waits for the one before it until that is this old. */
const HOLD_MS = 35 * MINUTE_MS;

function contentCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore);

  it('tells Submitted for every identifier, in the words of the request', async () => {
    const f = fixture();
    const unit = f.unit({
      channelWord: 'rt',
      callbackData: 'cb-1',
      notifyUrl: 'https://hook.example/n',
      destinations: [
        { correlationid: 'order-1', identifiers: [userid('ann'), customerid('ben')] },
        destinationOf(userid('cyd')),
      ],
    });
    await f.write({ accepts: [unit] });
    const works = await f.claim();
    expect(kindsOf(works)).toEqual(['submitted', 'submitted', 'submitted']);
    expect(new Set(works.map((work) => work.id)).size).toBe(3);
    expect(works[0]).toMatchObject({
      serviceId: f.tenant.serviceId,
      url: 'https://hook.example/n',
      attempts: 0,
      at: unit.acceptedAt,
      inbound: null,
      facts: {
        transid: transidOf(unit.uid, 0),
        correlationid: 'order-1',
        callbackData: 'cb-1',
        channelWord: 'rt',
        destination: 'ann',
        destinationType: 'userid',
        deviceid: '',
        code: '',
      },
    });
    expect(works[1]!.facts).toMatchObject({ destination: 'ben', destinationType: 'customerid' });
    expect(works[2]!.facts).toMatchObject({ transid: transidOf(unit.uid, 1), correlationid: null });
  });

  it('leaves the address to the service where the request has none', async () => {
    const f = fixture();
    await f.send();
    expect((await f.claim())[0]!.url).toBeNull();
  });

  it('tells Submitted and then Failed for what fails at once', async () => {
    const f = fixture();
    await f.accepted({ destinations: [destinationOf(msisdn('+4915100000000'))] });
    await f.accepted({ thread: { id: 'nowhere' } });
    await f.accepted({ expiry: f.clock.now() });
    const works = await f.takeReceipts();
    const perMessage = Map.groupBy(works, (work) => work.facts!.transid);
    const told = [...perMessage.values()].map((group) => group.map((work) => work.facts!.code));
    expect(told).toEqual([
      ['', '7105'],
      ['', '7312'],
      ['', '7301'],
    ]);
    for (const group of perMessage.values()) {
      expect(group.map((work) => work.kind === 'submitted')).toEqual([true, false]);
      expect(group[1]!.kind).toBe('failed');
      expect(group[1]!.facts!.destination).toBe(group[0]!.facts!.destination);
    }
  });

  it('carries the content only where labels are needed', async () => {
    const f = fixture();
    const entry = await f.send();
    await f.settle({ kind: 'read', user: entry.user, ref: { n: 1 } });
    for (const work of await f.takeReceipts()) expect(work.facts!.content).toBeNull();
  });

  it('tells nothing of a batch that failed', async () => {
    const f = fixture();
    const unit = f.unit();
    await f.write({ accepts: [unit] });
    await expect(f.write({ accepts: [f.unit(), unit] })).rejects.toThrow();
    expect(await f.takeReceipts()).toHaveLength(1);
  });
}

function orderCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore);

  it('gives the works of one message the same order key and their order', async () => {
    const f = fixture();
    const tid = await deliver(f);
    await f.settle({ kind: 'read', user: await f.userOf('ann'), ref: { tid } });
    const works = await f.takeReceipts();
    expect(kindsOf(works)).toEqual(['submitted', 'delivered', 'read']);
    expect(new Set(works.map((work) => work.orderKey)).size).toBe(1);
  });

  it('gives every recipient an own order key', async () => {
    const f = fixture();
    const destinations = [destinationOf(userid('ann'), userid('ben')), destinationOf(userid('ann'))];
    await f.accepted({ destinations });
    expect(new Set((await f.claim()).map((work) => work.orderKey)).size).toBe(3);
  });

  it('gives the earlier one first, however small the claim', async () => {
    const f = fixture();
    await deliver(f);
    const claims = [await f.claim(1), await f.claim(1)].flat();
    // A store of many processes holds the second one back; one of a single process leaves that to the claimer.
    expect(kindsOf(claims)).toEqual(['submitted', 'delivered'].slice(0, claims.length));
    await done(f, claims);
    expect(kindsOf([...claims, ...(await f.takeReceipts())])).toEqual(['submitted', 'delivered']);
  });

  it('holds the next one back while the one before it waits for its next try', async () => {
    const f = fixture();
    await deliver(f);
    const [submitted] = await f.claim(1);
    await retry(f, submitted!, 5 * MINUTE_MS);
    expect(await f.claim()).toEqual([]);
    f.clock.advance(5 * MINUTE_MS);
    const works = await f.takeReceipts();
    expect(kindsOf(works)).toEqual(['submitted', 'delivered']);
    expect(works[0]!.id).toBe(submitted!.id);
  });

  it('holds back one that was claimed with the failed one and deferred at once', async () => {
    const f = fixture();
    await deliver(f);
    const works = await f.claim();
    const [submitted, ...behind] = works;
    const now = f.clock.now();
    await f.store.settleReceipts([
      { kind: 'retry', work: submitted!, at: now + 5 * MINUTE_MS, attempt: attempt(f) },
      ...behind.map((work) => ({ kind: 'defer', work, at: now }) as const),
    ]);
    f.clock.advance(MINUTE_MS);
    expect(await f.claim()).toEqual([]);
    f.clock.advance(4 * MINUTE_MS);
    expect(kindsOf(await f.takeReceipts())).toEqual(['submitted', 'delivered']);
  });

  it('waits 35 minutes for the one before it and no longer', async () => {
    const f = fixture();
    await deliver(f);
    const [submitted] = await f.claim(1);
    await retry(f, submitted!, 2 * HOUR_MS);
    f.clock.advance(HOLD_MS - 1);
    expect(await f.claim()).toEqual([]);
    f.clock.advance(2);
    expect(kindsOf(await f.claim())).toEqual(['delivered']);
  });

  it('does not wait for one that is dead', async () => {
    const f = fixture();
    await deliver(f);
    const [submitted] = await f.claim(1);
    await f.store.settleReceipts([{ kind: 'dead', work: submitted!, attempt: attempt(f) }]);
    expect(kindsOf(await f.claim())).toEqual(['delivered']);
  });

  it('holds up no other message', async () => {
    const f = fixture();
    await deliver(f, 'ann');
    const [first] = await f.claim(1);
    await retry(f, first!, 2 * HOUR_MS);
    await deliver(f, 'ben');
    const works = await f.takeReceipts();
    expect(works.map((work) => [work.facts!.destination, work.kind])).toEqual([
      ['ben', 'submitted'],
      ['ben', 'delivered'],
    ]);
  });

  it('keeps the order after a deferral', async () => {
    const f = fixture();
    const tid = await deliver(f);
    const works = await f.claim();
    const at = f.clock.now() + MINUTE_MS;
    await f.store.settleReceipts(works.map((work) => ({ kind: 'defer', work, at })));
    await f.settle({ kind: 'read', user: await f.userOf('ann'), ref: { tid } });
    f.clock.advance(MINUTE_MS);
    const later = await f.takeReceipts();
    expect(kindsOf(later)).toEqual(['submitted', 'delivered', 'read']);
    expect(later.slice(0, works.length).map((work) => work.id)).toEqual(works.map((work) => work.id));
  });
}
