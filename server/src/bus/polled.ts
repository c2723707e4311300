import type { Bus, BusTopic, Clock, Random, Store, UserHint, UserKey } from '../core/ports.ts';
import type { Scheduler } from '../lib/timers.ts';
import { MemoryBus } from './memory.ts';

/** The bus between nodes below a poll. What it tells its watchers of other nodes need not be true. */
export interface RemoteBus extends Bus {
  readonly isConnected: boolean;
  onConnection(listener: (isConnected: boolean) => void): () => void;
}

export interface PolledBusOptions {
  readonly inner: RemoteBus;
  readonly store: Pick<Store, 'heads' | 'objectsRevision'>;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly random: Pick<Random, 'unit'>;
  readonly scheduler: Scheduler;
  readonly onWarning: (warning: { readonly what: string; readonly error?: unknown }) => void;
  readonly limits?: Partial<PollLimits>;
}

export interface PollLimits {
  /** Users in one query. */
  readonly usersPerQueryMax: number;
  /** All watched users and all topics once in this time while the bus is connected, and its net: what it lost is found. */
  readonly connectedMs: number;
  /** The same while it is not. */
  readonly aloneMs: number;
  /** The same once after the bus came back: what was said meanwhile is found at once. */
  readonly returnedMs: number;
  /** A query that takes longer counts as failed, and its answer is not waited for. */
  readonly queryMs: number;
  /** The wait after a failed query, doubled up to the last one. */
  readonly retryFirstMs: number;
  readonly retryLastMs: number;
}

const pollLimits: PollLimits = {
  usersPerQueryMax: 1_000,
  connectedMs: 2_000,
  aloneMs: 1_000,
  returnedMs: 250,
  queryMs: 10_000,
  retryFirstMs: 100,
  retryLastMs: 1_000,
};

/** Every wait is shortened at random by up to this part, so that nodes do not ask in step. Never made longer. */
const JITTER = 0.2;
const ignore = (): void => undefined;
const TOPICS: readonly BusTopic[] = ['receipts', 'timers'];

/**
 * The poll below the hints of other nodes, and what makes them harmless; decisions 0005 and 0019.
 *
 * What this process publishes itself comes from its own commits and is told at once. A hint from the network is only a
 * reason to ask: the user's head is read from the store, many users in one query, and the watchers are told what the
 * store says, or nothing. Besides, all watched users are asked for in rounds. So a hint that is lost costs a part of a
 * round, one that is doubled, late or out of order costs nothing, a forged one costs one line of a query.
 *
 * Heads never go down and a user's numbers have no holes, so a watcher that knows a head has missed nothing below it.
 * Whoever watches must read the head once after having begun to watch: what was told to others before is not repeated.
 * One query is under way at a time; none is ever made for one session.
 */
export class PolledBus implements Bus {
  private readonly options: PolledBusOptions;
  private readonly limits: PollLimits;
  private readonly local = new MemoryBus();
  private readonly users = new Map<UserKey, Watched>();
  private readonly stops: (() => void)[];
  /** Users of whom the network says that their logs grew. */
  private claimed = new Set<UserKey>();
  /** Goes round and round the watched users, whatever the pace: nobody is passed over. */
  private cursor: Iterator<UserKey>;
  private steppedAt = 0;
  private cancelStep: (() => void) | null = null;
  private isStepDue = false;
  private wasStep = false;
  /** Steps left of the fast round after the bus came back. */
  private fastSteps = 0;
  private cancelTopics: (() => void) | null = null;
  private isPublishing = 0;
  /** The query under way; counted, so that the answer of one that was given up is known. */
  private query = 0;
  private isAsking = false;
  private cancelPause: (() => void) | null = null;
  private failures = 0;
  private revision: number | null = null;
  private isAskingRevision = false;
  private isClosed = false;

  constructor(options: PolledBusOptions) {
    this.options = options;
    this.limits = { ...pollLimits, ...options.limits };
    this.cursor = this.users.keys();
    this.stops = [options.inner.onConnection((isConnected) => this.onConnection(isConnected))];
    this.planStep();
    this.planTopics(this.usualMs);
  }

