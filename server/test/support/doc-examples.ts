/** Examples of the documentation: found by the words behind their fence, run, and compared with what really comes. */
import { readFileSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '..', '..', '..');

export interface Example {
  /** `json`, `sh`, `js`. */
  readonly language: string;
  /** What is to be done with it: `request`, `answer`, `run` … */
  readonly mark: string;
  /** What follows the mark, or empty. */
  readonly argument: string;
  readonly text: string;
  readonly line: number;
}

const FENCE = /^```(?<language>\w+) (?<mark>[\w-]+)(?: (?<argument>[\w-]+))?\n(?<text>[\s\S]*?)^```$/gmu;

/** The marked examples of a page, in order. `page`: a path from the root of the repository. */
export function examplesOf(page: string): readonly Example[] {
  const source = readFileSync(path.join(ROOT, page), 'utf8');
  return [...source.matchAll(FENCE)].map((match) => {
    const { language = '', mark = '', argument = '', text = '' } = match.groups ?? {};
    return { language, mark, argument, text, line: source.slice(0, match.index).split('\n').length };
  });
}

export interface CurlCall {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** The words of a command line, with `$NAME` replaced outside single quotes. Throws for a name that is not known. */
function wordsOf(command: string, variables: Readonly<Record<string, string>>): string[] {
  const expand = (text: string): string =>
    text.replaceAll(/\$(\w+)/gu, (_, name: string) => {
      const value = variables[name];
      if (value === undefined) throw new Error(`the example uses $${name}, which the test does not know`);
      return value;
    });
  const words: string[] = [];
  for (const [word] of command.replaceAll('\\\n', ' ').matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/gu)) {
    const parts = word.match(/'[^']*'|"[^"]*"|[^'"]+/gu) ?? [];
    words.push(
      parts
        .map((part) =>
          part.startsWith("'") ? part.slice(1, -1) : expand(part.startsWith('"') ? part.slice(1, -1) : part),
        )
        .join(''),
    );
  }
  return words;
}

/** Reads a `curl` command of the documentation: `-s`, `-X`, `-H`, `-d` and the address. Throws for anything else. */
export function readCurl(command: string, variables: Readonly<Record<string, string>>): CurlCall {
  const [program, ...words] = wordsOf(command, variables);
  if (program !== 'curl') throw new Error(`not a curl command: ${command}`);
  const headers: Record<string, string> = {};
  let method: string | undefined;
  let url: string | undefined;
  let body: string | undefined;
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] ?? '';
    const next = (): string => words[(index += 1)] ?? '';
    if (word === '-s') continue;
    else if (word === '-X') method = next();
    else if (word === '-d') body = next();
    else if (word === '-H') {
      const [, name = '', value = ''] = /^([^:]+): *(.*)$/su.exec(next()) ?? [];
      headers[name] = value;
    } else if (url === undefined && !word.startsWith('-')) url = word;
    else throw new Error(`an option the test does not know: ${word}`);
  }
  if (url === undefined) throw new Error(`no address: ${command}`);
  return { url, method: method ?? (body === undefined ? 'GET' : 'POST'), headers, body };
}

/** Texts that differ from run to run: two of one kind count as alike. */
const VOLATILE: readonly RegExp[] = [
  /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/u,
  /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/u,
  /^\w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} UTC$/u,
  /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/u,
];

function objectIn(text: string): unknown {
  if (!text.startsWith('{')) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function textDifference(wanted: string, found: string, at: string): string | null {
  if (wanted === found || VOLATILE.some((kind) => kind.test(wanted) && kind.test(found))) return null;
  const [inner, real] = [objectIn(wanted), objectIn(found)];
  if (inner !== undefined && real !== undefined) return difference(inner, real, at);
  return `${at}: documented ${JSON.stringify(wanted)}, found ${JSON.stringify(found)}`;
}

/** Where a JSON value is not like the documented one: ids and times may differ, nothing else. Null: it is like it. */
export function difference(wanted: unknown, found: unknown, at = ''): string | null {
  if (typeof wanted === 'string' && typeof found === 'string') return textDifference(wanted, found, at);
  if (typeof wanted !== 'object' || wanted === null || typeof found !== 'object' || found === null) {
    const isNumberOfLog = at.endsWith('/seq') && typeof wanted === typeof found;
    return Object.is(wanted, found) || isNumberOfLog
      ? null
      : `${at}: documented ${JSON.stringify(wanted)}, found ${JSON.stringify(found)}`;
  }
  const [names, present] = [Object.keys(wanted), Object.keys(found)];
  const odd = [...names.filter((name) => !present.includes(name)), ...present.filter((name) => !names.includes(name))];
  if (odd.length > 0 || Array.isArray(wanted) !== Array.isArray(found)) {
    return `${at || '/'}: documented ${names.join(', ')}; found ${present.join(', ')}`;
  }
  for (const name of names) {
    const inner = difference(
      (wanted as Record<string, unknown>)[name],
      (found as Record<string, unknown>)[name],
      `${at}/${name}`,
    );
    if (inner !== null) return inner;
  }
  return null;
}
