import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AcceptResult, AcceptUnit, ReceiptWork, WriteBatch, WriteResult } from '../../src/core/ports.ts';
import type { PostgresStore } from '../../src/store/postgres/store.ts';
import {
  customerid,
  DAY_MS,
  destinationOf,
  HOUR_MS,
  makeSession,
  makeUnit,
  MINUTE_MS,
  userid,
} from '../support/builders.ts';
import { FakeClock } from '../support/clock.ts';
import { findPostgres } from '../support/postgres.ts';
import type { PostgresServer } from '../support/postgres.ts';
import { seedTenant, type Tenant } from '../support/seed.ts';
import { seededRandom } from '../support/random.ts';
import { openStore, startServer } from './postgres-harness.ts';
import { ascending, LEASE_MS, tidOf } from './store-fixture.ts';

const bin = findPostgres();
const NODES = 3;

describe.skipIf(bin === null)('postgres: several nodes on one database', () => {
  let server: PostgresServer;
  let database: { name: string; url: string };
  let clock: FakeClock;
  let tenant: Tenant;
  let nodes: PostgresStore[] = [];

  beforeAll(async () => {
    server = await startServer(bin ?? '');
  });

  afterAll(async () => {
    await server?.end();
  });

  beforeEach(async () => {
    database = await server.makeDatabase();
    clock = new FakeClock();
    nodes = [];
    for (let index = 0; index < NODES; index += 1) {
      nodes.push(await openStore(database.url, { clock, random: seededRandom(index), node: `node-${index}` }));
    }
    tenant = await seedTenant(nodes[0]!, { app: { customerid: 'linked' } });
  });

  afterEach(async () => {
    for (const node of nodes) await node.close();
    server.giveBack(database.name);
  });

  const write = (node: PostgresStore, batch: Partial<WriteBatch>): Promise<WriteResult> =>
    node.write({ opens: [], accepts: [], settlements: [], closes: [], ...batch });
  const unit = (overrides: Partial<AcceptUnit> = {}): AcceptUnit => makeUnit({ acceptedAt: clock.now(), ...overrides });
  const acceptOn = async (node: PostgresStore, overrides: Partial<AcceptUnit> = {}): Promise<AcceptResult> =>
    (await write(node, { accepts: [unit(overrides)] })).accepts[0]!;

  /** The same work on every node at once. */
  async function everywhere<Result>(work: (node: PostgresStore, index: number) => Promise<Result>): Promise<Result[]> {
    return Promise.all(nodes.map(work));
  }

  async function logOf(name: string): Promise<number[]> {
    const user = await nodes[0]!.findUser(tenant.appId, name);
    const log = user === null ? [] : await nodes[0]!.readLog(user, 0, 10_000);
    return log.map((entry) => entry.n);
  }

  it('gives every log its numbers without a hole and every acknowledgement its effect, in whatever order users are named', async () => {
    const names = Array.from({ length: 12 }, (_, index) => `user-${index}`);
    const given: string[] = [];
    const rounds = 25;
    await everywhere(async (node, index) => {
      const random = seededRandom(100 + index);
      for (let round = 0; round < rounds; round += 1) {
        const shuffled = names.toSorted(() => random.unit() - 0.5).slice(0, 6);
        const accepts = [unit({ destinations: shuffled.map((name) => destinationOf(userid(name))) }), unit()];
        const opens = [makeSession({ userid: shuffled[0]!, deviceid: `d-${index}`, at: clock.now() })];
        const { accepts: results, opens: opened } = await write(node, { accepts, opens });
        const entries = results.flatMap((one) => (one.kind === 'accepted' ? one.entries : []));
        given.push(...entries.map((entry) => `${entry.user} ${entry.n}`));
        const { device } = opened[0]!;
        const settlements = entries.map(({ user, n }) => ({
          kind: 'delivered' as const,
          user,
          device,
          at: clock.now(),
          ref: { n },
          sentAt: null,
        }));
        await write(node, { settlements: settlements.slice(0, 4) });
      }
    });
    expect(given).toHaveLength(NODES * rounds * 7);
    expect(new Set(given).size).toBe(given.length);
    for (const name of [...names, 'ann']) {
      const numbers = await logOf(name);
      expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, index) => index + 1));
    }
    const counts = await nodes[0]!.counts(clock.now());
    expect(counts.waiting).toBe(NODES * rounds * 3);
    expect(counts.users).toBe(names.length + 1);
  }, 60_000);

  it('makes a user once, its thread once, however many nodes meet it first', async () => {
    const names = Array.from({ length: 40 }, (_, index) => `new-${index}`);
    const results = await everywhere((node, index) => {
      const order = index % 2 === 0 ? names : names.toReversed();
      return acceptOn(node, { destinations: order.map((name) => destinationOf(userid(name))) });
    });
    const entries = results.flatMap((one) => (one.kind === 'accepted' ? one.entries : []));
    expect(entries).toHaveLength(NODES * names.length);
    const byUser = Map.groupBy(entries, (entry) => entry.user);
    expect(byUser.size).toBe(names.length);
    for (const own of byUser.values()) {
      expect(own.map((entry) => entry.n).toSorted(ascending)).toEqual([1, 2, 3]);
      expect(new Set(own.map((entry) => entry.message!.thread.id)).size).toBe(1);
    }
  });

  it('accepts one of those that come at once under one Idempotency-Key, and answers the others alike', async () => {
    for (let round = 0; round < 10; round += 1) {
      const idempotency = { key: `k-${round}`, bodyHash: 'a', expiresAt: clock.now() + DAY_MS };
      const results = await everywhere((node, index) =>
        acceptOn(node, { idempotency: { ...idempotency, answer: `from ${index}` } }),
      );
      const first = results.findIndex((one) => one.kind === 'accepted');
      const others = results.filter((_, index) => index !== first);
      for (const other of others) expect(other).toEqual({ kind: 'repeated', answer: `from ${first}` });
    }
    expect(await logOf('ann')).toHaveLength(10);
  });

  it('lets the key of a refused request go to the next one', async () => {
    const idempotency = { key: 'k', bodyHash: 'a', answer: 'one', expiresAt: clock.now() + DAY_MS };
    const results = await Promise.all([
      acceptOn(nodes[0]!, { idempotency, waitingTotalMax: 0 }),
      acceptOn(nodes[1]!, { idempotency }),
      acceptOn(nodes[2]!, { idempotency, waitingTotalMax: 0 }),
    ]);
    expect(results[1].kind).toBe('accepted');
    for (const other of [results[0], results[2]]) expect(['full', 'repeated']).toContain(other.kind);
  });

  for (const [bound, overrides] of [
    ['user', { waitingPerUserMax: 7 }],
    ['total', { waitingTotalMax: 7 }],
  ] as const) {
    it(`holds the bound per ${bound} exactly under all nodes`, async () => {
      const results = await everywhere(async (node) =>
        Promise.all(
          Array.from({ length: 6 }, (_, count) => {
            // In all: users of their own, so that nothing but the bound holds them apart.
            const name = bound === 'user' ? 'ann' : `${node.epoch()}-${nodes.indexOf(node)}-${count}`;
            return acceptOn(node, { ...overrides, destinations: [destinationOf(userid(name))] });
          }),
        ),
      );
      const kinds = results.flat().map((one) => one.kind);
      expect(kinds.filter((kind) => kind === 'accepted')).toHaveLength(7);
      expect(kinds.filter((kind) => kind === 'full')).toHaveLength(11);
    });
  }

  it('loses no message for a customerid that is linked at the same moment', async () => {
    for (let round = 0; round < 15; round += 1) {
      const name = `person-${round}`;
      const destinations = [destinationOf(customerid(`C-${round}`))];
      await acceptOn(nodes[0]!, { destinations });
      await Promise.all([
        acceptOn(nodes[0]!, { destinations }),
        write(nodes[1]!, { opens: [makeSession({ userid: name, customerid: `C-${round}`, at: clock.now() })] }),
        acceptOn(nodes[2]!, { destinations }),
      ]);
      expect(await logOf(name)).toEqual([1, 2, 3]);
    }
  });

  it('claims no receipt twice, and none before the one before it was told', async () => {
    const messages = 60;
    const told: ReceiptWork[] = [];
    const held = new Set<string>();
    const producer = { isDone: false };
    const produce = async (): Promise<void> => {
      for (let count = 0; count < messages; count += 1) {
        const result = await acceptOn(nodes[0]!, { destinations: [destinationOf(userid(`u-${count % 7}`))] });
        const [entry] = result.kind === 'accepted' ? result.entries : [];
        const about = { user: entry!.user, at: clock.now(), device: null, ref: { n: entry!.n } };
        await write(nodes[1]!, { settlements: [{ kind: 'read', ...about }] });
      }
      producer.isDone = true;
    };
    const consume = async (node: PostgresStore): Promise<void> => {
      for (let idle = 0; !producer.isDone || idle < 3;) {
        const works = await node.claimReceipts({ limit: 5, leaseMs: DAY_MS, now: clock.now() });
        idle = works.length === 0 ? idle + 1 : 0;
        if (works.length === 0) clock.advance(1_000);
        for (const work of works) {
          expect(held.has(work.id), `${work.id} was claimed twice`).toBe(false);
          held.add(work.id);
        }
        told.push(...works);
        await node.settleReceipts(works.map((work) => ({ kind: 'done', work, attempt: null })));
      }
    };
    await Promise.all([produce(), ...nodes.map(consume)]);
    expect(told).toHaveLength(messages * 3);
    for (const works of Map.groupBy(told, (work) => work.orderKey).values()) {
      expect(works.map((work) => work.kind)).toEqual(['submitted', 'delivered', 'read']);
    }
    expect((await nodes[0]!.counts(clock.now())).receiptsPending).toBe(0);
  }, 60_000);

  it('fences a node that was paused beyond its lease', async () => {
    await acceptOn(nodes[0]!);
    const claim = () => ({ limit: 10, leaseMs: LEASE_MS, now: clock.now() });
    const [late] = await nodes[0]!.claimReceipts(claim());
    clock.advance(LEASE_MS);
    const [current] = await nodes[1]!.claimReceipts(claim());
    expect(current!.id).toBe(late!.id);
    await nodes[0]!.settleReceipts([{ kind: 'dead', work: late!, attempt: null }]);
    expect(await nodes[2]!.counts(clock.now())).toMatchObject({ receiptsDead: 0, receiptsPending: 1 });
    await nodes[1]!.settleReceipts([{ kind: 'done', work: current!, attempt: null }]);
    await nodes[0]!.settleReceipts([
      { kind: 'retry', work: late!, at: clock.now(), attempt: { at: 0, status: 500, error: null, ms: 1 } },
    ]);
    expect(await nodes[2]!.counts(clock.now())).toMatchObject({ receiptsDead: 0, receiptsPending: 0 });
  });

  it('expires every message once when all nodes do it at once', async () => {
    const expiry = clock.now() + MINUTE_MS;
    const users = Array.from({ length: 50 }, (_, index) => destinationOf(userid(`u-${index % 9}`)));
    await write(nodes[0]!, { accepts: users.map((one) => unit({ destinations: [one], expiry })) });
    clock.advance(MINUTE_MS);
    const counts = await everywhere(async (node) => {
      let expired = 0;
      for (let rounds = 0; rounds < 20; rounds += 1) expired += (await node.expireDue(clock.now(), 5)).expired;
      return expired;
    });
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(50);
    expect((await nodes[0]!.counts(clock.now())).waiting).toBe(0);
  });

  it('keeps the sessions of a node that is gone for their time, and lets alone those that went elsewhere', async () => {
    const open = async (node: PostgresStore, deviceid: string) =>
      (await write(node, { opens: [makeSession({ deviceid, at: clock.now() })] })).opens[0]!;
    const [phone, tablet] = [await open(nodes[1]!, 'phone'), await open(nodes[1]!, 'tablet')];
    for (const { user, device } of [phone, tablet]) await nodes[1]!.subscribe(user, device);
    await open(nodes[2]!, 'tablet');
    clock.advance(MINUTE_MS);
    // The third one lives.
    await nodes[2]!.close();
    nodes[2] = await openStore(database.url, { clock, node: 'node-2' });
    await open(nodes[2], 'tablet');
    await nodes[0]!.tidy();
    clock.advance(HOUR_MS - MINUTE_MS - 1);
    expect(await open(nodes[0]!, 'phone')).toMatchObject({ present: true, device: phone.device });
    clock.advance(10 * HOUR_MS);
    expect(await open(nodes[0]!, 'tablet')).toMatchObject({ present: true, device: tablet.device });
  });

  it('keeps the counts when a node is forgotten', async () => {
    const entry = await acceptOn(nodes[1]!);
    expect(entry.kind).toBe('accepted');
    await nodes[1]!.close();
    clock.advance(2 * DAY_MS);
    await nodes[0]!.tidy();
    expect(
      await server.query("SELECT count(*)::integer AS slots FROM slots WHERE node = 'node-1'", database.name),
    ).toEqual([{ slots: 0 }]);
    expect(await nodes[0]!.counts(clock.now())).toMatchObject({ waiting: 1, users: 1 });
  });

  it('forgets a device that keeps nothing long after it was seen, and no other', async () => {
    const open = async (deviceid: string, keepMs: number) =>
      (await write(nodes[0]!, { opens: [makeSession({ deviceid, keepMs, at: clock.now() })] })).opens[0]!;
    await open('gone', 0);
    const kept = await open('kept', HOUR_MS);
    clock.advance(61 * DAY_MS);
    await open('fresh', 0);
    await nodes[1]!.purge(clock.now(), 100);
    const left = await server.query('SELECT deviceid FROM devices ORDER BY deviceid', database.name);
    expect(left.map(({ deviceid }) => deviceid)).toEqual(['fresh', 'kept']);
    expect(await open('kept', HOUR_MS)).toMatchObject({ present: true, device: kept.device });
  });

  it('sees at once what another node wrote', async () => {
    const result = await acceptOn(nodes[0]!);
    const [entry] = result.kind === 'accepted' ? result.entries : [];
    expect((await nodes[1]!.readLog(entry!.user, 0, 10)).map(tidOf)).toEqual([tidOf(entry!)]);
    expect(await nodes[2]!.heads([entry!.user])).toEqual(new Map([[entry!.user, 1]]));
  });
});
