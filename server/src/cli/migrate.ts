/** `migrate`: an installation from a data folder into a PostgreSQL database, and back. */
import { rm, stat } from 'node:fs/promises';
import type { Command } from 'commander';
import { systemClock, systemRandom } from '../lib/system.ts';
import { systemScheduler } from '../lib/timers.ts';
import { renameIntoPlace } from '../lib/write-file.ts';
import { lockFolder } from '../store/sqlite/folder.ts';
import { dataFolderOf } from './api.ts';
import type { Finish } from './messages.ts';
import { CommandFailed, EXIT, print, printJson, progressBar, usageError } from './output.ts';
import type { TransferTotals } from './transfer.ts';

interface MigrateFlags {
  readonly data?: string;
  /** true: without a value. */
  readonly from?: string | true;
  readonly to?: string | true;
  readonly json?: boolean;
}

const COMPANIONS = ['', '-wal', '-shm'];
const DATABASE = /^postgres(?:ql)?:\/\//u;

const exists = async (file: string): Promise<boolean> => (await stat(file).catch(() => null)) !== null;

const withBar = async (
  work: (onProgress: (share: number) => void) => Promise<TransferTotals>,
): Promise<TransferTotals> => {
  const bar = progressBar('migrate', systemClock.monotonic);
  try {
    return await work((share) => bar.update(share));
  } finally {
    bar.done();
  }
};

const optionsOf = (url: string) => ({ url, clock: systemClock, random: systemRandom, scheduler: systemScheduler });

/** Ends what a crash left open and writes every row, so that the file alone says all. */
async function completeFile(path: string): Promise<void> {
  const { SqliteStore } = await import('../store/sqlite/store.ts');
  const store = new SqliteStore({ path, clock: systemClock, random: systemRandom });
  try {
    await store.foldAll();
  } finally {
    await store.close();
  }
}

/** From the database file of a folder whose lock is held. */
async function moveUp(path: string, url: string): Promise<TransferTotals> {
  if (!(await exists(path))) throw new CommandFailed(`There is no database at ${path}.`);
  const { SqliteTransfer } = await import('../store/sqlite/transfer.ts');
  const { PostgresTransfer } = await import('../store/postgres/transfer.ts');
  const { transfer } = await import('./transfer.ts');
  await completeFile(path);
  const source = new SqliteTransfer(path);
  try {
    return await PostgresTransfer.run(optionsOf(url), 'target', (target) =>
      withBar((onProgress) => transfer(source, target, { onProgress })),
    );
  } finally {
    source.close();
  }
}

/** Into a file beside the place of the database, which gets its name when all is there. */
async function moveDown(path: string, url: string): Promise<TransferTotals> {
  if (await exists(path)) throw new CommandFailed(`${path} exists already: give an empty folder.`);
  const { SqliteTransfer } = await import('../store/sqlite/transfer.ts');
  const { PostgresTransfer } = await import('../store/postgres/transfer.ts');
  const { transfer } = await import('./transfer.ts');
  const unfinished = `${path}.migrating`;
  const totals = await PostgresTransfer.run(optionsOf(url), 'source', async (source) => {
    await source.checkSource();
    const { epoch } = await source.marks();
    let target = new SqliteTransfer(unfinished);
    try {
      if (target.unfinishedOf() !== epoch) {
        target.close();
        for (const suffix of COMPANIONS) await rm(unfinished + suffix, { force: true });
        target = new SqliteTransfer(unfinished);
      }
      return await withBar((onProgress) => transfer(source, target, { onProgress }));
    } finally {
      target.close();
    }
  });
  await renameIntoPlace(unfinished, path);
  return totals;
}

/** A value of `--to` or `--from`, or the environment's; passwords are better given there. */
function urlOf(flag: string | true): string {
  const url = flag === true ? process.env['CARILLON_DATABASE'] : flag;
  if (url === undefined || !DATABASE.test(url)) {
    throw usageError('Give the database as postgres://user:password@host:5432/name, or set CARILLON_DATABASE.');
  }
  return url;
}

/** By name: their modules are loaded only where they are needed. */
const REFUSALS = new Set(['TransferRefused', 'DatabaseTooOld', 'SchemaTooNew']);

async function migrate(flags: MigrateFlags): Promise<number> {
  const { from, to } = flags;
  const given = from ?? to;
  if (given === undefined || (from !== undefined && to !== undefined)) throw usageError('Give either --to or --from.');
  const url = urlOf(given);
  const folder = dataFolderOf(flags);
  const lock = lockFolder(folder);
  try {
    const totals = await (to === undefined ? moveDown : moveUp)(lock.databasePath, url);
    if (flags.json === true) printJson(totals);
    else if (to === undefined)
      print(`Copied ${totals.rows} rows to ${lock.databasePath}; they are the same on both sides.`);
    else print(`Copied ${totals.rows} rows of ${folder} to the database; they are the same on both sides.`);
    return EXIT.ok;
  } catch (error) {
    if (error instanceof Error && REFUSALS.has(error.name)) {
      throw new CommandFailed(error.message);
    }
    throw error;
  } finally {
    lock.release();
  }
}

export function addMigrateCommand(program: Command, finish: Finish): void {
  program
    .command('migrate')
    .description('move the data of a folder into a PostgreSQL database, or back; no server may run on either')
    .option('--data <folder>', 'data folder (CARILLON_DATA; default ./data)')
    .option('--to [url]', 'the database to fill: empty, or with what a try before left (CARILLON_DATABASE)')
    .option('--from [url]', 'the database to copy into the folder, which must hold none (CARILLON_DATABASE)')
    .option('--json', 'write JSON')
    .action(async (flags: MigrateFlags) => finish(await migrate(flags)));
}
