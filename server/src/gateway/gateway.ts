import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { doneWithin, startTicker } from '../lib/ticker.ts';
import { Connection } from './connection.ts';
import type { Hub } from './connection.ts';
import type { GatewayContext } from './context.ts';
import { gatewayLimits } from './limits.ts';
import type { GatewayLimits } from './limits.ts';
import { Listener } from './listener.ts';
import type { Admission, Listening, ListenOptions, TlsFiles } from './listener.ts';
import { REASON } from './reasons.ts';
import { Registry } from './registry.ts';
import type { Session } from './session.ts';
import { TimerWheel } from './timer-wheel.ts';
import type { Transport } from './transport.ts';

export interface GatewayOptions extends Omit<GatewayContext, 'limits'> {
  readonly limits?: Partial<GatewayLimits>;
  /** Off in tests that hold the clock and call {@link Gateway.tick} themselves. */
  readonly ticks?: boolean;
}

const TICK_MS = 1_000;
/** Of the polls for sessions opened elsewhere, every so many-th asks for the heads too. */
const SHARED_HEADS_EVERY = 10;

interface OpenSession {
  readonly connection: Connection;
  readonly session: Session;
}

/**
 * The MQTT side of the product: MQTT 3.1.1 and 5 over TCP, TLS and WebSocket. Contract §4; docs/device.md.
 *
 * A live session is a tail of its user's log, woken by the bus. Nothing is queued here for a device but a few entries
 * read ahead; the store is asked again when they are gone.
 */
export class Gateway implements Hub, Admission {
  readonly context: GatewayContext;
  readonly registry: Registry;
  readonly wheel: TimerWheel;
  readonly #listener: Listener;
  readonly #connections = new Set<Connection>();
  readonly #stopTicker: (() => void) | null;
  /** Sessions whose log grew, once each, in the order in which they were woken. */
  #woken: Session[] = [];
  readonly #isWoken = new Set<Session>();
  #isTurnPlanned = false;
  #isDraining = false;
  #polledAt: number;
  #isPolling = false;
  #polls = 0;
  /** A user was erased: the next tick looks whether it is one of those here. */
  #pollsSoon = false;
  readonly #stopHearing: () => void;
  #onIdle: (() => void) | null = null;