  publishUsers(hints: readonly UserHint[]): void {
    if (this.isClosed) return;
    // The inner bus tells this process too, within the call: that is not the network.
    this.isPublishing += 1;
    try {
      this.options.inner.publishUsers(hints);
    } finally {
      this.isPublishing -= 1;
    }
    for (const hint of hints) {
      const watched = this.users.get(hint.user);
      if (watched === undefined) continue;
      watched.told = Math.max(watched.told, hint.head);
      this.local.tell(hint);
    }
  }

  watch(user: UserKey, onHint: (hint: UserHint) => void): () => void {
    const unwatch = this.local.watch(user, onHint);
    if (this.isClosed) return unwatch;
    let watched = this.users.get(user);
    if (watched === undefined) {
      watched = { told: 0, count: 0, isErased: false, stop: this.options.inner.watch(user, this.onClaim) };
      this.users.set(user, watched);
    }
    watched.count += 1;
    let isWatching = true;
    return () => {
      if (!isWatching) return;
      isWatching = false;
      unwatch();
      this.leave(user, watched);
    };
  }

  publish(topic: BusTopic): void {
    this.options.inner.publish(topic);
  }

  subscribe(topic: BusTopic, onHint: () => void): () => void {
    const stopPolls = this.local.subscribe(topic, onHint);
    const stopHints = this.options.inner.subscribe(topic, onHint);
    return () => {
      stopPolls();
      stopHints();
    };
  }

  /** Ends the poll and the inner bus. */
  async close(): Promise<void> {
    this.isClosed = true;
    for (const stop of this.stops.splice(0)) stop();
    this.cancelStep?.();
    this.cancelTopics?.();
    this.cancelPause?.();
    this.users.clear();
    this.claimed.clear();
    await this.local.close();
    await this.options.inner.close();
  }

  private leave(user: UserKey, watched: Watched): void {
    watched.count -= 1;
    if (watched.count > 0 || this.users.get(user) !== watched) return;
    watched.stop();
    this.users.delete(user);
    this.claimed.delete(user);
  }

  // ---------------------------------------------------------------------------------------------- rounds

  private get usualMs(): number {
    return this.options.inner.isConnected ? this.limits.connectedMs : this.limits.aloneMs;
  }

  private onConnection(isConnected: boolean): void {
    if (this.isClosed) return;
    this.fastSteps = isConnected ? this.stepsPerRound : 0;
    this.planStep();
    this.planTopics(isConnected ? this.limits.returnedMs : this.limits.aloneMs);
  }

  /** By the users of now: where they become more, the round does not become longer. */
  private get stepsPerRound(): number {
    return Math.max(1, Math.ceil(this.users.size / this.limits.usersPerQueryMax));
  }

  private shortened(ms: number): number {
    return ms * (1 - JITTER * this.options.random.unit());
  }

  private planStep(): void {
    this.cancelStep?.();
    const roundMs = this.fastSteps > 0 ? this.limits.returnedMs : this.usualMs;
    const passedMs = this.options.clock.monotonic() - this.steppedAt;
    const waitMs = Math.max(0, this.shortened(roundMs / this.stepsPerRound) - passedMs);
    this.cancelStep = this.options.scheduler.after(waitMs, () => {
      this.cancelStep = null;
      this.steppedAt = this.options.clock.monotonic();
      this.isStepDue = true;
      this.pump();
    });
  }

  /** The query of a step was made, or there was nobody to ask for. */
  private endStep(): void {
    if (this.fastSteps > 0) this.fastSteps -= 1;
    // A change of the connection may have planned the next one meanwhile.
    if (this.cancelStep === null && !this.isStepDue && !this.isClosed) this.planStep();
  }

  private planTopics(ms: number): void {
    this.cancelTopics?.();
    this.cancelTopics = this.options.scheduler.after(this.shortened(ms), () => {
      this.pollTopics();
      this.planTopics(this.usualMs);
    });
  }

  private pollTopics(): void {
    for (const topic of TOPICS) this.guard(() => this.local.publish(topic));
    if (this.isAskingRevision) return;
    this.isAskingRevision = true;
    // Objects are told of only where some changed: who hears of it drops what it has in memory.
    this.options.store
      .objectsRevision()
      .then((revision) => {
        const isNews = revision !== this.revision;
        this.revision = revision;
        if (isNews && !this.isClosed) this.guard(() => this.local.publish('objects'));
      })
      // Whoever holds objects in memory asks for the revision too, and says what failed.
      .catch(ignore)
      .finally(() => {
        this.isAskingRevision = false;
      });
  }

