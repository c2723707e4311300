/** `send`, `status`, `token`: what a backend does, from the terminal. */
import type { Command } from 'commander';
import { systemClock } from '../lib/system.ts';
import { addTarget, callServer, findTarget, needKey } from './api.ts';
import type { Reply, Target, TargetFlags } from './api.ts';
import { CommandFailed, EXIT, print, printJson, printResult, usageError } from './output.ts';

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];

interface SendFlags extends TargetFlags {
  readonly to: readonly string[];
  readonly text?: string;
  readonly template?: string;
  readonly param?: readonly string[];
  readonly thread?: string;
  readonly title: string;
  readonly appid?: string;
  readonly priority?: string;
  readonly expiry?: string;
  readonly correlationid?: string;
  readonly notifyurl?: string;
  readonly dryRun?: boolean;
}

/** `ann`, `userid:ann`, `customerid:c-1`, `msisdn:+49…`, as objects of `destination`. */
function destinationOf(to: string): Record<string, string[]> {
  const match = /^(?<type>userid|customerid|msisdn):(?<value>.+)$/su.exec(to);
  const { type = 'userid', value = to } = match?.groups ?? {};
  return { [type]: [value] };
}

function parametersOf(params: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    params.map((param) => {
      const at = param.indexOf('=');
      if (at < 1) throw usageError(`--param "${param}" is not name=value.`);
      return [param.slice(0, at), param.slice(at + 1)];
    }),
  );
}

function requestOf(flags: SendFlags, target: Target): unknown {
  if (flags.text === undefined && flags.template === undefined) throw usageError('Give --text or --template.');
  const thread =
    flags.thread === undefined
      ? { thread_type: 'Conversation', thread_title: flags.title }
      : { thread_id: flags.thread };
  const { text, appid = target.demo?.appid, priority, expiry, correlationid, notifyurl, template } = flags;
  const message = template === undefined ? undefined : { template, parameters: parametersOf(flags.param ?? []) };
  // What is undefined is no key of the JSON.
  return {
    deliverychannel: 'appmessaging',
    destination: flags.to.map(destinationOf),
    appid,
    priority,
    expiry,
    correlationid,
    notifyurl,
    message,
    channels: { appmessaging: { message: { text }, ...thread } },
  };
}

interface Refusal {
  readonly code: string;
  readonly description: string;
  readonly details?: readonly { path: string; message: string }[];
}

/** What was answered in place of a result, as the end of the command: also by what is no messaging API. */
function failureOf({ status, body }: Reply): CommandFailed {
  const { response, error } = (body ?? {}) as { response?: Refusal; error?: { message?: string } };
  if (response?.code !== undefined) return new CommandFailed(refusalText(response));
  return new CommandFailed(`The server answered ${status}${error?.message === undefined ? '' : `: ${error.message}`}.`);
}

/** A refusal as one sentence. */
function refusalText({ code, description, details = [] }: Refusal): string {
  const reasons = details.map(({ path, message }) => (path === '' ? message : `${path} ${message}`));
  return `${code} ${description}${reasons.length === 0 ? '' : `: ${reasons.join('; ')}`}.`;
}

async function send(flags: SendFlags): Promise<number> {
  const target = await findTarget(flags);
  const reply = await callServer(target.url, {
    method: 'POST',
    path: `/resources/v1/messaging${flags.dryRun === true ? '?dryRun=true' : ''}`,
    headers: { key: needKey(target) },
    body: requestOf(flags, target),
  });
  const { response } = (reply.body ?? {}) as { response?: unknown };
  if (flags.json === true) printJson(reply.body);
  if (!Array.isArray(response)) throw failureOf(reply);
  const items = response as readonly { code: string; description: string; transid: string }[];
  if (flags.json !== true) for (const item of items) print(`${item.code} ${item.description} ${item.transid}`);
  return EXIT.ok;
}

async function status(transid: string, flags: TargetFlags): Promise<number> {
  const target = await findTarget(flags);
  const path = `/resources/v1/messaging/status/${encodeURIComponent(transid)}`;
  const reply = await callServer(target.url, { method: 'GET', path, headers: { key: needKey(target) } });
  if (flags.json === true) printJson(reply.body);
  if (!Array.isArray(reply.body)) throw failureOf(reply);
  if (flags.json === true) return EXIT.ok;
  const items = reply.body as Record<string, unknown>[];
  printResult(
    items.map(({ to, status, last_updated, error_code }) => ({ to, status, last_updated, error_code })),
    false,
  );
  return EXIT.ok;
}

interface TokenFlags extends TargetFlags {
  readonly appid?: string;
  readonly secret?: string;
  readonly customerid?: string;
  readonly msisdn?: string;
  readonly deviceid?: string;
  readonly ttl?: string;
}

