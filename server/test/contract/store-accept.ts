import { describe, expect, it } from 'vitest';
import { transidOf } from '../../src/core/transid.ts';
import { customerid, DAY_MS, destinationOf, HOUR_MS, makeUnit, msisdn, userid } from '../support/builders.ts';
import { seedTenant } from '../support/seed.ts';
import { type MakeStore, STATE, tidOf, useStore } from './store-fixture.ts';

/** Accepting: numbers, identifiers, what fails at once, bounds, idempotency. Contract §2, §4 "The log". */
export function storeAcceptSuite(makeStore: MakeStore): void {
  describe('accept: numbers', () => {
    numberCases(makeStore);
  });
  describe('accept: identifiers', () => {
    identifierCases(makeStore);
  });
  describe('accept: what fails at once', () => {
    failureCases(makeStore);
  });
  describe('accept: many at once', () => {
    manyCases(makeStore);
  });
  describe('accept: bounds', () => {
    boundCases(makeStore);
  });
  describe('accept: idempotency', () => {
    idempotencyCases(makeStore);
  });
}

function numberCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore);

  it('numbers each log 1, 2, 3 without a hole, over one batch and over many', async () => {
    const f = fixture();
    const first = await f.write({ accepts: [f.unit(), f.unit(), f.unit()] });
    const later = await f.accepted();
    const numbers = first.accepts.flatMap((result) => (result.kind === 'accepted' ? result.entries : []));
    expect([...numbers, ...later].map((entry) => entry.n)).toEqual([1, 2, 3, 4]);
    expect((await f.send('ben')).n).toBe(1);
    const ann = await f.userOf('ann');
    expect(await f.store.head(ann)).toBe(4);
    const log = await f.store.readLog(ann, 0, 100);
    expect(log.map((entry) => entry.n)).toEqual([1, 2, 3, 4]);
    expect(log.every((entry) => entry.user === ann)).toBe(true);
  });

  it('gives back in the commit what readLog reads afterwards', async () => {
    const f = fixture();
    const unit = f.unit({
      priority: 3,
      content: '{"message":"Hé, ☃"}',
      destinations: [destinationOf(userid('ann'), userid('ben')), destinationOf(userid('cyd'))],
    });
    const result = await f.write({ accepts: [unit] });
    const accepted = result.accepts[0]!;
    if (accepted.kind !== 'accepted') throw new Error('expected accepted');
    expect(accepted.entries.map((entry) => entry.message?.destination)).toEqual([0, 0, 1]);
    for (const entry of accepted.entries) {
      expect(await f.store.readLog(entry.user, 0, 10)).toEqual([entry]);
      expect(entry).toMatchObject({ priority: 3, state: STATE.queued, event: null });
      expect(entry.message).toMatchObject({ thread: { title: 'Orders', type: 'Conversation' }, links: null });
      expect(entry.message?.content).toMatchObject({
        uid: unit.uid,
        serviceId: unit.serviceId,
        appId: unit.appId,
        acceptedAt: unit.acceptedAt,
        expiry: unit.expiry,
        priority: 3,
        content: unit.content,
      });
    }
  });

  it('holds the content of a request once for all its recipients', async () => {
    const entries = await fixture().accepted({ destinations: [destinationOf(userid('ann'), userid('ben'))] });
    expect(entries).toHaveLength(2);
    expect(entries[0]!.message!.content).toBe(entries[1]!.message!.content);
  });

  it('takes 1,000 destinations in one unit, each with its own transid', async () => {
    const f = fixture();
    const destinations = Array.from({ length: 1_000 }, (_, index) => destinationOf(userid(`user-${index}`)));
    const entries = await f.accepted({ destinations });
    expect(entries.map((entry) => entry.n)).toEqual(destinations.map(() => 1));
    expect(new Set(entries.map(tidOf)).size).toBe(1_000);
    const last = await f.store.requestStatus(f.tenant.serviceId, tidOf(entries[999]!));
    expect(last?.deliveries.map((delivery) => delivery.destination)).toEqual([userid('user-999')]);
  });

  it('reads a page of a log after a number', async () => {
    const f = fixture();
    for (let count = 0; count < 5; count += 1) await f.send();
    const ann = await f.userOf('ann');
    expect((await f.store.readLog(ann, 1, 2)).map((entry) => entry.n)).toEqual([2, 3]);
    expect(await f.store.readLog(ann, 5, 2)).toEqual([]);
  });

  it('tells many heads at once', async () => {
    const f = fixture();
    await f.send('ann');
    await f.send('ann');
    await f.send('ben');
    const [ann, ben] = [await f.userOf('ann'), await f.userOf('ben')];
    const heads = await f.store.heads([ann, ben]);
    expect([heads.get(ann), heads.get(ben)]).toEqual([2, 1]);
  });

  it('keeps nothing of a batch that could not be done whole', async () => {
    const f = fixture();
    const unit = f.unit();
    await f.write({ accepts: [unit] });
    // The same uid once more is a bug of the caller, and the honest way to make a commit fail half way.
    const batch = f.write({ accepts: [f.unit({ destinations: [destinationOf(userid('ben'))] }), unit] });
    await expect(batch).rejects.toThrow();
    const ben = await f.store.findUser(f.tenant.appId, 'ben');
    expect(ben === null ? 0 : await f.store.head(ben)).toBe(0);
    expect((await f.send('ann')).n).toBe(2);
    expect((await f.send('ben')).n).toBe(1);
    expect((await f.store.readLog(await f.userOf('ann'), 0, 10)).map((entry) => entry.n)).toEqual([1, 2]);
  });
}

function identifierCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore);

  it('makes one message of identifiers that resolve to one user', async () => {
    const f = fixture();
    const profile = { appId: f.tenant.appId, userid: 'ann', customerid: null, msisdn: '+4915112345678' };
    await f.store.putProfile(profile, f.clock.now());
    const identifiers = [userid('ann'), customerid('ann'), msisdn('+4915112345678'), userid('ann')];
    const entries = await f.accepted({ destinations: [destinationOf(...identifiers)] });
    expect(entries).toHaveLength(1);
    expect(await f.store.head(await f.userOf('ann'))).toBe(1);
  });

  it('makes a message per object of destination, also for the same user', async () => {
    const f = fixture();
    const entries = await f.accepted({ destinations: [destinationOf(userid('ann')), destinationOf(userid('ann'))] });
    expect(entries.map((entry) => entry.n)).toEqual([1, 2]);
    expect(new Set(entries.map(tidOf)).size).toBe(2);
  });

  it('keeps the users of two apps apart', async () => {
    const f = fixture();
    const other = await seedTenant(f.store, { name: 'globex' });
    const { clientId, serviceId, appId } = other;
    await f.send('ann');
    const theirs = await f.send('ann', { clientId, serviceId, appId });
    expect(theirs.n).toBe(1);
    expect(theirs.user).not.toBe(await f.userOf('ann'));
    expect(theirs.user).toBe(await f.userOf('ann', appId));
  });

  it('finds no user that nobody spoke of', async () => {
    const f = fixture();
    expect(await f.store.findUser(f.tenant.appId, 'nobody')).toBeNull();
  });

  it('mints an own short link for every recipient and link', async () => {
    const f = fixture();
    const expiresAt = f.clock.now() + HOUR_MS;
    const entries = await f.accepted({
      destinations: [destinationOf(userid('ann'), userid('ben'))],
      links: [
        { linkid: '17', url: 'https://example.com/a', expiresAt },
        { linkid: '18', url: 'https://example.com/b', expiresAt },
      ],
    });
    const slugs = entries.flatMap((entry) => [entry.message!.links!['17']!, entry.message!.links!['18']!]);
    expect(new Set(slugs).size).toBe(4);
    for (const slug of slugs) expect(slug).toMatch(/^[A-Za-z0-9_-]{6,32}$/);
    const again = await f.store.readLog(entries[0]!.user, 0, 1);
    expect(again[0]!.message!.links).toEqual(entries[0]!.message!.links);
  });
}

function failureCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore);

  it('fails an unknown msisdn with 7105 and serves the others of the request', async () => {
    const f = fixture();
    const unit = f.unit({ destinations: [destinationOf(msisdn('+4915100000000'), userid('ann'))] });
    const result = await f.write({ accepts: [unit] });
    expect(result.accepts[0]).toMatchObject({ kind: 'accepted', entries: [{ n: 1 }] });
    const status = await f.store.requestStatus(f.tenant.serviceId, transidOf(unit.uid, 0));
    expect(status?.deliveries).toMatchObject([
      { destination: msisdn('+4915100000000'), state: STATE.failed, code: '7105' },
      { destination: userid('ann'), state: STATE.queued, code: null },
    ]);
  });

  it('fails an unknown, a foreign and a closed thread with 7312, without a number', async () => {
    const f = fixture();
    const other = await seedTenant(f.store, { name: 'globex' });
    const base = { type: 'Conversation', title: 'x', category: null, externalid: null, extras: {} } as const;
    const { appId } = f.tenant;
    const now = f.clock.now();
    await f.store.createThread({ ...base, id: 'closed', appId, status: 'Closed', serviceId: null }, now);
    await f.store.createThread({ ...base, id: 'theirs', appId: other.appId, status: 'Active', serviceId: null }, now);
    for (const id of ['nowhere', 'closed', 'theirs']) {
      const unit = f.unit({ thread: { id } });
      const result = await f.write({ accepts: [unit] });
      expect(result.accepts[0]).toEqual({ kind: 'accepted', entries: [] });
      const status = await f.store.requestStatus(f.tenant.serviceId, transidOf(unit.uid, 0));
      expect(status?.deliveries).toMatchObject([{ state: STATE.failed, code: '7312' }]);
    }
    expect((await f.send()).n).toBe(1);
  });

  it('fails a message past its expiry with 7301, without a number: at expiry is past', async () => {
    const f = fixture();
    for (const expiry of [f.clock.now(), f.clock.now() - DAY_MS]) {
      const unit = f.unit({ expiry });
      const result = await f.write({ accepts: [unit] });
      expect(result.accepts[0]).toEqual({ kind: 'accepted', entries: [] });
      const status = await f.store.requestStatus(f.tenant.serviceId, transidOf(unit.uid, 0));
      expect(status!.deliveries).toMatchObject([{ state: STATE.expired, code: '7301' }]);
    }
    expect((await f.send('ann', { expiry: f.clock.now() + 1 })).n).toBe(1);
  });
}

function manyCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true });

  for (const kind of ['own thread', 'thread by id'] as const) {
    it(`treats many users that were not in memory as it would one by one: ${kind}`, async () => {
      const f = fixture();
      const { appId, serviceId } = f.tenant;
      const shared = { id: 'shared-1', appId, serviceId, title: 'All', category: null, externalid: null, extras: {} };
      await f.store.createThread({ ...shared, type: 'Announcement', status: 'Active' }, f.clock.now());
      const thread = kind === 'own thread' ? { type: 'Conversation' as const, title: 'Orders' } : { id: 'shared-1' };
      const old = Array.from({ length: 100 }, (_, index) => `old ${index}`);
      const first = await f.accepted({ thread, destinations: old.map((name) => destinationOf(userid(name))) });
      await f.reopen();
      const names = [...old.toReversed(), ...Array.from({ length: 40 }, (_, index) => `new ${index}`), 'old 7'];
      const second = await f.accepted({ thread, destinations: names.map((name) => destinationOf(customerid(name))) });
      expect(second.map((entry) => entry.n)).toEqual([...old.map(() => 2), ...Array.from({ length: 40 }, () => 1), 3]);
      const before = new Map(first.map((entry) => [entry.user, entry.message!.thread.id]));
      for (const entry of second.slice(0, 100)) expect(entry.message!.thread.id).toBe(before.get(entry.user));
      expect(new Set(second.map((entry) => entry.user)).size).toBe(140);
      for (const entry of [second[0]!, second[120]!]) {
        const { total } = await f.store.listThreads({ appId, user: entry.user, start: 0, limit: 10 });
        expect(total).toBe(1);
      }
    });
  }
}

function boundCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore);

  it('refuses whole what would leave more waiting for a user than allowed', async () => {
    const f = fixture();
    const bounds = { waitingPerUserMax: 2 };
    await f.send('ann', bounds);
    await f.send('ann', bounds);
    const both = [destinationOf(userid('ben'), userid('ann'))];
    expect(await f.accept({ ...bounds, destinations: both })).toEqual({ kind: 'full', bound: 'user' });
    expect((await f.send('ben', bounds)).n).toBe(1);
    expect((await f.send('ann', { waitingPerUserMax: 3 })).n).toBe(3);
  });

  it('counts what waits, not what was accepted', async () => {
    const f = fixture();
    const bounds = { waitingPerUserMax: 1, waitingTotalMax: 1 };
    const entry = await f.send('ann', bounds);
    expect((await f.accept(bounds)).kind).toBe('full');
    await f.settle({ kind: 'delivered', user: entry.user, ref: { n: 1 }, sentAt: null });
    expect((await f.send('ann', bounds)).n).toBe(2);
  });

  it('refuses what would leave more waiting in all than allowed', async () => {
    const f = fixture();
    const bounds = { waitingTotalMax: 3 };
    await f.send('ann', bounds);
    await f.send('ben', bounds);
    const two = [destinationOf(userid('cyd'), userid('dan'))];
    expect(await f.accept({ ...bounds, destinations: two })).toEqual({ kind: 'full', bound: 'total' });
    await f.send('cyd', bounds);
    expect(await f.accept({ ...bounds })).toEqual({ kind: 'full', bound: 'total' });
    expect((await f.store.counts(f.clock.now())).waiting).toBe(3);
  });

  it('counts a user named twice in one object once', async () => {
    const f = fixture();
    await f.send('ann');
    const bounds = { waitingPerUserMax: 2, waitingTotalMax: 2 };
    const twice = [destinationOf(userid('ann'), customerid('ann'), userid('ann'))];
    expect((await f.accept({ ...bounds, destinations: twice })).kind).toBe('accepted');
    expect((await f.accept(bounds)).kind).toBe('full');
  });

  it('goes on with the other units of the batch where one is refused', async () => {
    const f = fixture();
    const bounds = { waitingPerUserMax: 1 };
    const result = await f.write({
      accepts: [f.unit(bounds), f.unit(bounds), f.unit({ ...bounds, destinations: [destinationOf(userid('ben'))] })],
    });
    expect(result.accepts.map((accept) => accept.kind)).toEqual(['accepted', 'full', 'accepted']);
  });
}

function idempotencyCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true });
  const key = (bodyHash: string, expiresAt: number, answer = '{"response":[]}') => ({
    idempotency: { key: 'k-1', bodyHash, answer, expiresAt },
  });

  it('gives a repeat the stored answer and stores nothing more, also in the same batch and after a restart', async () => {
    const f = fixture();
    const until = f.clock.now() + DAY_MS;
    const first = await f.write({ accepts: [f.unit(key('a', until, 'one')), f.unit(key('a', until, 'two'))] });
    expect(first.accepts.map((accept) => accept.kind)).toEqual(['accepted', 'repeated']);
    expect(first.accepts[1]).toEqual({ kind: 'repeated', answer: 'one' });
    await f.reopen();
    expect(await f.accept(key('a', until, 'three'))).toEqual({ kind: 'repeated', answer: 'one' });
    expect(await f.store.head(await f.userOf('ann'))).toBe(1);
  });

  it('tells a repeat with another body apart', async () => {
    const f = fixture();
    const until = f.clock.now() + DAY_MS;
    await f.accepted(key('a', until));
    expect(await f.accept(key('b', until))).toEqual({ kind: 'repeated', answer: null });
  });

  it('holds a key per service', async () => {
    const f = fixture();
    const other = await seedTenant(f.store, { name: 'globex' });
    const { clientId, serviceId, appId } = other;
    const until = f.clock.now() + DAY_MS;
    await f.accepted(key('a', until));
    const theirs = makeUnit({ clientId, serviceId, appId, ...key('a', until) });
    const result = await f.write({ accepts: [theirs] });
    expect(result.accepts[0]!.kind).toBe('accepted');
  });

  it('forgets a key at its end', async () => {
    const f = fixture();
    const until = f.clock.now() + DAY_MS;
    await f.accepted(key('a', until));
    f.clock.advance(DAY_MS - 1);
    expect((await f.accept(key('b', until))).kind).toBe('repeated');
    f.clock.advance(1);
    expect((await f.accept(key('b', f.clock.now() + DAY_MS))).kind).toBe('accepted');
    expect(await f.accept(key('a', f.clock.now() + DAY_MS))).toEqual({ kind: 'repeated', answer: null });
  });

  it('keeps no key of a unit that was refused', async () => {
    const f = fixture();
    const until = f.clock.now() + DAY_MS;
    expect((await f.accept({ waitingTotalMax: 0, ...key('a', until) })).kind).toBe('full');
    expect((await f.accept(key('a', until))).kind).toBe('accepted');
  });
}
