import net from 'node:net';
import type { AddressInfo } from 'node:net';
import type { MessageDown } from '@carillon/protocol/device.ts';
import mqtt from 'mqtt-packet';
import type { IConnectPacket, Packet } from 'mqtt-packet';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backoffMs } from './backoff.ts';
import { connectDevice } from './device.ts';
import type { Device, DeviceOptions, DeviceState } from './device.ts';

/** What happened, in order; a test takes the next thing and waits where there is none yet. */
class Events<Value> {
  readonly #values: Value[] = [];
  readonly #takers: ((value: Value) => void)[] = [];

  push(value: Value): void {
    const taker = this.#takers.shift();
    if (taker === undefined) this.#values.push(value);
    else taker(value);
  }

  next(): Promise<Value> {
    const value = this.#values.shift();
    return value === undefined ? new Promise((resolve) => this.#takers.push(resolve)) : Promise.resolve(value);
  }

  get waiting(): number {
    return this.#values.length;
  }
}

/** The server's side of one connection, spoken by hand. */
class Peer {
  readonly packets = new Events<Packet>();
  readonly closed: Promise<unknown>;
  readonly #socket: net.Socket;

  constructor(socket: net.Socket) {
    this.#socket = socket;
    const parser = mqtt.parser({ protocolVersion: 5 });
    parser.on('packet', (packet: Packet) => this.packets.push(packet));
    socket.on('data', (chunk: Buffer) => parser.parse(chunk));
    socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => socket.once('close', resolve));
  }

  send(packet: Packet): void {
    this.#socket.write(mqtt.generate(packet, { protocolVersion: 5 }));
  }

  cut(): void {
    this.#socket.destroy();
  }

  async take<Wanted extends Packet['cmd']>(cmd: Wanted): Promise<Extract<Packet, { cmd: Wanted }>> {
    const packet = await this.packets.next();
    expect(packet.cmd).toBe(cmd);
    return packet as Extract<Packet, { cmd: Wanted }>;
  }

  /** Lets the device in; returns what it said. */
  async welcome(sessionPresent = false): Promise<{ connect: IConnectPacket; subscribe: Packet }> {
    const connect = await this.take('connect');
    this.send({ cmd: 'connack', reasonCode: 0, sessionPresent, properties: { assignedClientIdentifier: 'given' } });
    const subscribe = await this.take('subscribe');
    this.send({ cmd: 'suback', messageId: subscribe.messageId ?? 0, granted: [1] });
    return { connect, subscribe };
  }

  message(tid: string, messageId: number, qos: 0 | 1 = 1): void {
    const payload = JSON.stringify({ type: 'message', tid, seq: messageId, message: `text of ${tid}` });
    this.send({
      cmd: 'publish',
      topic: 'app/ann',
      payload,
      qos,
      dup: false,
      retain: false,
      messageId,
    });
  }
}

let server: net.Server;
let peers: Events<Peer>;
let states: Events<DeviceState>;
let messages: Events<MessageDown>;
const devices: Device[] = [];

