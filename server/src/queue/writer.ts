import type { Observer } from '../core/observer.ts';
import { StoreUnavailable } from '../core/ports.ts';
import type {
  AcceptResult,
  AcceptUnit,
  Bus,
  Clock,
  LogEntry,
  SessionClose,
  SessionOpen,
  SessionOpened,
  SettleResult,
  Settlement,
  Store,
  UserHint,
  Writer,
  WriteBatch,
  WriteResult,
} from '../core/ports.ts';
import { FairQueue } from '../lib/fair-queue.ts';
import { Fifo } from '../lib/fifo.ts';
import type { Scheduler } from '../lib/timers.ts';

export interface WriterLimits {
  /** Destinations of one commit: a larger one would hold the event loop, and with it every keep-alive, too long. */
  readonly commitDestinationsMax: number;
  /** Settlements, opens and closes of one commit, each. */
  readonly commitItemsMax: number;
  /** Requests waiting for a commit; one more is refused with StoreUnavailable. */
  readonly requestsMax: number;
  /** Settlements, opens and closes waiting. */
  readonly itemsMax: number;
}

const LIMITS: WriterLimits = {
  commitDestinationsMax: 2000,
  commitItemsMax: 4000,
  requestsMax: 10_000,
  itemsMax: 500_000,
};

/**
 * Acknowledgements alone wait so long for others: nobody waits for them, a lost one costs a repeat, and a sync to disk
 * costs as much for one as for a thousand.
 */
const LAZY_MS = 4;
/** With so many there is nothing to gain by waiting. */
const LAZY_MAX = 2000;

/**
 * An acknowledgement that the store could not take is offered again after this. A device acknowledges once: without it the
 * message would count as waiting until the device comes back, which one that stays connected never does.
 */
const AGAIN_MS = 500;

/** A message that expires within this time wakes the timers; later ones they find by themselves. */
const SOON_MS = 5000;

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

interface Group {
  opens: Waiting<SessionOpen, SessionOpened>[];
  accepts: Waiting<AcceptUnit, AcceptResult>[];
  settlements: Waiting<Settlement, SettleResult>[];
  closes: Waiting<SessionClose, void>[];
}

const ignore = (): void => undefined;

/**
 * Group commit. Work that arrives while the event loop turns is written together when it comes round, so that under
 * load one sync to disk serves dozens of requests and without load nobody waits: there is no timer.
 */
export class GroupWriter implements Writer {
  private readonly store: Store;
  private readonly bus: Bus;
  private readonly clock: Clock;
  private readonly observer: Observer;
  private readonly limits: WriterLimits;
  private readonly accepts = new FairQueue<Waiting<AcceptUnit, AcceptResult>>();
  private readonly opens = new Fifo<Waiting<SessionOpen, SessionOpened>>();
  private readonly settlements = new Fifo<Waiting<Settlement, SettleResult>>();
  private readonly closes = new Fifo<Waiting<SessionClose, void>>();
  /** Acknowledgements that the store refused, until they are offered again. */
  private readonly refused = new Fifo<Waiting<Settlement, SettleResult>>();
  private isAgainPlanned = false;
  private isScheduled = false;
  private isWriting = false;
  /** Cancels the wait of acknowledgements; null: none waits. */
  private cancelLazy: (() => void) | null = null;
  private readonly scheduler: Scheduler;
  private idle: (() => void)[] = [];

  constructor(options: {
    store: Store;
    bus: Bus;
    clock: Clock;
    observer: Observer;
    scheduler: Scheduler;
    limits?: Partial<WriterLimits>;
  }) {
    this.scheduler = options.scheduler;
    this.store = options.store;
    this.bus = options.bus;
    this.clock = options.clock;
    this.observer = options.observer;
    this.limits = { ...LIMITS, ...options.limits };
  }

  /** What waits for a commit. */
  get depth(): number {
    return this.accepts.size + this.opens.size + this.settlements.size + this.closes.size;
  }

