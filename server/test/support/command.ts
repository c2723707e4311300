import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';

const MAIN = path.resolve(import.meta.dirname, '..', '..', 'src', 'main.ts');
const COMPILED = path.resolve(import.meta.dirname, '..', '..', '..', 'node_modules', '.cache', 'carillon-tests');

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `carillon <args>` as a process of its own, without the `CARILLON_…` of the environment but those given. */
export class RunningCommand {
  readonly child: ChildProcess;
  readonly ended: Promise<CommandResult>;
  #stdout = '';
  #stderr = '';
  readonly #waiting: { readonly text: string; readonly resolve: () => void }[] = [];

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const inherited = Object.entries(process.env).filter(([name]) => !/^(?:CARILLON_|VITEST|NODE_OPTIONS)/u.test(name));
    this.child = spawn(process.execPath, [MAIN, ...args], {
      env: { ...Object.fromEntries(inherited), NODE_COMPILE_CACHE: COMPILED, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#take({ stdout: text }));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#take({ stderr: text }));
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code) => {
        resolve({ code, stdout: this.#stdout, stderr: this.#stderr });
        for (const { resolve: give } of this.#waiting.splice(0)) give();
      });
    });
  }

  #take(said: { stdout?: string; stderr?: string }): void {
    this.#stdout += said.stdout ?? '';
    this.#stderr += said.stderr ?? '';
    for (const wait of this.#waiting.slice()) {
      if (!this.#has(wait.text)) continue;
      this.#waiting.splice(this.#waiting.indexOf(wait), 1);
      wait.resolve();
    }
  }

  #has(text: string): boolean {
    return this.#stdout.includes(text) || this.#stderr.includes(text);
  }

  /** Resolves when the command has said this, or throws where it ended without. */
  async said(text: string): Promise<void> {
    if (!this.#has(text) && this.child.exitCode === null) {
      await new Promise<void>((resolve) => this.#waiting.push({ text, resolve }));
    }
    if (!this.#has(text)) throw new Error(`the command ended without "${text}":\n${this.#stdout}\n${this.#stderr}`);
  }
}

/** Runs a command to its end. */
export function runCarillon(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<CommandResult> {
  return new RunningCommand(args, env).ended;
}
