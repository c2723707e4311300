import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Store } from '../../src/core/ports.ts';
import { SqliteStore } from '../../src/store/sqlite/store.ts';
import type { StoreHarness, StoreOptions } from './store-fixture.ts';
import { storeSuite } from './store-suite.ts';

/** In memory where nothing is reopened; otherwise a file in a folder of its own. */
class SqliteHarness implements StoreHarness {
  store: Store;
  private readonly options: StoreOptions;
  private readonly folder: string | null;
  private backups = 0;

  constructor(options: StoreOptions, folder: string | null) {
    this.options = options;
    this.folder = folder;
    this.store = this.make();
  }

  private make(path = this.folder === null ? ':memory:' : join(this.folder, 'carillon.db')): Store {
    return new SqliteStore({ path, clock: this.options.clock, random: this.options.random });
  }

  async reopen(): Promise<Store> {
    if (this.folder === null) throw new Error('a store in memory cannot be reopened: make it durable');
    await this.store.close();
    this.store = this.make();
    return this.store;
  }

  async close(): Promise<void> {
    await this.store.close();
    if (this.folder !== null) await rm(this.folder, { recursive: true, force: true });
  }

  backupPath(): string {
    if (this.folder === null) throw new Error('a store in memory has no folder: make it durable');
    this.backups += 1;
    return join(this.folder, `backup-${this.backups}.db`);
  }

  openBackup(path: string): Promise<Store> {
    return Promise.resolve(this.make(path));
  }
}

storeSuite('sqlite', async (options) => {
  const folder = options.durable ? await mkdtemp(join(tmpdir(), 'carillon-store-')) : null;
  return new SqliteHarness(options, folder);
});
