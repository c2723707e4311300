import { AsyncLocalStorage } from 'node:async_hooks';
import diagnostics from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { connect, errors } from '@nats-io/transport-node';
import type { NatsConnection, Subscription } from '@nats-io/transport-node';
import type { Random } from '../core/ports.ts';
import { doneWithin } from '../lib/ticker.ts';
import type { Scheduler } from '../lib/timers.ts';
import { connectionOptions, failureText, formatServer } from './nats-options.ts';
import type { NatsLogin, NatsServer, NatsTls } from './nats-options.ts';

export interface BusWarning {
  readonly what: string;
  readonly [detail: string]: unknown;
}

export interface NatsLinkOptions {
  readonly servers: readonly NatsServer[];
  readonly login: NatsLogin;
  readonly tls: NatsTls | null;
  /** Shown by the NATS server's monitoring. */
  readonly name: string;
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly onWarning: (warning: BusWarning) => void;
  readonly onState: (isConnected: boolean) => void;
  readonly limits?: Partial<LinkLimits>;
}

export interface LinkLimits {
  /** From the first packet to the answer of the login, per address. */
  readonly connectMs: number;
  /** A ping so often … */
  readonly pingMs: number;
  /** … and after so many without an answer the connection counts as lost: a server that is stopped or cut off. */
  readonly pingsMax: number;
  /** The first wait after a failure; doubled up to the last one, each shortened by up to a half at random. */
  readonly retryFirstMs: number;
  readonly retryLastMs: number;
  /** Published and not yet confirmed by the server; beyond, it is dropped: hints may be lost. */
  readonly unconfirmedBytesMax: number;
  /** A confirmation is asked for when so much is unconfirmed. */
  readonly confirmBytes: number;
}

const linkLimits: LinkLimits = {
  connectMs: 3_000,
  pingMs: 1_000,
  pingsMax: 2,
  retryFirstMs: 100,
  retryLastMs: 2_000,
  unconfirmedBytesMax: 4_194_304,
  confirmBytes: 131_072,
};

/** What a PUB costs besides its payload, about. */
const PUB_BYTES = 48;

/** Reasons said in one outage. */
const REASONS_MAX = 16;

const ignore = (): void => undefined;

/**
 * The sockets that a call of `connect` opens. The library keeps open one that did not answer in time, and a call that
 * is under way cannot be ended: so they are destroyed from here.
 */
interface Attempt {
  readonly sockets: Set<Socket>;
  /** Off when the call has ended: listeners of the bus run in its context too, and their sockets are none of ours. */
  isConnecting: boolean;
}

const attempts = new AsyncLocalStorage<Attempt>();
let isListening = false;

function listenForSockets(): void {
  if (isListening) return;
  isListening = true;
  diagnostics.subscribe('net.client.socket', (message) => {
    const attempt = attempts.getStore();
    if (attempt?.isConnecting === true) attempt.sockets.add((message as { socket: Socket }).socket);
  });
}

function destroyAll(sockets: Iterable<Socket>): void {
  for (const socket of sockets) {
    // The library took its listeners off; an error that nobody hears would end the process.
    socket.on('error', ignore);
    socket.destroy();
  }
}

/** One connection while it lasts. */
class Channel {
  readonly connection: NatsConnection;
  readonly subscriptions = new Map<string, Subscription>();
  readonly lost: Promise<string>;
  private readonly limits: LinkLimits;
  private readonly onRefused: (what: string) => void;
  private unconfirmedBytes = 0;
  private isConfirming = false;
  private isClosed = false;

  constructor(connection: NatsConnection, limits: LinkLimits, onRefused: (what: string) => void) {
    this.connection = connection;
    this.limits = limits;
    this.onRefused = onRefused;
    this.lost = Promise.race([this.watchClosed(), this.watchStatus()]);
  }

