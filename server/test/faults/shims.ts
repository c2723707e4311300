import { spawnSync } from 'node:child_process';
import { openSync, closeSync, readSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';

const SHIMS = path.join(import.meta.dirname, 'shims');
const ERROR_NUMBERS = { EIO: 5, ENOSPC: 28 } as const;

function reasonNoShims(): string | null {
  if (process.platform !== 'linux') return 'needs LD_PRELOAD, so run it on Linux';
  if (spawnSync('gcc', ['--version']).status !== 0) return 'needs gcc; get it with: apt-get install gcc libc6-dev';
  return null;
}

/**
 * Why tests that need a C shim cannot run here, said on one line too; null: they can. The shims sit between the process
 * and the C library.
 */
export function whyNoShims(): string | null {
  const reason = reasonNoShims();
  if (reason !== null) console.log(`skipped: ${reason}`);
  return reason === null ? null : `skipped: ${reason}`;
}

/** Compiles a shim into the folder; returns the environment that puts it under a process. */
export function buildShim(name: 'disk' | 'wallclock' | 'order', folder: string): { LD_PRELOAD: string } {
  const library = path.join(folder, `${name}.so`);
  const source = path.join(SHIMS, `${name}.c`);
  const made = spawnSync('gcc', ['-O1', '-fPIC', '-shared', '-o', library, source, '-ldl', '-lpthread']);
  if (made.status !== 0) throw new Error(`gcc ${name}.c: ${made.stderr.toString()}`);
  return { LD_PRELOAD: library };
}

const KINDS = { sync: 1, write: 2, truncate: 4, create: 8 } as const;

/** The other end of DISK_CONTROL (shims/disk.c): makes calls of a running process fail. */
export class DiskControl {
  readonly path: string;
  private readonly file: number;

  constructor(folder: string) {
    this.path = path.join(folder, 'disk-control');
    writeFileSync(this.path, new Uint8Array(24));
    this.file = openSync(this.path, 'r+');
  }

  /** From now on: lets `pass` calls of these kinds through, then fails `count` of them (-1: all). */
  fail(
    kinds: readonly (keyof typeof KINDS)[],
    error: keyof typeof ERROR_NUMBERS,
    options: { pass?: number; count?: number } = {},
  ): void {
    const mask = kinds.reduce((sum, kind) => sum + KINDS[kind], 0);
    const { pass = 0, count = -1 } = options;
    // The kinds last: before them nothing fails, whatever the other numbers are.
    this.put(0, [0]);
    this.put(1, [ERROR_NUMBERS[error], pass, count]);
    this.put(0, [mask]);
  }

  heal(): void {
    this.put(0, [0]);
  }

  /** Calls that failed so far. */
  get failed(): number {
    return this.get(4);
  }

  /** Syncs of watched files that succeeded so far. */
  get syncs(): number {
    return this.get(5);
  }

  close(): void {
    closeSync(this.file);
  }

  private put(index: number, values: readonly number[]): void {
    writeSync(this.file, Buffer.from(Int32Array.from(values).buffer), 0, values.length * 4, index * 4);
  }

  private get(index: number): number {
    const bytes = Buffer.alloc(4);
    readSync(this.file, bytes, 0, 4, index * 4);
    return bytes.readInt32LE(0);
  }
}

/** The other end of CLOCK_FILE (shims/wallclock.c). */
export class WallClockControl {
  readonly path: string;
  seconds = 0;
  private readonly file: number;

  constructor(folder: string) {
    this.path = path.join(folder, 'clock-offset');
    writeFileSync(this.path, new Uint8Array(8));
    this.file = openSync(this.path, 'r+');
  }

  /** The wall clock of the process is off by so much from now on. */
  set(seconds: number): void {
    this.seconds = seconds;
    writeSync(this.file, Buffer.from(BigInt64Array.of(BigInt(seconds)).buffer), 0, 8, 0);
  }

  /** What the process takes for now; milliseconds. */
  now(): number {
    return Date.now() + this.seconds * 1000;
  }

  close(): void {
    closeSync(this.file);
  }
}
