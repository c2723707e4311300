import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import path from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AcceptUnit, StoreUnavailable } from '../../src/core/ports.ts';
import type { PostgresStore } from '../../src/store/postgres/store.ts';
import { transidOf } from '../../src/core/transid.ts';
import { openStore } from '../contract/postgres-harness.ts';
import { destinationOf, makeUnit, tenantIds, userid } from '../support/builders.ts';
import { findPostgres, PostgresServer } from '../support/postgres.ts';
import { seedTenant } from '../support/seed.ts';

const bin = findPostgres();
/** What an operation may take while the database is away. */
const REFUSED_MS = 3000;

/** Between the store and the server: can lose a commit on its way there, or its answer. */
class CommitLoser {
  private readonly server: Server;
  private readonly socketPath: string;
  private readonly sockets = new Set<Socket>();
  /** The next commit. */
  lose: 'nothing' | 'commit' | 'answer' = 'nothing';

  private constructor(socketPath: string) {
    this.socketPath = socketPath;
    this.server = createServer((client) => this.carry(client));
  }

  static async start(socketPath: string): Promise<CommitLoser> {
    const loser = new CommitLoser(socketPath);
    await new Promise<void>((resolve) => {
      loser.server.listen(0, '127.0.0.1', resolve);
    });
    return loser;
  }

  get port(): number {
    return (this.server.address() as { port: number }).port;
  }

  private carry(client: Socket): void {
    const upstream = connect(this.socketPath);
    for (const socket of [client, upstream]) {
      this.sockets.add(socket);
      socket
        .on('error', () => undefined)
        .once('close', () => {
          this.sockets.delete(socket);
          client.destroy();
          upstream.end();
        });
    }
    upstream.on('data', (data) => client.write(data));
    client.on('data', (data) => {
      const mode = data.includes('COMMIT') ? this.lose : 'nothing';
      if (mode !== 'nothing') this.lose = 'nothing';
      if (mode === 'commit') {
        upstream.destroy();
        return;
      }
      if (mode === 'answer') upstream.removeAllListeners('data').resume();
      upstream.write(data, () => {
        if (mode === 'answer') client.destroy();
      });
    });
  }

  async end(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => {
      this.server.close(resolve);
    });
  }
}

