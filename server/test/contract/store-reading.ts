import { describe, expect, it } from 'vitest';
import type { MessageMark, MessageSearch } from '../../src/core/ports.ts';
import { transidOf } from '../../src/core/transid.ts';
import { customerid, destinationOf, HOUR_MS, MINUTE_MS, msisdn, userid } from '../support/builders.ts';
import { seedTenant } from '../support/seed.ts';
import { ascending, kindsOf, type MakeStore, STATE, tidOf, useStore } from './store-fixture.ts';

/** Status, correlationid, recall, short links. Contract §2 and the smartlinks of §2.7. */
export function storeReadingSuite(makeStore: MakeStore): void {
  describe('status', () => {
    statusCases(makeStore);
  });
  describe('recall', () => {
    recallCases(makeStore);
  });
  describe('links', () => {
    linkCases(makeStore);
  });
}

function statusCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true });

  it('tells how every identifier of a transid stands, and nothing of its neighbours', async () => {
    const f = fixture();
    const unit = f.unit({
      destinations: [
        { correlationid: 'order-1', identifiers: [userid('ann'), customerid('ben'), msisdn('+4915100000000')] },
        destinationOf(userid('cyd')),
      ],
    });
    await f.write({ accepts: [unit] });
    await f.reopen();
    const transid = transidOf(unit.uid, 0);
    const status = await f.store.requestStatus(f.tenant.serviceId, transid);
    expect(status).toMatchObject({
      transid,
      clientId: unit.clientId,
      serviceId: unit.serviceId,
      appId: unit.appId,
      channelWord: 'appmessaging',
      correlationid: 'order-1',
      content: unit.content,
      expiry: unit.expiry,
      priority: 2,
    });
    const now = f.clock.now();
    expect(status!.deliveries).toMatchObject([
      { destination: userid('ann'), state: STATE.queued, code: null, userid: 'ann', createdAt: now, updatedAt: now },
      { destination: customerid('ben'), state: STATE.queued, code: null, userid: 'ben' },
      { destination: msisdn('+4915100000000'), state: STATE.failed, code: '7105', userid: null },
    ]);
  });

  it('tells the steps of a message with their times and devices', async () => {
    const f = fixture();
    const entry = await f.send();
    const phone = await f.connect();
    const { user } = entry;
    const { device } = phone;
    const start = f.clock.now();
    f.clock.advance(10);
    await f.settle({ kind: 'sent', user, device, ref: { n: 1 } });
    f.clock.advance(10);
    await f.settle({ kind: 'delivered', user, device, ref: { n: 1 }, sentAt: f.clock.now() - 10 });
    f.clock.advance(10);
    await f.settle({ kind: 'read', user, device, ref: { n: 1 } });
    const status = await f.store.requestStatus(f.tenant.serviceId, tidOf(entry));
    const delivery = status!.deliveries[0]!;
    expect(delivery).toMatchObject({ state: STATE.read, createdAt: start, updatedAt: start + 30 });
    const steps = delivery.steps.filter((step) => ['accepted', 'delivered', 'read'].includes(step.step));
    expect(steps.map((step) => [step.step, step.at])).toEqual([
      ['accepted', start],
      ['delivered', start + 20],
      ['read', start + 30],
    ]);
    expect(steps[1]!.deviceid).toBe('phone');
    expect(steps[2]!.deviceid).toBe('phone');
    expect(delivery.steps.map((step) => step.at)).toEqual(delivery.steps.map((step) => step.at).toSorted(ascending));
  });

  it('knows nothing for another service, nor of what is no transid of ours', async () => {
    const f = fixture();
    const other = await seedTenant(f.store, { name: 'globex' });
    const entry = await f.send();
    const { serviceId } = f.tenant;
    expect(await f.store.requestStatus(other.serviceId, tidOf(entry))).toBeNull();
    const beyond = transidOf(entry.message!.content.uid, 1);
    for (const transid of [beyond, '', 'x', `${tidOf(entry)}0`]) {
      expect(await f.store.requestStatus(serviceId, transid)).toBeNull();
    }
    expect(await f.store.requestStatus(serviceId, tidOf(entry).toUpperCase())).not.toBeNull();
  });

  it('finds transids by correlationid, within the service', async () => {
    const f = fixture();
    const other = await seedTenant(f.store, { name: 'globex' });
    const { serviceId } = f.tenant;
    const labelled = (name: string) => ({ correlationid: 'order-1', identifiers: [userid(name)] });
    const one = f.unit({ destinations: [labelled('ann'), destinationOf(userid('ben')), labelled('cyd')] });
    const two = f.unit({ destinations: [labelled('ann')] });
    await f.write({ accepts: [one, two] });
    const expected = [transidOf(one.uid, 0), transidOf(one.uid, 2), transidOf(two.uid, 0)];
    const found = await f.store.transidsByCorrelationid(serviceId, 'order-1', 10);
    expect(found.toSorted()).toEqual(expected.toSorted());
    expect(await f.store.transidsByCorrelationid(serviceId, 'order-1', 2)).toHaveLength(2);
    expect(await f.store.transidsByCorrelationid(serviceId, 'order', 10)).toEqual([]);
    expect(await f.store.transidsByCorrelationid(other.serviceId, 'order-1', 10)).toEqual([]);
  });

  it('finds messages by transid, correlationid and user, within a client, the newest first', async () => {
    const f = fixture();
    const other = await seedTenant(f.store, { name: 'globex' });
    const { clientId, serviceId, appId } = f.tenant;
    const tenant = { clientId: other.clientId, serviceId: other.serviceId, appId: other.appId };
    const labelled = (name: string) => ({ correlationid: 'order-1', identifiers: [userid(name)] });
    const one = f.unit({ destinations: [labelled('ann'), destinationOf(userid('ben'))] });
    const two = f.unit({ destinations: [destinationOf(userid('ben')), labelled('ann')] });
    const foreign = f.unit({ ...tenant, destinations: [labelled('ann')] });
    await f.write({ accepts: [one, two, foreign] });
    const find = async (mark: MessageMark, scope: Partial<MessageSearch> = {}): Promise<string[]> => {
      const found = await f.store.findMessages({ clientId: null, serviceId: null, limit: 10, mark, ...scope });
      return found.map((message) => message.transid);
    };
    const byLabel = { kind: 'correlationid', correlationid: 'order-1' } as const;
    const ofOthers = { clientId: other.clientId };
    expect(await find(byLabel)).toEqual([transidOf(foreign.uid, 0), transidOf(two.uid, 1), transidOf(one.uid, 0)]);
    expect(await find(byLabel, { clientId })).toEqual([transidOf(two.uid, 1), transidOf(one.uid, 0)]);
    expect(await find(byLabel, { clientId, limit: 1 })).toEqual([transidOf(two.uid, 1)]);
    expect(await find(byLabel, { serviceId: other.serviceId })).toEqual([transidOf(foreign.uid, 0)]);
    const byTransid = { kind: 'transid', transid: transidOf(two.uid, 1).toUpperCase() } as const;
    expect(await f.store.findMessages({ clientId, serviceId, limit: 1, mark: byTransid })).toEqual([
      { transid: transidOf(two.uid, 1), clientId, serviceId, appId, acceptedAt: two.acceptedAt },
    ]);
    expect(await find(byTransid, ofOthers)).toEqual([]);
    expect(await find({ kind: 'transid', transid: transidOf(two.uid, 2) })).toEqual([]);
    const byUser = { kind: 'user', appId, identifier: userid('ann') } as const;
    expect(await find(byUser)).toEqual([transidOf(two.uid, 1), transidOf(one.uid, 0)]);
    expect(await find(byUser, { limit: 1 })).toEqual([transidOf(two.uid, 1)]);
    expect(await find(byUser, ofOthers)).toEqual([]);
    expect(await find({ ...byUser, identifier: userid('nobody') })).toEqual([]);
  });

  it('counts the messages of a user: read and unread, not what ended nor events', async () => {
    const f = fixture();
    const entries = [];
    for (let count = 0; count < 5; count += 1) entries.push(await f.send('ann'));
    const { user } = entries[0]!;
    await f.settle({ kind: 'delivered', user, ref: { n: 1 }, sentAt: null });
    await f.settle({ kind: 'read', user, ref: { n: 2 } });
    await f.settle({ kind: 'failed', user, ref: { n: 3 }, code: '7513' });
    await f.send('ben');
    const head = await f.store.head(user);
    expect(head).toBeGreaterThanOrEqual(5);
    expect(await f.store.countMessages(user)).toEqual({ head, unread: 3, total: 4 });
    await f.reopen();
    expect(await f.store.countMessages(user)).toEqual({ head, unread: 3, total: 4 });
  });

  it('counts what waits and the users', async () => {
    const f = fixture();
    await f.send('ann');
    const ben = await f.send('ben');
    await f.settle({ kind: 'delivered', user: ben.user, ref: { n: 1 }, sentAt: null });
    expect(await f.store.counts(f.clock.now())).toMatchObject({ waiting: 1, users: 2 });
    await f.reopen();
    expect(await f.store.counts(f.clock.now())).toMatchObject({ waiting: 1, users: 2 });
  });
}

function recallCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore);

  it('recalls for everybody who has not read it, and answers per identifier', async () => {
    const f = fixture();
    const names = ['ann', 'ben', 'cyd', 'dan'];
    const identifiers = [...names.map(userid), msisdn('+4915100000000')];
    const entries = await f.accepted({ destinations: [destinationOf(...identifiers)] });
    const [, ben, cyd, dan] = entries;
    await f.settle({ kind: 'delivered', user: ben!.user, ref: { n: 1 }, sentAt: null });
    await f.settle({ kind: 'read', user: cyd!.user, ref: { n: 1 } });
    await f.settle({ kind: 'failed', user: dan!.user, ref: { n: 1 }, code: '7513' });
    await f.takeReceipts();
    const tid = tidOf(entries[0]!);
    const results = await f.store.recall(f.tenant.serviceId, tid, f.clock.now());
    expect(results!.map((result) => [result.destination, result.outcome, result.state])).toEqual([
      [identifiers[0], 'recalled', STATE.recalled],
      [identifiers[1], 'recalled', STATE.recalled],
      [identifiers[2], 'read', STATE.read],
      [identifiers[3], 'ended', STATE.failed],
      [identifiers[4], 'ended', STATE.failed],
    ]);
    for (const result of results!.slice(2)) expect(result.entries).toEqual([]);
    const told = results![1]!.entries;
    expect(told).toMatchObject([{ user: ben!.user, n: 2, message: null, event: { type: 'recalled', tid } }]);
    expect(await f.store.readLog(ben!.user, 1, 10)).toEqual(told);
    const status = await f.store.requestStatus(f.tenant.serviceId, tid);
    expect(status!.deliveries.slice(0, 2).map((delivery) => delivery.state)).toEqual([STATE.recalled, STATE.recalled]);
    expect(await f.takeReceipts()).toEqual([]);
  });

  it('frees what waited, once', async () => {
    const f = fixture();
    const entry = await f.send();
    const { serviceId } = f.tenant;
    await f.store.recall(serviceId, tidOf(entry), f.clock.now());
    const head = await f.store.head(entry.user);
    expect((await f.store.counts(f.clock.now())).waiting).toBe(0);
    const again = await f.store.recall(serviceId, tidOf(entry), f.clock.now());
    expect(again).toMatchObject([{ state: STATE.recalled, entries: [] }]);
    expect(await f.store.head(entry.user)).toBe(head);
    const late = await f.settle({ kind: 'delivered', user: entry.user, ref: { n: 1 }, sentAt: null });
    expect(late.outcome).toBe('stale');
  });

  it('touches only the transid named', async () => {
    const f = fixture();
    const entries = await f.accepted({ destinations: [destinationOf(userid('ann')), destinationOf(userid('ann'))] });
    await f.store.recall(f.tenant.serviceId, tidOf(entries[0]!), f.clock.now());
    expect(await f.stateOf(entries[1]!)).toBe(STATE.queued);
  });

  it('knows nothing for another service', async () => {
    const f = fixture();
    const other = await seedTenant(f.store, { name: 'globex' });
    const entry = await f.send();
    expect(await f.store.recall(other.serviceId, tidOf(entry), f.clock.now())).toBeNull();
    expect(await f.store.recall(f.tenant.serviceId, 'x', f.clock.now())).toBeNull();
    expect(await f.stateOf(entry)).toBe(STATE.queued);
  });
}

function linkCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true });
  const url = 'https://example.com/a?b=c';

  it('opens until its end, then says so', async () => {
    const f = fixture();
    const entry = await f.send('ann', { links: [{ linkid: '17', url, expiresAt: f.clock.now() + MINUTE_MS }] });
    const slug = entry.message!.links!['17']!;
    const visit = (count: boolean) => f.store.visitLink(slug, { now: f.clock.now(), count });
    expect(await visit(true)).toMatchObject({ kind: 'open', url });
    await f.reopen();
    f.clock.advance(MINUTE_MS - 1);
    expect(await visit(true)).toMatchObject({ kind: 'open', url });
    f.clock.advance(1);
    expect(await visit(true)).toEqual({ kind: 'expired' });
    expect(await f.store.visitLink('nothing', { now: f.clock.now(), count: true })).toEqual({ kind: 'unknown' });
  });

  it('counts visits and recipients, and tells the sender of the click', async () => {
    const f = fixture();
    const links = [{ linkid: '17', url, expiresAt: f.clock.now() + HOUR_MS }];
    const entries = await f.accepted({ links, destinations: [destinationOf(userid('ann'), userid('ben'))] });
    await f.takeReceipts();
    const slug = entries[0]!.message!.links!['17']!;
    const visited = await f.store.visitLink(slug, { now: f.clock.now(), count: true });
    const told = visited.kind === 'open' ? visited.entries : [];
    expect(told).toMatchObject([{ n: 2, event: { type: 'clicked', tid: tidOf(entries[0]!), url } }]);
    expect(await f.store.readLog(entries[0]!.user, 1, 10)).toEqual(told);
    const works = await f.takeReceipts();
    expect(kindsOf(works)).toContain('clicked');
    const click = works.find((work) => work.kind === 'clicked')!;
    expect(click.facts).toMatchObject({ transid: tidOf(entries[0]!), destination: 'ann', url });
    await f.store.visitLink(slug, { now: f.clock.now(), count: true });
    expect(await f.store.linkFigures('17')).toEqual({ minted: 2, visits: 2, recipients: 1 });
    const status = await f.store.requestStatus(f.tenant.serviceId, tidOf(entries[0]!));
    expect(status!.deliveries[0]!.steps.map((step) => step.step)).toContain('clicked');
  });

  it('opens without counting for who only looks ahead', async () => {
    const f = fixture();
    const entry = await f.send('ann', { links: [{ linkid: '17', url, expiresAt: f.clock.now() + HOUR_MS }] });
    await f.takeReceipts();
    const slug = entry.message!.links!['17']!;
    const visited = await f.store.visitLink(slug, { now: f.clock.now(), count: false });
    expect(visited).toEqual({ kind: 'open', url, entries: [] });
    expect(await f.takeReceipts()).toEqual([]);
    expect(await f.store.linkFigures('17')).toEqual({ minted: 1, visits: 0, recipients: 0 });
  });

  it('has no figures for a link that was never used', async () => {
    expect(await fixture().store.linkFigures('99')).toEqual({ minted: 0, visits: 0, recipients: 0 });
  });
}
