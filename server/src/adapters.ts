/** Opens the store and the bus that the configuration asks for: one process on a data folder, or many on a database. */
import { MemoryBus } from './bus/memory.ts';
import type { Config } from './config.ts';
import type { Bus, Clock, Random, Store } from './core/ports.ts';
import type { Scheduler } from './lib/timers.ts';
import { lockFolder } from './store/sqlite/folder.ts';
import { SqliteStore } from './store/sqlite/store.ts';

export interface AdapterOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly warn: (what: string, details: Record<string, unknown>) => void;
  /** What is opened is ended in the reverse order, also where a later part cannot be opened. */
  readonly onEnd: (name: string, end: () => Promise<void> | void) => void;
}

export interface Adapters {
  readonly store: Store;
  readonly bus: Bus;
  /** The time of everything that the store is told: the database's where it is shared. */
  readonly clock: Clock;
  /** Other processes work on the same store. */
  readonly isShared: boolean;
  /** Whether other processes are heard at this moment; null: there is no bus to them. */
  readonly isBusConnected: (() => boolean) | null;
}

/** Rejects where the folder is held, the database cannot be used, or NATS is named wrongly. */
export async function openAdapters(options: AdapterOptions): Promise<Adapters> {
  const { database } = options.config;
  if (database === null) return openFolder(options);
  // Their libraries are a third of a start that needs none of them.
  const { openShared } = await import('./cluster-adapters.ts');
  return openShared(options, database);
}

function openFolder({ config, clock, random, onEnd }: AdapterOptions): Adapters {
  const folder = lockFolder(config.data);
  onEnd('data folder', folder.release);
  const store = new SqliteStore({ path: folder.databasePath, clock, random });
  onEnd('store', () => store.close());
  const bus = new MemoryBus();
  onEnd('bus', () => bus.close());
  return { store, bus, clock, isShared: false, isBusConnected: null };
}
