import { describe, expect, it } from 'vitest';
import type { Thread } from '../../src/core/model.ts';
import { customerid, DAY_MS, destinationOf, HOUR_MS, msisdn, userid } from '../support/builders.ts';
import { seedTenant } from '../support/seed.ts';
import { ascending, type MakeStore, STATE, type StoreFixture, tidOf, useStore } from './store-fixture.ts';
import { reply } from './store-settle.ts';

/** Threads and profiles. Contract §2.11, §4 "linked". */
export function storePeopleSuite(makeStore: MakeStore): void {
  describe('threads: chosen by a request', () => {
    choiceCases(makeStore);
  });
  describe('threads: the API', () => {
    threadCases(makeStore);
  });
  describe('profiles', () => {
    profileCases(makeStore);
  });
}

function newThread(
  f: StoreFixture,
  id: string,
  overrides: Partial<Thread> = {},
): Omit<Thread, 'createdAt' | 'updatedAt'> {
  const { appId, serviceId } = f.tenant;
  const { createdAt: _created, updatedAt: _updated, ...rest } = overrides;
  return {
    id,
    appId,
    type: 'Conversation',
    title: `thread ${id}`,
    category: null,
    externalid: null,
    status: 'Active',
    extras: {},
    serviceId,
    ...rest,
  };
}

function choiceCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true });

  it("uses the user's own open thread of that type and title, or makes it", async () => {
    const f = fixture();
    const first = await f.send();
    await f.reopen();
    const same = await f.send();
    const otherTitle = await f.send('ann', { thread: { type: 'Conversation', title: 'Other' } });
    const otherType = await f.send('ann', { thread: { type: 'Announcement', title: 'Orders' } });
    const otherUser = await f.send('ben');
    const ids = [first, otherTitle, otherType, otherUser].map((entry) => entry.message!.thread.id);
    expect(same.message!.thread).toEqual(first.message!.thread);
    expect(new Set(ids).size).toBe(4);
    expect(first.message!.thread).toMatchObject({ title: 'Orders', type: 'Conversation' });
    expect(await f.store.getThread(f.tenant.appId, ids[0]!)).toMatchObject({
      status: 'Active',
      serviceId: f.tenant.serviceId,
    });
  });

  it('makes another one where the own one is closed', async () => {
    const f = fixture();
    const { appId } = f.tenant;
    const first = await f.send();
    const id = first.message!.thread.id;
    await f.store.updateThread(appId, id, { status: 'Closed' }, f.clock.now());
    const second = await f.send();
    expect(second.message!.thread.id).not.toBe(id);
    expect((await f.send()).message!.thread.id).toBe(second.message!.thread.id);
  });

  it('makes one thread for two messages of one batch', async () => {
    const f = fixture();
    const result = await f.write({ accepts: [f.unit(), f.unit()] });
    const entries = result.accepts.flatMap((accept) => (accept.kind === 'accepted' ? accept.entries : []));
    expect(new Set(entries.map((entry) => entry.message!.thread.id)).size).toBe(1);
  });

  it('sends on any open thread of the app by its id, and links the recipient to it', async () => {
    const f = fixture();
    const { appId } = f.tenant;
    await f.store.createThread(newThread(f, 't-1', { title: 'News' }), f.clock.now());
    for (const name of ['ann', 'ben']) {
      const entry = await f.send(name, { thread: { id: 't-1' } });
      expect(entry.message!.thread).toMatchObject({ id: 't-1', title: 'News', type: 'Conversation' });
      const linked = await f.store.listThreads({ appId, user: entry.user, start: 0, limit: 10 });
      expect(linked.threads.map((thread) => thread.id)).toEqual(['t-1']);
    }
  });
}

function threadCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true });

  it('makes and tells a thread, within its app', async () => {
    const f = fixture();
    const other = await seedTenant(f.store, { name: 'globex' });
    const thread = newThread(f, 't-1', { category: 'c', externalid: 'x', extras: { a: [1] } });
    const now = f.clock.now();
    const made = await f.store.createThread(thread, now);
    expect(made).toEqual({ ...thread, createdAt: now, updatedAt: now });
    await f.reopen();
    expect(await f.store.getThread(f.tenant.appId, 't-1')).toEqual(made);
    expect(await f.store.getThread(other.appId, 't-1')).toBeNull();
    expect(await f.store.getThread(f.tenant.appId, 'nowhere')).toBeNull();
  });

  it('lists the threads of an app and of a user in pages', async () => {
    const f = fixture();
    const { appId } = f.tenant;
    for (const id of ['a', 'b', 'c']) await f.store.createThread(newThread(f, id), f.clock.now());
    const { user } = await f.send('ann', { thread: { id: 'b' } });
    const all = await f.store.listThreads({ appId, user: null, start: 0, limit: 2 });
    const rest = await f.store.listThreads({ appId, user: null, start: 2, limit: 2 });
    expect([all.total, all.threads.length, rest.threads.length]).toEqual([3, 2, 1]);
    expect([...all.threads, ...rest.threads].map((thread) => thread.id).toSorted()).toEqual(['a', 'b', 'c']);
    const own = await f.store.listThreads({ appId, user, start: 0, limit: 10 });
    expect([own.total, own.threads.map((thread) => thread.id)]).toEqual([1, ['b']]);
  });

  it("changes a thread and tells the linked users' devices", async () => {
    const f = fixture();
    const { appId } = f.tenant;
    await f.store.createThread(newThread(f, 't-1', { extras: { old: true } }), f.clock.now());
    const users = [await f.send('ann', { thread: { id: 't-1' } }), await f.send('ben', { thread: { id: 't-1' } })];
    await f.send('cyd');
    f.clock.advance(1_000);
    const patch = { title: 'New', category: 'c', externalid: 'x', status: 'Closed', extras: { a: 1 } } as const;
    const updated = await f.store.updateThread(appId, 't-1', patch, f.clock.now());
    expect(updated!.thread).toMatchObject({ ...patch, id: 't-1', updatedAt: f.clock.now() });
    expect(updated!.thread.createdAt).toBe(f.clock.now() - 1_000);
    expect(updated!.entries.map((entry) => entry.user).toSorted(ascending)).toEqual(
      users.map((entry) => entry.user).toSorted(ascending),
    );
    for (const entry of updated!.entries) {
      expect(entry).toMatchObject({ n: 2, message: null, event: { type: 'thread' } });
      expect(entry.event!['thread']).toMatchObject({ id: 't-1', title: 'New', type: 'Conversation', status: 'Closed' });
      expect(await f.store.readLog(entry.user, 1, 10)).toEqual([entry]);
    }
    expect(await f.store.getThread(appId, 't-1')).toEqual(updated!.thread);
  });

  it('leaves alone what the patch does not name; null takes away', async () => {
    const f = fixture();
    const { appId } = f.tenant;
    await f.store.createThread(newThread(f, 't-1', { category: 'c', externalid: 'x' }), f.clock.now());
    const updated = await f.store.updateThread(appId, 't-1', { category: null }, f.clock.now());
    expect(updated!.thread).toMatchObject({ title: 'thread t-1', category: null, externalid: 'x', status: 'Active' });
  });

  it('changes no thread of another app', async () => {
    const f = fixture();
    const other = await seedTenant(f.store, { name: 'globex' });
    await f.store.createThread(newThread(f, 't-1'), f.clock.now());
    expect(await f.store.updateThread(other.appId, 't-1', { title: 'x' }, f.clock.now())).toBeNull();
    expect(await f.store.updateThread(f.tenant.appId, 'nowhere', { title: 'x' }, f.clock.now())).toBeNull();
    expect(await f.store.getThread(f.tenant.appId, 't-1')).toMatchObject({ title: 'thread t-1' });
  });

  it('opens a closed thread again', async () => {
    const f = fixture();
    const { appId } = f.tenant;
    await f.store.createThread(newThread(f, 't-1', { status: 'Closed' }), f.clock.now());
    await f.store.updateThread(appId, 't-1', { status: 'Active' }, f.clock.now());
    expect((await f.send('ann', { thread: { id: 't-1' } })).message!.thread.id).toBe('t-1');
  });

  it("tells a user's messages of a thread, the replies among them", async () => {
    const f = fixture();
    const first = await f.send();
    const threadId = first.message!.thread.id;
    const { user } = first;
    f.clock.advance(10);
    await f.settle({ kind: 'delivered', user, ref: { n: 1 }, sentAt: null });
    f.clock.advance(10);
    await f.settle({ kind: 'read', user, ref: { n: 1 } });
    f.clock.advance(10);
    await f.settle({ kind: 'inbound', user, once: 'r', threadId, event: reply(f, threadId, 'Where?', 'R-7') });
    f.clock.advance(10);
    const second = await f.send();
    await f.send('ann', { thread: { type: 'Conversation', title: 'Other' } });
    const page = await f.store.threadMessages({ user, threadId, start: 0, limit: 10 });
    expect(page.total).toBe(3);
    const byTid = new Map(page.messages.map((message) => [message.tid, message]));
    const start = f.clock.now() - 40;
    expect(byTid.get(tidOf(first))).toMatchObject({
      n: 1,
      createdAt: start,
      deliveredAt: start + 10,
      readAt: start + 20,
      fromUser: false,
      state: STATE.read,
      content: first.message!.content.content,
    });
    expect(byTid.get(tidOf(second))).toMatchObject({ deliveredAt: null, readAt: null, state: STATE.queued });
    const answered = byTid.get('R-7');
    expect(answered).toMatchObject({ n: null, state: null, fromUser: true, createdAt: start + 30 });
    expect(JSON.parse(answered!.content)).toMatchObject({ message: 'Where?' });
    const cut = await f.store.threadMessages({ user, threadId, start: 1, limit: 1 });
    expect([cut.total, cut.messages]).toEqual([3, [page.messages[1]]]);
  });

  it("tells nobody another user's messages of a thread they share", async () => {
    const f = fixture();
    await f.store.createThread(newThread(f, 't-1'), f.clock.now());
    await f.send('ann', { thread: { id: 't-1' } });
    const ben = await f.send('ben', { thread: { id: 't-1' } });
    const page = await f.store.threadMessages({ user: ben.user, threadId: 't-1', start: 0, limit: 10 });
    expect(page.messages.map((message) => message.tid)).toEqual([tidOf(ben)]);
    const none = await f.store.threadMessages({ user: ben.user, threadId: 'nowhere', start: 0, limit: 10 });
    expect(none).toEqual({ total: 0, messages: [] });
  });
}

function profileCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true, app: { customerid: 'linked' } });
  const put = (f: StoreFixture, name: string, keys: { customerid?: string; msisdn?: string } = {}) =>
    f.store.putProfile(
      { appId: f.tenant.appId, userid: name, customerid: keys.customerid ?? null, msisdn: keys.msisdn ?? null },
      f.clock.now(),
    );

  it('makes, changes and tells a profile', async () => {
    const f = fixture();
    const createdAt = f.clock.now();
    expect(await put(f, 'ann', { customerid: 'C-1', msisdn: '+4915112345678' })).toEqual({ kind: 'ok', entries: [] });
    await f.reopen();
    const ann = { appId: f.tenant.appId, userid: 'ann', customerid: 'C-1', msisdn: '+4915112345678', createdAt };
    expect(await f.store.getProfile(f.tenant.appId, 'ann')).toEqual(ann);
    expect(await f.store.getProfile(f.tenant.appId, 'ben')).toBeNull();
    expect(await f.store.getProfile('other', 'ann')).toBeNull();
    f.clock.advance(DAY_MS);
    await put(f, 'ann', { customerid: 'C-2' });
    const changed = await f.store.getProfile(f.tenant.appId, 'ann');
    expect(changed).toEqual({ ...ann, customerid: 'C-2', msisdn: null });
  });

  it('gives a customerid or a msisdn to one user only', async () => {
    const f = fixture();
    await put(f, 'ann', { customerid: 'C-1', msisdn: '+49151' });
    expect(await put(f, 'ben', { customerid: 'C-1' })).toEqual({ kind: 'taken', field: 'customerid' });
    expect(await put(f, 'ben', { msisdn: '+49151' })).toEqual({ kind: 'taken', field: 'msisdn' });
    expect(await f.store.getProfile(f.tenant.appId, 'ann')).toMatchObject({ customerid: 'C-1', msisdn: '+49151' });
    await put(f, 'ann');
    expect((await put(f, 'ben', { customerid: 'C-1', msisdn: '+49151' })).kind).toBe('ok');
  });

  it('holds them per app', async () => {
    const f = fixture();
    const other = await seedTenant(f.store, { name: 'globex', app: { customerid: 'linked' } });
    await put(f, 'ann', { customerid: 'C-1', msisdn: '+49151' });
    const theirs = { appId: other.appId, userid: 'ann', customerid: 'C-1', msisdn: '+49151' };
    expect((await f.store.putProfile(theirs, f.clock.now())).kind).toBe('ok');
  });

  it('moves what waits for the customerid', async () => {
    const f = fixture();
    const waiting = await f.accepted({ destinations: [destinationOf(customerid('C-1'))] });
    await f.send('ann');
    const result = await put(f, 'ann', { customerid: 'C-1' });
    if (result.kind !== 'ok') throw new Error('expected ok');
    expect(result.entries.map((entry) => [entry.n, tidOf(entry)])).toEqual([[2, tidOf(waiting[0]!)]]);
    expect(await f.store.readLog(await f.userOf('ann'), 1, 10)).toEqual(result.entries);
  });

  it('takes the customerid for a note where it is the userid', async () => {
    const f = fixture();
    const same = await seedTenant(f.store, { name: 'globex', app: { customerid: 'same' } });
    const { clientId, serviceId, appId } = same;
    await f.store.putProfile({ appId, userid: 'ann', customerid: 'C-1', msisdn: null }, f.clock.now());
    const destinations = [destinationOf(customerid('C-1')), destinationOf(customerid('ann'))];
    const entries = await f.accepted({ clientId, serviceId, appId, destinations });
    const ann = await f.userOf('ann', appId);
    expect(entries.map((entry) => entry.user === ann)).toEqual([false, true]);
  });

  it('finds a user by msisdn once the profile has it', async () => {
    const f = fixture();
    await put(f, 'ann', { msisdn: '+49151' });
    const entries = await f.accepted({ destinations: [destinationOf(msisdn('+49151'))] });
    expect(entries).toMatchObject([{ user: await f.userOf('ann'), n: 1 }]);
  });

  it('follows a msisdn and a customerid that go from one user to another', async () => {
    const f = fixture();
    const destinations = [destinationOf(msisdn('+49151')), destinationOf(customerid('C-1'))];
    const recipients = async () => (await f.accepted({ destinations })).map((entry) => entry.user);
    await put(f, 'ann', { customerid: 'C-1', msisdn: '+49151' });
    const ann = await f.userOf('ann');
    expect(await recipients()).toEqual([ann, ann]);
    await put(f, 'ann');
    await put(f, 'ben', { customerid: 'C-1', msisdn: '+49151' });
    const ben = await f.userOf('ben');
    expect(await recipients()).toEqual([ben, ben]);
    expect(await f.store.deleteProfile(f.tenant.appId, 'ben', f.clock.now())).toBe(true);
    const later = await recipients();
    expect(later).toHaveLength(1);
    expect([ann, ben]).not.toContain(later[0]);
  });

  it('lists the profiles of an app in pages, each once', async () => {
    const f = fixture();
    const other = await seedTenant(f.store, { name: 'globex' });
    const names = ['dan', 'ann', 'cyd', 'ben', 'eve'];
    for (const name of names) await put(f, name);
    await f.store.putProfile({ appId: other.appId, userid: 'zoe', customerid: null, msisdn: null }, f.clock.now());
    const listed: string[] = [];
    let cursor: string | null = null;
    do {
      const page = await f.store.listProfiles(f.tenant.appId, cursor, 2);
      expect(page.items.length).toBeLessThanOrEqual(2);
      listed.push(...page.items.map((profile) => profile.userid));
      cursor = page.next;
    } while (cursor !== null);
    expect(listed.toSorted()).toEqual(names.toSorted());
  });

  it('leaves a person erased after a crash, while others of the same request still wait', async () => {
    const f = fixture();
    const [ann] = await f.accepted({ destinations: [destinationOf(userid('ann')), destinationOf(userid('ben'))] });
    expect(await f.store.deleteProfile(f.tenant.appId, 'ann', f.clock.now())).toBe(true);
    await f.crash();
    expect(await f.store.readLog(ann!.user, 0, 10)).toEqual([]);
    expect((await f.store.counts(f.clock.now())).waiting).toBe(1);
    expect(await f.store.head(ann!.user)).toBe(ann!.n);
    expect(await f.store.heads([ann!.user])).toEqual(new Map());
  });

  it('erases a person: profile, log and devices, and frees the keys', async () => {
    const f = fixture();
    const { appId, serviceId } = f.tenant;
    await put(f, 'ann', { customerid: 'C-1', msisdn: '+49151' });
    const entry = await f.send('ann');
    await f.connect({ keepMs: HOUR_MS });
    expect(await f.store.deleteProfile(appId, 'ann', f.clock.now())).toBe(true);
    expect(await f.store.deleteProfile(appId, 'ann', f.clock.now())).toBe(false);
    expect(await f.store.findUser(appId, 'ann')).toBeNull();
    expect(await f.store.heads([entry.user])).toEqual(new Map());
    await f.reopen();
    expect(await f.store.getProfile(appId, 'ann')).toBeNull();
    expect(await f.store.findUser(appId, 'ann')).toBeNull();
    expect(await f.store.readLog(entry.user, 0, 10)).toEqual([]);
    const late = await f.settle({ kind: 'delivered', user: entry.user, ref: { n: entry.n }, sentAt: null });
    expect(late.outcome).toBe('unknown');
    expect((await f.store.counts(f.clock.now())).waiting).toBe(0);
    const status = await f.store.requestStatus(serviceId, tidOf(entry));
    expect(JSON.stringify(status?.deliveries.map((delivery) => delivery.userid) ?? null)).not.toContain('ann');
    expect((await put(f, 'ben', { customerid: 'C-1', msisdn: '+49151' })).kind).toBe('ok');
    const again = await f.open();
    expect(again).toMatchObject({ present: false });
    expect(await f.store.readLog(again.user, 0, 10)).toEqual([]);
  });
}
