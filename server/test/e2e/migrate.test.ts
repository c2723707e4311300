/** `carillon migrate`: every answer of the store is the same before and after, there and back. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { transfer } from '../../src/cli/transfer.ts';
import { FolderInUse, lockFolder } from '../../src/store/sqlite/folder.ts';
import { PostgresTransfer } from '../../src/store/postgres/transfer.ts';
import { SqliteStore } from '../../src/store/sqlite/store.ts';
import { SqliteTransfer } from '../../src/store/sqlite/transfer.ts';
import type { Store } from '../../src/core/ports.ts';
import { systemScheduler } from '../../src/lib/timers.ts';
import { openStore, startServer } from '../contract/postgres-harness.ts';
import { StoreFixture, tidOf } from '../contract/store-fixture.ts';
import { customerid, DAY_MS, HOUR_MS, MINUTE_MS, msisdn, userid } from '../support/builders.ts';
import { FakeClock, systemClock } from '../support/clock.ts';
import { runCarillon, RunningCommand } from '../support/command.ts';
import { findPostgres } from '../support/postgres.ts';
import type { PostgresServer } from '../support/postgres.ts';
import { seededRandom, systemRandom } from '../support/random.ts';
import { seedTenant } from '../support/seed.ts';

const bin = findPostgres();
const TEST_MS = 60_000;
const LOOKS_MAX = 500;
const URL = 'https://example.com/a';

/** An installation in a folder, and what is needed to ask about it. */
interface Installation {
  readonly folder: string;
  readonly file: string;
  readonly fixture: StoreFixture;
  readonly transids: readonly string[];
  readonly slugs: readonly string[];
  readonly sessions: readonly { user: number; device: number; base: number; floor: number }[];
  readonly users: readonly number[];
}

const folders: string[] = [];

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'carillon-migrate-'));
  folders.push(folder);
  return folder;
}

function openFile(file: string, clock: FakeClock): SqliteStore {
  return new SqliteStore({ path: file, clock, random: seededRandom(2) });
}

async function openFixture(file: string): Promise<StoreFixture> {
  const clock = new FakeClock();
  const store = openFile(file, clock);
  const tenant = await seedTenant(store, {
    service: { notifyUrl: 'https://example.com/receipts', inboundUrl: 'https://example.com/inbound' },
    app: { customerid: 'linked' },
  });
  const none = (): never => {
    throw new Error('not here');
  };
  const harness = { store, reopen: none, crash: none, close: () => store.close(), backupPath: none, openBackup: none };
  return new StoreFixture({ clock, tenant, harness });
}

/** Receipts in every state, and some of the feed that nobody looked at. */
async function tellSome(f: StoreFixture): Promise<void> {
  const works = await f.claim(6);
  const attempt = { at: f.clock.now(), status: 500, reason: 'no', durationMs: 3 } as never;
  await f.store.settleReceipts(
    works.map((work, index) => {
      if (index % 3 === 0) return { kind: 'done', work, attempt: null } as const;
      if (index % 3 === 1) return { kind: 'retry', work, attempt, at: f.clock.now() + MINUTE_MS } as const;
      return { kind: 'dead', work, attempt } as const;
    }),
  );
}

