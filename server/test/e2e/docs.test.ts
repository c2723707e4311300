/** The marked examples of docs/api.md and docs/device.md, run against a server: what is documented is what happens. */
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import mqtt from 'mqtt';
import type { MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { difference, examplesOf, readCurl } from '../support/doc-examples.ts';
import type { Example } from '../support/doc-examples.ts';
import { answerWith, Sink } from '../support/receipt-world.ts';
import { makeFolder, removeFolder, ServerProcess } from '../support/server-process.ts';

const ROOT = path.resolve(import.meta.dirname, '..', '..', '..');
const API = examplesOf('docs/api.md');
const DEVICE = examplesOf('docs/device.md');

interface DemoFile {
  readonly http: string;
  readonly ws: string;
  readonly serviceKey: string;
  readonly serviceId: string;
  readonly receiptSecret: string;
  readonly appid: string;
  readonly adminToken: string;
  readonly templateId: string;
  readonly threadId: string;
}

type Down = Readonly<Record<string, unknown>>;

const folder = makeFolder();
const sink = new Sink();
let server: ServerProcess;
let demo: DemoFile;

beforeAll(async () => {
  await sink.listen();
  server = await ServerProcess.start({ folder });
  demo = server.demo() as DemoFile;
  await admin('PATCH', `/services/${demo.serviceId}`, { notifyUrl: sink.url(), inboundUrl: sink.url('/inbound') });
});

afterAll(async () => {
  await server.stop();
  await sink.close();
  removeFolder(folder);
});

async function call(url: string, init: RequestInit): Promise<unknown> {
  const response = await fetch(url, init);
  return JSON.parse(await response.text()) as unknown;
}

function admin(method: string, url: string, body?: unknown): Promise<unknown> {
  const headers = { authorization: `Bearer ${demo.adminToken}`, 'content-type': 'application/json' };
  return call(`${demo.http}/admin/v1${url}`, { method, headers, body: JSON.stringify(body ?? {}) });
}

interface Accepted {
  readonly response: readonly { readonly code: string; readonly transid: string }[] | { readonly code: string };
}

function fill(text: string): string {
  return text
    .replaceAll('TEMPLATE_ID', demo.templateId)
    .replaceAll('THREAD_ID', demo.threadId)
    .replaceAll('APPID', demo.appid);
}

/** Sends the body of an example; the answer must have the code it announces. */
async function sendExample(example: Example): Promise<Accepted> {
  const headers = { key: demo.serviceKey };
  const answer = await call(`${demo.http}/resources/v1/messaging`, {
    method: 'POST',
    headers,
    body: fill(example.text),
  });
  const { response } = answer as Accepted;
  const code = Array.isArray(response) ? '1001' : (response as { code: string }).code;
  expect(code, JSON.stringify(answer)).toBe(/^\d{4}$/u.test(example.argument) ? example.argument : '1001');
  return answer as Accepted;
}

function runCurl(example: Example, transid = ''): Promise<unknown> {
  const variables = { HTTP: demo.http, KEY: demo.serviceKey, APPID: demo.appid, TRANSID: transid };
  const { url, method, headers, body } = readCurl(example.text.trim(), variables);
  return call(url, { method, headers, ...(body === undefined ? undefined : { body }) });
}

const transidOf = (answer: Accepted): string =>
  Array.isArray(answer.response) ? ((answer.response[0] as { transid: string }).transid ?? '') : '';

function sendText(userid: string, thread: Record<string, string>): Promise<Accepted> {
  const channels = { appmessaging: { message: { text: 'Hello' }, ...thread } };
  const body = JSON.stringify({ deliverychannel: 'appmessaging', destination: [{ userid: [userid] }], channels });
  return sendExample({ language: 'json', mark: 'request', argument: '', line: 0, text: body });
}

/** A device of ann: everything that comes down, and events up. */
class Phone {
  readonly downs: Down[] = [];
  readonly client: MqttClient;
  private readonly listeners = new Set<() => void>();

  private constructor(client: MqttClient) {
    this.client = client;
    client.on('message', (_topic, payload) => {
      this.downs.push(JSON.parse(payload.toString()) as Down);
      for (const listener of [...this.listeners]) listener();
    });
  }

  static async connect(deviceid: string, password: string): Promise<Phone> {
    const username = `${demo.appid}/ann`;
    const client = await mqtt.connectAsync(demo.ws, { protocolVersion: 5, clientId: deviceid, username, password });
    onTestFinished(() => void client.end(true));
    const phone = new Phone(client);
    await client.subscribeAsync(username, { qos: 1 });
    return phone;
  }

  /** Rejects where the server refuses it. */
  async up(event: unknown): Promise<void> {
    await this.client.publishAsync(`${demo.appid}/ann/up`, JSON.stringify(event), { qos: 1 });
  }

  async find(fits: (down: Down) => boolean): Promise<Down> {
    for (;;) {
      const found = this.downs.find(fits);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        const listener = (): void => {
          this.listeners.delete(listener);
          resolve();
        };
        this.listeners.add(listener);
      });
    }
  }
}