  accept(unit: AcceptUnit): Promise<AcceptResult> {
    return new Promise((resolve, reject) => {
      if (this.accepts.size >= this.limits.requestsMax) return reject(tooMuch('requests'));
      this.accepts.push(unit.priority, unit.serviceId, { item: unit, resolve, reject });
      return this.schedule();
    });
  }

  settle(settlement: Settlement): Promise<SettleResult> {
    return this.enqueue(this.settlements, settlement, settlement.kind === 'delivered' || settlement.kind === 'floor');
  }

  open(session: SessionOpen): Promise<SessionOpened> {
    return this.enqueue(this.opens, session);
  }

  close(session: SessionClose): Promise<void> {
    return this.enqueue(this.closes, session);
  }

  private enqueue<Item, Result>(queue: Fifo<Waiting<Item, Result>>, item: Item, isLazy = false): Promise<Result> {
    const promise = new Promise<Result>((resolve, reject) => {
      if (queue.size + this.refused.size >= this.limits.itemsMax) return reject(tooMuch('device events'));
      queue.push({ item, resolve, reject });
      if (isLazy && queue.size < LAZY_MAX) return this.scheduleLazily();
      return this.schedule();
    });
    // Callers may let it go: a failure is told by the observer and costs a repeat.
    promise.catch(ignore);
    return promise;
  }

  /**
   * Resolves when nothing waits and nothing is being written. From now on what the store refuses is not offered again, so
   * that an end does not wait for a store that is away.
   */
  drained(): Promise<void> {
    this.offerAgain();
    if (this.depth === 0 && !this.isWriting) return Promise.resolve();
    this.schedule();
    return new Promise((resolve) => this.idle.push(resolve));
  }

  private scheduleLazily(): void {
    if (this.isScheduled || this.isWriting || this.cancelLazy !== null) return;
    this.cancelLazy = this.scheduler.after(LAZY_MS, () => {
      this.cancelLazy = null;
      this.schedule();
    });
  }