async function fill(folder: string): Promise<Installation> {
  const file = path.join(folder, 'carillon.db');
  const f = await openFixture(file);
  const { appId } = f.tenant;
  const transids: string[] = [];
  const send = async (name: string, overrides: Parameters<StoreFixture['send']>[1] = {}) => {
    const entry = await f.send(name, overrides);
    transids.push(tidOf(entry));
    return entry;
  };
  await f.store.putProfile({ appId, userid: 'ann', customerid: 'c-1', msisdn: '+4915112345678' }, f.clock.now());
  const ann = await f.connect();
  const ben = await f.connect({ userid: 'ben', keepMs: DAY_MS });
  const links = [{ linkid: '17', url: URL, expiresAt: f.clock.now() + DAY_MS }];
  const first = await send('ann', { links });
  const slug = first.message?.links?.['17'] ?? '';
  await f.settle({ kind: 'delivered', user: ann.user, device: ann.device, ref: { n: first.n }, sentAt: f.clock.now() });
  await tellSome(f);
  await f.settle({ kind: 'read', user: ann.user, device: ann.device, ref: { n: first.n } });
  await f.store.visitLink(slug, { now: f.clock.now(), count: true });
  const pressed = { kind: 'pressed', user: ann.user, device: ann.device, ref: { n: first.n } } as const;
  await f.settle({ ...pressed, once: 'p-1', identifier: 'YES', text: 'Sure' });
  const idempotency = { key: 'k-1', bodyHash: 'h', answer: '{}', expiresAt: f.clock.now() + DAY_MS };
  const many = f.unit({
    idempotency,
    priority: 3,
    destinations: [
      { correlationid: 'order-1', identifiers: [userid('ann'), userid('ben'), msisdn('+4915100000000')] },
      { correlationid: 'order-2', identifiers: [customerid('c-1'), customerid('nobody-yet')] },
    ],
  });
  await f.write({ accepts: [many] });
  transids.push(many.uid, `${many.uid.slice(0, -3)}001`);
  const waits = await send('ben', { callbackData: 'mine', priority: 1 });
  await send('cyd', { expiry: f.clock.now() + MINUTE_MS });
  await f.settle({ kind: 'failed', user: waits.user, ref: { n: waits.n }, code: '7513' });
  const recalled = await send('ben');
  await f.store.recall(f.tenant.serviceId, tidOf(recalled), f.clock.now());
  await tellSome(f);
  f.clock.advance(2 * MINUTE_MS);
  await f.expireAll();
  // What waited for a customerid is moved to the user it turns out to be.
  await f.store.putProfile({ appId, userid: 'dan', customerid: 'nobody-yet', msisdn: null }, f.clock.now());
  await send('eve');
  await f.store.deleteProfile(appId, 'eve', f.clock.now());
  const thread = {
    appId,
    type: 'Announcement',
    title: 'News',
    category: 'c',
    externalid: 'e',
    status: 'Active',
  } as const;
  await f.store.createThread({ ...thread, id: 't-1', extras: { a: 1 }, serviceId: null }, f.clock.now());
  await f.store.nextNumber('template acme');
  await f.disconnect(ann, { floor: first.n });
  await f.disconnect(ben, { keepMs: HOUR_MS });
  for (let index = 0; index < 30; index += 1) await send(index % 2 === 0 ? 'ann' : 'ben', { priority: 2 });
  const users = await Promise.all(['ann', 'ben', 'cyd', 'dan'].map((name) => f.userOf(name)));
  return { folder, file, fixture: f, transids, slugs: [slug], sessions: [ann, ben], users };
}

/** Whatever a store can be asked without changing it. */
async function answers(store: Store, { fixture, transids, slugs, sessions, users }: Installation): Promise<unknown> {
  const { clock, tenant } = fixture;
  const { appId, serviceId } = tenant;
  const now = clock.now();
  const threads = await store.listThreads({ appId, user: null, start: 0, limit: 100 });
  const perUser = users.map(async (user) => [
    await store.readLog(user, 0, 1_000),
    await store.countMessages(user),
    await store.head(user),
    await store.listThreads({ appId, user, start: 0, limit: 100 }),
    await Promise.all(
      threads.threads.map(({ id }) => store.threadMessages({ user, threadId: id, start: 0, limit: 100 })),
    ),
  ]);
  const owed = sessions.flatMap(({ user, device, base, floor }) =>
    ([1, 2, 3] as const).map((priority) => store.readOwed({ user, device, base, priority, after: floor, limit: 100 })),
  );
  const kinds = ['client', 'service', 'key', 'app', 'template', 'smartlink'] as const;
  const objects = kinds.map((kind) => store.listObjects(kind, { clientId: null, cursor: null, limit: 100 }));
  return plain({
    epoch: store.epoch(),
    threads,
    users: await Promise.all(perUser),
    heads: [...(await store.heads(users))],
    owed: await Promise.all(owed),
    statuses: await Promise.all(transids.map((transid) => store.requestStatus(serviceId, transid))),
    labels: await store.transidsByCorrelationid(serviceId, 'order-1', 10),
    profiles: await store.listProfiles(appId, null, 100),
    objects: await Promise.all(objects),
    revision: await store.objectsRevision(),
    receipts: await store.listReceipts({ clientId: null, cursor: null, limit: 1_000 }),
    links: await Promise.all(slugs.map((slug) => store.visitLink(slug, { now, count: false }))),
    figures: await store.linkFigures('17'),
    counts: await store.counts(now),
  });
}

/** As JSON, without the number that a store gives to a thread for itself. */
function plain(value: unknown): unknown {
  const without = (_name: string, one: unknown): unknown => {
    if (typeof one !== 'object' || one === null || !('title' in one) || !('key' in one)) return one;
    const { key: _key, ...rest } = one;
    return rest;
  };
  return JSON.parse(JSON.stringify(value, without));
}

