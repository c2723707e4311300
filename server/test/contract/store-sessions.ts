import { describe, expect, it } from 'vitest';
import type { LogEntry, SessionOpened } from '../../src/core/ports.ts';
import { customerid, destinationOf, HOUR_MS, MINUTE_MS, msisdn } from '../support/builders.ts';
import { type MakeStore, STATE, type StoreFixture, tidOf, useStore } from './store-fixture.ts';

/** Sessions, what a device is owed, and identities linked by a token. Contract §4 "session", "order", "linked". */
export function storeSessionsSuite(makeStore: MakeStore): void {
  describe('sessions: kept and forgotten', () => {
    keptCases(makeStore);
  });
  describe('sessions: floor', () => {
    floorCases(makeStore);
  });
  describe('sessions: what a device is owed', () => {
    owedCases(makeStore);
  });
  describe('sessions: linking', () => {
    linkCases(makeStore);
  });
}

function keptCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true });

  it('begins a first session with nothing', async () => {
    const f = fixture();
    const opened = await f.open();
    expect(opened).toMatchObject({ present: false, subscribed: false, floor: 0, head: 0, entries: [] });
    expect(await f.userOf('ann')).toBe(opened.user);
    await f.send();
    await f.send();
    expect(await f.open({ deviceid: 'tablet' })).toMatchObject({ user: opened.user, present: false, head: 2 });
  });

  it('finds a kept session again, with its subscription, its base and its device', async () => {
    const f = fixture();
    await f.send();
    const first = await f.connect();
    expect(first.base).toBe(1);
    await f.disconnect(first);
    await f.send();
    f.clock.advance(HOUR_MS - 1);
    const again = await f.open();
    expect(again).toMatchObject({ device: first.device, present: true, subscribed: true, base: 1, head: 2 });
  });

  it('finds it after a restart, also one that was never closed', async () => {
    const f = fixture();
    const phone = await f.connect();
    const tablet = await f.connect({ deviceid: 'tablet' });
    await f.disconnect(tablet);
    await f.reopen();
    expect(await f.open()).toMatchObject({ device: phone.device, present: true, subscribed: true });
    expect(await f.open({ deviceid: 'tablet' })).toMatchObject({ device: tablet.device, present: true });
  });

  it('keeps one that was never closed for its time after a restart, and no longer', async () => {
    const f = fixture();
    const phone = await f.connect();
    await f.crash();
    f.clock.advance(HOUR_MS - 1);
    expect(await f.open()).toMatchObject({ device: phone.device, present: true });
    await f.crash();
    f.clock.advance(HOUR_MS);
    expect(await f.open()).toMatchObject({ present: false });
  });

  it('finds one that another connection has open: the same client again takes over', async () => {
    const f = fixture();
    const first = await f.connect();
    expect(await f.open()).toMatchObject({ device: first.device, present: true, subscribed: true });
  });

  it('takes no close of a connection that another one has followed since', async () => {
    const f = fixture();
    const before = await f.connect();
    await f.reopen();
    const now = await f.open();
    expect(now.incarnation).toBeGreaterThan(before.incarnation);
    const { user, device } = now;
    const close = { user, device, subscribed: false, floor: 0, keepMs: 0, at: f.clock.now() };
    await f.write({ closes: [{ ...close, incarnation: before.incarnation }] });
    expect(await f.open()).toMatchObject({ device, present: true, subscribed: true });
    const last = await f.open();
    await f.write({ closes: [{ ...close, incarnation: last.incarnation }] });
    expect(await f.open()).toMatchObject({ device, present: false, subscribed: false });
  });

  it('tells which sessions were opened anew since', async () => {
    const f = fixture();
    const before = await f.connect();
    const other = await f.connect({ deviceid: 'tablet' });
    expect(await f.store.superseded([])).toEqual(new Set());
    expect(await f.store.superseded([before, other])).toEqual(new Set());
    const now = await f.open();
    expect(await f.store.superseded([before, other])).toEqual(new Set([before.device]));
    expect(await f.store.superseded([now, other])).toEqual(new Set());
  });

  it('finds one that did not subscribe as present and not subscribed', async () => {
    const f = fixture();
    const first = await f.open();
    await f.disconnect(first, { subscribed: false });
    expect(await f.open()).toMatchObject({ present: true, subscribed: false });
  });

  it('forgets on clean', async () => {
    const f = fixture();
    const first = await f.connect();
    const entry = await f.send();
    await f.settle({ kind: 'delivered', user: entry.user, device: first.device, ref: { n: 1 }, sentAt: null });
    await f.disconnect(first, { floor: 1 });
    const again = await f.open({ clean: true });
    expect(again).toMatchObject({ present: false, subscribed: false });
    await f.send();
    const { base } = await f.store.subscribe(again.user, again.device);
    expect(base).toBe(2);
    expect(await f.owed({ ...again, base })).toEqual([2]);
  });

  it('keeps nothing of a session that ended with keepMs 0', async () => {
    const f = fixture();
    await f.disconnect(await f.connect(), { keepMs: 0 });
    expect(await f.open()).toMatchObject({ present: false, subscribed: false, floor: 0 });
  });

  it('forgets at the end of keepMs', async () => {
    const f = fixture();
    await f.disconnect(await f.connect(), { keepMs: MINUTE_MS, floor: 0 });
    f.clock.advance(MINUTE_MS);
    expect(await f.open()).toMatchObject({ present: false, subscribed: false });
  });

  it('counts keepMs from the end of the connection, not from its start', async () => {
    const f = fixture();
    const session = await f.connect({ keepMs: MINUTE_MS });
    f.clock.advance(10 * MINUTE_MS);
    await f.disconnect(session, { keepMs: MINUTE_MS });
    f.clock.advance(MINUTE_MS - 1);
    expect(await f.open()).toMatchObject({ present: true, subscribed: true });
  });

  it('keeps over a crash only a subscription that is to be kept', async () => {
    const f = fixture();
    const session = await f.connect();
    await f.crash();
    expect(await f.open()).toMatchObject({ present: true, subscribed: true });
    await f.store.subscribe(session.user, session.device, false);
    await f.crash();
    expect(await f.open()).toMatchObject({ present: true, subscribed: false });
    await f.store.subscribe(session.user, session.device);
    await f.store.unsubscribe(session.user, session.device);
    await f.crash();
    expect(await f.open()).toMatchObject({ present: true, subscribed: false });
  });

  it('makes a session per (user, device)', async () => {
    const f = fixture();
    const sessions = [await f.open(), await f.open({ deviceid: 'tablet' }), await f.open({ userid: 'ben' })];
    expect(new Set(sessions.map((session) => session.device)).size).toBe(3);
    expect(sessions[0]!.user).toBe(sessions[1]!.user);
    expect(sessions[2]!.user).not.toBe(sessions[0]!.user);
  });

  it('keeps the base of the first subscription', async () => {
    const f = fixture();
    const session = await f.open();
    await f.send();
    expect(await f.store.subscribe(session.user, session.device)).toMatchObject({ base: 1, head: 1, purgedTo: 0 });
    await f.send();
    expect(await f.store.subscribe(session.user, session.device)).toMatchObject({ base: 1, head: 2, purgedTo: 0 });
  });
}

function floorCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true });

  it('remembers the floor a session closed with, and the one told on the way', async () => {
    const f = fixture();
    for (let count = 0; count < 4; count += 1) await f.send();
    const session = await f.connect();
    await acknowledge(f, session, [1, 2]);
    expect((await f.settle({ kind: 'floor', user: session.user, device: session.device, floor: 2 })).outcome).toBe(
      'done',
    );
    await f.reopen();
    expect((await f.open()).floor).toBe(2);
    await acknowledge(f, session, [3]);
    await f.disconnect(session, { floor: 3 });
    expect((await f.open()).floor).toBe(3);
  });

  it('never takes a floor back', async () => {
    const f = fixture();
    for (let count = 0; count < 3; count += 1) await f.send();
    const session = await f.connect();
    await acknowledge(f, session, [1, 2, 3]);
    await f.settle({ kind: 'floor', user: session.user, device: session.device, floor: 3 });
    await f.settle({ kind: 'floor', user: session.user, device: session.device, floor: 1 });
    await f.disconnect(session, { floor: 2 });
    expect((await f.open()).floor).toBe(3);
  });
}

async function acknowledge(f: StoreFixture, session: SessionOpened, numbers: readonly number[]): Promise<void> {
  const { user, device } = session;
  await f.write({
    settlements: numbers.map((n) => f.settlement({ kind: 'delivered', user, device, ref: { n }, sentAt: null })),
  });
}

function owedCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true });

  it('owes a new device what nobody acknowledged, and everything that comes after', async () => {
    const f = fixture();
    for (let count = 0; count < 4; count += 1) await f.send();
    const phone = await f.connect();
    await acknowledge(f, phone, [2, 4]);
    const tablet = await f.connect({ deviceid: 'tablet' });
    expect(await f.owed(tablet)).toEqual([1, 3]);
    await f.send();
    await acknowledge(f, phone, [5]);
    expect(await f.owed(tablet)).toEqual([1, 3, 5]);
    await f.reopen();
    expect(await f.owed(tablet)).toEqual([1, 3, 5]);
  });

  it('owes a device nothing it acknowledged, in whatever order it did', async () => {
    const f = fixture();
    const phone = await f.connect();
    const tablet = await f.connect({ deviceid: 'tablet' });
    for (let count = 0; count < 4; count += 1) await f.send();
    await acknowledge(f, phone, [3, 1]);
    await acknowledge(f, tablet, [3, 4]);
    expect(await f.owed(phone)).toEqual([2, 4]);
    expect(await f.owed(tablet)).toEqual([1, 2]);
    await f.reopen();
    expect(await f.owed(phone)).toEqual([2, 4]);
    expect(await f.owed(tablet)).toEqual([1, 2]);
  });

  it('owes up to the base only what waits: the acknowledgement of any device ends it', async () => {
    const f = fixture();
    await f.send();
    const phone = await f.connect();
    const tablet = await f.connect({ deviceid: 'tablet' });
    expect(await f.owed(tablet)).toEqual([1]);
    await acknowledge(f, phone, [1]);
    expect(await f.owed(tablet)).toEqual([]);
  });

  it('still owes what was only sent', async () => {
    const f = fixture();
    const phone = await f.connect();
    const { user } = await f.send();
    await f.settle({ kind: 'sent', user, device: phone.device, ref: { n: 1 } });
    expect(await f.owed(phone)).toEqual([1]);
  });

  it('owes nothing that failed, expired or was recalled', async () => {
    const f = fixture();
    const phone = await f.connect();
    const entries: LogEntry[] = [];
    for (let count = 0; count < 4; count += 1) entries.push(await f.send());
    const { user } = phone;
    await f.settle({ kind: 'failed', user, ref: { n: 1 }, code: '7513' });
    await f.store.recall(f.tenant.serviceId, tidOf(entries[1]!), f.clock.now());
    await f.settle({ kind: 'expired', user, ref: { n: 3 } });
    const messages = (await f.owed(phone)).filter((n) => n <= 4);
    expect(messages).toEqual([4]);
  });

  it('gives by priority, then number, after a number and no more than asked for', async () => {
    const f = fixture();
    const phone = await f.connect();
    for (const priority of [1, 3, 2, 3, 1, 2, 3] as const) await f.send('ann', { priority });
    expect(await f.owed(phone)).toEqual([2, 4, 7, 3, 6, 1, 5]);
    const { user, device, base } = phone;
    const query = { user, device, base, priority: 3, limit: 2 } as const;
    expect((await f.store.readOwed({ ...query, after: 0 })).map((entry) => entry.n)).toEqual([2, 4]);
    expect((await f.store.readOwed({ ...query, after: 4 })).map((entry) => entry.n)).toEqual([7]);
    expect(await f.store.readOwed({ ...query, after: 7 })).toEqual([]);
  });

  it('owes the state events after the base, once it has them no more', async () => {
    const f = fixture();
    await f.send();
    const phone = await f.connect();
    const tablet = await f.connect({ deviceid: 'tablet' });
    const { user } = phone;
    await f.settle({ kind: 'read', user, device: phone.device, ref: { n: 1 } });
    expect(await f.owed(tablet)).toEqual([2]);
    await acknowledge(f, tablet, [2]);
    expect(await f.owed(tablet)).toEqual([]);
    const watch = await f.connect({ deviceid: 'watch' });
    expect(await f.owed(watch)).toEqual([]);
  });

  it('gives the same entries as readLog', async () => {
    const f = fixture();
    const phone = await f.connect();
    await f.send();
    const { user, device, base } = phone;
    const owed = await f.store.readOwed({ user, device, base, priority: 2, after: 0, limit: 10 });
    expect(owed).toEqual(await f.store.readLog(user, 0, 10));
  });
}

function linkCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true, app: { customerid: 'linked' } });

  it('moves what waits for a customerid to the user at the first link, in one commit', async () => {
    const f = fixture();
    const destinations = [destinationOf(customerid('C-1'))];
    const waiting = [
      ...(await f.accepted({ destinations, priority: 1 })),
      ...(await f.accepted({ destinations, priority: 3 })),
    ];
    await f.send('ann');
    const opened = await f.open({ customerid: 'C-1' });
    expect(opened.entries.map((entry) => [entry.n, entry.priority])).toEqual([
      [2, 1],
      [3, 3],
    ]);
    expect(opened.entries.map(tidOf)).toEqual(waiting.map(tidOf));
    expect(opened.head).toBe(3);
    await f.reopen();
    expect((await f.store.readLog(opened.user, 1, 10)).map(tidOf)).toEqual(waiting.map(tidOf));
    const status = await f.store.requestStatus(f.tenant.serviceId, tidOf(waiting[0]!));
    expect(status!.deliveries).toMatchObject([{ destination: customerid('C-1'), state: STATE.queued, userid: 'ann' }]);
    const device = await f.store.subscribe(opened.user, opened.device);
    expect(await f.owed({ ...opened, base: device.base })).toEqual([3, 1, 2]);
  });

  it('leaves behind what had ended, tells no receipt twice and settles what moved', async () => {
    const f = fixture();
    const destinations = [destinationOf(customerid('C-1'))];
    const soon = await f.accepted({ destinations, expiry: f.clock.now() + MINUTE_MS });
    const later = await f.accepted({ destinations });
    f.clock.advance(MINUTE_MS);
    await f.expireAll();
    const opened = await f.open({ customerid: 'C-1' });
    expect(opened.entries.map(tidOf)).toEqual(later.map(tidOf));
    expect(await f.stateOf(soon[0]!)).toBe(STATE.expired);
    await f.settle({ kind: 'delivered', user: opened.user, device: opened.device, ref: { n: 1 }, sentAt: null });
    expect(await f.stateOf(later[0]!)).toBe(STATE.delivered);
    const works = (await f.takeReceipts()).filter((work) => work.facts?.transid === tidOf(later[0]!));
    expect(works.map((work) => work.kind)).toEqual(['submitted', 'delivered']);
    expect(works[1]!.facts).toMatchObject({ destination: 'C-1', destinationType: 'customerid', deviceid: 'phone' });
    expect((await f.store.counts(f.clock.now())).waiting).toBe(0);
  });

  it('finds what moved by its tid: settling, recall, expiry and links go on', async () => {
    const f = fixture();
    const { serviceId } = f.tenant;
    const url = 'https://example.com/';
    const destinations = [destinationOf(customerid('C-1'))];
    const links = [{ linkid: '17', url, expiresAt: f.clock.now() + HOUR_MS }];
    const tids: string[] = [];
    for (let count = 0; count < 4; count += 1) {
      const [entry] = await f.accepted({ destinations, links, expiry: f.clock.now() + HOUR_MS });
      tids.push(tidOf(entry!));
    }
    const { user, entries } = await f.open({ customerid: 'C-1' });
    await f.settle({ kind: 'read', user, ref: { tid: tids[0]! } });
    expect(await f.store.recall(serviceId, tids[1]!, f.clock.now())).toMatchObject([{ outcome: 'recalled' }]);
    await f.store.visitLink(entries[2]!.message!.links!['17']!, { now: f.clock.now(), count: true });
    f.clock.advance(HOUR_MS);
    expect(await f.expireAll()).toBe(1);
    const states: number[] = [];
    for (const tid of tids) states.push((await f.store.requestStatus(serviceId, tid))!.deliveries[0]!.state);
    expect(states).toEqual([STATE.read, STATE.recalled, STATE.delivered, STATE.expired]);
    const works = await f.takeReceipts();
    const told = tids.map((tid) => works.filter((work) => work.facts!.transid === tid).map((work) => work.kind));
    expect(told).toEqual([
      ['submitted', 'delivered', 'read'],
      ['submitted'],
      ['submitted', 'delivered', 'clicked'],
      ['submitted', 'expired'],
    ]);
    expect((await f.store.counts(f.clock.now())).waiting).toBe(0);
  });

  it('goes straight to the user once linked, and links once', async () => {
    const f = fixture();
    const first = await f.open({ customerid: 'C-1' });
    const entries = await f.accepted({ destinations: [destinationOf(customerid('C-1'))] });
    expect(entries).toMatchObject([{ user: first.user, n: 1 }]);
    expect((await f.open({ customerid: 'C-1' })).entries).toEqual([]);
    expect(await f.store.getProfile(f.tenant.appId, 'ann')).toMatchObject({ customerid: 'C-1' });
  });

  it('does not take the userid for a customerid', async () => {
    const f = fixture();
    await f.open();
    const entries = await f.accepted({ destinations: [destinationOf(customerid('ann'))] });
    expect(entries[0]!.user).not.toBe(await f.userOf('ann'));
  });

  it('knows a msisdn from a token', async () => {
    const f = fixture();
    const opened = await f.open({ msisdn: '+4915112345678' });
    const entries = await f.accepted({ destinations: [destinationOf(msisdn('+4915112345678'))] });
    expect(entries).toMatchObject([{ user: opened.user, n: 1 }]);
  });

  it('opens and accepts in one batch: the message finds the link', async () => {
    const f = fixture();
    const opens = [{ ...sessionOf(f), customerid: 'C-9' }];
    const result = await f.write({ opens, accepts: [f.unit({ destinations: [destinationOf(customerid('C-9'))] })] });
    expect(result.accepts[0]).toMatchObject({ entries: [{ user: result.opens[0]!.user, n: 1 }] });
  });
}

function sessionOf(f: StoreFixture) {
  const { appId } = f.tenant;
  return { appId, userid: 'ann', msisdn: null, deviceid: 'phone', clean: false, keepMs: HOUR_MS, at: f.clock.now() };
}
