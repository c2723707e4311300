import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const setupSource = path.join(import.meta.dirname, 'setup.mjs');

// Stands in for npm at the true edge: notes each call, makes what an install leaves behind, and can fail like the real one.
const fakeNpm = `
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
appendFileSync('npm-calls.txt', process.argv.slice(2).join(' ') + '\\n');
rmSync('node_modules', { recursive: true, force: true });
if (existsSync('npm-fails.txt')) {
  process.stderr.write(readFileSync('npm-fails.txt', 'utf8'));
  process.exit(1);
}
mkdirSync('node_modules/.bin', { recursive: true });
writeFileSync('node_modules/.bin/node', readFileSync('packaged-node.txt'), { mode: 0o755 });
`;

let clone: string;

beforeEach(() => {
  clone = mkdtempSync(path.join(tmpdir(), 'carillon-setup-'));
  mkdirSync(path.join(clone, 'scripts'));
  cpSync(setupSource, path.join(clone, 'scripts', 'setup.mjs'));
  put('npm-cli.mjs', fakeNpm);
  // The name setup.mjs looks for; the folder says that it is a module.
  put('npm-cli.js', "import './npm-cli.mjs';\n");
  put('package.json', '{ "type": "module" }\n');
  put('package-lock.json', '{ "packages": {} }\n');
  put('packaged-node.txt', '#!/bin/sh\necho v26.10.0\n');
});

afterEach(() => rmSync(clone, { recursive: true, force: true }));

function put(name: string, content: string): void {
  writeFileSync(path.join(clone, name), content);
}

function read(name: string): string {
  const file = path.join(clone, name);
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

const npmCalls = (): number => read('npm-calls.txt').split('\n').length - 1;

/** Runs setup.mjs in the clone; `environment` is added to this process's own. */
async function setUp(environment: Record<string, string> = {}): Promise<{ code: unknown; output: string }> {
  const child = spawn(process.execPath, [path.join(clone, 'scripts', 'setup.mjs')], {
    env: {
      ...process.env,
      npm_execpath: path.join(clone, 'npm-cli.js'),
      npm_node_execpath: process.execPath,
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code, output: out + err };
}

describe('installing', () => {
  test('happens once, says so in one line, and the second run is silent', async () => {
    const first = await setUp();
    expect(first).toMatchObject({ code: 0 });
    expect(first.output).toMatch(/^Setting up.*done in \d+ s\.\n$/u);
    expect(read('npm-calls.txt')).toMatch(/^ci --ignore-scripts /u);

    expect(await setUp()).toEqual({ code: 0, output: '' });
    expect(npmCalls()).toBe(1);
  });

  test('happens again when the lock file has changed', async () => {
    await setUp();
    put('package-lock.json', '{ "packages": { "node_modules/new": { "version": "1.0.0" } } }\n');
    expect((await setUp()).output).toMatch(/^Setting up/u);
    expect(npmCalls()).toBe(2);
  });

  test('is left out where a complete install was made by hand, and only there', async () => {
    const packages = {
      '': {},
      'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' },
      'node_modules/other-platform': { version: '1.0.0', integrity: 'sha512-o', optional: true },
    };
    mkdirSync(path.join(clone, 'node_modules', 'a'), { recursive: true });
    put('package-lock.json', JSON.stringify({ packages }));
    const installed = { 'node_modules/a': packages['node_modules/a'] };
    put('node_modules/.package-lock.json', JSON.stringify({ packages: installed }));
    expect(await setUp()).toEqual({ code: 0, output: '' });
    expect(npmCalls()).toBe(0);

    const older = { 'node_modules/a': { version: '0.9.0', integrity: 'sha512-older' } };
    put('node_modules/.package-lock.json', JSON.stringify({ packages: older }));
    rmSync(path.join(clone, 'node_modules', '.carillon-setup'));
    expect((await setUp()).code).toBe(0);
    expect(npmCalls()).toBe(1);
  });

  test('by two at once runs npm once', async () => {
    const both = await Promise.all([setUp(), setUp()]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(npmCalls()).toBe(1);
    expect(existsSync(path.join(clone, '.setup-lock'))).toBe(false);
  });

  test('takes over the lock of a process that is gone', async () => {
    const gone = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
    await once(gone, 'close');
    put('.setup-lock', String(gone.pid));
    expect((await setUp()).code).toBe(0);
    expect(npmCalls()).toBe(1);
  });
});

describe('a failure', () => {
  test('of npm leaves no stamp and no lock, and the next run tries again', async () => {
    put('npm-fails.txt', 'npm error code EAI_AGAIN\n');
    const failed = await setUp();
    expect(failed.code).toBe(1);
    expect(failed.output).toContain('the package registry cannot be reached');
    expect(existsSync(path.join(clone, '.setup-lock'))).toBe(false);

    rmSync(path.join(clone, 'npm-fails.txt'));
    expect((await setUp()).code).toBe(0);
    expect(npmCalls()).toBe(2);
  });

  test.each([
    ['npm error code EACCES', 'cannot write in'],
    ['npm error code ENOSPC', 'the disk is full'],
    ['npm error something else', 'npm failed:\nnpm error something else'],
  ])('%s is explained', async (written, explained) => {
    put('npm-fails.txt', written);
    const { code, output } = await setUp();
    expect(code).toBe(1);
    expect(output).toContain(explained);
  });

  test('to find npm is explained', async () => {
    const { code, output } = await setUp({ npm_execpath: '', PATH: path.join(clone, 'nowhere') });
    expect(code).toBe(1);
    expect(output).toContain('npm was not found');
  });
});

test('a packaged Node that does not run here is put out of the way of the one that does', async () => {
  put('packaged-node.txt', '#!/nowhere/loader\n');
  expect((await setUp()).code).toBe(0);
  expect(existsSync(path.join(clone, 'node_modules', '.bin', 'node'))).toBe(false);
});