/** What the receipt workers get, in the order of each message. Changes the store. */
async function receiptsOf(store: Store, fixture: StoreFixture): Promise<unknown> {
  const now = fixture.clock.now() + HOUR_MS;
  const byKey: Record<string, unknown[]> = {};
  for (;;) {
    const works = await store.claimReceipts({ limit: 1_000, leaseMs: 1_000, now });
    if (works.length === 0) return byKey;
    await store.settleReceipts(works.map((work) => ({ kind: 'done', work, attempt: null })));
    for (const { orderKey, lease: _lease, ...work } of works) (byKey[orderKey] ??= []).push(work);
  }
}

describe.skipIf(bin === null)('migrate', () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startServer(bin ?? '');
  }, TEST_MS);

  afterAll(async () => {
    await server?.end();
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
  });

  const optionsOf = (url: string) => ({ url, clock: systemClock, random: systemRandom, scheduler: systemScheduler });

  test('every answer is the same on the database, and on a folder again', { timeout: TEST_MS }, async () => {
    const installation = await fill(await makeFolder());
    const { fixture, folder, file } = installation;
    const { clock } = fixture;
    const before = await answers(fixture.store, installation);
    await fixture.store.close();
    const { url } = await server.makeDatabase();

    const up = await runCarillon(['migrate', '--data', folder, '--to', url]);
    expect(up).toMatchObject({ code: 0, stderr: '' });
    const there = await openStore(url, { clock });
    expect(await answers(there, installation)).toEqual(before);
    await there.close();

    const back = await makeFolder();
    const down = await runCarillon(['migrate', '--from', '--data', back, '--json'], { CARILLON_DATABASE: url });
    expect(down).toMatchObject({ code: 0, stderr: '' });
    const again = openFile(path.join(back, 'carillon.db'), clock);
    expect(await answers(again, installation)).toEqual(before);

    // Only now, since it changes what is asked: all three tell the same, and go on alike.
    const origin = openFile(file, clock);
    const node = await openStore(url, { clock });
    const told = await receiptsOf(origin, fixture);
    expect(Object.keys(told as object).length).toBeGreaterThan(30);
    expect(await receiptsOf(node, fixture)).toEqual(told);
    expect(await receiptsOf(again, fixture)).toEqual(told);
    for (const store of [origin, node, again]) {
      fixture.store = store;
      expect(await store.nextNumber('template acme')).toBe(2);
      expect(await fixture.accept({ uid: fixture.unit().uid, ...repeated(fixture) })).toMatchObject({
        kind: 'repeated',
      });
      const ann = await fixture.send('ann');
      expect(ann.n).toBe(await store.head(ann.user));
      const fresh = await fixture.send('someone-new');
      expect(fresh.n).toBe(1);
      expect(installation.users).not.toContain(fresh.user);
      const session = await fixture.connect({ keepMs: DAY_MS });
      expect(session).toMatchObject({ device: installation.sessions[0]?.device });
      await store.close();
    }
  });

  test('it goes on after a stop at any place, either way', { timeout: TEST_MS }, async () => {
    const installation = await fill(await makeFolder());
    const { fixture, file } = installation;
    const before = await answers(fixture.store, installation);
    await (fixture.store as SqliteStore).foldAll();
    await fixture.store.close();
    const { url } = await server.makeDatabase();
    const source = new SqliteTransfer(file);
    let stops = 0;
    // Every try gets a few chunks further, then ends as a killed one does: its session goes, what it noted stays.
    for (let isDone = false; !isDone;) {
      isDone = await stopped(
        PostgresTransfer.run(optionsOf(url), 'target', (target) =>
          transfer(source, target, stopAfter(7 * (stops += 1))),
        ),
      );
      if (!isDone) await expect(openStore(url)).rejects.toThrow('unfinished migration');
    }
    source.close();
    expect(stops).toBeGreaterThan(5);
    const there = await openStore(url, { clock: fixture.clock });
    expect(await answers(there, installation)).toEqual(before);
    await there.close();

    const back = path.join(await makeFolder(), 'carillon.db.migrating');
    stops = 0;
    for (let isDone = false; !isDone;) {
      const target = new SqliteTransfer(back);
      isDone = await stopped(
        PostgresTransfer.run(optionsOf(url), 'source', (from) => transfer(from, target, stopAfter(7 * (stops += 1)))),
      );
      target.close();
    }
    const again = openFile(back, fixture.clock);
    expect(await answers(again, installation)).toEqual(before);
    await again.close();
  });

  test(
    'a killed command leaves nothing that is served, and the next one finishes it',
    { timeout: TEST_MS },
    async () => {
      const installation = await fill(await makeFolder());
      const { fixture, folder } = installation;
      const before = await answers(fixture.store, installation);
      await fixture.store.close();
      const { url, name } = await server.makeDatabase();
      // It waits for this table, with the log behind it, until it is killed.
      const holder = new Client({ connectionString: url });
      await holder.connect();
      await holder.query('BEGIN; LOCK TABLE devices');
      const command = new RunningCommand(['migrate', '--data', folder, '--to', url]);
      await shows(server, "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'devices'::regclass", name);
      command.child.kill('SIGKILL');
      await command.ended;
      await holder.end();
      await gone(server, name);
      await expect(openStore(url)).rejects.toThrow('unfinished migration');
      expect(await runCarillon(['migrate', '--data', folder, '--to', url])).toMatchObject({ code: 0, stderr: '' });
      const there = await openStore(url, { clock: fixture.clock });
      expect(await answers(there, installation)).toEqual(before);
      await there.close();
    },
  );

  test('it refuses what would mix or overwrite', { timeout: TEST_MS }, async () => {
    const installation = await fill(await makeFolder());
    const { fixture, folder } = installation;
    const { url } = await server.makeDatabase();
    const up = ['migrate', '--data', folder, '--to', url];
    await fixture.store.close();
    const lock = lockFolder(folder);
    expect(await runCarillon(up)).toMatchObject({ code: 1, stderr: `${new FolderInUse(folder).message}\n` });
    lock.release();

    const node = await openStore(url);
    expect((await runCarillon(up)).stderr).toBe('Nodes work on the database (one): stop them first.\n');
    await node.close();
    await gone(server, url.slice(url.indexOf('@/') + 2, url.indexOf('?')));
    expect((await runCarillon(up)).stderr).toBe('The database holds an installation already.\n');
    expect((await runCarillon(['migrate', '--data', folder, '--from', url])).stderr).toContain('exists already');
    const empty = await makeFolder();
    expect((await runCarillon(['migrate', '--data', empty, '--to', url])).stderr).toContain('There is no database');
    expect(await runCarillon(['migrate', '--data', empty])).toMatchObject({ code: 2 });
    expect(existsSync(path.join(empty, 'carillon.db'))).toBe(false);
  });

  test('what was changed between two tries is found', { timeout: TEST_MS }, async () => {
    const { fixture, file } = await fill(await makeFolder());
    await (fixture.store as SqliteStore).foldAll();
    await fixture.store.close();
    const { url } = await server.makeDatabase();
    const move = async (stop: ReturnType<typeof stopAfter>): Promise<boolean> => {
      const source = new SqliteTransfer(file);
      try {
        return await stopped(
          PostgresTransfer.run(optionsOf(url), 'target', (target) => transfer(source, target, stop)),
        );
      } finally {
        source.close();
      }
    };
    expect(await move(stopAfter(70))).toBe(false);
    const store = openFile(file, fixture.clock);
    const change = { appId: fixture.tenant.appId, userid: 'ann', customerid: null, msisdn: null };
    await store.putProfile(change, fixture.clock.now());
    await store.close();
    await expect(move(stopAfter(10_000))).rejects.toThrow('The table users is not the same on both sides');
  });
});

function repeated(f: StoreFixture) {
  return { idempotency: { key: 'k-1', bodyHash: 'h', answer: 'other', expiresAt: f.clock.now() + DAY_MS } };
}

class Stopped extends Error {}

/** Ends a transfer of a few rows at once after so many steps. */
function stopAfter(steps: number) {
  let left = steps;
  return {
    rowsAtOnce: 3,
    onProgress: () => {
      left -= 1;
      if (left < 0) throw new Stopped();
    },
  };
}

/** False: it was stopped. */
async function stopped(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (error instanceof Stopped) return false;
    throw error;
  }
}

/** Waits until a statement has a row. */
async function shows(server: PostgresServer, text: string, database: string): Promise<void> {
  for (let looks = 0; looks < LOOKS_MAX; looks += 1) {
    const rows = await server.query(text, database);
    if (rows.length > 0) return;
  }
  throw new Error(`there was never a row: ${text}`);
}

/** Waits until the sessions of killed and closed processes have ended. */
function gone(server: PostgresServer, database: string): Promise<void> {
  const there =
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'carillon %'";
  return shows(server, `SELECT 1 WHERE NOT EXISTS (${there})`, database);
}
