import type { Directory } from '../core/directory.ts';
import type { Observer } from '../core/observer.ts';
import { StoreUnavailable } from '../core/ports.ts';
import type { Bus, Clock, Random, ReceiptWork, Store, UnwantedReceipts } from '../core/ports.ts';
import { nextTry } from '../core/receipt-schedule.ts';
import { doneWithin } from '../lib/ticker.ts';
import type { GuardedFetch } from '../lib/guarded-fetch.ts';
import type { Scheduler } from '../lib/timers.ts';
import { tryReceipt } from './attempt.ts';
import type { AttemptDeps, Tried } from './attempt.ts';
import { disabledEndpoint, Endpoints } from './endpoints.ts';
import type { Pace } from './lane.ts';
import { Lanes } from './lanes.ts';
import { receiptLimits } from './limits.ts';
import type { ReceiptLimits } from './limits.ts';
import { routeOf } from './route.ts';
import type { Route, Target } from './route.ts';
import { ServiceKeys } from './service-keys.ts';
import { Settler } from './settler.ts';
import type { Verdict } from './settler.ts';

export interface ReceiptWorkerOptions {
  readonly store: Pick<Store, 'claimReceipts' | 'settleReceipts' | 'getObject' | 'putObjects' | 'getThread'>;
  readonly bus: Pick<Bus, 'publish' | 'subscribe'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  readonly directory: Pick<Directory, 'peek' | 'service'>;
  readonly scheduler: Scheduler;
  /** Made with receiptFetchLimits (limits.ts); what it has no room for waits. */
  readonly fetch: Pick<GuardedFetch, 'send'>;
  /** For tests: a shorter deadline, a smaller memory. */
  readonly limits?: Partial<ReceiptLimits>;
}

/** A receipt held in memory, from its claim until its outcome is written. */
interface Task {
  work: ReceiptWork;
  /** Monotonic. */
  claimedAt: number;
  target: Target | null;
  inFlight: boolean;
  /** Its outcome is known. */
  settled: boolean;
}

/**
 * Sends receipts and inbound events (contract §3): claims what is due, posts it through a lane per origin, one after the
 * other per order key, and writes what came of it. One loop speaks to the store, so that between an outcome and its
 * being written nothing of the same key is claimed unseen. At least once: what is not settled is claimed again.
 */
export class ReceiptWorker {
  private readonly options: ReceiptWorkerOptions;
  private readonly limits: ReceiptLimits;
  private readonly endpoints: Endpoints;
  private readonly lanes: Lanes<Task>;
  private readonly settler: Settler;
  private readonly attempts: AttemptDeps;
  private readonly aborting = new AbortController();
  /** Everything held, by id. */
  private readonly tasks = new Map<string, Task>();
  /** By order key: the one that waits for its lane or is under way, then those behind it. */
  private readonly chains = new Map<string, Task[]>();
  private readonly underWay = new Set<Promise<unknown>>();
  private unsubscribe: (() => void) | null = null;
  private cancelTimer: (() => void) | null = null;
  private timerAt = Number.POSITIVE_INFINITY;
  private turning: Promise<void> | null = null;
  private wokenMeanwhile = false;
  private stopping = false;
  private failures = 0;
  /** Monotonic; until then the store is left alone. */
  private retryAt = 0;
  /** Earliest time known at which something is due again; wall ms. */
  private nextDue = Number.POSITIVE_INFINITY;
  private sweptAt = 0;

  constructor(options: ReceiptWorkerOptions) {
    const limits: ReceiptLimits = { ...receiptLimits, ...options.limits };
    const { clock } = options;
    this.options = options;
    this.limits = limits;
    this.endpoints = new Endpoints({ ...options, limits });
    this.settler = new Settler({ ...options, limits, release: (task) => this.tasks.delete(task.work.id) });
    this.attempts = { ...options, limits, keys: new ServiceKeys(), signal: this.aborting.signal };
    this.lanes = new Lanes<Task>({
      limits,
      clock,
      held: () => this.tasks.size,
      mayStart: (task) => this.mayStart(task),
      start: (task) => this.launch(task),
      giveBack: (task, at) => this.conclude(task, { kind: 'defer', at }),
      onRoom: () => this.wake(0),
    });
  }

  start(): void {
    if (this.unsubscribe !== null) return;
    this.unsubscribe = this.options.bus.subscribe('receipts', () => this.wake(0));
    this.wake(0);
  }

