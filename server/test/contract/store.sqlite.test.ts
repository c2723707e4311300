import { existsSync } from 'node:fs';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
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
  private readonly youngMax: number | undefined;
  private readonly folder: string | null;
  private generation = 0;
  private backups = 0;

  constructor(options: StoreOptions, folder: string | null, youngMax?: number) {
    this.options = options;
    this.youngMax = youngMax;
    this.folder = folder;
    this.store = this.make();
  }

  private get path(): string {
    return this.folder === null ? ':memory:' : join(this.folder, `carillon-${this.generation}.db`);
  }

  private make(path = this.path): Store {
    const { clock, random } = this.options;
    return new SqliteStore({
      path,
      clock,
      random,
      ...(this.youngMax === undefined ? {} : { youngMax: this.youngMax }),
    });
  }

  async reopen(): Promise<Store> {
    if (this.folder === null) throw new Error('a store in memory cannot be reopened: make it durable');
    await this.store.close();
    this.store = this.make();
    return this.store;
  }

  /** A copy of the file and its log is what another process would find. */
  async crash(): Promise<Store> {
    if (this.folder === null) throw new Error('a store in memory does not survive a crash: make it durable');
    const before = this.path;
    this.generation += 1;
    for (const suffix of ['', '-wal']) {
      if (existsSync(before + suffix)) await copyFile(before + suffix, this.path + suffix);
    }
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

// Rows written late, at once, and now and then: nobody may see a difference.
for (const [name, youngMax] of [
  ['sqlite', undefined],
  ['sqlite, every row at once', 0],
  ['sqlite, few rows late', 2],
] as const) {
  storeSuite(name, async (options) => {
    const folder = options.durable ? await mkdtemp(join(tmpdir(), 'carillon-store-')) : null;
    return new SqliteHarness(options, folder, youngMax);
  });
}
