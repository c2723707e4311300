// A fault to be planted with `--import`: the data folder is not held against a second server.
import { DatabaseSync } from 'node:sqlite';

// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const { exec } = DatabaseSync.prototype;
DatabaseSync.prototype.exec = function execUnlocked(this: DatabaseSync, sql: string): void {
  if (!sql.includes('BEGIN EXCLUSIVE')) exec.call(this, sql);
};
