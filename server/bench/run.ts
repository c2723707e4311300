/**
 * `npm run bench -- [lines…] [--runs N] [--json file] [--quick] [--profile] [--messages N] [--folder path]`
 *
 * Measures a server in a process of its own, driven by this process, against floors measured in the same run. Compare
 * figures within one run alone; across machines only the ratios mean something.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { inspect, parseArgs } from 'node:util';
import { accept } from './accept.ts';
import { deliver } from './deliver.ts';
import { fanout, fanoutMillion } from './fanout.ts';
import { Bench } from './harness.ts';
import type { BenchOptions, Line, Measure } from './harness.ts';
import { idle } from './idle.ts';
import { latency } from './latency.ts';
import { describeMachine } from './machine.ts';
import { renderCosts } from './profile.ts';
import { receipts } from './receipts.ts';
import { renderMachine, renderTable, summarize } from './report.ts';
import { soak } from './soak.ts';
import { start } from './start.ts';

const LINES: readonly Line[] = [accept, fanout, fanoutMillion, deliver, latency, idle, receipts, start, soak];
const RESULTS = path.join(import.meta.dirname, 'results');
const RUNS = 3;
const SOAK_MESSAGES = 300_000;
const SOAK_MESSAGES_QUICK = 60_000;

const say = (text: string): boolean => process.stdout.write(`${text}\n`);
const tell = (text: string): boolean => process.stderr.write(`${text}\n`);

const USAGE = `npm run bench -- [lines…] [options]

  --runs N        how often each line runs (${RUNS}); medians are told
  --quick         short runs, to see that every line works; their figures mean little
  --json FILE     where the result goes (server/bench/results/<date>.json)
  --profile       CPU profiles of the servers under test, and what cost most
  --messages N    messages of the soak line (${SOAK_MESSAGES})
  --folder PATH   where the databases are (${os.tmpdir()}): it should be on the disk that matters

${LINES.map((line) => `  ${line.name.padEnd(16)}${line.description}`).join('\n')}`;

interface Command {
  readonly lines: readonly Line[];
  readonly runs: number;
  readonly jsonPath: string;
  readonly folder: string;
  readonly options: BenchOptions;
}

function count(text: string | undefined, otherwise: number, flag: string): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`${flag} must be a whole number from 1`);
  return value;
}

/** null: only help was asked for. */
function readCommand(stamp: string): Command | null {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { runs: text, json: text, messages: text, folder: text, quick: flag, profile: flag, help: flag },
  });
  if (values.help) return null;
  const unknown = positionals.filter((name) => !LINES.some((line) => line.name === name));
  if (unknown.length > 0) throw new Error(`no line ${unknown.join(', ')}\n\n${USAGE}`);
  const isQuick = values.quick;
  return {
    lines: positionals.length === 0 ? LINES : LINES.filter((line) => positionals.includes(line.name)),
    runs: count(values.runs, isQuick ? 1 : RUNS, '--runs'),
    jsonPath: values.json ?? path.join(RESULTS, `${stamp}.json`),
    folder: values.folder ?? os.tmpdir(),
    options: {
      isQuick,
      profileFolder: values.profile ? path.join(RESULTS, `profiles-${stamp}`) : null,
      soakMessages: count(values.messages, isQuick ? SOAK_MESSAGES_QUICK : SOAK_MESSAGES, '--messages'),
    },
  };
}

async function runLine(line: Line, options: BenchOptions, root: string): Promise<readonly Measure[]> {
  const bench = new Bench(options, { line: line.name, root });
  try {
    return await line.run(bench);
  } finally {
    await bench.end();
  }
}

/** Runs everything `runs` times, one round after another, so that a bad minute spoils no line alone. */
async function measure(command: Command, root: string): Promise<{ measures: Measure[]; failures: string[] }> {
  const measures: Measure[] = [];
  const failures: string[] = [];
  for (let run = 1; run <= command.runs; run += 1) {
    for (const line of command.lines) {
      const startedAt = performance.now();
      tell(`run ${run} of ${command.runs}: ${line.name}, ${line.description} …`);
      try {
        const figures = await runLine(line, command.options, root);
        measures.push(...figures);
        const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
        tell(renderTable(summarize(figures)).split('\n').slice(2).join('\n'));
        tell(`  (${seconds} s)`);
      } catch (error) {
        failures.push(`${line.name}, run ${run}: ${inspect(error)}`);
        tell(`  FAILED: ${failures.at(-1)}`);
      }
    }
  }
  return { measures, failures };
}

function showProfiles(command: Command): void {
  const { profileFolder } = command.options;
  if (profileFolder === null) return;
  for (const { name } of command.lines) {
    const folder = path.join(profileFolder, name);
    if (existsSync(folder)) say(`\n${name}: time by function itself (${folder})\n${renderCosts(folder)}`);
  }
}

async function main(): Promise<number> {
  const startedAt = new Date().toISOString();
  const command = readCommand(startedAt.replaceAll(/[:.]/gu, '-'));
  if (command === null) {
    say(USAGE);
    return 0;
  }
  mkdirSync(command.folder, { recursive: true });
  const root = mkdtempSync(path.join(command.folder, 'carillon-bench-'));
  // The servers end by themselves when the channel to this process closes.
  process.once('SIGINT', () => {
    rmSync(root, { recursive: true, force: true, maxRetries: 3 });
    process.exit(130);
  });
  try {
    const machine = describeMachine(root);
    tell(renderMachine(machine));
    const { measures, failures } = await measure(command, root);
    const figures = summarize(measures);
    say(`\n${renderMachine(machine)}\n\n${renderTable(figures)}`);
    if (command.options.isQuick) say('\nA quick run: it shows that the lines work, its figures mean little.');
    for (const failure of failures) say(`\nFAILED ${failure}`);
    const { isQuick, soakMessages } = command.options;
    const result = { startedAt, machine, runs: command.runs, isQuick, soakMessages, figures, failures };
    mkdirSync(path.dirname(command.jsonPath), { recursive: true });
    writeFileSync(command.jsonPath, `${JSON.stringify(result, null, 2)}\n`);
    say(`\n${command.jsonPath}`);
    showProfiles(command);
    return failures.length === 0 ? 0 : 1;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

process.exitCode = await main().catch((error: unknown) => {
  tell(error instanceof Error ? error.message : String(error));
  return 2;
});
