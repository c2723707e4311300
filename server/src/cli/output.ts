/** How the commands speak: results on stdout, everything else on stderr, and an exit code that means something. */

export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

/** Ends a command with one sentence and a code. */
export class CommandFailed extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number = EXIT.failed) {
    super(message);
    this.name = 'CommandFailed';
    this.exitCode = exitCode;
  }
}

export const usageError = (message: string): CommandFailed => new CommandFailed(message, EXIT.usage);

/** Control characters and turns of direction, which a message from outside must not bring into a terminal. */
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

export function safeText(text: string): string {
  return text.replaceAll(UNSAFE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function say(text: string): void {
  process.stderr.write(`${safeText(text)}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value));
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return '-';
  if (typeof value === 'string') return safeText(value);
  return safeText(JSON.stringify(value));
}

/** An object as lines of `name  value`. */
function printFields(object: Readonly<Record<string, unknown>>): void {
  const width = Math.max(0, ...Object.keys(object).map((name) => name.length));
  for (const [name, value] of Object.entries(object)) print(`${name.padEnd(width)}  ${cell(value)}`);
}

/** Objects as a table; the columns are those of the first one. */
function printTable(items: readonly Readonly<Record<string, unknown>>[]): void {
  const [first] = items;
  if (first === undefined) return say('There are none.');
  const columns = Object.keys(first);
  const rows = [columns, ...items.map((item) => columns.map((column) => cell(item[column])))];
  const widths = columns.map((_column, index) => Math.max(...rows.map((row) => row[index]?.length ?? 0)));
  for (const row of rows)
    print(
      row
        .map((text, index) => text.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd(),
    );
}

/** A result for people, or with `--json` for programs. */
export function printResult(result: unknown, isJson: boolean): void {
  if (isJson) return printJson(result);
  if (Array.isArray(result)) return printTable(result as Record<string, unknown>[]);
  if (typeof result === 'object' && result !== null) return printFields(result as Record<string, unknown>);
  return print(cell(result));
}

const BAR_WIDTH = 30;
const BAR_AFTER_MS = 1_000;

/** A bar on a terminal, once the work has taken a second; `done` removes it. */
export function progressBar(label: string, monotonic: () => number): { update(share: number): void; done(): void } {
  const startedAt = monotonic();
  let isShown = false;
  return {
    update(share) {
      if (!process.stderr.isTTY || monotonic() - startedAt < BAR_AFTER_MS) return;
      isShown = true;
      const full = Math.round(Math.min(1, Math.max(0, share)) * BAR_WIDTH);
      const bar = '#'.repeat(full).padEnd(BAR_WIDTH);
      process.stderr.write(`\r${label} [${bar}] ${String(Math.round(share * 100)).padStart(3)} %`);
    },
    done() {
      if (isShown) process.stderr.write('\r\u001b[K');
    },
  };
}