async function tokenFor(deviceid: string): Promise<string> {
  const body = JSON.stringify({ userid: 'ann', deviceid });
  const headers = { key: demo.serviceKey };
  const made = await call(`${demo.http}/resources/v1/device-tokens`, { method: 'POST', headers, body });
  return (made as { token: string }).token;
}

const threadIdOf = (down: Down): string => (down['thread'] as { id: string }).id;

async function visit(message: Down): Promise<void> {
  const link = /https?:\S+\/l\/\w+/u.exec(String(message['message']))?.[0] ?? '';
  const response = await fetch(link, { redirect: 'manual', headers: { 'user-agent': 'Mozilla/5.0' } });
  expect(response.status).toBe(302);
}

/** What the receipts and the status of docs/api.md tell of: the order is read, its button pressed, its link followed. */
async function useOrder(phone: Phone, transid: string): Promise<void> {
  const order = await phone.find((down) => down['tid'] === transid && down['type'] === 'message');
  await phone.up({ type: 'read', tids: [transid] });
  await phone.up({ type: 'pressed', tid: transid, identifier: 'YES' });
  await visit(order);
  await phone.up({ id: 'docs-reply', type: 'reply', thread: { id: threadIdOf(order) }, message: 'Thank you' });
}

async function importExample(example: Example, name: string): Promise<Record<string, (...given: never[]) => unknown>> {
  const place = path.join(folder, 'examples');
  mkdirSync(place, { recursive: true });
  const file = path.join(place, `${name}.mjs`);
  writeFileSync(file, example.text);
  return (await import(/* @vite-ignore */ pathToFileURL(file).href)) as Record<string, (...given: never[]) => unknown>;
}

/** Resolves when something like the example arrived at the sink. */
async function arrived(example: Example): Promise<void> {
  const wanted: unknown = JSON.parse(fill(example.text));
  for (;;) {
    const { length } = sink.arrivals;
    if (sink.bodies().some((body) => difference(wanted, body) === null)) return;
    await sink.got(length + 1);
  }
}

describe('docs/api.md', () => {
  test('has the examples that are looked for', () => {
    const count = (mark: string): number => API.filter((example) => example.mark === mark).length;
    expect([count('request'), count('run'), count('answer'), count('receipt'), count('verify')]).toEqual([
      5, 7, 7, 8, 1,
    ]);
  });

  test('requests, answers and receipts are what the server does', async () => {
    const phone = await Phone.connect('phone-1', await tokenFor('phone-1'));
    let answer: unknown = null;
    let orderTransid = '';
    for (const example of API) {
      if (example.mark === 'request') {
        const accepted = await sendExample(example);
        answer = accepted;
        if (example.argument !== 'order') continue;
        orderTransid = transidOf(accepted);
        await useOrder(phone, orderTransid);
      } else if (example.mark === 'run') {
        const isRecall = example.argument === 'recall';
        const own = { thread_type: 'conversation', thread_title: 'Orders' };
        answer = await runCurl(example, isRecall ? transidOf(await sendText('bob', own)) : orderTransid);
      } else if (example.mark === 'answer') {
        expect(difference(JSON.parse(fill(example.text)), answer), `docs/api.md line ${example.line}`).toBeNull();
      } else if (example.mark === 'receipt') {
        await arrived(example);
      }
    }
  });

  test('the verification takes real receipts and no others', async () => {
    await sendText('carl', { thread_id: demo.threadId });
    await sink.got(1);
    const example = API.find(({ mark }) => mark === 'verify') as Example;
    const verify = (await importExample(example, 'verify'))['verify'] as (...given: unknown[]) => void;
    for (const { headers, text } of sink.arrivals) {
      verify(headers, Buffer.from(text), demo.receiptSecret);
      expect(() => verify(headers, Buffer.from(`${text} `), demo.receiptSecret)).toThrow('signature');
      expect(() => verify({ ...headers, 'webhook-timestamp': '1' }, Buffer.from(text), demo.receiptSecret)).toThrow(
        'old',
      );
    }
  });
});

