import type { InboundMessage } from '@carillon/protocol/inbound.ts';
import { describe, expect, it } from 'vitest';
import { canMove, STATE, type StateName, stateName } from '../../src/core/delivery-state.ts';
import type { LogEntry, MessageRef } from '../../src/core/ports.ts';
import { destinationOf, HOUR_MS, makeSession, MINUTE_MS, userid } from '../support/builders.ts';
import { type Fact, kindsOf, type MakeStore, type StoreFixture, tidOf, useStore } from './store-fixture.ts';

/** Settling: every kind from every state, once, unknown references, what is told to devices and to the sender. */
export function storeSettleSuite(makeStore: MakeStore): void {
  describe('settle: states', () => {
    stateCases(makeStore);
  });
  describe('settle: references', () => {
    referenceCases(makeStore);
  });
  describe('settle: facts', () => {
    factCases(makeStore);
  });
  describe('settle: inbound', () => {
    inboundCases(makeStore);
  });
}

type MovingKind = 'sent' | 'delivered' | 'read' | 'failed' | 'expired';
const MOVING: readonly MovingKind[] = ['sent', 'delivered', 'read', 'failed', 'expired'];
const REACHABLE: readonly StateName[] = ['queued', 'sent', 'delivered', 'read', 'failed', 'expired', 'recalled'];

function moveTo(kind: MovingKind, entry: LogEntry): Fact {
  const common = { user: entry.user, ref: { n: entry.n } };
  if (kind === 'delivered') return { kind, ...common, sentAt: null };
  if (kind === 'failed') return { kind, ...common, code: '7513' };
  return { kind, ...common };
}

/** Brings a new message into a state by the ways the port has. */
async function bringTo(f: StoreFixture, state: StateName): Promise<LogEntry> {
  const entry = await f.send();
  if (state === 'queued') return entry;
  if (state === 'recalled') {
    await f.store.recall(f.tenant.serviceId, tidOf(entry), f.clock.now());
    return entry;
  }
  if (state === 'moved') throw new Error('moved is reached by linking a customerid');
  if (state === 'expired') f.clock.advance(25 * HOUR_MS);
  const result = await f.settle(moveTo(state, entry));
  expect(result.outcome).toBe('done');
  return entry;
}

function stateCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore);

  for (const from of REACHABLE) {
    for (const kind of MOVING) {
      const allowed = canMove(from, kind);
      // A second device may still acknowledge what another one has: done or stale, the state stays (see sessions).
      const outcome = from === kind && kind === 'delivered' ? ['done', 'stale'] : [allowed ? 'done' : 'stale'];
      it(`${kind} ${allowed ? 'moves' : 'leaves'} a message that is ${from}`, async () => {
        const f = fixture();
        const entry = await bringTo(f, from);
        await f.takeReceipts();
        if (kind === 'expired') f.clock.advance(25 * HOUR_MS);
        const result = await f.settle(moveTo(kind, entry));
        const state = await f.stateOf(entry);
        expect({ outcome: result.outcome, state: stateName(state) }).toEqual({
          outcome: expect.toBeOneOf(outcome),
          state: allowed ? kind : from,
        });
        const receipts = kindsOf(await f.takeReceipts());
        expect(receipts).toEqual(allowed ? receiptsOf(from, kind) : []);
      });
    }
  }

  it('applies the settlements of one batch in their order', async () => {
    const f = fixture();
    const entry = await f.send();
    const batch = (['sent', 'expired', 'delivered'] as const).map((kind) => f.settlement(moveTo(kind, entry)));
    const result = await f.write({ settlements: batch });
    expect(result.settlements.map((settled) => settled.outcome)).toEqual(['done', 'done', 'stale']);
    expect(await f.stateOf(entry)).toBe(STATE.expired);
  });

  it('lets a session that is opened find what the one before it acknowledged and closed in the same batch', async () => {
    const f = fixture();
    const phone = await f.connect();
    const entry = await f.send();
    const { user, device } = phone;
    const at = f.clock.now();
    const result = await f.write({
      opens: [makeSession({ at })],
      settlements: [f.settlement({ kind: 'delivered', user, device, ref: { n: entry.n }, sentAt: null })],
      closes: [{ user, device, subscribed: true, floor: entry.n, keepMs: HOUR_MS, at }],
    });
    const [opened] = result.opens;
    expect(opened).toMatchObject({ device, present: true, subscribed: true, floor: entry.n });
    expect(await f.owed(opened!)).toEqual([]);
  });

  it('shows the code of a failure in the status', async () => {
    const f = fixture();
    const entry = await f.send();
    await f.settle(moveTo('failed', entry));
    const status = await f.store.requestStatus(f.tenant.serviceId, tidOf(entry));
    expect(status?.deliveries).toMatchObject([{ state: STATE.failed, code: '7513' }]);
  });
}

