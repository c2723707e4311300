import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ProbeAnswer, ProbeQuestion } from './probe.ts';

const MAIN = fileURLToPath(import.meta.resolve('../src/main.ts'));
const PROBE = fileURLToPath(import.meta.resolve('./probe.ts'));
const FLOORS = fileURLToPath(import.meta.resolve('./floors.ts'));
const READY_MS = 60_000;
/** The server has 10 s to drain; a profile takes a moment to be written. */
const STOP_MS = 20_000;
const LOG_TAIL = 2_000;

export interface ServerOptions {
  readonly data: string;
  /** Folder for CPU profiles; null: none. */
  readonly profileFolder: string | null;
  /** Without the probe nothing but the server itself runs in the process. */
  readonly withProbe?: boolean;
}

/** A server under test: `carillon serve` with its default options on free ports, in a process of its own. */
export class ServerProcess {
  readonly httpPort: number;
  readonly mqttPort: number;
  /** From the start of the process to its ready line. */
  readonly readyMs: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, ready: { httpPort: number; mqttPort: number; readyMs: number }) {
    this.#child = child;
    this.httpPort = ready.httpPort;
    this.mqttPort = ready.mqttPort;
    this.readyMs = ready.readyMs;
  }

  static async start(options: ServerOptions): Promise<ServerProcess> {
    const { data, profileFolder, withProbe = true } = options;
    // The probe profiles what is measured; without it the profile is of the whole life, which is then what is measured.
    const profile = profileFolder === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`];
    const flags = withProbe ? ['--expose-gc', '--import', PROBE] : profile;
    const environment = profileFolder === null ? {} : { BENCH_PROFILE_FOLDER: profileFolder };
    const addresses = ['--http', '127.0.0.1:0', '--mqtt', '127.0.0.1:0', '--allow-private', '127.0.0.0/8'];
    const logPath = `${data}.log`;
    const log = openSync(logPath, 'a');
    const startedAt = performance.now();
    const child = spawn(process.execPath, [...flags, MAIN, 'serve', ...addresses, '--data', data], {
      stdio: ['ignore', 'pipe', log, 'ipc'],
      env: { ...process.env, ...environment },
    });
    closeSync(log);
    try {
      const line = await readLine(child, /^carillon ready http=\S+:(\d+) mqtt=\S+:(\d+)/u);
      const readyMs = performance.now() - startedAt;
      return new ServerProcess(child, { httpPort: Number(line[1]), mqttPort: Number(line[2]), readyMs });
    } catch (error) {
      child.kill('SIGKILL');
      throw new Error(`the server did not start: ${readFileSync(logPath, 'utf8').slice(-LOG_TAIL)}`, { cause: error });
    }
  }

  ask(question: ProbeQuestion): Promise<ProbeAnswer> {
    return ask(this.#child, question);
  }

  /** Values of `GET /metrics` by name, labelled ones summed. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    const response = await fetch(`http://127.0.0.1:${this.httpPort}/metrics`);
    if (!response.ok) throw new Error(`/metrics answered ${response.status}`);
    const values = new Map<string, number>();
    for (const line of (await response.text()).split('\n')) {
      const match = /^([a-z_]+)(?:\{[^}]*\})? (\S+)/u.exec(line);
      if (match?.[1] === undefined) continue;
      values.set(match[1], (values.get(match[1]) ?? 0) + Number(match[2]));
    }
    return values;
  }

  /** SIGTERM; rejects where the server does not end with 0. */
  async stop(): Promise<void> {
    if (hasEnded(this.#child)) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
    const [code, signal] = (await exited) as [number | null, string | null];
    clearTimeout(timer);
    if (code !== 0) throw new Error(`the server ended with ${code ?? signal} after SIGTERM`);
  }

  /** As a crash would. */
  async kill(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}

/** A process that does the bare minimum of what a line measures (floors.ts). Answers one line of JSON, or a port. */
export class FloorProcess {
  readonly #child: ChildProcess;

  constructor(...words: readonly string[]) {
    this.#child = spawn(process.execPath, [FLOORS, ...words], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
  }

  /** The port of a floor that listens. */
  async port(): Promise<number> {
    return Number((await readLine(this.#child, /^port (\d+)/u))[1]);
  }

  /** Lets a floor begin that waits for it. */
  go(): void {
    this.#child.stdin?.write('go\n');
  }

  /** What it measured by itself: so many a second. */
  async rate(): Promise<number> {
    return Number((await readLine(this.#child, /^rate (\S+)/u))[1]);
  }

  async end(): Promise<void> {
    if (hasEnded(this.#child)) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function ask(child: ChildProcess, question: ProbeQuestion): Promise<ProbeAnswer> {
  const answered = once(child, 'message') as Promise<[ProbeAnswer]>;
  child.send(question);
  return answered.then(([answer]) => answer);
}

/** The first line of stdout that matches; rejects when the process ends or takes too long. */
function readLine(child: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    if (child.stdout === null) throw new Error('a child without stdout');
    const lines = createInterface({ input: child.stdout });
    const onExit = (code: number | null): void => done(new Error(`the process ended with ${String(code)}`));
    const timer = setTimeout(() => done(new Error(`no ${pattern.source} within ${READY_MS} ms`)), READY_MS);
    const done = (outcome: RegExpExecArray | Error): void => {
      clearTimeout(timer);
      child.off('exit', onExit);
      lines.removeAllListeners('line');
      if (outcome instanceof Error) reject(outcome);
      else resolve(outcome);
    };
    child.once('exit', onExit);
    lines.on('line', (line) => {
      const match = pattern.exec(line);
      if (match !== null) done(match);
    });
  });
}
