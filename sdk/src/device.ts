/**
 * A device: holds a session with the server, hands messages on, acknowledges them, tells what the user did, and comes back
 * after every loss. MQTT 5; docs/device.md.
 */
import type { DownEvent, MessageDown, UpEvent } from '@carillon/protocol/device.ts';
import mqtt from 'mqtt-packet';
import type { IConnackPacket, IPublishPacket, Packet } from 'mqtt-packet';
import { backoffMs } from './backoff.ts';
import type { BackoffOptions } from './backoff.ts';
import { openTransport } from './transport.ts';
import type { Transport } from './transport.ts';

export type DeviceState =
  | { readonly kind: 'connecting'; readonly attempt: number }
  /** `resumed`: the server had kept the session. */
  | { readonly kind: 'connected'; readonly deviceid: string; readonly resumed: boolean }
  | { readonly kind: 'waiting'; readonly reason: string; readonly waitMs: number }
  /** For good: closed by the app, or refused in a way that coming back cannot mend. */
  | { readonly kind: 'closed'; readonly reason: string };

export interface DeviceOptions {
  /** `mqtt://`, `mqtts://`, `ws://…/mqtt` or `wss://…/mqtt`. */
  readonly url: string;
  readonly appid: string;
  readonly userid: string;
  /** A device token, or what fetches one; a function is asked again for every connection. */
  readonly token: string | (() => string | Promise<string>);
  /** Absent: the token's, or one the server gives. The same one finds its session again. */
  readonly deviceid?: string;
  /** A position `<epoch>:<n>`: everything after it is sent again. */
  readonly since?: string;
  /** How long the server keeps the session while this device is away. Default: 30 days. */
  readonly keepSeconds?: number;
  /** A message is acknowledged when this has returned; where it throws, the message comes again with the next connection. */
  readonly onMessage: (message: MessageDown) => void | Promise<void>;
  /** Everything else that comes down. */
  readonly onEvent?: (event: Exclude<DownEvent, MessageDown>) => void;
  readonly onState?: (state: DeviceState) => void;
  readonly backoff?: Partial<BackoffOptions>;
  readonly keepAliveSeconds?: number;
}

export interface Device {
  /** Tells an event; resolves when the server has it on disk, over as many connections as it takes. */
  send(event: UpEvent): Promise<void>;
  /** Ends the connection; the session stays with the server for `keepSeconds`. */
  close(): Promise<void>;
}

const KEEP_SECONDS_DEFAULT = 30 * 86_400;
const KEEP_ALIVE_SECONDS = 60;
const BACKOFF: BackoffOptions = { baseMs: 500, capMs: 30_000, random: Math.random };
/** A connection that got no CONNACK by then is given up. */
const CONNECT_TIMEOUT_MS = 15_000;
/** Events that wait for the server; more are refused. */
const EVENTS_MAX = 1_000;
/** Messages on their way that are not acknowledged yet; the server waits with more. */
const RECEIVE_MAX = 100;
const PACKET_ID_MAX = 65_535;
const SUBSCRIBE_ID = 1;
/** MQTT 5 reason codes from here on are failures. */
const FAILURE = 0x80;

/** Reasons for which the same try again would get the same answer (MQTT 5 §2.4). */
const FINAL_REASONS: Readonly<Record<number, string>> = {
  0x84: 'the server does not speak MQTT 5',
  0x85: 'the server refuses this deviceid',
  0x8e: 'another connection took over this session',
};
const TOKEN_REASONS: readonly number[] = [0x86, 0x87];

