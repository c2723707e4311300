/** Which server a command speaks to, and with what: flags, then the environment, then `demo.json` of the data folder. */
import path from 'node:path';
import type { Command } from 'commander';
import { readDemo } from '../demo.ts';
import type { Demo } from '../demo.ts';
import { DATABASE_FLAG, DATABASE_HELP } from './database.ts';
import { CommandFailed } from './output.ts';

export interface TargetFlags {
  readonly data?: string;
  /** A PostgreSQL database; only commands that can do without a server take it. */
  readonly database?: string;
  readonly url?: string;
  readonly key?: string;
  readonly token?: string;
  readonly json?: boolean;
}

/** Longest wait for an answer. */
const ANSWER_TIMEOUT_MS = 30_000;

/** An empty variable counts as not given. */
const given = (name: string): string | undefined => {
  const value = process.env[name];
  return value === '' ? undefined : value;
};

export const dataFolderOf = (flags: Pick<TargetFlags, 'data'>): string =>
  path.resolve(flags.data ?? given('CARILLON_DATA') ?? 'data');

/** The options that every command with a server behind it takes. */
export function addTarget(command: Command, credential: 'key' | 'token' | null): Command {
  command.option('--url <url>', 'address of the server (CARILLON_URL; default: from demo.json)');
  if (credential === 'key') command.option('--key <key>', 'service key (CARILLON_KEY; default: from demo.json)');
  if (credential === 'token') {
    command
      .option('--token <token>', 'admin token (CARILLON_TOKEN; default: from demo.json)')
      .option(DATABASE_FLAG, DATABASE_HELP);
  }
  return command
    .option('--data <folder>', 'data folder, where demo.json is looked for (CARILLON_DATA)')
    .option('--json', 'write JSON');
}

export interface Target {
  /** Without a slash at its end. */
  readonly url: string;
  readonly key: string | null;
  readonly token: string | null;
  readonly demo: Demo | null;
}

/** Throws where no server is named anywhere. The demo's secrets go to the demo's server alone. */
export async function findTarget(flags: TargetFlags): Promise<Target> {
  const named = flags.url ?? given('CARILLON_URL');
  const demo = await readDemo(dataFolderOf(flags));
  const url = (named ?? demo?.http)?.replace(/\/+$/u, '');
  if (url === undefined) {
    throw new CommandFailed(
      `No server is named: give --url, set CARILLON_URL, or name a data folder with a demo.json (looked in ${dataFolderOf(flags)}).`,
    );
  }
  if (!/^https?:\/\//u.test(url) || !URL.canParse(url)) {
    throw new CommandFailed(`"${url}" is no address of a server: it begins with http:// or https://.`);
  }
  const own = demo !== null && demo.http === url ? demo : null;
  return {
    url,
    key: flags.key ?? given('CARILLON_KEY') ?? own?.serviceKey ?? null,
    token: flags.token ?? given('CARILLON_TOKEN') ?? own?.adminToken ?? null,
    demo: own,
  };
}

export function needKey(target: Target): string {
  if (target.key === null) throw new CommandFailed('No service key is known: give --key or set CARILLON_KEY.');
  return target.key;
}

export interface Reply {
  readonly status: number;
  readonly body: unknown;
}

export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** One call; a server that cannot be reached, or that answers no JSON, ends the command with a sentence. */
export async function callServer(url: string, request: ApiRequest): Promise<Reply> {
  let response: Response;
  try {
    response = await fetch(url + request.path, {
      method: request.method,
      headers: {
        ...request.headers,
        ...(request.body === undefined ? undefined : { 'content-type': 'application/json' }),
      },
      ...(request.body === undefined ? undefined : { body: JSON.stringify(request.body) }),
      redirect: 'error',
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new CommandFailed(`The server at ${url} cannot be reached (${code ?? message}).`);
  }
  const text = await response.text();
  if (text === '') return { status: response.status, body: null };
  try {
    return { status: response.status, body: JSON.parse(text) };
  } catch {
    throw new CommandFailed(`${url} answered ${response.status} and no JSON: is it a Carillon server?`);
  }
}
