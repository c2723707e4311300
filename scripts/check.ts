// Everything that gates a change besides the tests. All of them run even when one fails, so that one round shows all there
// is to mend. The commands are the scripts of package.json: what is checked here is what a person runs by hand.
import { exec } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';

const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

const root = path.dirname(import.meta.dirname);

interface Check {
  readonly name: string;
  /** The script of package.json, with what is added to it. */
  readonly script: string;
  readonly suffix?: string;
  /** What to run to mend it, where a command can. */
  readonly remedy?: string;
}

const checks: readonly Check[] = [
  { name: 'types', script: 'types' },
  { name: 'lint', script: 'lint' },
  { name: 'format', script: 'format:check', remedy: 'npm run format' },
  { name: 'dead code', script: 'dead-code' },
  { name: 'docs', script: 'docs', suffix: '--check', remedy: 'npm run docs' },
];

/** Runs one check and reports it as soon as it ends. True when it passed. */
async function run(check: Check, command: string): Promise<boolean> {
  const startedAt = performance.now();
  const searchPath = `${path.join(root, 'node_modules', '.bin')}${path.delimiter}${process.env['PATH'] ?? ''}`;
  const env = { ...process.env, PATH: searchPath, NO_COLOR: '1' };
  const { failed, output } = await new Promise<{ failed: boolean; output: string }>((resolve) => {
    exec(command, { cwd: root, env, maxBuffer: OUTPUT_BYTES_MAX }, (error, stdout, stderr) => {
      resolve({ failed: error !== null, output: `${stdout}${stderr}`.trim() });
    });
  });
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  process.stdout.write(`${failed ? 'FAILED' : 'ok    '} ${check.name.padEnd(10)} ${seconds.padStart(5)} s\n`);
  if (failed) {
    process.stdout.write(`${output.replaceAll(/^/gmu, '       ')}\n`);
    if (check.remedy !== undefined) process.stdout.write(`       To mend it: ${check.remedy}\n`);
  }
  return !failed;
}

function commandOf(check: Check): string {
  const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const command = manifest.scripts[check.script];
  if (command === undefined) throw new Error(`package.json has no script ${check.script}`);
  return check.suffix === undefined ? command : `${command} ${check.suffix}`;
}

const results = await Promise.all(checks.map((check) => run(check, commandOf(check))));
const failures = results.filter((passed) => !passed).length;
process.stdout.write(failures === 0 ? 'All checks passed.\n' : `${failures} of ${checks.length} checks failed.\n`);
process.exitCode = failures === 0 ? 0 : 1;