describe.skipIf(bin === null)('postgres: faults', () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await PostgresServer.start(bin ?? '', { durable: true });
  }, 60_000);

  afterAll(async () => {
    await server?.end();
  });

  async function begin(name: string): Promise<PostgresStore> {
    await server.query(`CREATE DATABASE ${name}`);
    const store = await openStore(server.url(name));
    await seedTenant(store);
    return store;
  }

  const unitFor = (name: string): AcceptUnit =>
    makeUnit({ acceptedAt: Date.now(), expiry: Date.now() + 3_600_000, destinations: [destinationOf(userid(name))] });
  const accept = (store: PostgresStore, unit: AcceptUnit) =>
    store.write({ opens: [], accepts: [unit], settlements: [], closes: [] });

  /** Accepts one after the other until told to stop; which were accepted, which refused, and which nobody knows. */
  async function load(store: PostgresStore, name: string, isOver: () => boolean) {
    const told = { accepted: [] as string[], refused: [] as string[], unknown: [] as string[], slowestMs: 0 };
    while (!isOver()) {
      const unit = unitFor(name);
      const startedAt = performance.now();
      try {
        await accept(store, unit);
        told.accepted.push(unit.uid);
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
        (error.message.includes('is not known') ? told.unknown : told.refused).push(unit.uid);
        // A refusal may come without any wait: others must have their turn.
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
      }
      told.slowestMs = Math.max(told.slowestMs, performance.now() - startedAt);
    }
    return told;
  }

  async function check(store: PostgresStore, name: string, told: Awaited<ReturnType<typeof load>>): Promise<void> {
    const { appId, serviceId } = tenantIds();
    const user = (await store.findUser(appId, name))!;
    const log = await store.readLog(user, 0, 100_000);
    expect(log.map((entry) => entry.n)).toEqual(log.map((_, index) => index + 1));
    const there = new Set(log.map((entry) => entry.message!.content.uid));
    expect(there.size).toBe(log.length);
    expect(told.accepted.filter((uid) => !there.has(uid))).toEqual([]);
    expect(told.refused.filter((uid) => there.has(uid))).toEqual([]);
    for (const uid of told.refused.slice(0, 20)) {
      expect(await store.requestStatus(serviceId, transidOf(uid, 0))).toBeNull();
    }
  }

  it('loses nothing that was accepted, and keeps nothing that was refused, while connections are killed', async () => {
    const store = await begin('kills');
    let over = false;
    const names = ['ann', 'ben', 'cyd'];
    const loads = names.map((name) => load(store, name, () => over));
    for (let kills = 0; kills < 60; kills += 1) {
      await server.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'kills' ORDER BY random() LIMIT 2",
      );
    }
    over = true;
    const told = await Promise.all(loads);
    for (const [index, name] of names.entries()) {
      expect(told[index]!.accepted.length).toBeGreaterThan(0);
      await check(store, name, told[index]!);
    }
    expect((await store.counts(Date.now())).waiting).toBe(
      (
        await Promise.all(names.map(async (name) => store.head((await store.findUser(tenantIds().appId, name))!)))
      ).reduce((a, b) => a + b, 0),
    );
    await store.close();
  }, 60_000);

  it('refuses at once while the server is away after a crash, and goes on by itself when it is back', async () => {
    const store = await begin('crash');
    let over = false;
    const loads = ['ann', 'ben'].map((name) => load(store, name, () => over));
    for (let crashes = 0; crashes < 2; crashes += 1) {
      await server.stop('immediate');
      const startedAt = performance.now();
      await expect(store.probe()).rejects.toBeInstanceOf(StoreUnavailable);
      await expect(store.head(1)).rejects.toBeInstanceOf(StoreUnavailable);
      expect(performance.now() - startedAt).toBeLessThan(REFUSED_MS);
      await server.run();
      for (let ready = false; !ready;) {
        ready = await store.probe().then(
          () => true,
          () =>
            new Promise((resolve) => {
              setImmediate(resolve, false);
            }),
        );
      }
    }
    over = true;
    const told = await Promise.all(loads);
    for (const [index, name] of ['ann', 'ben'].entries()) {
      expect(told[index]!.slowestMs).toBeLessThan(REFUSED_MS);
      await check(store, name, told[index]!);
    }
    await store.close();
  }, 60_000);

  it('refuses to write to a database that became read only, and reads on', async () => {
    const store = await begin('readonly');
    await accept(store, unitFor('ann'));
    await server.query('ALTER DATABASE readonly SET default_transaction_read_only = on');
    await server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'readonly'");
    await expect(accept(store, unitFor('ann'))).rejects.toBeInstanceOf(StoreUnavailable);
    await expect(store.probe()).rejects.toBeInstanceOf(StoreUnavailable);
    expect(await store.head((await store.findUser(tenantIds().appId, 'ann'))!)).toBe(1);
    await server.query('ALTER DATABASE readonly RESET default_transaction_read_only');
    await server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'readonly'");
    await accept(store, unitFor('ann'));
    await store.close();
  });

  for (const [lost, words] of [
    ['answer', 'finds out that a commit was done whose answer was lost'],
    ['commit', 'does again what was not committed when the connection broke'],
  ] as const) {
    it(words, async () => {
      const name = `lost_${lost}`;
      await (await begin(name)).close();
      const loser = await CommitLoser.start(path.join(server.folder, `.s.PGSQL.${server.port}`));
      const store = await openStore(`postgres://carillon@127.0.0.1:${loser.port}/${name}`);
      await accept(store, unitFor('ann'));
      for (let round = 0; round < 5; round += 1) {
        loser.lose = lost;
        const { accepts } = await accept(store, unitFor('ann'));
        expect(accepts[0]).toMatchObject({ kind: 'accepted', entries: [{ n: round + 2 }] });
        expect(loser.lose).toBe('nothing');
      }
      const user = (await store.findUser(tenantIds().appId, 'ann'))!;
      expect((await store.readLog(user, 0, 100)).map((entry) => entry.n)).toEqual([1, 2, 3, 4, 5, 6]);
      await store.close();
      await loser.end();
    });
  }

  it('frees the users of a node that stopped within a transaction', async () => {
    const store = await begin('paused');
    await accept(store, unitFor('ann'));
    await server.query('ALTER DATABASE paused SET idle_in_transaction_session_timeout = 300');
    const paused = new Client({ connectionString: server.url('paused') });
    paused.on('error', () => undefined);
    await paused.connect();
    await paused.query('BEGIN; SELECT * FROM heads FOR UPDATE');
    const { accepts } = await accept(store, unitFor('ann'));
    expect(accepts[0]).toMatchObject({ kind: 'accepted', entries: [{ n: 2 }] });
    await store.close();
  });
});
