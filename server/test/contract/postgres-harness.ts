import { systemScheduler } from '../../src/lib/timers.ts';
import { PostgresStore } from '../../src/store/postgres/store.ts';
import type { Store } from '../../src/core/ports.ts';
import { systemClock } from '../support/clock.ts';
import type { PostgresServer } from '../support/postgres.ts';
import { systemRandom } from '../support/random.ts';
import type { StoreHarness, StoreOptions } from './store-fixture.ts';

export function openStore(
  url: string,
  options: Partial<StoreOptions> & { readonly node?: string } = {},
): Promise<PostgresStore> {
  const { clock, random = systemRandom, node = 'one' } = options;
  const common = { url, node, local: systemClock, random, scheduler: systemScheduler, beatMs: 0, connectionsMax: 4 };
  return PostgresStore.open(clock === undefined ? common : { ...common, clock });
}

/** One database of a server, and the store of one node on it. */
export class PostgresHarness implements StoreHarness {
  store: PostgresStore;
  private readonly server: PostgresServer;
  private readonly database: { name: string; url: string };
  private readonly options: StoreOptions;
  /** Those of crashed processes: they never close their books. */
  private readonly left: Store[] = [];

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
    await this.server.dropDatabase(this.database.name);
  }

  backupPath(): string {
    throw new Error('not yet');
  }

  openBackup(): Promise<Store> {
    throw new Error('not yet');
  }
}
