import type { Bus, BusTopic, Random, UserHint, UserKey } from '../core/ports.ts';
import type { Scheduler } from '../lib/timers.ts';
import { Coalesced } from './coalesced.ts';
import { MemoryBus } from './memory.ts';
import { NatsLink } from './nats-link.ts';
import type { BusWarning, LinkLimits } from './nats-link.ts';
import type { NatsLogin, NatsServer, NatsTls } from './nats-options.ts';
import { decodeHints, encodeHints, hintsPerMessage, isSendable, shardOf, wireLimits } from './wire.ts';

export interface NatsBusOptions {
  readonly servers: readonly NatsServer[];
  readonly login: NatsLogin;
  readonly tls: NatsTls | null;
  /** The installation: two of them on one NATS do not hear each other. 1 to 64 of `A-Z a-z 0-9 _ -`. */
  readonly prefix: string;
  /** This node, as the monitoring of NATS shows it. */
  readonly node: string;
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly onWarning: (warning: BusWarning) => void;
  readonly limits?: Partial<LinkLimits>;
}

/** Counted since the start. */
export interface NatsBusCounts {
  /** Messages, not hints. */
  readonly sent: number;
  readonly heard: number;
  /** Not sent: no connection, or too much under way. */
  readonly dropped: number;
  /** Heard and not understood: forged, cut short, or of another version. */
  readonly refused: number;
}

const PREFIX = /^[\w-]{1,64}$/u;
/** All of them, or it does not compile. */
const TOPICS = Object.keys({ receipts: 0, objects: 0, timers: 0, erased: 0 } satisfies Record<
  BusTopic,
  0
>) as BusTopic[];
/** A topic is told, and listened to, at most so often. */
const TOPIC_MS = 5;
/** A commit whose users lie in more shards than this is told to all nodes in one message. Decision 0019. */
const SHARDS_PER_COMMIT_MAX = 16;
/** How long {@link NatsBus.close} waits for what was sent. */
const CLOSE_MS = 2_000;

/**
 * Hints between nodes over NATS: core subjects, no persistence. Watchers in this process are told at once and as by
 * {@link MemoryBus}, with or without a connection. Watchers on other nodes are told user and head.
 *
 * What comes from the network is a claim: anybody who may publish there can have written it. So this bus is for
 * {@link PolledBus}, which asks the store before it tells a session; a session must not be told a claim.
 */
export class NatsBus implements Bus {
  private readonly local = new MemoryBus();
  private readonly link: NatsLink;
  private readonly onWarning: (warning: BusWarning) => void;
  private readonly subject: string;
  private readonly told: ReadonlyMap<BusTopic, Coalesced>;
  private readonly woken: ReadonlyMap<BusTopic, Coalesced>;
  private readonly subscribed = new Map<BusTopic, number>();
  /** Watches per shard. */
  private readonly watches = new Uint32Array(wireLimits.shards);
  private watchCount = 0;
  private readonly stateListeners = new Set<(isConnected: boolean) => void>();
  private isClosed = false;
  private sent = 0;
  private heard = 0;
  private dropped = 0;
  private refused = 0;
  private hasToldRefused = false;

  private constructor(options: NatsBusOptions) {
    if (!PREFIX.test(options.prefix)) throw new Error('the prefix of the bus takes 1 to 64 of A-Z a-z 0-9 _ -');
    const { scheduler } = options;
    this.subject = `carillon.${options.prefix}`;
    this.onWarning = options.onWarning;
    const coalesced = (call: (topic: BusTopic) => void): Map<BusTopic, Coalesced> =>
      new Map(TOPICS.map((topic) => [topic, new Coalesced({ scheduler, everyMs: TOPIC_MS, call: () => call(topic) })]));
    this.told = coalesced((topic) => this.count(this.link.send(this.topicSubject(topic), new Uint8Array(0))));
    this.woken = coalesced((topic) => this.guard(() => this.local.publish(topic)));
    this.link = new NatsLink({
      ...options,
      name: `carillon ${options.node}`,
      onState: (isConnected) => {
        for (const listener of [...this.stateListeners]) this.guard(() => listener(isConnected));
      },
    });
  }

  /** Needs no server to be there: connects in the background, again and again. Throws on a prefix that is none. */
  static open(options: NatsBusOptions): NatsBus {
    return new NatsBus(options);
  }

  get isConnected(): boolean {
    return this.link.isConnected;
  }

  get counts(): NatsBusCounts {
    return { sent: this.sent, heard: this.heard, dropped: this.dropped, refused: this.refused };
  }

  /** Called at every loss and every return: after either, hints may have been lost. Returns what ends it. */
  onConnection(listener: (isConnected: boolean) => void): () => void {
    this.stateListeners.add(listener);
    return () => {
      this.stateListeners.delete(listener);
    };
  }

  publishUsers(hints: readonly UserHint[]): void {
    if (this.isClosed) return;
    this.send(hints);
    this.local.publishUsers(hints);
  }

