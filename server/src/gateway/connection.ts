import type { DeviceIdentity } from '../core/identity.ts';
import type { GatewayContext } from './context.ts';
import { decodePacket, PACKET } from './decode.ts';
import type { ClientPacket, ConnectPacket, Version } from './decode.ts';
import { encodeDisconnect, encodeRefusal, PINGRESP } from './encode.ts';
import { Framer } from './framing.ts';
import { onAuth } from './packets/auth.ts';
import { onConnect } from './packets/connect.ts';
import { onPublish } from './packets/publish.ts';
import { onSubscribe, onUnsubscribe } from './packets/subscribe.ts';
import { PacketWriter } from './packet-writer.ts';
import { REASON, reasonName } from './reasons.ts';
import type { ReasonCode } from './reasons.ts';
import type { Registry } from './registry.ts';
import type { Outlet, Session } from './session.ts';
import type { TimerWheel, WheelItem } from './timer-wheel.ts';
import type { Transport, TransportListener } from './transport.ts';
import { UpGate } from './up-gate.ts';

/** What connections need of the gateway around them. */
export interface Hub {
  readonly context: GatewayContext;
  readonly registry: Registry;
  readonly wheel: TimerWheel;
  /** The session's log grew: it is pumped with the others, once. */
  wake(session: Session): void;
  onConnectionClosed(connection: Connection): void;
}

export interface Login {
  readonly identity: DeviceIdentity;
  readonly sessionName: string;
  readonly userName: string;
  /** Named in the CONNECT; null: none. */
  readonly method: string | null;
}

type State = 'login' | 'opening' | 'open' | 'ended';

/** Longest reason string, UTF-16 units: some are made of what a device sent. */
const REASON_TEXT_MAX = 200;

/**
 * One connection of a device: bytes to packets, packets to their handlers, deadlines, and a writer that joins what is
 * sent in one turn and cuts the connection where too much waits.
 */
export class Connection implements TransportListener, WheelItem, Outlet {
  readonly hub: Hub;
  readonly transport: Transport;
  /** Origin header of a browser; null: none. */
  readonly origin: string | null;
  wheelSlot = -1;
  version: Version = 4;
  session: Session | null = null;
  login: Login | null = null;
  /** Reason strings may go along with PUBACK and SUBACK. */
  wantsReasons = true;
  /** What the client takes; Infinity: anything. */
  packetBytesMax = Number.POSITIVE_INFINITY;
  state: State = 'login';
  #framer = new Framer();
  readonly #writer: PacketWriter;
  #isHeld = false;
  #retries = false;
  #gate: UpGate | null = null;
  #keepAliveMs = 0;
  #lastSeen: number;
  readonly #openedAt: number;
  #endedAt = 0;

  constructor(hub: Hub, transport: Transport, origin: string | null) {
    this.hub = hub;
    this.transport = transport;
    this.origin = origin;
    const { clock, limits } = hub.context;
    this.#writer = new PacketWriter(transport, clock, limits);
    this.#openedAt = clock.monotonic();
    this.#lastSeen = this.#openedAt;
    hub.wheel.schedule(this, this.#openedAt + limits.loginMs);
    transport.attach(this);
  }

  get isEnded(): boolean {
    return this.state === 'ended';
  }

  // ---------------------------------------------------------------------------------------------- receiving

  onData(chunk: Buffer): void {
    if (this.state === 'ended') return;
    this.#lastSeen = this.hub.context.clock.monotonic();
    this.#framer.append(chunk);
    this.#process();
  }

  #process(): void {
    const { limits } = this.hub.context;
    // Planned before the acknowledgements below plan their commit: what they make room for goes out first.
    if (this.session !== null) this.hub.wake(this.session);
    while (!this.#isHeld && this.state !== 'ended') {
      const frame = this.#framer.next(this.state === 'login' ? limits.loginBytesMax : limits.packetBytesMax);
      if (frame.kind === 'more') break;
      if (frame.kind === 'packet') this.#onFrame(frame.bytes, frame.start);
      else if (frame.kind === 'too-large') this.end(REASON.packetTooLarge, 'the packet is too large');
      else this.end(REASON.malformed, 'the remaining length has five bytes');
    }
    if (this.state === 'opening' && this.#framer.heldBytes > limits.loginBytesMax) {
      this.end(REASON.packetTooLarge, 'too much was sent before the answer to CONNECT');
    }
    if (this.session === null) this.flush();
  }

