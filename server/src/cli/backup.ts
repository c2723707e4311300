/** `backup` and `restore`: the data folder's database, or the one that servers share, as one file. */
import { chmod, copyFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { backup as copyDatabase, DatabaseSync } from 'node:sqlite';
import type { Command } from 'commander';
import { systemClock, systemRandom } from '../lib/system.ts';
import { renameIntoPlace, syncFolder } from '../lib/write-file.ts';
import { DATABASE_FILE, lockFolder } from '../store/sqlite/folder.ts';
import { dataFolderOf } from './api.ts';
import { DATABASE_FLAG, DATABASE_HELP, databaseOf, databaseOptions, onDatabase, openDatabase } from './database.ts';
import type { Finish } from './messages.ts';
import { CommandFailed, EXIT, print, printJson, progressBar, usageError } from './output.ts';

interface CopyFlags {
  readonly data?: string;
  readonly database?: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

/** Pages copied between two looks at the progress: 4 MiB. */
const PAGES_PER_STEP = 1_000;
/** What SQLite keeps beside a database; of another database they would be poison. */
const COMPANIONS = ['-wal', '-shm'];

const OWNER_ONLY = 0o600;

const exists = async (file: string): Promise<boolean> => (await stat(file).catch(() => null)) !== null;

async function refuseExisting(file: string, flags: CopyFlags): Promise<void> {
  if (flags.force === true || !(await exists(file))) return;
  throw new CommandFailed(`${file} exists already: --force replaces it.`);
}

async function copyWithProgress(from: string, to: string, label: string): Promise<void> {
  const bar = progressBar(label, systemClock.monotonic);
  const database = new DatabaseSync(from, { readOnly: true });
  try {
    await copyDatabase(database, to, {
      rate: PAGES_PER_STEP,
      progress: ({ totalPages, remainingPages }) => bar.update(1 - remainingPages / Math.max(1, totalPages)),
    });
  } finally {
    bar.done();
    database.close();
  }
}

/** A consistent copy, while the server runs or not. The file is whole and on disk, or it is not there. */
async function backup(file: string, flags: CopyFlags): Promise<number> {
  const database = databaseOf(flags);
  const target = path.resolve(file);
  if (database === null) await backUpFolder(target, flags);
  else await backUpDatabase(target, database, flags);
  const bytes = (await stat(target)).size;
  if (flags.json === true) printJson({ file: target, bytes });
  else print(`Backed up to ${target} (${bytes} bytes).`);
  return EXIT.ok;
}

async function backUpDatabase(target: string, url: string, flags: CopyFlags): Promise<void> {
  await refuseExisting(target, flags);
  const store = await openDatabase(url);
  const bar = progressBar('backup', systemClock.monotonic);
  try {
    await onDatabase(() => store.backup(target, (share) => bar.update(share)));
    await syncFolder(path.dirname(target));
  } finally {
    bar.done();
    await store.close();
  }
}

async function backUpFolder(target: string, flags: CopyFlags): Promise<void> {
  const source = path.join(dataFolderOf(flags), DATABASE_FILE);
  if (!(await exists(source))) throw new CommandFailed(`There is no database at ${source}.`);
  await refuseExisting(target, flags);
  const temporary = `${target}.${process.pid}.tmp`;
  try {
    await copyWithProgress(source, temporary, 'backup');
    await chmod(temporary, OWNER_ONLY);
    await renameIntoPlace(temporary, target);
  } finally {
    for (const suffix of ['', ...COMPANIONS]) await rm(temporary + suffix, { force: true });
  }
}

/** Throws where the file is not a whole database of ours; `name` is what the sentence calls it. */
function checkBackup(file: string, name: string): void {
  let database: DatabaseSync | null = null;
  let verdict: unknown;
  try {
    database = new DatabaseSync(file, { readOnly: true });
    verdict = database.prepare('PRAGMA quick_check').get()?.['quick_check'];
    database.prepare("SELECT value FROM meta WHERE name = 'epoch'").get();
  } catch {
    throw new CommandFailed(`${name} is no backup of Carillon.`);
  } finally {
    database?.close();
  }
  if (verdict !== 'ok') throw new CommandFailed(`${name} is damaged (${String(verdict)}).`);
}

/** The copy gets a new epoch before it takes its place: devices whose positions it does not know are told, and start anew. */
async function prepareCopy(source: string, temporary: string): Promise<string> {
  await copyFile(source, temporary);
  await chmod(temporary, OWNER_ONLY);
  checkBackup(temporary, source);
  const { SqliteStore } = await import('../store/sqlite/store.ts');
  const store = new SqliteStore({ path: temporary, clock: systemClock, random: systemRandom });
  try {
    return store.renewEpoch();
  } finally {
    await store.close();
  }
}

async function putInPlace(temporary: string, database: string): Promise<void> {
  const aside = `${database}.replaced`;
  for (const suffix of ['', ...COMPANIONS]) {
    await rm(aside + suffix, { force: true });
    if (await exists(database + suffix)) await rename(database + suffix, aside + suffix);
  }
  await syncFolder(path.dirname(database));
  await renameIntoPlace(temporary, database);
  for (const suffix of ['', ...COMPANIONS]) await rm(aside + suffix, { force: true });
}

async function restore(file: string, flags: CopyFlags): Promise<number> {
  const source = path.resolve(file);
  const database = databaseOf(flags);
  if (!(await exists(source))) throw new CommandFailed(`There is no file ${source}.`);
  if (database !== null) return restoreDatabase(source, database, flags);
  const folder = dataFolderOf(flags);
  const lock = lockFolder(folder);
  const temporary = `${lock.databasePath}.${process.pid}.tmp`;
  try {
    await refuseExisting(lock.databasePath, flags);
    const epoch = await prepareCopy(source, temporary);
    await putInPlace(temporary, lock.databasePath);
    if (flags.json === true) printJson({ file: lock.databasePath, epoch });
    else print(`Restored ${source} to ${lock.databasePath}; the new epoch is ${epoch}.`);
  } finally {
    for (const suffix of ['', ...COMPANIONS]) await rm(temporary + suffix, { force: true });
    lock.release();
  }
  return EXIT.ok;
}

/** Nothing is ever replaced there: who means to, makes another database. */
async function restoreDatabase(source: string, url: string, flags: CopyFlags): Promise<number> {
  if (flags.force === true) {
    throw usageError('--force is for a data folder: a PostgreSQL database is restored into only while it is empty.');
  }
  const epoch = await onDatabase(async () => {
    const { PostgresStore } = await import('../store/postgres/store.ts');
    return PostgresStore.restore(databaseOptions(url), source);
  });
  if (flags.json === true) printJson({ epoch });
  else print(`Restored ${source} to the database; the new epoch is ${epoch}.`);
  return EXIT.ok;
}

export function addBackupCommands(program: Command, finish: Finish): void {
  const options = (command: Command): Command =>
    command
      .argument('<file>')
      .option('--data <folder>', 'data folder (CARILLON_DATA; default ./data)')
      .option(DATABASE_FLAG, DATABASE_HELP)
      .option('--force', 'replace what is there')
      .option('--json', 'write JSON');
  options(program.command('backup'))
    .description('copy the database to a file, while the server runs or not')
    .action(async (file: string, flags: CopyFlags) => finish(await backup(file, flags)));
  options(program.command('restore'))
    .description('put a backup in place of the data, or into an empty database; no server may run')
    .action(async (file: string, flags: CopyFlags) => finish(await restore(file, flags)));
}
