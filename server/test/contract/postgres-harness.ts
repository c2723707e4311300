import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemScheduler } from '../../src/lib/timers.ts';
import { PostgresStore } from '../../src/store/postgres/store.ts';
import type { PostgresStoreOptions } from '../../src/store/postgres/store.ts';
import type { Store } from '../../src/core/ports.ts';
import { systemClock } from '../support/clock.ts';
import { PostgresServer } from '../support/postgres.ts';
import { systemRandom } from '../support/random.ts';
import type { StoreHarness, StoreOptions } from './store-fixture.ts';

type NodeOptions = Partial<Pick<StoreOptions, 'clock' | 'random'>> & { readonly node?: string };

function storeOptions(url: string, options: NodeOptions): PostgresStoreOptions {
  const { clock, random = systemRandom, node = 'one' } = options;
  const common = { url, node, local: systemClock, random, scheduler: systemScheduler, beatMs: 0, connectionsMax: 4 };
  return clock === undefined ? common : { ...common, clock };
}

/** A node on a database; without a clock given, it has the database's. */
export function openStore(url: string, options: NodeOptions = {}): Promise<PostgresStore> {
  return PostgresStore.open(storeOptions(url, options));
}

/** A server whose new databases have the tables already. */
export async function startServer(bin: string): Promise<PostgresServer> {
  const server = await PostgresServer.start(bin);
  await server.makeTemplate(async (url) => {
    const store = await openStore(url);
    await store.close();
  });
  return server;
}

/** One database of a server, and the store of one node on it. */
export class PostgresHarness implements StoreHarness {
  store: PostgresStore;
  private readonly server: PostgresServer;
  private readonly database: { name: string; url: string };
  private readonly options: StoreOptions;
  /** Those of crashed processes: they never close their books. */
  private readonly left: Store[] = [];
  private readonly restored: { name: string }[] = [];
  private folder: string | null = null;

  private constructor(parts: {
    server: PostgresServer;
    database: { name: string; url: string };
    options: StoreOptions;
    store: PostgresStore;
  }) {
    this.server = parts.server;
    this.database = parts.database;
    this.options = parts.options;
    this.store = parts.store;
  }

  static async make(server: PostgresServer, options: StoreOptions): Promise<PostgresHarness> {
    const database = await server.makeDatabase();
    const store = await openStore(database.url, options);
    return new PostgresHarness({ server, database, options, store });
  }

  async reopen(): Promise<Store> {
    await this.store.close();
    this.store = await openStore(this.database.url, this.options);
    return this.store;
  }

  async crash(): Promise<Store> {
    this.left.push(this.store);
    this.store = await openStore(this.database.url, this.options);
    return this.store;
  }

  async close(): Promise<void> {
    for (const store of [this.store, ...this.left]) await store.close();
    if (this.folder !== null) await rm(this.folder, { recursive: true, force: true });
    for (const { name } of [this.database, ...this.restored]) this.server.giveBack(name);
  }

  async backupPath(): Promise<string> {
    this.folder ??= await mkdtemp(join(tmpdir(), 'carillon-backup-'));
    return join(this.folder, `backup-${this.restored.length}`);
  }

  /** What `backup` wrote, restored into a database of its own, with the epoch that the file tells and a restore renews. */
  async openBackup(path: string): Promise<Store> {
    const database = await this.server.makeDatabase();
    this.restored.push(database);
    const epoch = /^\{"name":"epoch","value":"(?<epoch>\w+)"\}$/mu.exec(await readFile(path, 'utf8'))?.groups?.[
      'epoch'
    ];
    const renewed = await PostgresStore.restore(storeOptions(database.url, this.options), path);
    if (epoch === undefined || epoch === renewed) throw new Error('the file holds no epoch, or a restore kept it');
    await this.server.query(`UPDATE meta SET value = '${epoch}' WHERE name = 'epoch'`, database.name);
    return openStore(database.url, this.options);
  }
}
