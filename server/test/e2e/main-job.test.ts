/**
 * The main job, as its users do it: the page's own sample request, sent over HTTP to a server that `serve --demo` started,
 * seen by two independent MQTT clients, answered by signed receipts at a plain HTTP listener.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import type { MessageDown } from '@carillon/protocol/device.ts';
import { connectAsync } from 'mqtt';
import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeFolder, removeFolder, ServerProcess } from '../support/server-process.ts';

const SAMPLE = path.resolve(import.meta.dirname, '../../../protocol/test/fixtures/sample-request.json');
const MOSQUITTO = await promisify(execFile)('mosquitto_sub', ['--help']).then(
  () => true,
  // It answers --help with exit code 1; only a missing program has no exit code.
  (error: { code?: unknown }) => typeof error.code === 'number',
);
if (!MOSQUITTO) {
  process.stdout.write('mosquitto_sub is not installed, so its test is skipped: apt-get install mosquitto-clients\n');
}

interface Posted {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}
interface Receipt {
  readonly deliveryInfoNotification: {
    readonly transid: string;
    readonly correlationid: string;
    readonly callbackData: string;
    readonly deliveryInfo: { readonly code: string; readonly destination: string; readonly deviceid?: string };
  };
}

/** A plain HTTP listener that hands out what is posted to it, one after the other. */
async function listen() {
  const posted: Posted[] = [];
  let onPost = (): void => undefined;
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      posted.push({ headers: request.headers, body });
      response.end();
      onPost();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/receipts`,
    posted,
    until: (count: number) =>
      new Promise<void>((resolve) => {
        onPost = () => {
          if (posted.length >= count) resolve();
        };
        onPost();
      }),
    close: () => server.close(),
  };
}

let folder: string;
let server: ServerProcess;
let sink: Awaited<ReturnType<typeof listen>>;

beforeEach(async () => {
  folder = makeFolder();
  [server, sink] = await Promise.all([ServerProcess.start({ folder }), listen()]);
});

afterEach(async () => {
  sink.close();
  expect((await server.stop()).code).toBe(0);
  removeFolder(folder);
});

function demo(): Record<string, string> {
  return JSON.parse(readFileSync(path.join(folder, 'demo.json'), 'utf8')) as Record<string, string>;
}

async function post(route: string, body: unknown): Promise<unknown> {
  const { serviceKey = '' } = demo();
  const headers = { key: serviceKey, 'content-type': 'Application/JSON' };
  const answer = await fetch(server.http + route, { method: 'POST', headers, body: JSON.stringify(body) });
  expect(answer.status).toBe(200);
  return answer.json();
}

/** The sample for `ada`, with what only this run knows filled in. */
async function sendSample(): Promise<string> {
  const sample = JSON.parse(readFileSync(SAMPLE, 'utf8')) as {
    notifyurl: string;
    destination: unknown;
    channels: { appmessaging: { thread_id: string | undefined } };
  };
  sample.notifyurl = sink.url;
  sample.channels.appmessaging.thread_id = demo()['threadId'];
  sample.destination = [{ 'msisdn/customerid': ['ada'], correlationid: 'order-4711-a' }];
  const answer = (await post('/resources/v1/messaging', sample)) as {
    response: { code: string; description: string; transid: string; correlationid: string }[];
  };
  expect(answer.response).toEqual([
    { code: '1001', description: 'Queued', transid: expect.any(String), correlationid: 'order-4711-a' },
  ]);
  return answer.response[0]?.transid ?? '';
}

async function tokenOf(userid: string): Promise<string> {
  const { appid } = demo();
  const minted = (await post('/resources/v1/device-tokens', { appid, userid })) as { token: string };
  return minted.token;
}

function checkMessage(message: MessageDown, transid: string): void {
  expect(message).toMatchObject({
    seq: 1,
    type: 'message',
    tid: transid,
    priority: 3,
    thread: { id: demo()['threadId'] },
    message: 'RTM_message',
    media: [{ contentType: 'image', size: 10 }],
    notification: {
      title: 'notification_title',
      text: 'notification_text',
      android_extras: { collapse_key: 'and_col_key', sound: 'android_not_sound' },
      ios_extras: { badge: 'ios_badge_' },
      windows_extras: { badge: 'wnd_badge' },
      web_extras: { collapse_key: 'web_col_key' },
      interactive: { category: 'DOUBLE_YES_NO', pushref: 'pu_ref' },
    },
  });
}

/** The receipts so far, in order, each with both signatures checked. */
function receipts(): Receipt['deliveryInfoNotification'][] {
  const webhook = new Webhook(demo()['receiptSecret'] ?? '');
  return sink.posted.map(({ headers, body }) => {
    webhook.verify(body, headers as Record<string, string>);
    expect(headers['x-hub-signature']).toMatch(/^sha256=[0-9a-f]{64}$/u);
    return (JSON.parse(body) as Receipt).deliveryInfoNotification;
  });
}

function checkReceipts(transid: string, expected: readonly string[], deviceid: string): void {
  const told = receipts();
  expect(told.map((receipt) => receipt.deliveryInfo.code)).toEqual(expected);
  for (const receipt of told) {
    expect(receipt).toMatchObject({ transid, correlationid: 'order-4711-a', callbackData: 'campaign-7' });
    expect(receipt.deliveryInfo.destination).toBe('ada');
  }
  expect(told[1]?.deliveryInfo.deviceid).toBe(deviceid);
}

test('MQTT.js over WebSocket: message, acknowledgement, read, pressed, receipts', async () => {
  const { ws = '', appid = '' } = demo();
  const device = await connectAsync(ws, {
    protocolVersion: 5,
    clientId: 'browser-1',
    username: `${appid}/ada`,
    password: await tokenOf('ada'),
    reconnectPeriod: 0,
  });
  const first = new Promise<Buffer>((resolve) => {
    device.once('message', (_topic, payload) => resolve(payload));
  });
  await device.subscribeAsync(`${appid}/ada`, { qos: 1 });
  const transid = await sendSample();
  checkMessage(JSON.parse((await first).toString()) as MessageDown, transid);
  await sink.until(2);
  const up = `${appid}/ada/up`;
  await device.publishAsync(up, JSON.stringify({ type: 'read', tids: [transid] }), { qos: 1 });
  await device.publishAsync(up, JSON.stringify({ type: 'pressed', tid: transid, identifier: 'YES' }), { qos: 1 });
  await sink.until(4);
  checkReceipts(transid, ['7501', '7500', '7502', '7502'], 'browser-1');
  expect(JSON.parse(sink.posted[3]?.body ?? '')).toMatchObject({
    deliveryInfoNotification: { deliveryInfo: { interaction: { Button_Pressed: 'YES', MessageRef: 'pu_ref' } } },
  });
  await device.endAsync();
});

test.skipIf(!MOSQUITTO)(
  'mosquitto_sub: what waited comes at the first connect, and its PUBACK is the Delivered receipt',
  async () => {
    const { mqtt = '', appid = '' } = demo();
    const transid = await sendSample();
    await sink.until(1);
    const { hostname, port } = new URL(mqtt);
    const login = ['-i', 'phone-1', '-u', `${appid}/ada`, '-P', await tokenOf('ada')];
    const child = spawn('mosquitto_sub', [
      '-h',
      hostname,
      '-p',
      port,
      ...login,
      '-t',
      `${appid}/ada`,
      '-q',
      '1',
      '-C',
      '1',
    ]);
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    const [code] = (await once(child, 'close')) as [number];
    expect(code).toBe(0);
    checkMessage(JSON.parse(output) as MessageDown, transid);
    await sink.until(2);
    checkReceipts(transid, ['7501', '7500'], 'phone-1');
  },
);