beforeEach(async () => {
  peers = new Events();
  states = new Events();
  messages = new Events();
  server = net.createServer((socket) => peers.push(new Peer(socket)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  for (const device of devices.splice(0)) await device.close();
  await new Promise((resolve) => server.close(resolve));
});

function connect(options: Partial<DeviceOptions> = {}): Device {
  const device = connectDevice({
    url: `mqtt://127.0.0.1:${(server.address() as AddressInfo | null)?.port}`,
    appid: 'app',
    userid: 'ann',
    token: 'jwt',
    onMessage: (message) => messages.push(message),
    onState: (state) => states.push(state),
    backoff: { baseMs: 1, capMs: 1 },
    ...options,
  });
  devices.push(device);
  return device;
}

async function until(kind: DeviceState['kind']): Promise<DeviceState> {
  for (;;) {
    const state = await states.next();
    if (state.kind === kind) return state;
  }
}

describe('connectDevice', () => {
  it('says who it is, and asks for what it missed once', async () => {
    connect({ userid: 'a/b%ü', deviceid: 'phone', since: 'e1:7', keepSeconds: 60 });
    const first = await peers.next();
    const { connect: packet, subscribe } = await first.welcome();
    expect(packet).toMatchObject({ clientId: 'phone', clean: false, username: 'app/a%2Fb%25ü', protocolVersion: 5 });
    expect(String(packet.password)).toBe('jwt');
    expect(packet.properties).toMatchObject({ sessionExpiryInterval: 60 });
    expect(subscribe).toMatchObject({ subscriptions: [{ topic: 'app/a%2Fb%25ü', qos: 1 }] });
    expect(subscribe).toHaveProperty('properties.userProperties.since', 'e1:7');
    await until('connected');
    first.cut();
    const again = await (await peers.next()).welcome(true);
    expect(again.connect).toMatchObject({ clientId: 'given', clean: false });
    expect(again.subscribe).not.toHaveProperty('properties.userProperties.since');
    expect(await until('connected')).toMatchObject({ resumed: true, deviceid: 'given' });
  });

  it('acknowledges in order, and only what was handled', async () => {
    const gates: (() => void)[] = [];
    connect({
      onMessage: (message) => {
        messages.push(message);
        return new Promise<void>((resolve) => gates.push(resolve));
      },
    });
    const peer = await peers.next();
    await peer.welcome();
    peer.message('t1', 1);
    peer.message('t2', 2);
    expect((await messages.next()).tid).toBe('t1');
    expect([messages.waiting, peer.packets.waiting]).toEqual([0, 0]);
    gates.shift()?.();
    expect((await peer.take('puback')).messageId).toBe(1);
    expect((await messages.next()).tid).toBe('t2');
    gates.shift()?.();
    expect((await peer.take('puback')).messageId).toBe(2);
  });

  it('does not acknowledge what the app could not handle, and comes back for it', async () => {
    let tries = 0;
    connect({
      onMessage: () => {
        tries += 1;
        if (tries === 1) throw new Error('disk full');
      },
    });
    const first = await peers.next();
    await first.welcome();
    first.message('t1', 1);
    await first.closed;
    expect(first.packets.waiting).toBe(0);
    const second = await peers.next();
    await second.welcome(true);
    second.message('t1', 1);
    expect((await second.take('puback')).messageId).toBe(1);
  });

  it('tells of a message without acknowledgement by an event', async () => {
    connect();
    const peer = await peers.next();
    await peer.welcome();
    await until('connected');
    peer.message('t9', 0, 0);
    const publish = await peer.take('publish');
    expect(JSON.parse(publish.payload.toString())).toEqual({ type: 'delivered', tids: ['t9'] });
    peer.send({ cmd: 'puback', messageId: publish.messageId ?? 0, reasonCode: 0 });
  });

  it('keeps events over a lost connection until the server has them', async () => {
    const device = connect();
    const first = await peers.next();
    const sent = device.send({ type: 'read', tids: ['t1'] });
    await first.welcome();
    const publish = await first.take('publish');
    expect(publish).toMatchObject({ topic: 'app/ann/up', qos: 1 });
    first.cut();
    const second = await peers.next();
    await second.welcome(true);
    const again = await second.take('publish');
    expect(again).toMatchObject({ messageId: publish.messageId, dup: true });
    second.send({ cmd: 'puback', messageId: again.messageId ?? 0, reasonCode: 0 });
    await sent;
    const refused = expect(device.send({ type: 'read', tids: ['t2'] })).rejects.toThrow('0x99');
    const third = await second.take('publish');
    second.send({ cmd: 'puback', messageId: third.messageId ?? 0, reasonCode: 0x99 });
    await refused;
  });

  it('asks for a new token when the old one ended, and gives up where there is only one', async () => {
    let fetched = 0;
    connect({ token: () => `token-${(fetched += 1)}` });
    const first = await peers.next();
    await first.welcome();
    first.send({ cmd: 'disconnect', reasonCode: 0x87 });
    const second = await peers.next();
    expect(String((await second.welcome()).connect.password)).toBe('token-2');

    connect({ token: 'old' });
    const third = await peers.next();
    await third.take('connect');
    third.send({ cmd: 'connack', reasonCode: 0x86, sessionPresent: false });
    expect(await until('closed')).toMatchObject({ reason: expect.stringContaining('refuses the token') });
  });

  it('does not fight over a session that another connection took', async () => {
    const device = connect();
    const peer = await peers.next();
    await peer.welcome();
    peer.send({ cmd: 'disconnect', reasonCode: 0x8e });
    expect(await until('closed')).toMatchObject({ reason: expect.stringContaining('took over') });
    await expect(device.send({ type: 'read', tids: ['t'] })).rejects.toThrow('closed');
  });

  it('says goodbye, and is silent afterwards', async () => {
    const device = connect();
    const peer = await peers.next();
    await peer.welcome();
    await until('connected');
    await device.close();
    await peer.take('disconnect');
    await peer.closed;
    expect(peers.waiting).toBe(0);
  });

  it('waits and tries again where nobody answers', async () => {
    const port = (server.address() as AddressInfo).port;
    const url = `mqtt://127.0.0.1:${port}`;
    await new Promise((resolve) => server.close(resolve));
    connect({ url });
    expect(await until('waiting')).toMatchObject({ reason: 'ECONNREFUSED' });
    await until('waiting');
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    await (await peers.next()).welcome();
    await until('connected');
  });
});

describe('backoffMs', () => {
  it('spreads over a bound that doubles up to the cap', () => {
    const at = (attempt: number, random: number): number =>
      backoffMs(attempt, { baseMs: 500, capMs: 30_000, random: () => random });
    expect([0, 1, 2, 5, 6, 7, 1_000].map((attempt) => at(attempt, 0.5))).toEqual([
      250, 500, 1_000, 8_000, 15_000, 15_000, 15_000,
    ]);
    expect(at(3, 0)).toBe(0);
  });
});