  #onFrame(bytes: Buffer, start: number): void {
    const first = bytes.readUInt8(0);
    if (this.state === 'login' && first >> 4 !== PACKET.connect) {
      // A stranger that does not speak MQTT gets no answer in it.
      this.cut('not-mqtt');
      return;
    }
    // The two packets that come all the time: nothing is made of them.
    if (first === 0x40 && bytes.length === 4 && this.session !== null) {
      const packetId = bytes.readUInt16BE(2);
      if (packetId !== 0) this.session.acknowledge(packetId, 0);
      else this.end(REASON.protocolError, 'packet identifier 0');
      return;
    }
    if (first === 0xc0 && bytes.length === 2) {
      this.send(PINGRESP);
      return;
    }
    const decoded = decodePacket(bytes, start, this.version);
    if (decoded.ok) this.#onPacket(decoded.packet);
    else this.end(decoded.reason, decoded.message);
  }

  #onPacket(packet: ClientPacket): void {
    if (packet.kind === 'connect') {
      this.#onConnect(packet);
      return;
    }
    const { session } = this;
    if (session === null) {
      this.end(REASON.protocolError, 'not connected yet');
      return;
    }
    switch (packet.kind) {
      case 'publish':
        onPublish(this, session, packet);
        break;
      case 'puback':
        session.acknowledge(packet.packetId, packet.reason);
        break;
      case 'subscribe':
        onSubscribe(this, session, packet);
        break;
      case 'unsubscribe':
        onUnsubscribe(this, session, packet);
        break;
      case 'auth':
        onAuth(this, packet);
        break;
      case 'disconnect':
        this.#onDisconnect(session, packet.properties.sessionExpirySeconds);
        break;
      case 'pingreq':
        this.send(PINGRESP);
        break;
    }
  }

  #onConnect(packet: ConnectPacket): void {
    if (this.state !== 'login') {
      this.end(REASON.protocolError, 'CONNECT came twice');
      return;
    }
    this.version = packet.version;
    this.wantsReasons = packet.properties.wantsProblemInformation ?? true;
    this.packetBytesMax = packet.properties.packetBytesMax ?? Number.POSITIVE_INFINITY;
    this.#keepAliveMs = packet.keepAliveSeconds * 1_500;
    this.state = 'opening';
    const { clock, limits } = this.hub.context;
    this.hub.wheel.schedule(this, clock.monotonic() + limits.openingMs);
    this.hold();
    void onConnect(this, packet);
  }

  #onDisconnect(session: Session, expirySeconds: number | undefined): void {
    const { limits } = this.hub.context;
    if (expirySeconds !== undefined) {
      if (session.keepMs === 0 && expirySeconds > 0) {
        this.end(REASON.protocolError, 'a session that is not kept cannot become one that is');
        return;
      }
      session.keepMs = Math.min(expirySeconds, limits.keepSecondsMax) * 1_000;
    }
    this.#close('client');
    this.transport.end();
  }

  /** Stops reading until {@link release}: something must be finished before the next packet. */
  hold(): void {
    if (this.#isHeld) return;
    this.#isHeld = true;
    this.transport.pause();
  }

  release(): void {
    if (!this.#isHeld || this.state === 'ended') return;
    this.#isHeld = false;
    this.transport.resume();
    this.#process();
  }

  // ---------------------------------------------------------------------------------------------- events up

  /** An event came; where the device is too fast, reading stops until the gate opens. */
  enterGate(): void {
    const now = this.hub.context.clock.monotonic();
    this.#gate ??= new UpGate(this.hub.context.limits, now);
    this.#gate.enter(now);
    if (this.#gate.isOpen(now)) return;
    this.hold();
    this.hub.wheel.schedule(this, now + 1);
  }

  leaveGate(): void {
    this.#gate?.leave();
    this.#openGate();
  }

  #openGate(): void {
    if (this.#gate?.isOpen(this.hub.context.clock.monotonic()) === true && this.state === 'open') this.release();
  }

  // ---------------------------------------------------------------------------------------------- sending

  get isBlocked(): boolean {
    return this.#writer.isBlocked;
  }

  /** Queues a packet for this turn's write. One that the client does not take is left out (MQTT 5 §3.1.2.11.4). */
  send(bytes: Buffer): void {
    if (this.state !== 'ended' && bytes.length <= this.packetBytesMax) this.#writer.add(bytes);
  }

  flush(): void {
    if (this.state === 'ended') return;
    const result = this.#writer.flush();
    if (result === 'blocked') this.hub.wheel.schedule(this, this.#writer.stalledAt);
    else if (result === 'overflow') this.cut('slow-consumer');
  }

  onDrain(): void {
    this.#writer.onDrain();
    this.session?.pump();
  }

  retryLater(): void {
    this.#retries = true;
    this.hub.wheel.schedule(this, this.hub.context.clock.monotonic() + 1);
  }

  // ---------------------------------------------------------------------------------------------- deadlines

  /** The login is over: from now on keep-alive and the token's end apply. */
  opened(): void {
    this.state = 'open';
    this.transport.trust();
    this.#lastSeen = this.hub.context.clock.monotonic();
    this.reschedule();
  }

  reschedule(): void {
    const now = this.hub.context.clock.monotonic();
    this.hub.wheel.schedule(this, this.#nextCheck(now));
  }

  onCheck(now: number): number | null {
    const { limits } = this.hub.context;
    if (this.state === 'ended') {
      if (now - this.#endedAt < limits.lingerMs) return this.#endedAt + limits.lingerMs;
      this.transport.destroy();
      return null;
    }
    if (this.state !== 'open') {
      const limit = this.state === 'login' ? limits.loginMs : limits.openingMs;
      if (now - this.#openedAt < limit) return this.#openedAt + limit;
      this.cut('login-timeout');
      return null;
    }
    this.#checkOpen(now);
    // What ended just now has planned its own look.
    return this.wheelSlot === -1 ? this.#nextCheck(now) : null;
  }

  #checkOpen(now: number): void {
    const { clock } = this.hub.context;
    if (this.login !== null && clock.now() >= this.login.identity.expiresAt) {
      this.finish(REASON.notAuthorized, 'token-ended', 'the token has ended; connect with a fresh one');
    } else if (this.#keepAliveMs > 0 && now - this.#lastSeen >= this.#keepAliveMs && !this.#isHeld) {
      this.finish(REASON.keepAliveTimeout, 'keep-alive', 'nothing was heard for one and a half times the keep alive');
    } else if (now >= this.#writer.stalledAt) {
      this.cut('slow-consumer');
    } else {
      this.#openGate();
      if (!this.#retries) return;
      this.#retries = false;
      this.session?.pump();
    }
  }

  #nextCheck(now: number): number {
    const { clock, limits } = this.hub.context;
    if (this.state === 'ended') return now + limits.lingerMs;
    let next = now + limits.checkMs;
    if (this.#isHeld || this.#retries) next = now + 1;
    if (this.#keepAliveMs > 0) next = Math.min(next, this.#lastSeen + this.#keepAliveMs);
    next = Math.min(next, this.#writer.stalledAt);
    if (this.login !== null) next = Math.min(next, now + this.login.identity.expiresAt - clock.now());
    return next;
  }

  // ---------------------------------------------------------------------------------------------- ending

  /** Refuses the CONNECT, with a reason, and closes. `label`: a word for the figures. */
  refuse(reason: ReasonCode, text: string, label = reasonName(reason)): void {
    if (this.state === 'ended') return;
    this.hub.context.observer.deviceRefused({ reason: label });
    this.send(encodeRefusal({ version: this.version, reason, text: text.slice(0, REASON_TEXT_MAX) }));
    this.flush();
    this.#close(label);
    this.transport.end();
  }

  /** The device did what it must not: says so, where the version can, and closes. */
  end(reason: ReasonCode, text: string): void {
    if (this.state === 'ended') return;
    this.hub.context.observer.deviceRefused({ reason: reasonName(reason) });
    this.finish(reason, reasonName(reason), text);
  }

  /** Says why, where the version can, and closes; nobody did anything wrong. */
  finish(reason: ReasonCode, label: string, text: string): void {
    if (this.state === 'ended') return;
    if (this.state === 'login') {
      // Of a CONNECT that cannot be read only its age may be known; 3.1.1 has the only answer all versions read.
      if (reason === REASON.unsupportedVersion) this.send(encodeRefusal({ version: 4, reason }));
    } else if (this.state === 'open' && this.version === 5) {
      this.send(encodeDisconnect({ version: 5, reason, text: text.slice(0, REASON_TEXT_MAX) }));
    }
    this.flush();
    this.#close(label);
    this.transport.end();
  }

  /** Closes at once, without a word: a stranger that does not behave, or a device that takes nothing. */
  cut(label: string): void {
    if (this.state === 'ended') return;
    this.hub.context.observer.deviceRefused({ reason: label });
    this.#close(label);
    this.transport.destroy();
  }

  /** The session was opened elsewhere. */
  onTakenOver(): void {
    const text = 'the session was opened by another connection';
    if (this.state === 'opening') this.refuse(REASON.takenOver, text);
    else this.finish(REASON.takenOver, 'taken-over', text);
  }

  onClosed(): void {
    this.#close('connection-lost');
    this.hub.wheel.remove(this);
    this.hub.onConnectionClosed(this);
  }

  #close(label: string): void {
    if (this.state === 'ended') return;
    const wasOpening = this.state === 'opening';
    this.state = 'ended';
    this.#framer = new Framer();
    const { clock, limits, observer } = this.hub.context;
    const now = clock.monotonic();
    this.#endedAt = now;
    this.hub.wheel.schedule(this, now + limits.lingerMs);
    // A paused socket would never tell that the other side has closed.
    if (this.#isHeld) this.transport.resume();
    // While the store opens the session, packets/connect.ts is what gives it back.
    if (!wasOpening) this.#releaseSession();
    const appId = this.session?.options.appId ?? null;
    observer.sessionClosed({ appId, reason: label, durationMs: now - this.#openedAt });
  }

  #releaseSession(): void {
    const { session, login } = this;
    if (session === null || login === null) return;
    const { registry } = this.hub;
    // Taken over: the row is the other connection's by now, but what was acknowledged here still counts.
    if (!registry.holds(login.sessionName, this)) session.storeFloor();
    session.close();
    const { user, device, incarnation } = session.options;
    const at = this.hub.context.clock.now();
    const { floor, keepMs, isSubscriptionKept: subscribed } = session;
    const close = { user, device, incarnation, subscribed, floor, keepMs, at };
    registry.release(login.sessionName, login.userName, { holder: this, close });
  }
}