  watch(user: UserKey, onHint: (hint: UserHint) => void): () => void {
    const unwatch = this.local.watch(user, onHint);
    if (this.isClosed) return unwatch;
    const shard = shardOf(user);
    this.countWatch(shard, 1);
    let isWatching = true;
    return () => {
      if (!isWatching) return;
      isWatching = false;
      unwatch();
      this.countWatch(shard, -1);
    };
  }

  publish(topic: BusTopic): void {
    if (this.isClosed) return;
    this.told.get(topic)?.request();
    this.local.publish(topic);
  }

  subscribe(topic: BusTopic, onHint: () => void): () => void {
    const stop = this.local.subscribe(topic, onHint);
    if (this.isClosed) return stop;
    this.countSubscription(topic, 1);
    let isSubscribed = true;
    return () => {
      if (!isSubscribed) return;
      isSubscribed = false;
      stop();
      this.countSubscription(topic, -1);
    };
  }

  /** Resolves when the server has all that was published and every watch, and what it had sent before was told here. */
  async flushed(): Promise<void> {
    for (const topic of this.told.values()) topic.flush();
    await this.link.flushed();
    for (const topic of this.woken.values()) topic.flush();
  }

  /** What was published still goes out, within two seconds. Silent from then on. */
  async close(): Promise<void> {
    if (!this.isClosed) {
      this.isClosed = true;
      for (const topic of this.told.values()) topic.flush();
      for (const topic of [...this.told.values(), ...this.woken.values()]) topic.close();
      this.stateListeners.clear();
      await this.local.close();
    }
    await this.link.close(CLOSE_MS);
  }

  // ---------------------------------------------------------------------------------------------- out

  private send(hints: readonly UserHint[]): void {
    const perMessage = hintsPerMessage(this.link.payloadBytesMax);
    if (perMessage === 0) {
      if (hints.length > 0) this.dropped += 1;
      return;
    }
    const groups = new Map<string, UserHint[]>();
    const sendable = hints.filter(isSendable);
    for (const hint of sendable) {
      const subject = this.shardSubject(shardOf(hint.user));
      const group = groups.get(subject);
      if (group === undefined) groups.set(subject, [hint]);
      else group.push(hint);
      if (groups.size > SHARDS_PER_COMMIT_MAX) {
        groups.clear();
        groups.set(this.manySubject, sendable);
        break;
      }
    }
    for (const [subject, group] of groups) {
      for (let start = 0; start < group.length; start += perMessage) {
        this.count(this.link.send(subject, encodeHints(group.slice(start, start + perMessage))));
      }
    }
  }

  private count(isSent: boolean): void {
    if (isSent) this.sent += 1;
    else this.dropped += 1;
  }

  // ---------------------------------------------------------------------------------------------- in

  private readonly onHints = (payload: Uint8Array): void => {
    if (this.isClosed) return;
    this.heard += 1;
    const isUnderstood = decodeHints(payload, (user, head) => {
      if (this.local.isWatched(user)) this.guard(() => this.local.tell({ user, head, entry: null }));
    });
    if (isUnderstood) return;
    this.refused += 1;
    if (this.hasToldRefused) return;
    this.hasToldRefused = true;
    this.onWarning({ what: 'a message on NATS was not understood: forged, cut short, or of another version' });
  };

  /** A listener that throws must not end the reading of the connection. */
  private guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.onWarning({ what: 'a listener of the bus failed', error });
    }
  }

  // ---------------------------------------------------------------------------------------------- interest

  private shardSubject(shard: number): string {
    return `${this.subject}.users.${shard}`;
  }

  private get manySubject(): string {
    return `${this.subject}.users.many`;
  }

  private topicSubject(topic: BusTopic): string {
    return `${this.subject}.topic.${topic}`;
  }

  private countWatch(shard: number, change: 1 | -1): void {
    if (this.isClosed) return;
    const before = this.watches[shard] ?? 0;
    this.watches[shard] = before + change;
    this.watchCount += change;
    if (change === 1) {
      if (this.watchCount === 1) this.link.subscribe(this.manySubject, this.onHints);
      if (before === 0) this.link.subscribe(this.shardSubject(shard), this.onHints);
      return;
    }
    if (this.watchCount === 0) this.link.unsubscribe(this.manySubject);
    if (before === 1) this.link.unsubscribe(this.shardSubject(shard));
  }

  private countSubscription(topic: BusTopic, change: 1 | -1): void {
    if (this.isClosed) return;
    const before = this.subscribed.get(topic) ?? 0;
    this.subscribed.set(topic, before + change);
    if (before === 0) {
      this.link.subscribe(this.topicSubject(topic), () => {
        if (this.isClosed) return;
        this.heard += 1;
        this.woken.get(topic)?.request();
      });
    } else if (before + change === 0) {
      this.link.unsubscribe(this.topicSubject(topic));
    }
  }
}
