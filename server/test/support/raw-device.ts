import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { generate, parser } from 'mqtt-packet';
import type { IConnackPacket, IConnectPacket, IPublishPacket, Packet, Parser } from 'mqtt-packet';

export type RawConnect = Partial<Omit<IConnectPacket, 'cmd' | 'password'>> & { password?: string };

/** Nothing a test waits for takes so long. */
const WAIT_MS = 10_000;

export interface Down {
  readonly packet: IPublishPacket;
  /** The payload, parsed. */
  readonly body: Record<string, unknown>;
}

/**
 * A device that does nothing by itself: no acknowledgement, no keep-alive. Packets are made and read by mqtt-packet,
 * a codec that the gateway does not decode with.
 */
export class RawDevice {
  readonly socket: Socket;
  version: 4 | 5 = 4;
  isClosed = false;
  private parser: Parser = parser();
  private readonly packets: Packet[] = [];
  private readonly waiting: (() => void)[] = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => this.parser.parse(chunk));
    socket.on('close', () => {
      this.isClosed = true;
      this.wake();
    });
    this.listen();
  }

  static async open(port: number): Promise<RawDevice> {
    const socket = connect({ host: '127.0.0.1', port });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new RawDevice(socket);
  }

  private listen(): void {
    // Broken by a packet of the other version, or by nonsense: what a test expects will then not come.
    this.parser.on('error', () => undefined);
    this.parser.on('packet', (packet) => {
      this.packets.push(packet);
      this.wake();
    });
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  /** Sends a packet, or bytes as they are. */
  send(packet: Packet | Buffer): void {
    this.socket.write(Buffer.isBuffer(packet) ? packet : generate(packet, { protocolVersion: this.version }));
  }

  private async until<Value>(what: string, find: () => Value | undefined): Promise<Value> {
    const deadline = performance.now() + WAIT_MS;
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      if (this.isClosed && what !== 'the end') throw new Error(`the connection ended while waiting for ${what}`);
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`waited too long for ${what}; there is ${JSON.stringify(this.packets)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** The next packet of that kind; others before it stay. */
  next<Cmd extends Packet['cmd']>(cmd: Cmd): Promise<Extract<Packet, { cmd: Cmd }>> {
    return this.until(cmd, () => {
      const index = this.packets.findIndex((packet) => packet.cmd === cmd);
      return index === -1 ? undefined : (this.packets.splice(index, 1)[0] as Extract<Packet, { cmd: Cmd }>);
    });
  }

  /** Packets that came and were not taken yet. */
  get pending(): readonly Packet[] {
    return this.packets;
  }

  closed(): Promise<true> {
    return this.until('the end', () => (this.isClosed ? true : undefined));
  }

  /** Until a packet of that kind came, which stays, or the connection ended. */
  async closedOr(cmd: Packet['cmd']): Promise<void> {
    await this.until('the end', () =>
      this.isClosed || this.packets.some((packet) => packet.cmd === cmd) ? true : undefined,
    );
  }

  /** Sends CONNECT and reads CONNACK. */
  async connect(options: RawConnect): Promise<IConnackPacket> {
    const { password, protocolVersion = 4, ...rest } = options;
    this.version = protocolVersion === 5 ? 5 : 4;
    this.parser = parser({ protocolVersion });
    this.listen();
    this.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion,
      clean: true,
      keepalive: 0,
      clientId: 'phone',
      ...(password === undefined ? {} : { password: Buffer.from(password) }),
      ...rest,
    });
    return this.next('connack');
  }

  /** Subscribes; the answer's codes and, in MQTT 5, the position it tells. */
  async subscribe(
    topic: string,
    options: { qos?: 0 | 1 | 2; since?: string; counts?: string } = {},
  ): Promise<{ granted: number[]; position: string | undefined }> {
    const { qos = 1, ...asked } = options;
    this.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [{ topic, qos, nl: false, rap: false, rh: 0 }],
      ...(Object.keys(asked).length === 0 ? {} : { properties: { userProperties: asked } }),
    });
    const suback = await this.next('suback');
    return {
      granted: suback.granted as number[],
      position: suback.properties?.userProperties?.['position'] as string | undefined,
    };
  }

  /** The next PUBLISH, not acknowledged. */
  async down(): Promise<Down> {
    const packet = await this.next('publish');
    return { packet, body: JSON.parse(packet.payload.toString()) as Record<string, unknown> };
  }

  /** The next PUBLISH, acknowledged. */
  async take(): Promise<Record<string, unknown>> {
    const { packet, body } = await this.down();
    if (packet.qos === 1) this.ack(packet);
    return body;
  }

  ack(packet: IPublishPacket): void {
    this.send({ cmd: 'puback', messageId: packet.messageId ?? 0, reasonCode: 0 });
  }

  /** Sends an event up and reads the reason of its PUBACK. */
  async up(topic: string, event: unknown, messageId = 7): Promise<number> {
    const payload = typeof event === 'string' ? event : JSON.stringify(event);
    this.send({ cmd: 'publish', topic: `${topic}/up`, payload, qos: 1, dup: false, retain: false, messageId });
    return (await this.next('puback')).reasonCode ?? 0;
  }

  /** Answered PINGREQ: everything sent before it has been handled. */
  async ping(): Promise<void> {
    this.send({ cmd: 'pingreq' });
    await this.next('pingresp');
  }

  destroy(): void {
    this.socket.destroy();
  }
}
