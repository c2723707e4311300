import { mkdtempSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { makeFolder } from './make-folder.ts';

test('makes what is missing, for its owner alone, and leaves what is there', () => {
  const base = mkdtempSync(path.join(os.tmpdir(), 'carillon-folder-'));
  const deep = path.join(base, 'a', 'b', 'c');
  makeFolder(deep);
  makeFolder(deep);
  expect(statSync(deep).mode & 0o777).toBe(0o700);
  rmSync(base, { recursive: true });
});

test.skipIf(process.platform !== 'linux')('says what the system says where nothing can be made', () => {
  expect(() => makeFolder('/proc/carillon/data')).toThrow(/ENOENT|EACCES|EPERM/u);
});