  private schedule(): void {
    if (this.isScheduled || this.isWriting) return;
    this.cancelLazy?.();
    this.cancelLazy = null;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      this.flush().catch((error: unknown) => this.observer.warning({ what: 'the writer failed', error }));
    });
  }

  private async flush(): Promise<void> {
    this.isWriting = true;
    try {
      const group = this.take();
      if (group !== null) await this.write(group);
    } finally {
      this.isWriting = false;
      if (this.depth > 0) this.schedule();
      else for (const resolve of this.idle.splice(0)) resolve();
    }
  }

  private take(): Group | null {
    if (this.depth === 0) return null;
    const { commitItemsMax, commitDestinationsMax } = this.limits;
    const accepts: Waiting<AcceptUnit, AcceptResult>[] = [];
    let destinations = 0;
    while (destinations < commitDestinationsMax) {
      const next = this.accepts.take();
      if (next === undefined) break;
      accepts.push(next);
      destinations += next.item.destinations.length;
    }
    const settlements = this.settlements.take(commitItemsMax);
    // How far a device got is told by its close and asked for by its next open: never before what it acknowledged.
    const isSettled = this.settlements.size === 0;
    const closes = isSettled ? this.closes.take(commitItemsMax) : [];
    const opens = isSettled && this.closes.size === 0 ? this.opens.take(commitItemsMax) : [];
    return { accepts, opens, settlements, closes };
  }

  /** False: the store cannot take anything now. */
  private async write(group: Group): Promise<boolean> {
    const startedAt = this.clock.monotonic();
    let result: WriteResult;
    try {
      result = await this.store.write(batchOf(group));
    } catch (error) {
      return this.failed(group, error);
    }
    const deliveries = this.publish(group, result);
    group.opens.forEach((one, index) => one.resolve(result.opens[index] as SessionOpened));
    group.accepts.forEach((one, index) => one.resolve(result.accepts[index] as AcceptResult));
    group.settlements.forEach((one, index) => one.resolve(result.settlements[index] as SettleResult));
    for (const one of group.closes) one.resolve();
    this.observer.committed({
      accepts: group.accepts.length,
      deliveries,
      settlements: group.settlements.length,
      ms: this.clock.monotonic() - startedAt,
    });
    return true;
  }

  /** One bad row must not fail its neighbours: the group is halved until the bad one is alone. */
  private async failed(group: Group, error: unknown): Promise<boolean> {
    const all = allOf(group);
    if (error instanceof StoreUnavailable || all.length === 1) {
      this.observer.storeFailed({ operation: 'write', error });
      this.refuse(group, error);
      return !(error instanceof StoreUnavailable);
    }
    const [first, second] = halves(group);
    // The second half may build on the first one (a close on its acknowledgements): without it, it does not count.
    if (await this.write(first)) return this.write(second);
    const unavailable = new StoreUnavailable('the store stopped taking work within a commit');
    this.refuse(second, unavailable);
    return false;
  }

  /** Whoever waits is told; acknowledgements, for which nobody waits, are kept while the store may come back. */
  private refuse(group: Group, error: unknown): void {
    const mayComeBack = error instanceof StoreUnavailable && this.idle.length === 0;
    const isKept = ({ kind }: Settlement): boolean => mayComeBack && kind === 'delivered';
    for (const one of group.settlements.filter(({ item }) => isKept(item))) this.refused.push(one);
    const settlements = group.settlements.filter(({ item }) => !isKept(item));
    for (const one of allOf({ ...group, settlements })) one.reject(error);
    if (this.refused.size === 0 || this.isAgainPlanned) return;
    this.isAgainPlanned = true;
    this.scheduler.after(AGAIN_MS, () => {
      this.isAgainPlanned = false;
      this.offerAgain();
    });
  }

  private offerAgain(): void {
    if (this.refused.size === 0) return;
    for (const one of this.refused.take(this.refused.size)) this.settlements.push(one);
    this.schedule();
  }

  /** Wakes whoever is concerned; returns how many deliveries were made. */
  private publish(group: Group, result: WriteResult): number {
    const hints: UserHint[] = [];
    const add = (entries: readonly LogEntry[]): void => {
      for (const entry of entries) hints.push({ user: entry.user, head: entry.n, entry });
    };
    for (const opened of result.opens) add(opened.entries);
    for (const accepted of result.accepts) if (accepted.kind === 'accepted') add(accepted.entries);
    const deliveries = hints.length;
    for (const settled of result.settlements) add(settled.entries);
    try {
      if (hints.length > 0) this.bus.publishUsers(hints);
    } catch (error) {
      // What is committed is answered, whatever a listener does; a lost hint costs a poll.
      this.observer.warning({ what: 'a listener of the bus failed', error });
    }
    if (group.accepts.length > 0 || group.settlements.length > 0) this.bus.publish('receipts');
    const soon = this.clock.now() + SOON_MS;
    if (group.accepts.some((one) => one.item.expiry < soon)) this.bus.publish('timers');
    return deliveries;
  }
}

function batchOf(group: Group): WriteBatch {
  return {
    opens: group.opens.map((one) => one.item),
    accepts: group.accepts.map((one) => one.item),
    settlements: group.settlements.map((one) => one.item),
    closes: group.closes.map((one) => one.item),
  };
}

/** Everything of a group, in the order a batch is applied. */
function allOf(group: Group): { readonly reject: (error: unknown) => void }[] {
  return [...group.settlements, ...group.closes, ...group.opens, ...group.accepts];
}

/** Two groups that together are the first one, in the order a batch is applied. */
function halves(group: Group): [Group, Group] {
  let left = Math.ceil(allOf(group).length / 2);
  const first: Group = { opens: [], accepts: [], settlements: [], closes: [] };
  const second: Group = { opens: [], accepts: [], settlements: [], closes: [] };
  const split = <Item>(items: Item[], a: Item[], b: Item[]): void => {
    a.push(...items.slice(0, left));
    b.push(...items.slice(left));
    left = Math.max(0, left - items.length);
  };
  split(group.settlements, first.settlements, second.settlements);
  split(group.closes, first.closes, second.closes);
  split(group.opens, first.opens, second.opens);
  split(group.accepts, first.accepts, second.accepts);
  return [first, second];
}

function tooMuch(what: string): StoreUnavailable {
  return new StoreUnavailable(`too many ${what} wait for the disk`);
}