  constructor(options: GatewayOptions) {
    const { limits, ticks = true, ...rest } = options;
    this.context = { ...rest, limits: { ...gatewayLimits, ...limits } };
    this.registry = new Registry(this.context);
    const now = this.context.clock.monotonic();
    this.wheel = new TimerWheel(now);
    this.#polledAt = now;
    this.#listener = new Listener(this, this.context.limits);
    // Not at once: where thousands are erased one after the other, all sessions are looked through once a second.
    this.#stopHearing = this.context.bus.subscribe('erased', () => {
      this.#pollsSoon = true;
    });
    this.#stopTicker = ticks ? startTicker(TICK_MS, () => this.tick()) : null;
  }

  /** Connections of all kinds, those that are closing too. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Binds the MQTT port. */
  listen(options: ListenOptions): Promise<Listening> {
    return this.#listener.listen(options);
  }

  useCertificate(tls: TlsFiles): void {
    this.#listener.useCertificate(tls);
  }

  /** For the `upgrade` event of the HTTP server: MQTT over WebSocket at `/mqtt`, subprotocol `mqtt`. */
  readonly handleUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    this.#listener.handleUpgrade(request, socket, head);
  };

  admits(): boolean {
    if (!this.#isDraining && this.#connections.size < this.context.limits.connectionsMax) return true;
    if (!this.#isDraining) this.context.observer.deviceRefused({ reason: 'too-many-connections' });
    return false;
  }

  admit(transport: Transport, origin: string | null): void {
    this.#connections.add(new Connection(this, transport, origin));
  }

  onConnectionClosed(connection: Connection): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#onIdle?.();
  }

  // ---------------------------------------------------------------------------------------------- delivery

  wake(session: Session): void {
    if (this.#isWoken.has(session)) return;
    this.#isWoken.add(session);
    this.#woken.push(session);
    if (this.#isTurnPlanned) return;
    this.#isTurnPlanned = true;
    // When the loop comes round: all that the commits and the acknowledgements of one turn give a session leaves in one
    // write, and a write costs as much as everything else about a message.
    setImmediate(this.#takeTurn);
  }

  readonly #takeTurn = (): void => {
    this.#isTurnPlanned = false;
    const { sessionsPerTurn } = this.context.limits;
    const turn = this.#woken.length <= sessionsPerTurn ? this.#woken : this.#woken.slice(0, sessionsPerTurn);
    this.#woken = this.#woken.slice(turn.length);
    // All packets are made before the first is written (at most batchBytesMax a session wait meanwhile): writes that follow
    // each other closely cost less, since whoever reads them has no time to fall asleep and be woken for each. With one
    // message in flight on 1,000 devices a tenth more messages a second.
    for (const session of turn) {
      this.#isWoken.delete(session);
      session.fill();
    }
    for (const session of turn) session.pump();
    if (this.#woken.length === 0 || this.#isTurnPlanned) return;
    this.#isTurnPlanned = true;
    // Sockets get their turn in between, so that keep-alives and acknowledgements do not wait for a large commit.
    setImmediate(this.#takeTurn);
  };

  // ---------------------------------------------------------------------------------------------- time

  /** Deadlines of connections, and now and then a look for hints that were lost and users that are gone. Once a second. */
  tick(): void {
    const now = this.context.clock.monotonic();
    this.wheel.advance(now);
    const isDue = this.#pollsSoon || now - this.#polledAt >= this.context.limits.pollMs;
    if (!isDue || this.#isPolling) return;
    // A shared store's bus polls the heads itself: here only for who was erased, and seldom, in case nobody said so.
    this.#polls += 1;
    const asksHeads = this.context.isShared !== true || this.#pollsSoon || this.#polls % SHARED_HEADS_EVERY === 0;
    this.#pollsSoon = false;
    this.#polledAt = now;
    this.#isPolling = true;
    this.#poll(asksHeads)
      .catch((error: unknown) => this.context.observer.storeFailed({ operation: 'poll heads', error }))
      .finally(() => {
        this.#isPolling = false;
      });
  }

  async #poll(asksHeads: boolean): Promise<void> {
    const open: OpenSession[] = [];
    for (const connection of this.#connections) {
      const { session } = connection;
      if (session !== null) open.push({ connection, session });
    }
    const { pollUsersMax } = this.context.limits;
    for (let start = 0; start < open.length; start += pollUsersMax) {
      const part = open.slice(start, start + pollUsersMax);
      if (asksHeads) await this.#lookAtHeads(part);
      if (this.context.isShared === true) await this.#endSuperseded(part);
    }
  }

  async #lookAtHeads(part: readonly OpenSession[]): Promise<void> {
    const heads = await this.context.store.heads(part.map(({ session }) => session.options.user));
    for (const { connection, session } of part) {
      const head = heads.get(session.options.user);
      if (head === undefined) connection.finish(REASON.administrative, 'user-erased', 'the user was erased');
      else if (session.isSubscribed && head > session.seen) session.expect(head);
    }
  }

  /** The same session was opened on another node: there it lives, and here it ends. */
  async #endSuperseded(part: readonly OpenSession[]): Promise<void> {
    const devices = await this.context.store.superseded(part.map(({ session }) => session.options));
    if (devices.size === 0) return;
    for (const { connection, session } of part) {
      if (devices.has(session.options.device)) connection.onTakenOver();
    }
  }

  // ---------------------------------------------------------------------------------------------- the end

  /**
   * Takes no more connections, says goodbye to those that are open (MQTT 5: 0x8B) and closes them within `ms`.
   * The writer must work until it resolves: sessions are stored as closed.
   */
  async drain(ms: number): Promise<void> {
    this.#isDraining = true;
    this.#listener.stop();
    this.#stopHearing();
    const gone = new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
    for (const connection of this.#connections) {
      connection.finish(REASON.shuttingDown, 'shutdown', 'the server is shutting down');
    }
    if (this.#connections.size > 0) await doneWithin(gone, ms);
    for (const connection of this.#connections) connection.transport.destroy();
    await doneWithin(this.registry.settled(), ms);
    this.#stopTicker?.();
  }
}