  // ---------------------------------------------------------------------------------------------- asking

  private readonly onClaim = ({ user, head }: UserHint): void => {
    if (this.isPublishing > 0) return;
    const watched = this.users.get(user);
    if (watched === undefined || head <= watched.told) return;
    this.claimed.add(user);
    this.pump();
  };

  /** The next query, where one may be made. Rounds and claims take turns where both have something to ask. */
  private pump(): void {
    if (this.isAsking || this.isClosed || this.cancelPause !== null) return;
    const isStep = this.isStepDue && !(this.wasStep && this.claimed.size > 0);
    this.wasStep = isStep;
    if (isStep) this.isStepDue = false;
    const users = isStep ? this.takeStep() : this.takeClaimed();
    if (users.length > 0) this.ask(users, isStep);
    else if (isStep) this.endStep();
  }

  private takeClaimed(): UserKey[] {
    const { usersPerQueryMax } = this.limits;
    const all = this.claimed;
    if (all.size <= usersPerQueryMax) {
      this.claimed = new Set();
      return [...all];
    }
    const some: UserKey[] = [];
    for (const user of all) {
      if (some.length === usersPerQueryMax) break;
      some.push(user);
      all.delete(user);
    }
    return some;
  }

  private takeStep(): UserKey[] {
    const count = Math.min(this.users.size, this.limits.usersPerQueryMax);
    const taken: UserKey[] = [];
    while (taken.length < count) {
      let next = this.cursor.next();
      if (next.done === true) {
        this.cursor = this.users.keys();
        next = this.cursor.next();
        if (next.done === true) break;
      }
      taken.push(next.value);
    }
    return taken;
  }

  private ask(users: readonly UserKey[], isStep: boolean): void {
    this.isAsking = true;
    this.query += 1;
    const { query } = this;
    const cancelLimit = this.options.scheduler.after(this.limits.queryMs, () => {
      fail(new Error('the store did not tell the heads in time'));
    });
    /** False: it was given up. */
    const end = (): boolean => {
      cancelLimit();
      if (query !== this.query || this.isClosed) return false;
      this.query += 1;
      this.isAsking = false;
      if (isStep) this.endStep();
      return true;
    };
    const fail = (error: unknown): void => {
      if (!end()) return;
      for (const user of users) if (this.users.has(user)) this.claimed.add(user);
      this.onFailure(error);
      this.pause();
    };
    this.options.store.heads(users).then((heads) => {
      if (!end()) return;
      this.onAnswer(users, heads);
      this.pump();
    }, fail);
  }

  private onAnswer(users: readonly UserKey[], heads: ReadonlyMap<UserKey, number>): void {
    this.failures = 0;
    let isErased = false;
    for (const user of users) {
      const head = heads.get(user);
      const watched = this.users.get(user);
      if (watched === undefined || (head !== undefined && head <= watched.told)) continue;
      if (head === undefined) {
        isErased ||= !watched.isErased;
        watched.isErased = true;
        continue;
      }
      watched.told = head;
      this.guard(() => this.local.tell({ user, head, entry: null }));
    }
    if (isErased) this.guard(() => this.local.publish('erased'));
  }

  private onFailure(error: unknown): void {
    this.failures += 1;
    if (this.failures > 1 || this.isClosed) return;
    this.options.onWarning({ what: 'the store could not be polled for what other nodes did', error });
  }

  private pause(): void {
    const { retryFirstMs, retryLastMs } = this.limits;
    const ms = Math.min(retryLastMs, retryFirstMs * 2 ** Math.min(this.failures - 1, 16));
    this.cancelPause = this.options.scheduler.after(this.shortened(ms), () => {
      this.cancelPause = null;
      this.pump();
    });
  }

  private guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.options.onWarning({ what: 'a listener of the bus failed', error });
    }
  }
}

interface Watched {
  /** The highest head its watchers were told; 0: none yet. */
  told: number;
  /** Watchers here. */
  count: number;
  /** The store knew the user no more, and that was told. */
  isErased: boolean;
  /** Ends the watch of the inner bus. */
  readonly stop: () => void;
}
