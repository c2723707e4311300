import { connect } from 'node:net';
import type { Socket } from 'node:net';

const READ_BYTES = 262_144;
const CONNACK = 2;
const PUBLISH = 3;
const SUBACK = 9;
const PUBACK_BYTES = 4;
/** CONNECTs under way at the same time: a listener's backlog is short. */
const OPENING_MAX = 100;

const shared = Buffer.allocUnsafeSlow(READ_BYTES);

export interface DeviceLogin {
  readonly topic: string;
  readonly clientId: string;
  readonly token: string;
  /** MQTT 5 receive maximum; null: not told, so the server's own bound. */
  readonly receiveMaximum: number | null;
}

export interface DeviceEvents {
  /** A QoS 1 PUBLISH came (its acknowledgement goes out with those of the same read). */
  readonly onMessage: () => void;
  /** The connection ended or a packet made no sense. */
  readonly onError: (error: Error) => void;
}

/**
 * A device by hand: connects, subscribes, acknowledges each QoS 1 PUBLISH, reads nothing else. Between packets it holds
 * no buffer, so that ten thousand of them fit beside the server they measure.
 */
export class Device {
  readonly #socket: Socket;
  readonly #events: DeviceEvents;
  #partial: Buffer | null = null;
  #onAnswer: ((kind: number, reason: number) => void) | null = null;
  #isClosing = false;

  private constructor(socket: Socket, events: DeviceEvents) {
    this.#socket = socket;
    this.#events = events;
  }

  /** Opens the socket alone: what the floor speaks to. */
  static open(port: number, events: DeviceEvents): Promise<Device> {
    return new Promise((resolve, reject) => {
      let device: Device | null = null;
      const socket = connect({
        host: '127.0.0.1',
        port,
        noDelay: true,
        onread: {
          buffer: shared,
          callback: (count) => {
            device?.read(count);
            return true;
          },
        },
      });
      device = new Device(socket, events);
      const opened = device;
      socket.once('connect', () => resolve(opened));
      socket.on('error', (error) => {
        reject(error);
        opened.fail(error);
      });
      socket.on('close', () => opened.fail(new Error('the server closed a device connection')));
    });
  }

  /** CONNECT (MQTT 5, clean start, no keep-alive) and SUBSCRIBE at QoS 1. */
  async login(login: DeviceLogin): Promise<void> {
    await this.exchange(connectPacket(login), CONNACK);
    await this.exchange(subscribePacket(login.topic), SUBACK);
  }

  private exchange(packet: Buffer, kind: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#onAnswer = (answered, reason) => {
        this.#onAnswer = null;
        if (answered === kind && reason < 0x80) resolve();
        else reject(new Error(`the server answered packet ${answered} with reason ${reason}`));
      };
      this.#socket.write(packet);
    });
  }

  private fail(error: Error): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#events.onError(error);
  }

  private read(count: number): void {
    const fresh = shared.subarray(0, count);
    const bytes = this.#partial === null ? fresh : Buffer.concat([this.#partial, fresh]);
    let acknowledgements: number[] | null = null;
    let at = 0;
    for (;;) {
      const packet = packetAt(bytes, at);
      if (packet === null) break;
      const kind = (bytes[at] ?? 0) >> 4;
      if (kind === PUBLISH) {
        const id = publishId(bytes, at, packet.bodyAt);
        if (id !== 0) (acknowledgements ??= []).push(id);
      } else this.answer(bytes, kind, packet);
      at = packet.end;
    }
    this.#partial = at === bytes.length ? null : Buffer.from(bytes.subarray(at));
    if (acknowledgements !== null) this.acknowledge(acknowledgements);
  }

  private answer(bytes: Buffer, kind: number, packet: { bodyAt: number; end: number }): void {
    const reason = kind === SUBACK ? bytes[packet.end - 1] : bytes[packet.bodyAt + (kind === CONNACK ? 1 : 0)];
    if (this.#onAnswer === null) this.fail(new Error(`an unexpected packet ${kind}, reason ${reason}`));
    else this.#onAnswer(kind, reason ?? 0);
  }

  private acknowledge(ids: readonly number[]): void {
    const bytes = Buffer.allocUnsafe(ids.length * PUBACK_BYTES);
    ids.forEach((id, index) => {
      const at = index * PUBACK_BYTES;
      bytes[at] = 0x40;
      bytes[at + 1] = 2;
      bytes.writeUInt16BE(id, at + 2);
    });
    this.#socket.write(bytes);
    for (let index = 0; index < ids.length; index += 1) this.#events.onMessage();
  }

  close(): void {
    this.#isClosing = true;
    this.#socket.destroy();
  }
}

/** Opens and logs in many devices, some at a time. */
export async function openDevices(
  port: number,
  events: DeviceEvents,
  logins: readonly DeviceLogin[],
): Promise<Device[]> {
  const devices: Device[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < logins.length) {
      const login = logins[next] as DeviceLogin;
      next += 1;
      const device = await Device.open(port, events);
      devices.push(device);
      await device.login(login);
    }
  };
  await Promise.all(Array.from({ length: OPENING_MAX }, worker));
  return devices;
}

/** The bounds of the packet that begins at a place; null: it is not all there. */
function packetAt(bytes: Buffer, at: number): { bodyAt: number; end: number } | null {
  let length = 0;
  for (let count = 0; count < 4; count += 1) {
    const byte = bytes[at + 1 + count];
    if (byte === undefined) return null;
    length += (byte & 0x7f) * 128 ** count;
    if (byte >= 0x80) continue;
    const bodyAt = at + 2 + count;
    return bodyAt + length > bytes.length ? null : { bodyAt, end: bodyAt + length };
  }
  throw new Error('a remaining length of more than four bytes');
}

/** The packet identifier of a PUBLISH; 0: QoS 0, nothing to acknowledge. */
function publishId(bytes: Buffer, at: number, bodyAt: number): number {
  if (((bytes[at] ?? 0) & 0x06) === 0) return 0;
  return bytes.readUInt16BE(bodyAt + 2 + bytes.readUInt16BE(bodyAt));
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

function framed(first: number, body: Buffer): Buffer {
  const length: number[] = [];
  let rest = body.length;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    length.push(rest > 0 ? low | 0x80 : low);
  } while (rest > 0);
  return Buffer.concat([Buffer.from([first, ...length]), body]);
}

function connectPacket(login: DeviceLogin): Buffer {
  const window = login.receiveMaximum;
  const properties = window === null ? [0] : [3, 0x21, window >> 8, window & 0xff];
  const head = Buffer.concat([text('MQTT'), Buffer.from([5, 0xc2, 0, 0, ...properties])]);
  return framed(0x10, Buffer.concat([head, text(login.clientId), text(login.topic), text(login.token)]));
}

function subscribePacket(topic: string): Buffer {
  return framed(0x82, Buffer.concat([Buffer.from([0, 1, 0]), text(topic), Buffer.from([1])]));
}

/** A QoS 1 PUBLISH as the server sends it, with an identifier and a payload of this size. */
export function publishPacket(topic: string, id: number, payloadBytes: number): Buffer {
  const head = Buffer.concat([text(topic), Buffer.from([id >> 8, id & 0xff, 0])]);
  return framed(0x32, Buffer.concat([head, Buffer.alloc(payloadBytes, 0x61)]));
}