export interface MintedToken {
  readonly token: string;
  readonly expires: string;
  readonly appid: string;
}

function ttlOf(flags: Pick<TokenFlags, 'ttl'>): number | undefined {
  if (flags.ttl === undefined) return undefined;
  const seconds = Number(flags.ttl);
  if (!Number.isInteger(seconds) || seconds < 1)
    throw usageError(`--ttl "${flags.ttl}" is no whole number of seconds.`);
  return seconds;
}

/** Made on this machine: the server is not asked. */
async function mintHere(userid: string, appid: string, flags: TokenFlags & { secret: string }): Promise<MintedToken> {
  const { secret, customerid, msisdn, deviceid } = flags;
  const ttlSeconds = ttlOf(flags);
  const names = Object.fromEntries(
    Object.entries({ customerid, msisdn, deviceid }).filter(([, value]) => value !== undefined),
  );
  const app = {
    id: appid,
    clientId: '',
    name: '',
    secrets: [secret],
    jwksUrl: null,
    issuer: null,
    customerid: 'linked',
    origins: [],
    createdAt: 0,
  } as const;
  const now = systemClock.now();
  const { mintDeviceToken } = await import('../identity/mint.ts');
  const minted = await mintDeviceToken({
    app,
    userid,
    now,
    ...names,
    ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
  });
  if (!minted.ok) throw new CommandFailed(`No token: ${minted.message}.`);
  return { token: minted.token, expires: minted.expires, appid };
}

/** A device token: from the app's secret where it is given, else from the server. */
export async function mintToken(userid: string, flags: TokenFlags): Promise<MintedToken> {
  const { secret } = flags;
  if (secret !== undefined) {
    if (flags.appid === undefined) throw usageError('--secret needs --appid: the app it is the secret of.');
    return mintHere(userid, flags.appid, { ...flags, secret });
  }
  const target = await findTarget(flags);
  const appid = flags.appid ?? target.demo?.appid;
  if (appid === undefined) throw usageError('Give --appid.');
  const { customerid, msisdn, deviceid } = flags;
  const reply = await callServer(target.url, {
    method: 'POST',
    path: '/resources/v1/device-tokens',
    headers: { key: needKey(target) },
    body: { appid, userid, customerid, msisdn, deviceid, ttl: ttlOf(flags) },
  });
  const { token, expires } = (reply.body ?? {}) as Partial<MintedToken>;
  if (token === undefined || expires === undefined) throw failureOf(reply);
  return { token, expires, appid };
}

async function token(userid: string, flags: TokenFlags): Promise<number> {
  const { appid: _appid, ...minted } = await mintToken(userid, flags);
  if (flags.json === true) printJson(minted);
  else print(minted.token);
  return EXIT.ok;
}

export type Finish = (exitCode: number) => void;

export function addMessageCommands(program: Command, finish: Finish): void {
  addTarget(program.command('send'), 'key')
    .description('send a message; prints one line per destination with its transid')
    .requiredOption('--to <who>', 'userid, or customerid:…, msisdn:…; may be given several times', collect)
    .option('--text <text>', 'text of the message')
    .option('--template <id>', 'template instead of a text')
    .option('--param <name=value>', 'parameter of the template; may be given several times', collect)
    .option('--thread <id>', 'thread it goes to')
    .option('--title <title>', 'title of the conversation where no thread is given', 'Messages')
    .option('--appid <appid>', 'app, where it is not the service’s own')
    .option('--priority <n>', '1 low, 2 medium, 3 high')
    .option('--expiry <time>', 'RFC 3339')
    .option('--correlationid <id>', 'label, echoed in receipts')
    .option('--notifyurl <url>', 'where receipts go')
    .option('--dry-run', 'say what would happen and send nothing')
    .action(async (flags: SendFlags) => finish(await send(flags)));
  addTarget(program.command('status'), 'key')
    .description('how a message stands for each of its recipients')
    .argument('<transid>')
    .action(async (transid: string, flags: TargetFlags) => finish(await status(transid, flags)));
  addTarget(program.command('token'), 'key')
    .description('make a token for a device: by the server, or with --secret on this machine')
    .argument('<userid>')
    .option('--appid <appid>', 'app (default: the demo’s)')
    .option('--secret <secret>', 'secret of the app: the server is not asked')
    .option('--customerid <id>')
    .option('--msisdn <number>')
    .option('--deviceid <id>', 'only this device may use it')
    .option('--ttl <seconds>', 'up to 86400; default 3600')
    .action(async (userid: string, flags: TokenFlags) => finish(await token(userid, flags)));
}
