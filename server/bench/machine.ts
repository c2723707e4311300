import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { quantile } from './statistics.ts';

const SYNCS = 500;
const SYNCED_BYTES = 4096;
const GIB = 1024 ** 3;

export interface Machine {
  readonly cores: number;
  readonly processor: string;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly node: string;
  readonly sqlite: string;
  /** Writing 4 KiB and fdatasync, in the folder the servers under test use. */
  readonly syncP50Ms: number;
  readonly syncP99Ms: number;
  /** Work of others while the bench began; above a fraction of the cores the figures are worth little. */
  readonly loadAverage: number;
}

/** Facts without which a figure means nothing. `folder`: where the databases will be. */
export function describeMachine(folder: string): Machine {
  const sync = measureSync(folder);
  const database = new DatabaseSync(':memory:');
  const row = database.prepare('SELECT sqlite_version() AS version').get();
  database.close();
  return {
    cores: os.availableParallelism(),
    processor: os.cpus()[0]?.model.trim() ?? 'unknown',
    memoryGib: Math.round((os.totalmem() / GIB) * 10) / 10,
    kernel: `${os.type()} ${os.release()}`,
    node: process.version,
    sqlite: String(row?.['version']),
    syncP50Ms: quantile(sync, 0.5),
    syncP99Ms: quantile(sync, 0.99),
    loadAverage: os.loadavg()[0] ?? 0,
  };
}

function measureSync(folder: string): Float64Array {
  const file = path.join(folder, 'sync-probe');
  const handle = openSync(file, 'w');
  const bytes = Buffer.alloc(SYNCED_BYTES, 1);
  const times = new Float64Array(SYNCS);
  try {
    for (let index = 0; index < SYNCS; index += 1) {
      const startedAt = performance.now();
      writeSync(handle, bytes);
      fdatasyncSync(handle);
      times[index] = performance.now() - startedAt;
    }
  } finally {
    closeSync(handle);
    rmSync(file, { force: true });
  }
  return times.toSorted();
}
