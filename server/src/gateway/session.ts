import type { DownEvent, ErrorDown } from '@carillon/protocol/device.ts';
import { formatPosition } from '@carillon/protocol/device.ts';
import { STATE } from '../core/delivery-state.ts';
import { encodeParts, tidOf } from '../core/device-message.ts';
import type { MessageParts } from '../core/device-message.ts';
import type { DeviceKey, LogEntry, Settlement, UserHint, UserKey } from '../core/ports.ts';
import { startReplay } from '../core/replay.ts';
import type { LogStand } from '../core/replay.ts';
import type { GatewayContext } from './context.ts';
import type { Version } from './decode.ts';
import { encodePublish, topicField } from './encode.ts';
import { Lanes } from './lanes.ts';
import type { Lane } from './lanes.ts';
import { Replay } from './session-replay.ts';

/** What a session needs of its connection. */
export interface Outlet {
  readonly version: Version;
  /** The socket has enough for now; the session is woken when it drained. */
  readonly isBlocked: boolean;
  send(bytes: Buffer): void;
  flush(): void;
  /** Something could not be read: try again in a moment. */
  retryLater(): void;
}

export interface SessionOptions {
  readonly appId: string;
  readonly userid: string;
  readonly deviceid: string;
  readonly user: UserKey;
  readonly device: DeviceKey;
  readonly incarnation: number;
  readonly base: number;
  readonly floor: number;
  /** Messages in flight that the device takes. */
  readonly receiveMaximum: number;
  /** The largest packet the device takes; Infinity: any. */
  readonly packetBytesMax: number;
  readonly keepMs: number;
}

export interface Subscription {
  readonly topic: string;
  readonly qos: 0 | 1;
  /** A position from which everything is told again, in number order. */
  readonly since: string | null;
}

interface InFlight {
  readonly entry: LogEntry;
  readonly sentAt: number;
}

const PACKET_IDS = 0xff_ff;
const NOTHING = Buffer.alloc(0);
const ignore = (): void => undefined;

/**
 * One device of one user: a tail of the user's log. What waits goes out by priority, then number, as far as the
 * device's window and its socket allow; an acknowledgement settles the delivery. Contract §4, "order" and "session".
 *
 * No promise per message, no timer, and nothing read ahead beyond the lanes' bound: a device that does not keep up
 * leaves its messages in the log.
 */
export class Session {
  readonly options: SessionOptions;
  keepMs: number;
  readonly #context: GatewayContext;
  readonly #outlet: Outlet;
  #base: number;
  #topic: Buffer | null = null;
  #qos: 0 | 1 = 1;
  #lanes: Lanes | null = null;
  #replay: Replay | null = null;
  #unwatch: (() => void) | null = null;
  /** The highest number told by hints. */
  #head = 0;
  #isReading = false;
  #isClosed = false;
  #packetId = 0;
  #inFlight: Map<number, InFlight> | null = null;
  /** Numbers acknowledged whose settlement is on its way; kept sessions only. */
  #settling: Set<number> | null = null;
  /** What is dealt with for this device, as the store knows it. */
  #storedFloor: number;
  /** An acknowledgement above it was refused or lost: the floor stays below. */
  #floorMax = Number.POSITIVE_INFINITY;
  #acknowledged = 0;

  constructor(context: GatewayContext, outlet: Outlet, options: SessionOptions) {
    this.#context = context;
    this.#outlet = outlet;
    this.options = options;
    this.keepMs = options.keepMs;
    this.#base = options.base;
    this.#storedFloor = options.floor;
  }

  get isSubscribed(): boolean {
    return this.#topic !== null;
  }

  /** Whether delivery goes on at the next connection: a QoS 0 subscription is a view and is not kept. */
  get isSubscriptionKept(): boolean {
    return this.#topic !== null && this.#qos === 1;
  }

  get seen(): number {
    return this.#lanes?.seen ?? this.#head;
  }