/** A userid as it stands in topics and user names (docs/device.md). */
export function encodeUserid(userid: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what must be encoded
  return userid.replaceAll(/[\u0000-\u001f\u007f-\u009f/+#%]/gu, (character) => encodeURIComponent(character));
}

/** The device that a token was made for; empty: any. */
function deviceidOf(token: string): string {
  try {
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { deviceid?: unknown };
    return typeof claims.deviceid === 'string' ? claims.deviceid : '';
  } catch {
    return '';
  }
}

interface Pending {
  readonly payload: string;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Connects, and keeps connecting until `close`. Throws only for an address that is none. */
export function connectDevice(options: DeviceOptions): Device {
  const link = new Link(options);
  link.start();
  return { send: (event) => link.send(event), close: () => link.close() };
}

class Link {
  readonly #options: DeviceOptions;
  readonly #topic: string;
  readonly #backoff: BackoffOptions;
  #transport: Transport | null = null;
  #timer: NodeJS.Timeout | undefined;
  #attempt = 0;
  #connection = 0;
  #isReady = false;
  #isResumed = false;
  #isClosed = false;
  #since: string | undefined;
  #deviceid: string;
  #pingUnanswered = false;
  #onClosed: (() => void) | null = null;
  /** Works on messages one after the other, so that they are handed on in order. */
  #handling: Promise<void> = Promise.resolve();
  readonly #pending = new Map<number, Pending>();
  #packetId = SUBSCRIBE_ID;

  constructor(options: DeviceOptions) {
    this.#options = options;
    this.#topic = `${options.appid}/${encodeUserid(options.userid)}`;
    this.#backoff = { ...BACKOFF, ...options.backoff };
    this.#deviceid = options.deviceid ?? '';
    this.#since = options.since;
  }

  start(): void {
    this.#state({ kind: 'connecting', attempt: this.#attempt });
    this.#connection += 1;
    const connection = this.#connection;
    const isCurrent = (): boolean => connection === this.#connection;
    const parser = mqtt.parser({ protocolVersion: 5 });
    parser.on('packet', (packet: Packet) => {
      if (isCurrent()) this.#take(packet);
    });
    parser.on('error', (error: Error) => {
      if (isCurrent()) this.#lose(`the server sent no MQTT (${error.message})`);
    });
    this.#transport = openTransport(this.#options.url, {
      onOpen: () => {
        if (isCurrent()) void this.#connect(isCurrent);
      },
      onData: (bytes) => {
        if (isCurrent()) parser.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
      },
      onClose: (reason) => {
        if (isCurrent()) this.#lose(reason);
      },
    });
    this.#timer = setTimeout(() => this.#lose('no answer in time'), CONNECT_TIMEOUT_MS);
  }

  send(event: UpEvent): Promise<void> {
    if (this.#isClosed) return Promise.reject(new Error('the device is closed'));
    if (this.#pending.size >= EVENTS_MAX) return Promise.reject(new Error(`${EVENTS_MAX} events wait already`));
    return new Promise((resolve, reject) => {
      const id = this.#nextPacketId();
      this.#pending.set(id, { payload: JSON.stringify(event), resolve, reject });
      if (this.#isReady) this.#publish(id, false);
    });
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    const transport = this.#transport;
    await this.#handling;
    const gone = new Promise<void>((resolve) => {
      if (transport === null) resolve();
      else this.#onClosed = resolve;
    });
    if (this.#isReady) this.#write({ cmd: 'disconnect', reasonCode: 0 });
    this.#end('closed by the app');
    transport?.close();
    await gone;
  }

  async #connect(isCurrent: () => boolean): Promise<void> {
    const { token, userid, appid } = this.#options;
    let password: string;
    try {
      password = typeof token === 'string' ? token : await token();
    } catch (error) {
      if (isCurrent()) this.#lose(`there is no token: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    if (!isCurrent()) return;
    if (this.#deviceid === '') this.#deviceid = deviceidOf(password);
    this.#write({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 5,
      // Who has no name yet has no session to come back to.
      clean: this.#deviceid === '',
      clientId: this.#deviceid,
      keepalive: this.#options.keepAliveSeconds ?? KEEP_ALIVE_SECONDS,
      username: `${appid}/${encodeUserid(userid)}`,
      password: Buffer.from(password),
      properties: {
        sessionExpiryInterval: this.#options.keepSeconds ?? KEEP_SECONDS_DEFAULT,
        receiveMaximum: RECEIVE_MAX,
      },
    });
  }

  #take(packet: Packet): void {
    switch (packet.cmd) {
      case 'connack':
        return this.#onConnack(packet);
      case 'suback':
        return this.#onSuback(packet.granted[0]);
      case 'publish':
        return this.#onPublish(packet);
      case 'puback':
        return this.#onPuback(packet.messageId ?? 0, packet.reasonCode ?? 0);
      case 'pingresp':
        this.#pingUnanswered = false;
        return undefined;
      case 'disconnect':
        return this.#refuse(packet.reasonCode ?? 0, packet.properties?.reasonString);
      default:
        return undefined;
    }
  }

  #onConnack(packet: IConnackPacket): void {
    const reason = packet.reasonCode ?? 0;
    if (reason >= FAILURE) return this.#refuse(reason, packet.properties?.reasonString);
    this.#deviceid = packet.properties?.assignedClientIdentifier ?? this.#deviceid;
    const keepAliveSeconds = packet.properties?.serverKeepAlive ?? this.#options.keepAliveSeconds ?? KEEP_ALIVE_SECONDS;
    clearTimeout(this.#timer);
    this.#startPings(keepAliveSeconds);
    this.#isResumed = packet.sessionPresent;
    const since = this.#since;
    this.#write({
      cmd: 'subscribe',
      messageId: SUBSCRIBE_ID,
      subscriptions: [{ topic: this.#topic, qos: 1 }],
      ...(since === undefined ? undefined : { properties: { userProperties: { since } } }),
    });
    return undefined;
  }

  #onSuback(granted: unknown): void {
    if (typeof granted === 'number' && granted >= FAILURE) return this.#refuse(granted, undefined);
    this.#attempt = 0;
    this.#isReady = true;
    // From here on the session knows what this device has; asking again would bring everything again.
    this.#since = undefined;
    this.#state({ kind: 'connected', deviceid: this.#deviceid, resumed: this.#isResumed });
    for (const id of this.#pending.keys()) this.#publish(id, true);
    return undefined;
  }

  #onPublish(packet: IPublishPacket): void {
    const connection = this.#connection;
    this.#handling = this.#handling.then(async () => {
      try {
        await this.#handOn(packet);
      } catch (error) {
        // Not acknowledged: it comes again. A new connection asks for it.
        if (connection === this.#connection) this.#lose(`a message could not be handled: ${String(error)}`);
        return;
      }
      if (packet.qos === 0 || connection !== this.#connection) return;
      this.#write({ cmd: 'puback', messageId: packet.messageId ?? 0, reasonCode: 0 });
    });
  }

  async #handOn(packet: IPublishPacket): Promise<void> {
    const event = JSON.parse(packet.payload.toString()) as DownEvent;
    if (event.type !== 'message') {
      this.#options.onEvent?.(event);
      return;
    }
    await this.#options.onMessage(event);
    if (packet.qos === 0) void this.send({ type: 'delivered', tids: [event.tid] }).catch(() => undefined);
  }

  #onPuback(id: number, reason: number): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    if (reason >= FAILURE) pending.reject(new Error(`the server refused the event (0x${reason.toString(16)})`));
    else pending.resolve();
  }

  #publish(id: number, isAgain: boolean): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    const topic = `${this.#topic}/up`;
    const payload = pending.payload;
    this.#write({ cmd: 'publish', topic, payload, messageId: id, qos: 1, dup: isAgain, retain: false });
  }

  #nextPacketId(): number {
    do this.#packetId = this.#packetId >= PACKET_ID_MAX ? SUBSCRIBE_ID + 1 : this.#packetId + 1;
    while (this.#pending.has(this.#packetId));
    return this.#packetId;
  }

  #startPings(keepAliveSeconds: number): void {
    this.#pingUnanswered = false;
    if (keepAliveSeconds === 0) return;
    // Twice within the server's patience, so that one lost packet is no lost connection.
    const everyMs = (keepAliveSeconds * 1_000) / 2;
    this.#timer = setInterval(() => {
      if (this.#pingUnanswered) return this.#lose('the server does not answer');
      this.#pingUnanswered = true;
      this.#write({ cmd: 'pingreq' });
      return undefined;
    }, everyMs);
  }

  #write(packet: Packet): void {
    this.#transport?.write(mqtt.generate(packet, { protocolVersion: 5 }));
  }

  #refuse(reason: number, text: string | undefined): void {
    const said = text ?? `reason 0x${reason.toString(16)}`;
    const final = FINAL_REASONS[reason];
    const tokenIsFixed = typeof this.#options.token === 'string';
    if (final !== undefined) this.#stop(`${final} (${said})`);
    else if (TOKEN_REASONS.includes(reason) && tokenIsFixed) this.#stop(`the server refuses the token (${said})`);
    else this.#lose(said);
  }

  /** This connection is over; the next one follows after a while. */
  #lose(reason: string): void {
    if (this.#isClosed) return this.#onClosed?.();
    this.#drop();
    const waitMs = backoffMs(this.#attempt, this.#backoff);
    this.#attempt += 1;
    this.#state({ kind: 'waiting', reason, waitMs });
    this.#timer = setTimeout(() => this.start(), waitMs);
    return undefined;
  }

  #drop(): void {
    clearTimeout(this.#timer);
    this.#isReady = false;
    const transport = this.#transport;
    this.#transport = null;
    this.#connection += 1;
    transport?.close();
  }

  /** No connection follows, for a reason that another one would meet again. */
  #stop(reason: string): void {
    this.#drop();
    this.#end(reason);
  }

  #end(reason: string): void {
    clearTimeout(this.#timer);
    this.#isClosed = true;
    this.#isReady = false;
    for (const pending of this.#pending.values()) pending.reject(new Error(reason));
    this.#pending.clear();
    this.#state({ kind: 'closed', reason });
  }

  #state(state: DeviceState): void {
    this.#options.onState?.(state);
  }
}