  /**
   * Claims nothing more, lets what is under way end for at most `drainMs`, and gives the rest back as if it had never
   * been claimed. Resolves when that is written, or the store refused it: then the leases run out.
   */
  async stop(drainMs: number): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    this.unsubscribe?.();
    this.cancelTimer?.();
    await this.turning;
    this.giveBackFrom((task) => !task.inFlight);
    await doneWithin(Promise.all(this.underWay), drainMs);
    this.aborting.abort();
    await Promise.all(this.underWay);
    this.giveBackFrom(() => true);
    try {
      await this.settler.flush();
    } catch (error) {
      this.options.observer.storeFailed({ operation: 'settle receipts', error });
    }
    this.endpoints.close();
  }

  // -------------------------------------------------------------------------------------------- the loop

  /** A turn of the loop in at most `ms`. */
  private wake(ms: number): void {
    if (this.stopping || this.unsubscribe === null) return;
    if (this.turning !== null) {
      this.wokenMeanwhile ||= ms <= this.limits.gatherMs;
      return;
    }
    const now = this.options.clock.monotonic();
    const at = Math.max(now + ms, this.retryAt);
    if (at >= this.timerAt) return;
    this.cancelTimer?.();
    this.timerAt = at;
    this.cancelTimer = this.options.scheduler.after(at - now, () => {
      this.cancelTimer = null;
      this.timerAt = Number.POSITIVE_INFINITY;
      this.turning = this.turn();
    });
  }

  private async turn(): Promise<void> {
    let waitMs = this.limits.pollMs;
    try {
      this.sweep();
      await this.settler.flush();
      if (await this.claim()) waitMs = 0;
      this.failures = 0;
    } catch (error) {
      this.options.observer.storeFailed({ operation: 'receipts', error });
      this.failures += 1;
      const { backOffMs, backOffMaxMs } = this.limits;
      this.retryAt = this.options.clock.monotonic() + Math.min(backOffMaxMs, backOffMs * 2 ** (this.failures - 1));
    }
    this.turning = null;
    if (this.lanes.congested) waitMs = Math.min(waitMs, this.limits.doubtMs);
    if (this.settler.size > 0) waitMs = Math.min(waitMs, this.limits.gatherMs);
    if (this.wokenMeanwhile) waitMs = 0;
    this.wokenMeanwhile = false;
    this.wake(Math.min(waitMs, this.untilDue()));
  }

  private untilDue(): number {
    const now = this.options.clock.now();
    if (this.nextDue > now) return this.nextDue - now;
    this.nextDue = Number.POSITIVE_INFINITY;
    return Number.POSITIVE_INFINITY;
  }

  /** True: there may be more at once. */
  private async claim(): Promise<boolean> {
    const { store, clock, observer } = this.options;
    const { claimMax, heldMax, leaseMs } = this.limits;
    const limit = this.lanes.congested ? 0 : Math.min(claimMax, heldMax - this.tasks.size);
    if (this.stopping || limit <= 0) return false;
    let unwanted = 0;
    const onUnwanted = (passed: UnwantedReceipts): void => {
      unwanted += passed.count;
      observer.receiptSkipped(passed);
    };
    const works = await store.claimReceipts({ limit, leaseMs, now: clock.now(), onUnwanted });
    for (const work of works) this.admit(work);
    return works.length === limit || unwanted > 0;
  }

  /** Gives back what waited so long that its lease would not outlive its try. */
  private sweep(): void {
    const now = this.options.clock.monotonic();
    if (now - this.sweptAt < this.limits.pollMs) return;
    this.sweptAt = now;
    this.giveBackFrom((task) => !task.inFlight && this.isStale(task));
  }

  private isStale(task: Task): boolean {
    return this.options.clock.monotonic() - task.claimedAt > this.limits.waitingMs;
  }

  /** From the first one of each chain that fits on: what is behind it must not go before it. */
  private giveBackFrom(fits: (task: Task) => boolean): void {
    for (const [key, chain] of [...this.chains]) {
      const index = chain.findIndex(fits);
      if (index < 0) continue;
      for (const task of chain.splice(index)) this.settle(task, { kind: 'defer', at: this.options.clock.now() });
      if (chain.length === 0) this.chains.delete(key);
    }
  }

  // -------------------------------------------------------------------------------------------- one receipt

  private admit(work: ReceiptWork): void {
    const { clock } = this.options;
    const held = this.tasks.get(work.id);
    if (held !== undefined) {
      // Its lease ran out while it was here: this is a new one.
      held.work = work;
      held.claimedAt = clock.monotonic();
      return;
    }
    const task: Task = { work, claimedAt: clock.monotonic(), target: null, inFlight: false, settled: false };
    this.tasks.set(work.id, task);
    const chain = this.chains.get(work.orderKey);
    if (this.stopping || this.settler.blocks(work.orderKey)) {
      this.settle(task, { kind: 'defer', at: clock.now() });
    } else if (chain === undefined) {
      this.chains.set(work.orderKey, [task]);
      this.begin(task);
    } else if (chain.length >= this.limits.chainMax) {
      this.settle(task, { kind: 'defer', at: clock.now() + this.limits.deferMs });
    } else {
      chain.push(task);
    }
  }

  /** It is first of its key: finds out where it goes and puts it into the lane. */
  private begin(task: Task): void {
    const route = routeOf(task.work, { directory: this.options.directory, endpoints: this.endpoints });
    if (!(route instanceof Promise)) this.follow(task, route);
    else route.then((found) => this.follow(task, found)).catch((error: unknown) => this.failed(task, error));
  }

  private follow(task: Task, route: Route): void {
    const { serviceId } = task.work;
    // Given back while the store was asked.
    if (task.settled) return;
    if (route.kind === 'send') {
      task.target = route.target;
      this.lanes.offer(route.target.origin, task);
    } else if (route.kind === 'skip') {
      this.options.observer.receiptSkipped({ serviceId, reason: route.reason, count: 1 });
      this.conclude(task, { kind: 'done', attempt: null });
    } else {
      if (route.reason === 'disabled')
        this.options.observer.receiptSkipped({ serviceId, reason: 'disabled', count: 1 });
      const attempt = { at: this.options.clock.now(), status: null, error: route.message, ms: 0 };
      if (route.reason === 'bad-url') this.tell(task, { result: 'dead', ...attempt });
      this.conclude(task, { kind: 'dead', attempt, disables: null });
    }
  }

  private mayStart(task: Task): boolean {
    if (task.settled) return false;
    if (!this.isStale(task)) return true;
    this.conclude(task, { kind: 'defer', at: this.options.clock.now() });
    return false;
  }

  private launch(task: Task): Promise<Pace | null> {
    const { target } = task;
    if (target === null) throw new Error(`receipt ${task.work.id} is in a lane and goes nowhere`);
    task.inFlight = true;
    const trying = this.attempt(task, target);
    this.underWay.add(trying);
    return trying.finally(() => this.underWay.delete(trying));
  }

  private async attempt(task: Task, target: Target): Promise<Pace | null> {
    // Another one may have been answered 410 while this one waited.
    if (this.endpoints.peekDisabled(target.service.id, target.url) === true) {
      task.inFlight = false;
      this.begin(task);
      return null;
    }
    try {
      return this.judge(task, target, await tryReceipt(task.work, target, this.attempts));
    } catch (error) {
      this.failed(task, error);
      return null;
    }
  }

  private judge(task: Task, target: Target, tried: Tried): Pace | null {
    const now = this.options.clock.now();
    if (tried.kind === 'not-tried') {
      this.conclude(task, { kind: 'defer', at: now + tried.waitMs });
      return null;
    }
    const { next, attempt } = tried;
    this.tell(task, { result: next.kind === 'disable' ? 'disabled' : next.kind, ...attempt });
    if (next.kind === 'done') this.conclude(task, { kind: 'done', attempt });
    else if (next.kind === 'retry') this.conclude(task, { kind: 'retry', at: next.at, attempt });
    else if (next.kind === 'dead') this.conclude(task, { kind: 'dead', attempt, disables: null });
    else {
      this.endpoints.noteDisabled(target.service.id, target.url);
      this.conclude(task, { kind: 'dead', attempt, disables: disabledEndpoint(target.service, target.url, now) });
    }
    return tried.pace;
  }

  /** A fault of ours: the store, which mends itself and costs no attempt, or a bug, which must come to an end. */
  private failed(task: Task, error: unknown): void {
    const { clock, random, observer } = this.options;
    const now = clock.now();
    if (error instanceof StoreUnavailable) {
      observer.storeFailed({ operation: 'receipt', error });
      this.conclude(task, { kind: 'defer', at: now + this.limits.deferMs });
      return;
    }
    observer.warning({ what: 'receipt could not be built', id: task.work.id, error });
    const attempt = { at: now, status: null, error: 'the server could not build this receipt', ms: 0 };
    const result = { kind: 'unanswered', permanent: false } as const;
    const next = nextTry({ attempts: task.work.attempts + 1, result, now, random });
    if (next.kind === 'retry') this.conclude(task, { kind: 'retry', at: next.at, attempt });
    else this.conclude(task, { kind: 'dead', attempt, disables: null });
  }

  /** The outcome of the first of a chain: lets the next one go, or gives back all that is behind it. */
  private conclude(task: Task, verdict: Verdict): void {
    if (task.settled) return;
    this.settle(task, verdict);
    const key = task.work.orderKey;
    const [, ...behind] = this.chains.get(key) ?? [];
    const [next] = behind;
    const isOver = verdict.kind === 'done' || verdict.kind === 'dead';
    if (next === undefined || !isOver || this.stopping) {
      this.chains.delete(key);
      for (const one of behind) this.settle(one, { kind: 'defer', at: this.options.clock.now() });
      return;
    }
    this.chains.set(key, behind);
    this.begin(next);
  }

  private settle(task: Task, verdict: Verdict): void {
    task.settled = true;
    task.inFlight = false;
    if ('at' in verdict) this.nextDue = Math.min(this.nextDue, Math.max(verdict.at, this.options.clock.now() + 1));
    this.settler.add(task, verdict);
    this.wake(this.limits.gatherMs);
  }

  private tell(
    task: Task,
    outcome: {
      result: 'done' | 'retry' | 'dead' | 'disabled';
      status: number | null;
      error: string | null;
      ms: number;
    },
  ): void {
    const { result, status, error, ms } = outcome;
    const { id, serviceId, attempts } = task.work;
    const origin = task.target?.origin ?? '';
    this.options.observer.receiptTried({ serviceId, id, origin, result, status, error, attempt: attempts + 1, ms });
  }
}
