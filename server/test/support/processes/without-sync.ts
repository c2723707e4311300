// A fault to be planted with `--import`: the database believes that every write is on the disk already.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { DatabaseSync } from 'node:sqlite';

// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const { exec } = DatabaseSync.prototype;
DatabaseSync.prototype.exec = function execWithoutSync(this: DatabaseSync, sql: string): void {
  exec.call(this, sql.replace('synchronous = NORMAL', 'synchronous = OFF'));
};

fs.fdatasync = ((_file: number, done: (error: Error | null) => void) => {
  setImmediate(done, null);
}) as typeof fs.fdatasync;
fs.fdatasyncSync = () => undefined;
syncBuiltinESMExports();
