import { chmodSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { makeFolder } from '../../lib/make-folder.ts';

export const DATABASE_FILE = 'carillon.db';
const LOCK_FILE = 'carillon.lock';
const FILE_MODE = 0o600;

/** The folder is held by a process that runs. */
export class FolderInUse extends Error {
  constructor(folder: string) {
    super(`another carillon works on the data folder ${folder}: stop it first, or give this one another --data`);
    this.name = 'FolderInUse';
  }
}

/**
 * Makes the data folder where it is missing and holds it until `release`. Two servers on one file would each believe in
 * their own heads of the logs. The lock is one of SQLite's: it goes with the process, however it ends.
 */
export function lockFolder(folder: string): { readonly databasePath: string; readonly release: () => void } {
  makeFolder(folder);
  const lockPath = path.join(folder, LOCK_FILE);
  const lock = new DatabaseSync(lockPath, { timeout: 0 });
  try {
    chmodSync(lockPath, FILE_MODE);
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    lock.close();
    if (/locked|busy/i.test((error as Error).message)) throw new FolderInUse(folder);
    throw error;
  }
  return { databasePath: path.join(folder, DATABASE_FILE), release: () => lock.close() };
}