  /** Hears of the log from now on. Called before the log is read, so that nothing falls between. */
  watch(onWake: () => void): void {
    if (this.#unwatch !== null || this.#isClosed) return;
    this.#unwatch = this.#context.bus.watch(this.options.user, (hint) => {
      this.#onHint(hint);
      onWake();
    });
  }

  #onHint(hint: UserHint): void {
    this.#head = Math.max(this.#head, hint.head, hint.entry?.n ?? 0);
    if (this.#lanes === null) return;
    if (hint.entry === null) {
      this.#lanes.expect(hint.head);
      return;
    }
    this.#lanes.offer(hint.entry, this.#context.limits.laneEntriesMax);
    const { event } = hint.entry;
    if (event !== null && event['type'] === 'recalled') {
      this.#lanes.drop((entry) => tidOf(entry) === event['tid']);
    }
  }

  /** The log is known to reach this number: a hint may have been lost. */
  expect(head: number): void {
    this.#head = Math.max(this.#head, head);
    this.#lanes?.expect(head);
    this.pump();
  }

  /** Delivery begins, or goes on with another QoS or from another position. */
  start(subscription: Subscription, stand: { base: number } & LogStand): void {
    if (this.#isClosed) return;
    this.#topic = topicField(subscription.topic);
    this.#qos = subscription.qos;
    this.#base = stand.base;
    this.#head = Math.max(this.#head, stand.head);
    if (subscription.since !== null) this.#startReplay(subscription.since, stand);
    else if (this.#lanes === null && this.#replay === null) this.#lanes = new Lanes(this.#storedFloor, this.#head);
    this.pump();
  }

  #startReplay(since: string, stand: LogStand): void {
    const start = startReplay(since, stand);
    this.#lanes = null;
    if (start.kind === 'reset') {
      const position = formatPosition({ epoch: stand.epoch, number: stand.head });
      this.#tell({ type: 'reset', reason: start.reason, position });
      this.#replay = new Replay(0, { tellsGone: false });
      return;
    }
    // The device says that it holds everything up to there.
    this.#storedFloor = Math.max(this.#storedFloor, start.after);
    this.#replay = new Replay(start.after, { tellsGone: true });
  }

  /** Delivery ends; what is in flight may still be acknowledged. */
  stop(): void {
    this.#storedFloor = this.floor;
    this.#topic = null;
    this.#lanes = null;
    this.#replay = null;
    this.#unwatch?.();
    this.#unwatch = null;
  }

  /** Sends what may be sent now, in batches as large as one write takes. */
  pump(): void {
    let isMore = true;
    while (isMore && !this.#isClosed) {
      this.fill();
      const wasFull = this.#outlet.isBlocked;
      this.#outlet.flush();
      isMore = wasFull && !this.#outlet.isBlocked;
    }
  }

  /** Queues what may be sent now, up to a batch; {@link pump} writes it. */
  fill(): void {
    while (!this.#isClosed && this.#topic !== null && this.#hasRoom) {
      if (this.#replay !== null) {
        if (!this.#pumpReplay(this.#replay)) break;
        continue;
      }
      const step = this.#lanes?.next();
      if (step === undefined || step.kind === 'idle') break;
      if (step.kind === 'read') {
        this.#readLane(step.lane);
        break;
      }
      step.lane.take();
      this.#deliver(step.entry, STATE.read);
    }
  }

  get #hasRoom(): boolean {
    if (this.#outlet.isBlocked) return false;
    return this.#qos === 0 || this.#inFlight === null || this.#inFlight.size < this.options.receiveMaximum;
  }

  /** False: nothing to send now. */
  #pumpReplay(replay: Replay): boolean {
    const item = replay.take();
    if (item === undefined) {
      if (replay.after >= this.#head) {
        this.#replay = null;
        this.#lanes = new Lanes(replay.after, this.#head);
        return true;
      }
      this.#readReplay(replay);
      return false;
    }
    if (item.kind === 'entry') this.#deliver(item.entry, STATE.failed);
    else if (replay.tellsGone) this.#tell({ type: 'gone', from: item.from, to: item.to });
    return true;
  }

  #readLane(lane: Lane): void {
    if (this.#isReading) return;
    const limit = this.#context.limits.laneEntriesMax;
    const asked = lane.hinted;
    const { user, device } = this.options;
    const query = { user, device, base: this.#base, priority: lane.priority, after: lane.after, limit };
    this.#read(this.#context.store.readOwed(query), (entries) => {
      lane.fill(entries, { asked, limit });
      if (lane.hinted <= asked) return;
      // The log grew during the read: what cannot go out now may have been recalled by then.
      this.pump();
      lane.forget();
    });
  }

  #readReplay(replay: Replay): void {
    if (this.#isReading) return;
    const limit = this.#context.limits.laneEntriesMax;
    const { after } = replay;
    const head = this.#head;
    this.#read(this.#context.store.readLog(this.options.user, after, limit), (entries) =>
      replay.fill(entries, { limit, head, now: this.#context.clock.now() }),
    );
  }

  #read(page: Promise<readonly LogEntry[]>, use: (entries: readonly LogEntry[]) => void): void {
    this.#isReading = true;
    page.then(
      (entries) => {
        this.#isReading = false;
        use(entries);
        this.pump();
      },
      (error: unknown) => {
        this.#isReading = false;
        this.#context.observer.storeFailed({ operation: 'read log', error });
        this.#outlet.retryLater();
      },
    );
  }

  /** `endedFrom`: a message in this state or a later one is not told any more. */
  #deliver(entry: LogEntry, endedFrom: number): void {
    const now = this.#context.clock.now();
    const { message } = entry;
    if (message !== null) {
      if (entry.state >= endedFrom) return;
      if (message.content.expiry <= now) {
        this.#settle({ ...this.#fact(now), kind: 'expired', ref: { n: entry.n } });
        return;
      }
    }
    const packetId = this.#qos === 0 ? 0 : this.#nextPacketId();
    const payload = encodeParts(entry, { linkBase: this.#context.linkBase() });
    // The standard forbids 0, and a second too many harms nobody: the device is told the exact time too.
    const expirySeconds = message === null ? 0 : Math.max(1, Math.floor((message.content.expiry - now) / 1_000));
    const bytes = this.#publish(payload, packetId, expirySeconds);
    if (bytes.length > this.options.packetBytesMax) {
      this.#passOver(entry, bytes.length);
      return;
    }
    this.#outlet.send(bytes);
    if (packetId !== 0) {
      this.#inFlight ??= new Map();
      this.#inFlight.set(packetId, { entry, sentAt: now });
    } else if (message !== null) {
      this.#settle({ ...this.#fact(now), kind: 'sent', ref: { n: entry.n } });
    }
  }

  #publish(payload: MessageParts, packetId: number, expirySeconds: number): Buffer {
    const topic = this.#topic ?? NOTHING;
    return encodePublish({ version: this.#outlet.version, topic, packetId, expirySeconds, payload });
  }

  #nextPacketId(): number {
    do this.#packetId = this.#packetId === PACKET_IDS ? 1 : this.#packetId + 1;
    while (this.#inFlight?.has(this.#packetId) === true);
    return this.#packetId;
  }

  /** The device takes no packet of that size: it is told which message it did not get. */
  #passOver(entry: LogEntry, bytes: number): void {
    const message = `a message of ${bytes} bytes is larger than the maximum packet size of the device`;
    const tid = tidOf(entry);
    this.tellError(tid === null ? { message } : { message, tid });
    this.#context.observer.deviceRefused({ reason: 'message-too-large-for-device' });
  }

  /** An `error` event down, where the device listens. */
  tellError(error: Omit<ErrorDown, 'type'>): void {
    this.#tell({ type: 'error', ...error });
  }

  /** An event without a number: QoS 0, since nothing is lost that the log would not tell again. */
  #tell(event: DownEvent): void {
    if (this.#topic === null) return;
    const bytes = this.#publish({ head: JSON.stringify(event), tail: NOTHING }, 0, 0);
    if (bytes.length <= this.options.packetBytesMax) this.#outlet.send(bytes);
  }

  /** PUBACK. A reason of 0x80 or more: the device did not take it, so it is not delivered; others may still get it. */
  acknowledge(packetId: number, reason: number): void {
    const flight = this.#inFlight?.get(packetId);
    if (flight === undefined) return;
    this.#inFlight?.delete(packetId);
    const { n, message } = flight.entry;
    if (reason >= 0x80) {
      this.#floorMax = Math.min(this.#floorMax, n - 1);
      this.#context.observer.deviceRefused({ reason: 'message-refused-by-device' });
      return;
    }
    const isKept = this.keepMs > 0;
    if (message === null && !isKept) return;
    const now = this.#context.clock.now();
    if (isKept) {
      this.#settling ??= new Set();
      this.#settling.add(n);
    }
    this.#context.writer.settle({ ...this.#fact(now), kind: 'delivered', ref: { n }, sentAt: flight.sentAt }).then(
      ({ outcome }) => {
        this.#settling?.delete(n);
        if (message === null || outcome !== 'done') return;
        const latencyMs = Math.max(0, now - message.content.acceptedAt);
        this.#context.observer.delivered({ appId: this.options.appId, latencyMs });
      },
      () => {
        this.#settling?.delete(n);
        this.#floorMax = Math.min(this.#floorMax, n - 1);
      },
    );
    this.#acknowledged += 1;
    if (isKept && this.#acknowledged % this.#context.limits.floorEvery === 0) this.storeFloor();
  }

  #fact(at: number): { user: UserKey; device: DeviceKey; at: number } {
    return { user: this.options.user, device: this.options.device, at };
  }

  /** Fire and forget: a lost settlement only costs a repeat. */
  #settle(settlement: Settlement): void {
    this.#context.writer.settle(settlement).catch(ignore);
  }

  /** Everything up to here is dealt with for this device, and the store knows it or will with the next commit. */
  get floor(): number {
    if (this.#qos === 0) return this.#storedFloor;
    let floor = Math.min(this.#lanes?.floor ?? this.#replay?.floor ?? this.#storedFloor, this.#floorMax);
    if (this.#inFlight !== null) for (const { entry } of this.#inFlight.values()) floor = Math.min(floor, entry.n - 1);
    if (this.#settling !== null) for (const n of this.#settling) floor = Math.min(floor, n - 1);
    return Math.max(floor, this.#storedFloor);
  }

  storeFloor(): void {
    const { floor } = this;
    if (floor <= this.#storedFloor || this.keepMs === 0) return;
    this.#storedFloor = floor;
    this.#settle({ ...this.#fact(this.#context.clock.now()), kind: 'floor', floor });
  }

  /** The connection is gone: what it was given and did not acknowledge is known to be sent, no more. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#unwatch?.();
    this.#unwatch = null;
    const now = this.#context.clock.now();
    for (const { entry } of this.#inFlight?.values() ?? []) {
      if (entry.message !== null) this.#settle({ ...this.#fact(now), kind: 'sent', ref: { n: entry.n } });
    }
  }
}
