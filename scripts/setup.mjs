// Installs what `npm start` and `npm test` need, or says nothing. Plain JavaScript: Node 18 runs it, before 26 is there.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE_MAJOR_MIN = 24;
/** An install takes a minute or two; a lock this old was left behind. */
const LOCK_AGE_MAX_MS = 15 * 60_000;
const LOCK_POLL_MS = 200;
const NPM_OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const windows = process.platform === 'win32';
const inRoot = (...parts) => path.join(root, ...parts);
const stampFile = inRoot('node_modules', '.carillon-setup');
const lockFile = inRoot('.setup-lock');

/** A failure that is explained in one sentence and needs no stack. */
class SetupError extends Error {}

/** What went wrong (an error code, or what npm wrote) as a sentence that says what to do. */
function explain(text) {
  if (/ENOENT npm/u.test(text)) return 'npm was not found. Install it with Node.js, version 18 or newer.';
  if (/ENOSPC/u.test(text)) return 'the disk is full. About 500 MB are needed.';
  if (/EROFS|EACCES|EPERM/u.test(text)) return `cannot write in ${root}. Make it writable, or use a clone of your own.`;
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|TIMEDOUT|ENETUNREACH|SOCKET_TIMEOUT/u.test(text))
    return 'the package registry cannot be reached. Connect to the network (or set npm’s proxy), then try again.';
  return `npm failed:\n${text.trim()}`;
}

const isSetUp = (hash) => existsSync(stampFile) && readFileSync(stampFile, 'utf8') === hash;

/** Whether an install made by hand is complete: npm writes its own copy of the lock last, when all is in place. */
function isInstalledByHand() {
  const packagesOf = (...file) => JSON.parse(readFileSync(inRoot(...file), 'utf8')).packages;
  if (!existsSync(inRoot('node_modules', '.package-lock.json'))) return false;
  const has = packagesOf('node_modules', '.package-lock.json');
  return Object.entries(packagesOf('package-lock.json')).every(([name, wanted]) => {
    if (!name.startsWith('node_modules/') || wanted.link) return true;
    if (!has[name]) return wanted.optional === true;
    return has[name].integrity === wanted.integrity && existsSync(inRoot(name));
  });
}

function lockIsStale() {
  try {
    if (Date.now() - statSync(lockFile).mtimeMs > LOCK_AGE_MAX_MS) return true;
    const pid = Number(readFileSync(lockFile, 'utf8'));
    return pid > 0 && !process.kill(pid, 0);
  } catch (error) {
    // ESRCH: its holder is gone. ENOENT: just given back. EPERM: somebody else's, and alive.
    return error.code === 'ESRCH';
  }
}

function takeLock() {
  for (let told = false; ; told = true) {
    try {
      return writeFileSync(lockFile, String(process.pid), { flag: 'wx' });
    } catch (error) {
      if (error.code !== 'EEXIST') throw new SetupError(explain(error.code));
    }
    if (lockIsStale()) rmSync(lockFile, { force: true });
    else if (!told) process.stderr.write(`Another setup is running here; waiting for it to give back ${lockFile}.\n`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOCK_POLL_MS);
  }
}

function install() {
  const startedAt = Date.now();
  process.stderr.write('Setting up, once per change of package-lock.json: installing packages ... ');
  rmSync(stampFile, { force: true });
  // Windows cannot delete the node.exe that runs this, and `npm ci` deletes everything first.
  const command = windows && process.execPath.startsWith(root) ? 'install' : 'ci';
  const args = [command, '--ignore-scripts', '--include=dev', '--include=optional', '--no-audit', '--no-fund'];
  const options = { cwd: root, encoding: 'utf8', maxBuffer: NPM_OUTPUT_BYTES_MAX };
  const { npm_execpath: npm = '', npm_node_execpath: node = process.execPath } = process.env;
  const ran = /npm-cli\.c?js$/u.test(npm)
    ? spawnSync(node, [npm, ...args], options)
    : spawnSync(windows ? 'npm.cmd' : 'npm', args, { ...options, shell: windows });
  process.stderr.write(ran.status === 0 ? `done in ${Math.ceil((Date.now() - startedAt) / 1000)} s.\n` : 'failed.\n');
  if (ran.status === 0) return;
  throw new SetupError(explain(ran.error ? `${ran.error.code} npm` : `${ran.stderr}\n${ran.stdout}`));
}

/** npm's scripts run the packaged Node where it works on this machine, else the one that runs this. */
function checkNode() {
  const isNewEnough = (version) => Number(/^v(\d+)\./u.exec(version)?.[1]) >= NODE_MAJOR_MIN;
  const packaged = inRoot('node_modules', '.bin', windows ? 'node.cmd' : 'node');
  const ran = spawnSync(windows ? `"${packaged}"` : packaged, ['--version'], { encoding: 'utf8', shell: windows });
  if (isNewEnough(ran.stdout ?? '')) return;
  // Missing, or made for another C library: out of the way, or npm would go on choosing it.
  for (const end of ['', '.cmd', '.ps1']) rmSync(inRoot('node_modules', '.bin', `node${end}`), { force: true });
  if (isNewEnough(process.version)) return;
  const old = `${process.version} on ${process.platform} ${process.arch}`;
  throw new SetupError(`no packaged Node runs here, and ${old} is too old. Install Node ${NODE_MAJOR_MIN} or newer.`);
}

function setUp() {
  const inputs = [readFileSync(inRoot('package-lock.json'), 'utf8'), process.platform, process.arch];
  const hash = createHash('sha256').update(inputs.join(' ')).digest('hex');
  if (isSetUp(hash)) return Number.parseInt(process.versions.node, 10) >= NODE_MAJOR_MIN || checkNode();
  takeLock();
  try {
    if (!isSetUp(hash) && !isInstalledByHand()) install();
    checkNode();
    return writeFileSync(stampFile, hash);
  } finally {
    rmSync(lockFile, { force: true });
  }
}

try {
  setUp();
} catch (error) {
  process.stderr.write(`Setup: ${error instanceof SetupError ? error.message : error.stack}\n`);
  process.exitCode = 1;
}
