// A fault to be planted with `--import`: every statement is a commit of its own, migrations included.
import { DatabaseSync } from 'node:sqlite';
import { Connection } from '../../../src/store/sqlite/connection.ts';

Connection.prototype.transaction = function runLoose<Result>(work: () => Result): Result {
  return work();
};

// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const { exec } = DatabaseSync.prototype;
DatabaseSync.prototype.exec = function execLoose(this: DatabaseSync, sql: string): void {
  if (!/^(?:BEGIN IMMEDIATE|COMMIT|ROLLBACK)$/u.test(sql)) exec.call(this, sql);
};
