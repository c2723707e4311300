import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const MAIN = path.resolve(import.meta.dirname, '..', '..', 'src', 'main.ts');
/** Takes a third off a start, from the first server on that ended by itself. Known to Node by content; git ignores it. */
const COMPILED = path.resolve(import.meta.dirname, '..', '..', '..', 'node_modules', '.cache', 'carillon-tests');
/** Nothing of a start takes so long, on a machine that has much else to do. */
const READY_MS = 15_000;
/** SIGTERM promises 10 s; the test judges, this only ends what hangs. */
const STOP_MS = 20_000;
/** Of what a child wrote, so much is kept to explain a failure. */
const OUTPUT_CHARS_MAX = 20_000;

/** What `--demo` leaves in `<data>/demo.json`, as far as tests use it. */
export interface Demo {
  readonly http: string;
  readonly serviceKey: string;
  readonly serviceId: string;
  readonly receiptSecret: string;
  readonly appid: string;
  readonly adminToken: string;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** From the signal, or the start, to the end; milliseconds. */
  readonly ms: number;
}

export interface ServerOptions {
  /** The data folder. */
  readonly folder: string;
  /** On top of the environment of the tests, from which every `CARILLON_…` is taken out. */
  readonly env?: Readonly<Record<string, string>>;
  /** Modules loaded before the server: how a test plants a fault that the product has no option for. */
  readonly preload?: readonly string[];
  readonly args?: readonly string[];
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A folder under the system's temporary one. The caller removes it. */
export function makeFolder(): string {
  return mkdtempSync(path.join(os.tmpdir(), 'carillon-test-'));
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}

/** `carillon serve --demo` on free ports, as a process of its own. */
export class ServerProcess {
  readonly child: ChildProcess;
  readonly folder: string;
  /** Resolves when the process has ended and its output was read; never rejects. */
  readonly exited: Promise<Exit>;
  stdout = '';
  stderr = '';
  private readonly startedAt = performance.now();
  private signalledAt: number | null = null;
  private onReady: () => void = () => undefined;

  /** Does not wait for the ready line: {@link start} does. */
  constructor(options: ServerOptions) {
    this.folder = options.folder;
    const preload = (options.preload ?? []).flatMap((file) => ['--import', file]);
    const listen = ['--http', '127.0.0.1:0', '--mqtt', '127.0.0.1:0', '--data', options.folder];
    const args = [...preload, MAIN, 'serve', '--demo', ...listen, ...(options.args ?? [])];
    const inherited = Object.entries(process.env).filter(([name]) => !/^(?:CARILLON_|VITEST|NODE_OPTIONS)/u.test(name));
    const env = {
      ...Object.fromEntries(inherited),
      CARILLON_LOG_LEVEL: 'warn',
      NODE_COMPILE_CACHE: COMPILED,
      ...options.env,
    };
    this.child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(this.child);
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout = (this.stdout + text).slice(-OUTPUT_CHARS_MAX);
      this.onReady();
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-OUTPUT_CHARS_MAX);
    });
    this.exited = new Promise((resolve) => {
      this.child.once('close', (code, signal) => {
        running.delete(this.child);
        resolve({ code, signal, ms: performance.now() - (this.signalledAt ?? this.startedAt) });
      });
    });
  }

  /** Resolves at the ready line. Rejects, with what the process said, where it ends or hangs before. */
  static async start(options: ServerOptions): Promise<ServerProcess> {
    const server = new ServerProcess(options);
    await server.ready();
    return server;
  }

  async ready(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const said = new Promise<'ready'>((resolve) => {
      this.onReady = () => {
        if (this.readyLine() !== null) resolve('ready');
      };
      this.onReady();
    });
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), READY_MS);
    });
    const outcome = await Promise.race([said, late, this.exited]);
    clearTimeout(timer);
    if (outcome === 'ready') return;
    if (outcome === 'late') await this.kill();
    throw new Error(`the server did not get ready (${JSON.stringify(outcome)}):\n${this.stdout}\n${this.stderr}`);
  }

  private readyLine(): { http: string; mqtt: string } | null {
    const groups = /^carillon ready http=(?<http>\S+) mqtt=(?<mqtt>\S+)$/mu.exec(this.stdout)?.groups;
    return groups === undefined ? null : { http: groups['http'] ?? '', mqtt: groups['mqtt'] ?? '' };
  }

  get http(): string {
    return this.readyLine()?.http ?? '';
  }

  get mqtt(): string {
    return this.readyLine()?.mqtt ?? '';
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  demo(): Demo {
    return JSON.parse(readFileSync(path.join(this.folder, 'demo.json'), 'utf8')) as Demo;
  }

  /** SIGKILL: what the process had not given to the system is gone. */
  async kill(): Promise<Exit> {
    this.signalledAt ??= performance.now();
    this.child.kill('SIGKILL');
    return this.exited;
  }

  /** SIGTERM, and the end of the process; after 20 s it is killed and the exit says so. */
  async stop(): Promise<Exit> {
    this.signalledAt ??= performance.now();
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS);
    this.child.kill('SIGTERM');
    const exit = await this.exited;
    clearTimeout(timer);
    return exit;
  }

  /** CPU time used so far, milliseconds, all threads. Linux. */
  cpuMs(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8')
      .replace(/^.*\) /su, '')
      .split(' ');
    // utime and stime are fields 14 and 15 of proc(5), in ticks of 10 ms; two fields were cut off.
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }
}
