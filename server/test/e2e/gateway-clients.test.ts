import { connect as mqttConnect } from 'mqtt';
import type { IClientOptions, MqttClient } from 'mqtt';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { STATE } from '../../src/core/delivery-state.ts';
import { makeCertificate } from '../support/certificates.ts';
import { GatewayWorld } from '../support/gateway-world.ts';
import { RawDevice } from '../support/raw-device.ts';

let world: GatewayWorld;
const clients: MqttClient[] = [];
beforeEach(async () => {
  world = await GatewayWorld.open({ app: { origins: ['https://shop.example'] } });
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
  await world.close();
});

interface Connected {
  readonly client: MqttClient;
  /** The bodies of everything that comes, as they come. */
  readonly down: AsyncGenerator<Record<string, unknown>>;
}

/** Listens before it connects: a kept session goes on with its CONNACK. */
async function connect(url: string, options: IClientOptions): Promise<Connected> {
  const password = options.password ?? (await world.token());
  const all = { username: world.topic(), password, reconnectPeriod: 0, clientId: 'phone', ...options };
  const client = mqttConnect(url, all);
  clients.push(client);
  const down = messages(client);
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve());
    client.once('error', reject);
    client.once('close', () => reject(new Error('closed')));
  });
  return { client, down };
}

function messages(client: MqttClient): AsyncGenerator<Record<string, unknown>> {
  const waiting: Record<string, unknown>[] = [];
  let wake = (): void => undefined;
  client.on('message', (_topic, payload) => {
    waiting.push(JSON.parse(payload.toString()) as Record<string, unknown>);
    wake();
  });
  return (async function* () {
    for (;;) {
      const next = waiting.shift();
      if (next !== undefined) yield next;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  })();
}

describe.each([
  ['3.1.1 over TCP', 4, 'tcp'],
  ['3.1.1 over WebSocket', 4, 'ws'],
  ['5 over TCP', 5, 'tcp'],
  ['5 over WebSocket', 5, 'ws'],
] as const)('MQTT.js, %s', (_name, protocolVersion, transport) => {
  const url = (): string => (transport === 'tcp' ? world.tcpUrl : world.wsUrl);

  test('subscribe, take, read, reply; come back to what was missed', async () => {
    const kept = { protocolVersion, clean: false, properties: { sessionExpiryInterval: 600 } };
    const { client, down } = await connect(url(), kept);
    const granted = await client.subscribeAsync(world.topic(), { qos: 2 });
    expect(granted[0]?.qos).toBe(1);
    const one = await world.send('one');
    const { value: first } = await down.next();
    expect(first).toMatchObject({ tid: one.tid, message: 'one' });

    await client.publishAsync(`${world.topic()}/up`, JSON.stringify({ type: 'read', tids: [one.tid] }), { qos: 1 });
    expect(await world.statusOf(one.tid)).toBe(STATE.read);
    expect((await down.next()).value).toMatchObject({ type: 'read', tids: [one.tid] });
    const threadId = (first as { thread: { id: string } }).thread.id;
    const reply = { id: 'r1', type: 'reply', thread: { id: threadId }, message: 'Thanks' };
    await client.publishAsync(`${world.topic()}/up`, JSON.stringify(reply), { qos: 1 });

    await client.endAsync();
    const two = await world.send('two');
    const again = await connect(url(), kept);
    expect((await again.down.next()).value).toMatchObject({ tid: two.tid });
  });

  test('a wrong token and a foreign topic are refused', async () => {
    await expect(connect(url(), { protocolVersion, password: await world.token('bob') })).rejects.toThrow(
      /[Nn]ot authorized|[Bb]ad [Uu]ser/,
    );
    const { client } = await connect(url(), { protocolVersion });
    for (const topic of ['#', 'acme-app/bob', `${world.topic()}/#`, '$share/g/acme-app/ann']) {
      await expect(client.subscribeAsync(topic, { qos: 1 })).rejects.toThrow();
    }
  });
});

describe('WebSocket', () => {
  test('an origin that the app does not list is refused', async () => {
    const wsOptions = (origin: string) => ({ wsOptions: { headers: { origin } } });
    await connect(world.wsUrl, { protocolVersion: 5, ...wsOptions('https://shop.example') });
    await expect(connect(world.wsUrl, { protocolVersion: 5, ...wsOptions('https://evil.example') })).rejects.toThrow(
      /[Nn]ot authorized/,
    );
  });

  /** The status an upgrade is answered with; 101: it was taken. */
  function upgrade(url: string, protocols: string[]): Promise<number> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url, protocols);
      socket.once('open', () => {
        socket.terminate();
        resolve(101);
      });
      socket.once('unexpected-response', (request, response) => {
        request.destroy();
        resolve(response.statusCode ?? 0);
      });
      socket.on('error', reject);
    });
  }

  test('path and subprotocol', async () => {
    expect(await upgrade(world.wsUrl, ['mqtt'])).toBe(101);
    expect(await upgrade(world.wsUrl, [])).toBe(400);
    expect(await upgrade(world.wsUrl, ['chat'])).toBe(400);
    expect(await upgrade(`${world.wsUrl}x`, ['mqtt'])).toBe(404);
  });

  async function closeCode(send: (socket: WebSocket) => void): Promise<number> {
    const socket = new WebSocket(world.wsUrl, ['mqtt']);
    return new Promise((resolve, reject) => {
      socket.once('open', () => send(socket));
      socket.once('close', resolve);
      socket.on('error', reject);
    });
  }

  test('a text frame ends it (1003), and so does a stranger who sends too much', async () => {
    expect(await closeCode((socket) => socket.send('hello'))).toBe(1003);
    expect(await closeCode((socket) => socket.send(Buffer.alloc(60_000), { fin: false }))).toBe(1006);
  });
});

describe('TLS', () => {
  test('MQTT over TLS; a new certificate serves new connections; a failed handshake harms nobody', async () => {
    const first = makeCertificate({ commonName: 'first', altNames: ['127.0.0.1'] });
    const second = makeCertificate({ commonName: 'second', altNames: ['127.0.0.1'] });
    const { port, isTls } = await world.gateway.listen({ host: '127.0.0.1', port: 0, tls: first });
    expect(isTls).toBe(true);
    const url = `mqtts://127.0.0.1:${port}`;
    const { client, down } = await connect(url, { protocolVersion: 5, ca: first.cert });
    await client.subscribeAsync(world.topic(), { qos: 1 });
    const garbage = await RawDevice.open(port);
    garbage.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    await garbage.closed();
    world.gateway.useCertificate(second);
    await expect(connect(url, { protocolVersion: 5, clientId: 'other', ca: first.cert })).rejects.toThrow(
      /certificate/,
    );
    await connect(url, { protocolVersion: 5, clientId: 'other', ca: second.cert });
    const { tid } = await world.send('over TLS');
    expect((await down.next()).value).toMatchObject({ tid });
  });
});
