/** The PostgreSQL database that a command works on, where one is named. Nothing said here repeats its address: it may hold a password. */
import { OPTIONS } from '../config.ts';
import { StoreUnavailable } from '../core/ports.ts';
import { systemClock, systemRandom } from '../lib/system.ts';
import { systemScheduler } from '../lib/timers.ts';
import type { PostgresStore, PostgresStoreOptions } from '../store/postgres/store.ts';
import { CommandFailed, say, usageError } from './output.ts';

export const DATABASE_FLAG = '--database <url>';
export const DATABASE_HELP = 'PostgreSQL database in place of the data folder (better CARILLON_DATABASE)';

/** A command does one thing after the other; a backup holds one of them all the time. */
const CONNECTIONS_MAX = 2;

/** The address by flag, else by the environment; null: the data folder. Throws where it is none. */
export function databaseOf(flags: { readonly database?: string }): string | null {
  const fromFlag = flags.database;
  const text = fromFlag ?? process.env['CARILLON_DATABASE'] ?? '';
  if (text === '' && fromFlag === undefined) return null;
  const parsed = OPTIONS.database.parse(text);
  if (parsed.ok) return parsed.value;
  throw usageError(`${fromFlag === undefined ? 'CARILLON_DATABASE' : '--database'} ${parsed.message}.`);
}

/** A node that nobody else is, since each writes rows of its own; the chores of the servers forget it after a day. */
export function databaseOptions(url: string): PostgresStoreOptions {
  const node = `command-${process.pid}-${Buffer.from(systemRandom.bytes(4)).toString('hex')}`;
  return {
    url,
    node,
    local: systemClock,
    random: systemRandom,
    scheduler: systemScheduler,
    beatMs: 0,
    connectionsMax: CONNECTIONS_MAX,
  };
}

/** What an address or a server that cannot be used is told as: a sentence, without the address. */
export function databaseFault(error: unknown): string | null {
  if (error instanceof StoreUnavailable) return error.message;
  if (error instanceof URIError || (error as NodeJS.ErrnoException | null)?.code === 'ERR_INVALID_URL') {
    return 'the address of the database cannot be read: user and password are percent-encoded (@ is %40, / is %2F, % is %25)';
  }
  if (!(error instanceof Error)) return null;
  // The server or its tables do not go with this version, the backup is none, the disk or the server refused.
  const isKnown = ['DatabaseTooOld', 'SchemaTooNew', 'BackupUnusable'].includes(error.name);
  return isKnown || 'code' in error ? error.message : null;
}

/** Does work on the database; what is no bug of ours ends the command with a sentence. */
export async function onDatabase<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    const fault = databaseFault(error);
    if (fault === null) throw error;
    throw new CommandFailed(/[.!?]$/u.test(fault) ? fault : `${fault}.`);
  }
}

/** Brings the tables up to date, as a start does. The caller closes it. */
export function openDatabase(url: string): Promise<PostgresStore> {
  return onDatabase(async () => {
    const { PostgresStore } = await import('../store/postgres/store.ts');
    const store = await PostgresStore.open(databaseOptions(url));
    for (const warning of store.warnings) say(`warning: ${warning}`);
    return store;
  });
}