/** What the sender is told of an allowed move. Contract §3. */
function receiptsOf(from: StateName, kind: MovingKind): string[] {
  if (kind === 'sent') return [];
  if (kind === 'read' && from !== 'delivered') return ['delivered', 'read'];
  return [kind];
}

function referenceCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore);
  const refs: readonly [string, MessageRef][] = [
    ['a number beyond the head', { n: 99 }],
    ['number 0', { n: 0 }],
    ['a tid of no request', { tid: '01890a5d-ac96-774b-bcce-b302099a8000' }],
    ['a tid that is none', { tid: 'R-17; DROP TABLE log' }],
    ['an empty tid', { tid: '' }],
  ];

  for (const [words, ref] of refs) {
    it(`knows no message by ${words}`, async () => {
      const f = fixture();
      const { user } = await f.send();
      expect(await f.settle({ kind: 'read', user, ref })).toEqual({ outcome: 'unknown', entries: [] });
      expect(await f.settle({ kind: 'sent', user, ref })).toEqual({ outcome: 'unknown', entries: [] });
    });
  }

  it('takes a tid in any letter case', async () => {
    const f = fixture();
    const entry = await f.send();
    const ref = { tid: tidOf(entry).toUpperCase() };
    expect((await f.settle({ kind: 'delivered', user: entry.user, ref, sentAt: null })).outcome).toBe('done');
    expect(await f.stateOf(entry)).toBe(STATE.delivered);
  });

  it("takes no tid of another user's message", async () => {
    const f = fixture();
    const ann = await f.send('ann');
    const ben = await f.send('ben');
    const result = await f.settle({ kind: 'read', user: ben.user, ref: { tid: tidOf(ann) } });
    expect(result).toEqual({ outcome: 'unknown', entries: [] });
    expect(await f.stateOf(ann)).toBe(STATE.queued);
    expect(await f.stateOf(ben)).toBe(STATE.queued);
  });

  it("finds each user's own message by the tid they share", async () => {
    const f = fixture();
    await f.send('ben');
    const entries = await f.accepted({ destinations: [destinationOf(userid('ann'), userid('ben'))] });
    const [ann, ben] = [entries[0]!, entries[1]!];
    await f.settle({ kind: 'read', user: ben.user, ref: { tid: tidOf(ben) } });
    const status = await f.store.requestStatus(f.tenant.serviceId, tidOf(ann));
    expect(status!.deliveries.map((delivery) => delivery.state)).toEqual([STATE.queued, STATE.read]);
  });

  it('does not take the number of an event for a message', async () => {
    const f = fixture();
    const entry = await f.send();
    const read = await f.settle({ kind: 'read', user: entry.user, ref: { n: 1 } });
    const event = read.entries[0]!;
    const result = await f.settle({ kind: 'failed', user: entry.user, ref: { n: event.n }, code: '7513' });
    expect(result).toEqual({ outcome: 'unknown', entries: [] });
  });
}

function factCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore);

  it('tells the other devices of a read, numbered after the message', async () => {
    const f = fixture();
    const entry = await f.send();
    const phone = await f.connect();
    const result = await f.settle({ kind: 'read', user: entry.user, device: phone.device, ref: { tid: tidOf(entry) } });
    expect(result.entries).toHaveLength(1);
    expect(result.entries[0]).toMatchObject({ n: 2, message: null, event: { type: 'read', tids: [tidOf(entry)] } });
    expect(result.entries[0]!.event).not.toHaveProperty('seq');
    expect(await f.store.readLog(entry.user, 1, 10)).toEqual(result.entries);
    const again = await f.settle({ kind: 'read', user: entry.user, ref: { tid: tidOf(entry) } });
    expect(again).toEqual({ outcome: 'stale', entries: [] });
    expect(await f.store.head(entry.user)).toBe(2);
  });

  it('tells the other devices and the sender of a click, once per id', async () => {
    const f = fixture();
    const entry = await f.send();
    await f.settle({ kind: 'delivered', user: entry.user, ref: { n: 1 }, sentAt: null });
    await f.takeReceipts();
    const ref = { tid: tidOf(entry) };
    const click = {
      kind: 'clicked',
      user: entry.user,
      ref,
      once: 'e-1',
      identifier: '1',
      url: 'https://a.example',
    } as const;
    const result = await f.settle(click);
    expect(result.outcome).toBe('done');
    expect(result.entries[0]?.event).toMatchObject({ type: 'clicked', tid: tidOf(entry), url: 'https://a.example' });
    expect(await f.settle(click)).toEqual({ outcome: 'stale', entries: [] });
    const works = (await f.takeReceipts()).filter((work) => work.kind === 'clicked');
    expect(works).toHaveLength(1);
    expect(works[0]!.facts).toMatchObject({ identifier: '1', url: 'https://a.example', transid: tidOf(entry) });
    expect(JSON.parse(works[0]!.facts!.content!)).toMatchObject({ message: 'Hello' });
  });

  it('holds the id of an event per user', async () => {
    const f = fixture();
    for (const name of ['ann', 'ben']) {
      const entry = await f.send(name);
      const click = { kind: 'clicked', ref: { n: 1 }, once: 'e-1', identifier: null, url: null } as const;
      expect((await f.settle({ ...click, user: entry.user })).outcome).toBe('done');
    }
  });

  it('tells the sender of a pressed button although the message was read before, once per id', async () => {
    const f = fixture();
    const entry = await f.send();
    await f.settle({ kind: 'read', user: entry.user, ref: { n: 1 } });
    await f.takeReceipts();
    const press = {
      kind: 'pressed',
      user: entry.user,
      ref: { n: 1 },
      once: 'p-1',
      identifier: 'YES',
      text: 'Sure',
    } as const;
    expect((await f.settle(press)).outcome).toBe('done');
    expect((await f.settle(press)).outcome).toBe('stale');
    const works = await f.takeReceipts();
    expect(kindsOf(works).toSorted()).toEqual(['postback', 'pressed']);
    expect(new Set(works.map((work) => work.id)).size).toBe(2);
    for (const work of works) {
      expect(work.facts).toMatchObject({ identifier: 'YES', text: 'Sure', transid: tidOf(entry), userid: 'ann' });
      expect(JSON.parse(work.facts!.content!)).toMatchObject({ message: 'Hello' });
    }
  });

  it('presses before anything else came: the sender hears of the delivery first', async () => {
    const f = fixture();
    const entry = await f.send();
    await f.settle({ kind: 'pressed', user: entry.user, ref: { n: 1 }, once: null, identifier: 'NO', text: null });
    const kinds = kindsOf(await f.takeReceipts());
    expect(kinds.slice(0, 2)).toEqual(['submitted', 'delivered']);
    expect(kinds).toContain('pressed');
    expect(await f.stateOf(entry)).toBe(STATE.read);
  });

  for (const kind of ['displayed', 'dismissed'] as const) {
    it(`keeps ${kind} among the steps and tells nobody`, async () => {
      const f = fixture();
      const entry = await f.send();
      const phone = await f.connect();
      const { user } = entry;
      await f.settle({ kind: 'delivered', user, device: phone.device, ref: { n: 1 }, sentAt: null });
      await f.takeReceipts();
      const fact = { kind, user, device: phone.device, ref: { n: 1 }, once: 'd-1' } as const;
      expect((await f.settle(fact)).outcome).toBe('done');
      expect((await f.settle(fact)).outcome).toBe('stale');
      expect(await f.takeReceipts()).toEqual([]);
      const status = await f.store.requestStatus(f.tenant.serviceId, tidOf(entry));
      const steps = status!.deliveries[0]!.steps.filter((step) => step.step === kind);
      expect(steps).toMatchObject([{ at: f.clock.now(), deviceid: 'phone' }]);
    });
  }

  it("names the first device that took it in the receipt; a second one's adds none", async () => {
    const f = fixture();
    const entry = await f.send();
    const phone = await f.connect();
    const tablet = await f.connect({ deviceid: 'tablet' });
    for (const { device } of [phone, tablet]) {
      f.clock.advance(MINUTE_MS);
      await f.settle({ kind: 'delivered', user: entry.user, device, ref: { n: 1 }, sentAt: f.clock.now() - 5 });
    }
    const works = await f.takeReceipts();
    expect(kindsOf(works)).toEqual(['submitted', 'delivered']);
    expect(works[0]!.facts!.deviceid).toBe('');
    expect(works[1]!.facts!.deviceid).toBe('phone');
    expect(works[1]!.at).toBe(f.clock.now() - MINUTE_MS);
  });

  it('tells the code of a failure', async () => {
    const f = fixture();
    const entry = await f.send();
    await f.settle({ kind: 'failed', user: entry.user, ref: { n: 1 }, code: '7513' });
    const works = await f.takeReceipts();
    expect(works.map((work) => [work.kind, work.facts!.code])).toEqual([
      ['submitted', ''],
      ['failed', '7513'],
    ]);
  });
}

function inboundCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore);

  it('carries a reply to the service of the thread, once per id', async () => {
    const f = fixture();
    const entry = await f.send();
    await f.takeReceipts();
    const threadId = entry.message!.thread.id;
    const event = reply(f, threadId);
    const fact = { kind: 'inbound', user: entry.user, once: 'r-1', threadId, event } as const;
    expect((await f.settle(fact)).outcome).toBe('done');
    expect((await f.settle(fact)).outcome).toBe('stale');
    const works = await f.takeReceipts();
    const inbound = { ...event, thread_id: threadId, thread_title: 'Orders', thread: expect.any(String) };
    expect(works).toMatchObject([{ kind: 'inbound', serviceId: f.tenant.serviceId, inbound, facts: null, url: null }]);
    const told = works[0]!.inbound as InboundMessage;
    expect(JSON.parse(told.thread)).toMatchObject({
      id: threadId,
      title: 'Orders',
      type: 'Conversation',
      status: 'Active',
    });
  });

  it('knows no thread of another user', async () => {
    const f = fixture();
    const ann = await f.send('ann');
    const ben = await f.send('ben');
    const threadId = ann.message!.thread.id;
    const fact = { kind: 'inbound', user: ben.user, once: null, event: reply(f, threadId) } as const;
    expect((await f.settle({ ...fact, threadId })).outcome).toBe('unknown');
    expect((await f.settle({ ...fact, threadId: 'nowhere' })).outcome).toBe('unknown');
  });
}

/** A message of a user as the gateway makes it. */
export function reply(f: StoreFixture, threadId: string, message = 'Where is it?', tid = 'R-1') {
  const at = new Date(f.clock.now()).toISOString();
  return {
    userId: 'ann',
    channel: 'Rtm',
    appId: f.tenant.appId,
    ts: at,
    timeStamp: at,
    tid,
    clientId: `${f.tenant.appId}/ann/phone`,
    thread_id: threadId,
    thread_title: 'Orders',
    thread: '{}',
    event: 'MO',
    message,
    attachments: '',
    replyTo: '',
    extras: {},
  } as const;
}
