// Runs every test that gates a change, once; arguments go on to vitest (`npm test -- server/src/lib`). The last line is
// `N passed, N failed`, from scripts/count-reporter.ts, and the exit code is vitest's own.
import { spawn } from 'node:child_process';
import path from 'node:path';

const root = path.dirname(import.meta.dirname);
const vitest = path.join(root, 'node_modules', 'vitest', 'vitest.mjs');

// The Node that runs this is the one the tests run on, whatever `node` comes first on the path.
const child = spawn(process.execPath, [vitest, 'run', ...process.argv.slice(2)], { cwd: root, stdio: 'inherit' });

// A terminal sends Ctrl-C to both; what a supervisor sends reaches only this process.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => child.kill('SIGTERM'));

child.on('error', (error) => {
  process.stderr.write(`The tests could not be started: ${error.message}\n`);
  process.exitCode = 1;
});
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