  private async watchClosed(): Promise<string> {
    const error = await this.connection.closed();
    // Where both are due, the other promise knows better.
    await new Promise(setImmediate);
    return failureText(error);
  }

  /** Resolves when the server does not answer any more. The library would then wait until it can write, maybe for ever. */
  private async watchStatus(): Promise<string> {
    for await (const status of this.connection.status()) {
      if (status.type === 'staleConnection') return 'no answer to pings';
      if (status.type === 'error' && status.error instanceof errors.PermissionViolationError) {
        this.onRefused(`${status.error.operation} ${status.error.subject}`);
      }
    }
    // Closed: the other promise tells why.
    return new Promise(ignore);
  }

  /** False: dropped. */
  send(subject: string, payload: Uint8Array): boolean {
    const bytes = payload.length + PUB_BYTES;
    if (this.isClosed || this.unconfirmedBytes + bytes > this.limits.unconfirmedBytesMax) return false;
    try {
      this.connection.publish(subject, payload);
    } catch {
      // Closed in this very moment, or a payload above what the server takes.
      return false;
    }
    this.unconfirmedBytes += bytes;
    if (this.unconfirmedBytes >= this.limits.confirmBytes) this.confirm();
    return true;
  }

  private confirm(): void {
    if (this.isConfirming) return;
    this.isConfirming = true;
    const sent = this.unconfirmedBytes;
    this.connection.flush().then(() => {
      this.isConfirming = false;
      this.unconfirmedBytes -= sent;
      if (this.unconfirmedBytes >= this.limits.confirmBytes) this.confirm();
    }, ignore);
  }

  subscribe(subject: string, listener: (payload: Uint8Array) => void): void {
    try {
      const callback = (error: Error | null, message: { data: Uint8Array }): void => {
        if (error === null) listener(message.data);
      };
      this.subscriptions.set(subject, this.connection.subscribe(subject, { callback }));
    } catch {
      // Closed in this very moment: the next connection subscribes.
    }
  }

  unsubscribe(subject: string): void {
    this.subscriptions.get(subject)?.unsubscribe();
    this.subscriptions.delete(subject);
  }

  /** Resolves when the server has taken all that was sent, or the connection is lost. */
  async flushed(): Promise<void> {
    if (this.isClosed) return;
    await Promise.race([this.connection.flush().catch(ignore), this.lost]);
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await this.connection.close().catch(ignore);
  }
}

/**
 * A connection to NATS that is made again for ever, with the subscriptions that are wanted at the time. Core subjects
 * only. What is sent while there is none is dropped. Nothing here throws or rejects for what the network does.
 */
export class NatsLink {
  private readonly options: NatsLinkOptions;
  private readonly limits: LinkLimits;
  private readonly wanted = new Map<string, (payload: Uint8Array) => void>();
  private channel: Channel | null = null;
  private sockets = new Set<Socket>();
  private isClosed = false;
  private failures = 0;
  /** Why NATS is out of reach, as far as it was said; empty: it is not, or nothing was said yet. */
  private readonly toldReasons = new Set<string>();
  private endWait: (() => void) | null = null;
  private hasToldRefused = false;
  private readonly running: Promise<void>;

  constructor(options: NatsLinkOptions) {
    this.options = options;
    this.limits = { ...linkLimits, ...options.limits };
    listenForSockets();
    this.running = this.run();
  }

  get isConnected(): boolean {
    return this.channel !== null;
  }

  /** What one message may hold; 0: no connection. */
  get payloadBytesMax(): number {
    return this.channel?.connection.info?.max_payload ?? 0;
  }

  /** False: dropped, for want of a connection or because too much is under way. */
  send(subject: string, payload: Uint8Array): boolean {
    return this.channel?.send(subject, payload) ?? false;
  }

  /** Heard from now on, over this connection and every later one. One listener per subject; it must not throw. */
  subscribe(subject: string, listener: (payload: Uint8Array) => void): void {
    this.wanted.set(subject, listener);
    this.channel?.subscribe(subject, listener);
  }

