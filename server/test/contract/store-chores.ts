import { describe, expect, it } from 'vitest';
import { customerid, DAY_MS, destinationOf, HOUR_MS, MINUTE_MS } from '../support/builders.ts';
import { type Fact, kindsOf, type MakeStore, STATE, tidOf, useStore } from './store-fixture.ts';

/** What time does: expiry, purging, and what outlives both. */
export function storeChoresSuite(makeStore: MakeStore): void {
  describe('expiry', () => {
    expiryCases(makeStore);
  });
  describe('purge', () => {
    purgeCases(makeStore);
  });
}

function expiryCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true });

  it('expires at expiry and not a millisecond before', async () => {
    const f = fixture();
    const entry = await f.send('ann', { expiry: f.clock.now() + MINUTE_MS });
    f.clock.advance(MINUTE_MS - 1);
    expect(await f.expireAll()).toBe(0);
    expect(await f.stateOf(entry)).toBe(STATE.queued);
    f.clock.advance(1);
    expect(await f.expireAll()).toBe(1);
    expect(await f.stateOf(entry)).toBe(STATE.expired);
    expect(await f.expireAll()).toBe(0);
  });

  it('tells the sender once: Failed with 7301', async () => {
    const f = fixture();
    await f.send('ann', { expiry: f.clock.now() + MINUTE_MS });
    f.clock.advance(MINUTE_MS);
    await f.expireAll();
    await f.reopen();
    await f.expireAll();
    const works = await f.takeReceipts();
    expect(kindsOf(works)).toEqual(['submitted', 'expired']);
    expect(works[1]!.facts!.code).toBe('7301');
  });

  it('never un-expires when the clock goes back', async () => {
    const f = fixture();
    const entry = await f.send('ann', { expiry: f.clock.now() + MINUTE_MS });
    const phone = await f.connect();
    f.clock.jump(HOUR_MS);
    await f.expireAll();
    f.clock.jump(-2 * HOUR_MS);
    expect(await f.expireAll()).toBe(0);
    const settled = await f.settle({
      kind: 'delivered',
      user: entry.user,
      device: phone.device,
      ref: { n: 1 },
      sentAt: null,
    });
    expect(settled.outcome).toBe('stale');
    expect(await f.stateOf(entry)).toBe(STATE.expired);
    expect((await f.owed(phone)).filter((n) => n === 1)).toEqual([]);
  });

  for (const kind of ['delivered', 'read'] as const) {
    it(`takes a ${kind} at expiry for too late, although nobody had looked yet`, async () => {
      const f = fixture();
      const expiry = f.clock.now() + MINUTE_MS;
      const [late, inTime] = [await f.send('ann', { expiry }), await f.send('ann', { expiry })];
      const fact = (n: number): Fact => {
        const common = { user: late.user, ref: { n } };
        return kind === 'read' ? { kind, ...common } : { kind, ...common, sentAt: null };
      };
      f.clock.advance(MINUTE_MS - 1);
      expect((await f.settle(fact(inTime.n))).outcome).toBe('done');
      f.clock.advance(1);
      expect(await f.settle(fact(late.n))).toEqual({ outcome: 'stale', entries: [] });
      await f.expireAll();
      expect([await f.stateOf(late), await f.stateOf(inTime)]).toEqual([STATE.expired, STATE[kind]]);
      const works = (await f.takeReceipts()).filter((work) => work.facts!.transid === tidOf(late));
      expect(kindsOf(works)).toEqual(['submitted', 'expired']);
      expect((await f.store.counts(f.clock.now())).waiting).toBe(0);
    });
  }

  it('leaves what a device has', async () => {
    const f = fixture();
    const expiry = f.clock.now() + MINUTE_MS;
    const delivered = await f.send('ann', { expiry });
    const read = await f.send('ann', { expiry });
    await f.settle({ kind: 'delivered', user: delivered.user, ref: { n: 1 }, sentAt: null });
    await f.settle({ kind: 'read', user: read.user, ref: { n: 2 } });
    f.clock.advance(MINUTE_MS);
    expect(await f.expireAll()).toBe(0);
    expect([await f.stateOf(delivered), await f.stateOf(read)]).toEqual([STATE.delivered, STATE.read]);
  });

  it('expires what was only sent, and what waits for a customerid nobody has', async () => {
    const f = fixture();
    const expiry = f.clock.now() + MINUTE_MS;
    const sent = await f.send('ann', { expiry });
    await f.settle({ kind: 'sent', user: sent.user, ref: { n: 1 } });
    const [unseen] = await f.accepted({ expiry, destinations: [destinationOf(customerid('C-1'))] });
    f.clock.advance(MINUTE_MS);
    expect(await f.expireAll()).toBe(2);
    expect([await f.stateOf(sent), await f.stateOf(unseen!)]).toEqual([STATE.expired, STATE.expired]);
  });

  it('goes in small steps and says when there is more', async () => {
    const f = fixture();
    const expiry = f.clock.now() + MINUTE_MS;
    await f.write({ accepts: Array.from({ length: 250 }, () => f.unit({ expiry })) });
    f.clock.advance(MINUTE_MS);
    let expired = 0;
    let steps = 0;
    for (let more = true; more; steps += 1) {
      const step = await f.store.expireDue(f.clock.now(), 100);
      expect(step.expired).toBeLessThanOrEqual(100);
      expired += step.expired;
      more = step.more;
    }
    expect(expired).toBe(250);
    expect(steps).toBeLessThanOrEqual(4);
    expect((await f.store.counts(f.clock.now())).waiting).toBe(0);
  });

  it('says when the next one is due', async () => {
    const f = fixture();
    expect((await f.store.expireDue(f.clock.now(), 100)).nextAt).toBeNull();
    const now = f.clock.now();
    await f.send('ann', { expiry: now + HOUR_MS });
    await f.send('ann', { expiry: now + MINUTE_MS });
    expect((await f.store.expireDue(now, 100)).nextAt).toBe(now + MINUTE_MS);
    f.clock.advance(MINUTE_MS);
    expect(await f.store.expireDue(f.clock.now(), 100)).toEqual({ expired: 1, more: false, nextAt: now + HOUR_MS });
  });
}

function purgeCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true, client: { retentionDays: 30 } });

  it('purges after the retention of the client, counted from the end of the message', async () => {
    const f = fixture();
    const entry = await f.send('ann', { expiry: f.clock.now() + 20 * DAY_MS });
    f.clock.advance(10 * DAY_MS);
    await f.settle({ kind: 'delivered', user: entry.user, ref: { n: 1 }, sentAt: null });
    await f.takeReceipts();
    f.clock.advance(15 * DAY_MS);
    await f.expireAll();
    await f.purgeAll();
    f.clock.advance(14 * DAY_MS);
    await f.expireAll();
    await f.purgeAll();
    expect(await f.stateOf(entry)).toBe(STATE.delivered);
    f.clock.advance(3 * DAY_MS);
    await f.expireAll();
    expect(await f.purgeAll()).toBeGreaterThan(0);
    expect(await f.store.requestStatus(f.tenant.serviceId, tidOf(entry))).toBeNull();
    expect(await f.store.readLog(entry.user, 0, 10)).toEqual([]);
    expect(await f.purgeAll()).toBe(0);
  });

  it('keeps what still waits, however old', async () => {
    const f = fixture();
    const entry = await f.send('ann', { expiry: f.clock.now() + 400 * DAY_MS });
    f.clock.advance(300 * DAY_MS);
    await f.purgeAll();
    expect(await f.stateOf(entry)).toBe(STATE.queued);
    expect(await f.store.readLog(entry.user, 0, 10)).toHaveLength(1);
  });

  it('lets no head fall and uses no number twice, also after a restart', async () => {
    const f = fixture();
    await f.send();
    await f.settle({ kind: 'read', user: await f.userOf('ann'), ref: { n: 1 } });
    const { user } = await f.send();
    await f.settle({ kind: 'delivered', user, ref: { n: 3 }, sentAt: null });
    f.clock.advance(2 * DAY_MS);
    await f.expireAll();
    await f.takeReceipts();
    f.clock.advance(40 * DAY_MS);
    await f.purgeAll();
    expect(await f.store.readLog(user, 0, 10)).toEqual([]);
    expect(await f.store.head(user)).toBe(3);
    await f.reopen();
    expect((await f.store.heads([user])).get(user)).toBe(3);
    expect((await f.send()).n).toBe(4);
  });

  it('leaves the rest of a log in place', async () => {
    const f = fixture();
    await f.send('ann', { expiry: f.clock.now() + HOUR_MS });
    const kept = await f.send('ann', { expiry: f.clock.now() + 100 * DAY_MS });
    await f.send('ann', { expiry: f.clock.now() + HOUR_MS });
    f.clock.advance(DAY_MS);
    await f.expireAll();
    f.clock.advance(40 * DAY_MS);
    await f.purgeAll();
    const phone = await f.connect();
    expect(phone).toMatchObject({ base: 3, head: 3 });
    expect((await f.store.subscribe(phone.user, phone.device)).purgedTo).toBe(3);
    expect(await f.owed(phone)).toEqual([2]);
    expect((await f.store.readLog(kept.user, 0, 10)).map((entry) => entry.n)).toEqual([2]);
  });

  it('forgets devices nobody kept, and not those that are', async () => {
    const f = fixture();
    await f.disconnect(await f.connect(), { keepMs: HOUR_MS });
    const kept = await f.connect({ deviceid: 'tablet' });
    await f.disconnect(kept, { keepMs: 30 * DAY_MS });
    f.clock.advance(DAY_MS);
    await f.purgeAll();
    expect((await f.open()).present).toBe(false);
    expect(await f.open({ deviceid: 'tablet' })).toMatchObject({ present: true, device: kept.device });
  });
}
