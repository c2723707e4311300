import { describe, expect, it } from 'vitest';
import type { Template } from '../../src/core/model.ts';
import type { Page } from '../../src/core/ports.ts';
import { START_MS } from '../support/builders.ts';
import { seedTenant } from '../support/seed.ts';
import { ascending, type MakeStore, tidOf, useStore } from './store-fixture.ts';

/** Provisioning, numbers, epoch, backup. */
export function storeHouseSuite(makeStore: MakeStore): void {
  describe('objects', () => {
    objectCases(makeStore);
  });
  describe('the house', () => {
    houseCases(makeStore);
  });
}

function template(id: string, clientId = 'acme-client', text = 'Hello ${name}'): Template {
  return { id, clientId, name: `template ${id}`, text, createdAt: START_MS };
}

function objectCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true });

  it('keeps and gives back every kind as it was', async () => {
    const f = fixture();
    const { clientId, serviceId, appId } = f.tenant;
    const createdAt = START_MS;
    const values = {
      template: template('t'),
      smartlink: { id: '17', clientId, name: 'link', url: 'https://a.example', validityMinutes: null, createdAt },
      token: { id: 'hash', clientId: '*', name: 'owner', hint: 'abcd', createdAt },
      endpoint: { id: 'hash', clientId, serviceId, url: 'https://a.example', createdAt },
    } as const;
    const objects = [
      { kind: 'template', value: values.template },
      { kind: 'smartlink', value: values.smartlink },
      { kind: 'token', value: values.token },
      { kind: 'endpoint', value: values.endpoint },
    ] as const;
    expect(await f.store.putObjects(objects, 'create')).toBe(true);
    await f.reopen();
    for (const { kind, value } of objects) expect(await f.store.getObject(kind, value.id)).toEqual(value);
    expect(await f.store.getObject('app', appId)).toMatchObject({
      id: appId,
      customerid: 'same',
      secrets: [f.tenant.appSecret],
    });
    expect(await f.store.getObject('service', serviceId)).toMatchObject({ state: 'live', expiryMs: null });
    expect(await f.store.getObject('client', clientId)).toMatchObject({ retentionDays: 30 });
    expect(await f.store.getObject('template', '17')).toBeNull();
  });

  it('makes several at once or none: an id that exists refuses them all', async () => {
    const f = fixture();
    await f.store.putObjects([{ kind: 'template', value: template('t') }], 'create');
    const objects = [
      { kind: 'template', value: template('new') },
      { kind: 'template', value: template('t', 'acme-client', 'other') },
    ] as const;
    expect(await f.store.putObjects(objects, 'create')).toBe(false);
    expect(await f.store.getObject('template', 'new')).toBeNull();
    expect(await f.store.getObject('template', 't')).toEqual(template('t'));
    expect(await f.store.putObjects(objects, 'replace')).toBe(true);
    expect(await f.store.getObject('template', 't')).toMatchObject({ text: 'other' });
    expect(await f.store.getObject('template', 'new')).toEqual(template('new'));
  });

  it('deletes once', async () => {
    const f = fixture();
    await f.store.putObjects([{ kind: 'template', value: template('t') }], 'create');
    expect(await f.store.deleteObject('template', 't')).toBe(true);
    expect(await f.store.deleteObject('template', 't')).toBe(false);
    expect(await f.store.getObject('template', 't')).toBeNull();
    expect(await f.store.putObjects([{ kind: 'template', value: template('t') }], 'create')).toBe(true);
  });

  it('lists in order of id by cursor, for a client or for all', async () => {
    const f = fixture();
    const other = await seedTenant(f.store, { name: 'globex' });
    const ids = ['d', 'a', 'c', 'e', 'b'];
    const values = [...ids.map((id) => template(id)), template('bb', other.clientId)];
    await f.store.putObjects(
      values.map((value) => ({ kind: 'template', value })),
      'create',
    );
    const listed: string[] = [];
    let cursor: string | null = null;
    do {
      const page: Page<Template> = await f.store.listObjects('template', {
        clientId: f.tenant.clientId,
        cursor,
        limit: 2,
      });
      expect(page.items.length).toBeLessThanOrEqual(2);
      listed.push(...page.items.map((item) => item.id));
      cursor = page.next;
    } while (cursor !== null);
    expect(listed).toEqual(['a', 'b', 'c', 'd', 'e']);
    const all = await f.store.listObjects('template', { clientId: null, cursor: null, limit: 10 });
    expect([all.items.map((item) => item.id), all.next]).toEqual([['a', 'b', 'bb', 'c', 'd', 'e'], null]);
    const clients = await f.store.listObjects('client', { clientId: f.tenant.clientId, cursor: null, limit: 10 });
    expect(clients.items.map((client) => client.id)).toEqual([f.tenant.clientId]);
  });

  it('pages to an exact end without an empty page too many', async () => {
    const f = fixture();
    await f.store.putObjects(
      [
        { kind: 'template', value: template('a') },
        { kind: 'template', value: template('b') },
      ],
      'create',
    );
    const page = await f.store.listObjects('template', { clientId: null, cursor: null, limit: 2 });
    expect([page.items.length, page.next]).toEqual([2, null]);
  });

  it('grows the revision with every change and with nothing else', async () => {
    const f = fixture();
    const revisions = [await f.store.objectsRevision()];
    const note = async () => revisions.push(await f.store.objectsRevision());
    await f.store.putObjects([{ kind: 'template', value: template('t') }], 'create');
    await note();
    await f.store.putObjects([{ kind: 'template', value: template('t', 'acme-client', 'x') }], 'replace');
    await note();
    await f.store.deleteObject('template', 't');
    await note();
    await f.reopen();
    await f.send();
    await note();
    const [start, made, replaced, deleted, quiet] = revisions;
    expect(made).toBeGreaterThan(start!);
    expect(replaced).toBeGreaterThan(made!);
    expect(deleted).toBeGreaterThan(replaced!);
    expect(quiet).toBe(deleted);
  });

  it('counts 1, 2, 3 per name and over a restart', async () => {
    const f = fixture();
    expect([await f.store.nextNumber('link'), await f.store.nextNumber('link')]).toEqual([1, 2]);
    expect(await f.store.nextNumber('other')).toBe(1);
    await f.reopen();
    expect(await f.store.nextNumber('link')).toBe(3);
    const together = await Promise.all([1, 2, 3].map(() => f.store.nextNumber('link')));
    expect(together.toSorted(ascending)).toEqual([4, 5, 6]);
  });

  it('follows a change of the app at the next message', async () => {
    const f = fixture();
    const app = (await f.store.getObject('app', f.tenant.appId))!;
    await f.open();
    await f.store.putObjects([{ kind: 'app', value: { ...app, customerid: 'linked' } }], 'replace');
    const entries = await f.accepted({
      destinations: [{ correlationid: null, identifiers: [{ type: 'customerid', value: 'ann' }] }],
    });
    expect(entries[0]!.user).not.toBe(await f.userOf('ann'));
  });
}