  unsubscribe(subject: string): void {
    this.wanted.delete(subject);
    this.channel?.unsubscribe(subject);
  }

  /** Resolves when the server has taken all that was sent and subscribed, and all it sent before that was heard. */
  async flushed(): Promise<void> {
    await this.channel?.flushed();
  }

  /** What was sent still goes out, within `ms`. Then there is no connection any more, nor will be. */
  async close(ms: number): Promise<void> {
    if (!this.isClosed) {
      this.isClosed = true;
      this.endWait?.();
      await doneWithin(this.flushed(), ms);
      this.drop();
    }
    await doneWithin(this.running, ms);
  }

  /** Ends what there is. A connection closes its own sockets, and must: TLS does not bear that they go below it. */
  private drop(): void {
    const { channel, sockets } = this;
    this.channel = null;
    this.sockets = new Set();
    if (channel === null) destroyAll(sockets);
    else channel.close().then(() => destroyAll(sockets), ignore);
  }

  private async run(): Promise<void> {
    for (let turn = 0; !this.isClosed; turn += 1) {
      const server = this.options.servers[turn % this.options.servers.length];
      if (server === undefined) return;
      const lost = await this.serve(server);
      if (this.isClosed) return;
      this.tell(formatServer(server), lost);
      await this.wait();
    }
  }

  /** Connects and stays until the connection is lost; resolves with the reason in words. */
  private async serve(server: NatsServer): Promise<string> {
    const { sockets } = this;
    const attempt = { sockets, isConnecting: true };
    let connection: NatsConnection;
    try {
      const options = connectionOptions(server, { ...this.options, ...this.limits });
      connection = await attempts.run(attempt, () => connect(options));
    } catch (error) {
      destroyAll(sockets);
      sockets.clear();
      return failureText(error);
    } finally {
      attempt.isConnecting = false;
    }
    const channel = new Channel(connection, this.limits, (what) => this.tellRefused(what));
    if (this.isClosed) {
      await channel.close();
      destroyAll(sockets);
      return '';
    }
    this.channel = channel;
    for (const [subject, listener] of this.wanted) channel.subscribe(subject, listener);
    // A server that takes the login and ends the connection at once is waited for longer and longer too.
    const stopSettling = this.options.scheduler.after(this.limits.retryLastMs, () => {
      this.failures = 0;
    });
    if (this.toldReasons.size > 0) {
      this.options.onWarning({ what: 'NATS is back: hints between nodes flow again', server: formatServer(server) });
    }
    this.toldReasons.clear();
    this.options.onState(true);
    const reason = await channel.lost;
    stopSettling();
    this.drop();
    this.options.onState(false);
    return reason;
  }

  /** Said when it begins and for each new reason, not at every try: servers may take turns with theirs. */
  private tell(server: string, reason: string): void {
    if (this.toldReasons.has(reason) || this.toldReasons.size >= REASONS_MAX) return;
    this.toldReasons.add(reason);
    const what = 'NATS is out of reach: until it is back, hints between nodes are replaced by polling';
    this.options.onWarning({ what, server, reason });
  }

  private tellRefused(what: string): void {
    if (this.hasToldRefused) return;
    this.hasToldRefused = true;
    this.options.onWarning({ what: 'NATS does not allow this login what the bus needs', refused: what });
  }

  private async wait(): Promise<void> {
    const { retryFirstMs, retryLastMs } = this.limits;
    const ms = Math.min(retryLastMs, retryFirstMs * 2 ** Math.min(this.failures, 16));
    this.failures += 1;
    await new Promise<void>((resolve) => {
      const cancel = this.options.scheduler.after(ms * (1 - this.options.random.unit() / 2), resolve);
      this.endWait = () => {
        cancel();
        resolve();
      };
    });
    this.endWait = null;
  }
}