test('a try of a receipt that was not taken stands in the events of the status', async () => {
  const { answer } = sink;
  sink.answer = (arrival, response) => answerWith(arrival.path === '/failing' ? 500 : 200)(arrival, response);
  onTestFinished(() => void (sink.answer = answer));
  const own = { thread_id: demo.threadId, notifyurl: sink.url('/failing') };
  const transid = transidOf(await sendText('dora', own));
  const url = `${demo.http}/resources/v1/messaging/status/${transid}`;
  // The try is written a little after the endpoint has answered.
  await vi.waitFor(async () => {
    const [row] = (await call(url, { headers: { key: demo.serviceKey } })) as { events: unknown[] }[];
    const detail = { receipt: 'submitted', status: 500, error: null, ms: expect.any(Number) };
    expect(row?.events).toContainEqual({ event: 'receipt', time: expect.any(String), detail });
  });
});

describe('docs/device.md', () => {
  test('has the examples that are looked for', () => {
    const count = (mark: string): number => DEVICE.filter((example) => example.mark === mark).length;
    expect([count('up'), count('down'), count('run'), count('token')]).toEqual([6, 5, 1, 1]);
  });

  test('a token made as documented opens a session, and what goes up and comes down is as documented', async () => {
    const { secret } = (await admin('POST', `/apps/${demo.appid}/secrets/rotate`)) as { secret: string };
    const example = DEVICE.find(({ mark }) => mark === 'token') as Example;
    const make = (await importExample(example, 'token'))['deviceToken'] as (given: unknown) => string;
    const phone = await Phone.connect('phone-2', make({ appid: demo.appid, secret, userid: 'ann' }));

    await runCurl(API.find(({ mark }) => mark === 'run') as Example);
    const order = API.find(({ argument }) => argument === 'order') as Example;
    const tid = transidOf(await sendExample(order));
    const message = await phone.find((down) => down['tid'] === tid);
    const names = { TID: tid, THREAD: threadIdOf(message) };
    for (const { text } of DEVICE.filter(({ mark }) => mark === 'up')) {
      await phone.up(
        JSON.parse(text.replaceAll(/"(TID|THREAD)"/gu, (_, name: 'TID' | 'THREAD') => `"${names[name]}"`)),
      );
    }
    await visit(message);
    await closeThread();
    await recallOne();
    for (const { mark, text, line } of DEVICE) {
      if (mark !== 'down') continue;
      const wanted = JSON.parse(text) as Down;
      const found = await phone.find((down) => difference(wanted, down) === null);
      expect(found, `docs/device.md line ${line}`).toBeDefined();
    }
  });

  test('the program runs as it stands there', async () => {
    await sendText('ann', { thread_id: demo.threadId });
    const { text } = DEVICE.find(({ mark }) => mark === 'run') as Example;
    const env = { ...process.env, CARILLON_DATA: folder };
    const child = spawn(process.execPath, ['--input-type=module'], {
      cwd: ROOT,
      env,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
    child.stdin.end(text);
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect(output).toBe('connected; session kept: false\nmessage: Hello\nread\n');
    expect(code).toBe(0);
  });
});

async function closeThread(): Promise<void> {
  const base = `${demo.http}/rtmsAPI/api/v1/apps/${demo.appid}/threads`;
  const headers = { key: demo.serviceKey };
  const body = JSON.stringify({ type: 'Conversation', title: 'Order 8' });
  const { thread } = (await call(base, { method: 'POST', headers, body })) as { thread: { id: string } };
  await sendText('ann', { thread_id: thread.id });
  await call(`${base}/${thread.id}`, { method: 'PUT', headers, body: '{"status":"Closed"}' });
}

async function recallOne(): Promise<void> {
  const transid = transidOf(await sendText('ann', { thread_id: demo.threadId }));
  const url = `${demo.http}/resources/v1/messaging/status/${transid}`;
  await call(url, { method: 'DELETE', headers: { key: demo.serviceKey } });
}