function houseCases(makeStore: MakeStore): void {
  const fixture = useStore(makeStore, { durable: true });

  it('keeps its epoch over a restart', async () => {
    const f = fixture();
    const epoch = f.store.epoch();
    expect(epoch).toMatch(/^[A-Za-z0-9_-]+$/);
    await f.reopen();
    expect(f.store.epoch()).toBe(epoch);
  });

  it('keeps all of it over a restart', async () => {
    const f = fixture();
    const first = await f.send();
    const second = await f.send();
    await f.settle({ kind: 'delivered', user: first.user, ref: { n: 1 }, sentAt: null });
    const log = await f.store.readLog(first.user, 0, 10);
    await f.reopen();
    expect(await f.store.readLog(first.user, 0, 10)).toEqual(log);
    expect(await f.store.head(first.user)).toBe(2);
    expect((await f.send()).n).toBe(3);
    expect(await f.store.requestStatus(f.tenant.serviceId, tidOf(second))).not.toBeNull();
  });

  it('keeps all that was answered over a crash', async () => {
    const f = fixture();
    const entry = await f.send();
    const phone = await f.connect();
    await f.send();
    await f.settle({ kind: 'delivered', user: entry.user, device: phone.device, ref: { n: 1 }, sentAt: null });
    await f.settle({ kind: 'read', user: entry.user, ref: { n: 1 } });
    const log = await f.store.readLog(entry.user, 0, 10);
    const owed = await f.owed(phone);
    await f.crash();
    expect(await f.store.readLog(entry.user, 0, 10)).toEqual(log);
    expect(await f.owed(phone)).toEqual(owed);
    expect(await f.open()).toMatchObject({ present: true, subscribed: true, device: phone.device, base: phone.base });
    expect((await f.store.counts(f.clock.now())).waiting).toBe(1);
    expect((await f.send()).n).toBe(4);
  });

  it('answers a probe', async () => {
    await expect(fixture().store.probe()).resolves.toBeUndefined();
  });

  it('backs up a consistent copy while it is written to', async () => {
    const f = fixture();
    for (let count = 0; count < 20; count += 1) await f.send();
    const { user } = await f.send();
    const path = await f.harness.backupPath();
    const shares: number[] = [];
    const backup = f.store.backup(path, (share) => shares.push(share));
    for (let count = 0; count < 20; count += 1) await f.send();
    await backup;
    await f.send();
    expect(shares.every((share) => share >= 0 && share <= 1)).toBe(true);
    const copy = await f.harness.openBackup(path);
    try {
      const head = await copy.head(user);
      expect(head).toBeGreaterThanOrEqual(21);
      expect(head).toBeLessThan(42);
      const log = await copy.readLog(user, 0, 100);
      expect(log.map((entry) => entry.n)).toEqual(Array.from({ length: head }, (_, index) => index + 1));
      const works = await copy.claimReceipts({ limit: 1_000, leaseMs: 1_000, now: f.clock.now() });
      expect(works).toHaveLength(head);
      // It is a restore that changes the epoch.
      expect(copy.epoch()).toBe(f.store.epoch());
      expect(await copy.getObject('app', f.tenant.appId)).toEqual(await f.store.getObject('app', f.tenant.appId));
    } finally {
      await copy.close();
    }
    expect((await f.send()).n).toBe(43);
  });

  it('does empty work and says so', async () => {
    const f = fixture();
    expect(await f.write({})).toEqual({ opens: [], accepts: [], settlements: [] });
    expect(await f.store.heads([])).toEqual(new Map());
    await f.store.settleReceipts([]);
  });
}
