/** `listen`: a device in the terminal. */
import type { Device, DeviceState } from '@carillon/sdk/device.ts';
import type { MessageDown } from '@carillon/protocol/device.ts';
import type { Command } from 'commander';
import { addTarget, findTarget } from './api.ts';
import type { Target, TargetFlags } from './api.ts';
import { mintToken } from './messages.ts';
import type { Finish } from './messages.ts';
import { CommandFailed, EXIT, print, printJson, safeText, say, usageError } from './output.ts';

interface ListenFlags extends TargetFlags {
  readonly mqtt?: string;
  readonly appid?: string;
  readonly deviceToken?: string;
  readonly secret?: string;
  readonly deviceid: string;
  readonly since?: string;
  readonly count?: string;
  readonly read?: boolean;
}

/** Where devices connect: as given, as the demo says, else the WebSocket beside the API. */
function addressOf(flags: ListenFlags, target: Target | null): string {
  if (flags.mqtt !== undefined) return flags.mqtt;
  if (target === null) throw usageError('Give --mqtt, or --url.');
  const { demo, url } = target;
  return demo === null ? `${url.replace(/^http/u, 'ws')}/mqtt` : (demo.mqtt ?? demo.ws);
}

function messageLine(message: MessageDown): string {
  const time = message.created.slice(11, 19);
  const media = message.media.map(
    ({ contentType, file }) => ` [${contentType}${file === undefined ? '' : ` ${file}`}]`,
  );
  return safeText(`${time}  ${message.thread.title}  ${message.message}${media.join('')}`);
}

function stateLine(state: DeviceState): string {
  switch (state.kind) {
    case 'connecting':
      return 'connecting';
    case 'connected':
      return `connected as ${state.deviceid}${state.resumed ? ', where it left off' : ''}`;
    case 'waiting':
      return `not connected (${state.reason}); trying again in ${(state.waitMs / 1_000).toFixed(1)} s`;
    case 'closed':
      return `closed: ${state.reason}`;
    default:
      return '';
  }
}

function countOf(flags: ListenFlags): number {
  if (flags.count === undefined) return Infinity;
  const count = Number(flags.count);
  if (!Number.isInteger(count) || count < 1) throw usageError(`--count "${flags.count}" is no whole number.`);
  return count;
}

interface Listening {
  readonly url: string;
  readonly appid: string;
  readonly token: string | (() => Promise<string>);
}

async function listeningOf(userid: string, flags: ListenFlags): Promise<Listening> {
  const { deviceToken, mqtt, secret } = flags;
  const isAlone = mqtt !== undefined && (deviceToken !== undefined || secret !== undefined);
  const target = isAlone ? null : await findTarget(flags);
  const url = addressOf(flags, target);
  const appid = flags.appid ?? target?.demo?.appid;
  if (appid === undefined) throw usageError('Give --appid.');
  if (deviceToken !== undefined) return { url, appid, token: deviceToken };
  const mint = async (): Promise<string> => (await mintToken(userid, { ...flags, appid })).token;
  await mint(); // What is wrong with the key or the app is said now, not retried for ever.
  return { url, appid, token: mint };
}

/** Resolves when the device is closed for good: by a signal, by `--count`, or by the server. */
async function run(userid: string, flags: ListenFlags, listening: Listening): Promise<string> {
  const { connectDevice } = await import('@carillon/sdk/device.ts');
  let left = countOf(flags);
  const isJson = flags.json === true;
  return new Promise((resolve, reject) => {
    const close = (): void => {
      device.close().catch(reject);
    };
    const options = { ...listening, userid, deviceid: flags.deviceid };
    const device: Device = connectDevice({
      ...options,
      ...(flags.since === undefined ? undefined : { since: flags.since }),
      onMessage: (message) => {
        if (left <= 0) return;
        left -= 1;
        if (isJson) printJson(message);
        else print(messageLine(message));
        if (flags.read === true) device.send({ type: 'read', tids: [message.tid] }).catch(() => undefined);
        if (left === 0) setImmediate(close);
      },
      onEvent: (event) => {
        if (isJson) printJson(event);
        else say(`event: ${JSON.stringify(event)}`);
      },
      onState: (state) => {
        say(stateLine(state));
        if (state.kind === 'closed') resolve(state.reason);
      },
    });
    process.once('SIGINT', close);
    process.once('SIGTERM', close);
  });
}

async function listen(userid: string, flags: ListenFlags): Promise<number> {
  const reason = await run(userid, flags, await listeningOf(userid, flags));
  if (reason === 'closed by the app') return EXIT.ok;
  throw new CommandFailed(`The device was closed: ${reason}.`);
}

export function addListenCommand(program: Command, finish: Finish): void {
  addTarget(program.command('listen'), 'key')
    .description('be a device: print messages as they come and acknowledge them')
    .argument('<userid>')
    .option(
      '--mqtt <url>',
      'mqtt://, mqtts://, ws://…/mqtt or wss://…/mqtt (default: from demo.json, else beside --url)',
    )
    .option('--appid <appid>', 'app (default: the demo’s)')
    .option('--device-token <jwt>', 'token of the device (default: made by the server)')
    .option('--secret <secret>', 'secret of the app, to make the token on this machine')
    .option('--deviceid <id>', 'the same id finds its session again', 'terminal')
    .option('--since <position>', 'begin after this position, <epoch>:<n>')
    .option('--count <n>', 'end after so many messages')
    .option('--read', 'say of each message that it was read')
    .action(async (userid: string, flags: ListenFlags) => finish(await listen(userid, flags)));
}
