import type { Observer } from '../core/observer.ts';
import type { Bus, Clock, Store } from '../core/ports.ts';
import type { Scheduler } from '../lib/timers.ts';

/** Entries of one step; a step is one commit, and the event loop turns between two. */
const STEP_ENTRIES_MAX = 1000;
/** The net below the hints: a wall clock that jumped, an expiry that came nearer. */
const POLL_MS = 1000;
const PURGE_EVERY_MS = 60_000;

/** Expiry and purging: what has a time and no other cause. Idempotent, so that it may be stopped anywhere. */
export class Chores {
  private readonly store: Store;
  private readonly bus: Bus;
  private readonly clock: Clock;
  private readonly observer: Observer;
  private readonly scheduler: Scheduler;
  private cancel: (() => void) | null = null;
  private unsubscribe: (() => void) | null = null;
  private running: Promise<void> | null = null;
  private isStopped = true;
  private wokenWhileRunning = false;
  private purgedAt = 0;

  constructor(options: { store: Store; bus: Bus; clock: Clock; observer: Observer; scheduler: Scheduler }) {
    this.store = options.store;
    this.bus = options.bus;
    this.clock = options.clock;
    this.observer = options.observer;
    this.scheduler = options.scheduler;
  }

  start(): void {
    this.isStopped = false;
    this.unsubscribe = this.bus.subscribe('timers', () => this.wake());
    this.wake();
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    this.unsubscribe?.();
    this.cancel?.();
    this.cancel = null;
    await this.running;
  }

  /** Looks now instead of at the next poll. */
  wake(): void {
    if (this.isStopped) return;
    if (this.running !== null) {
      this.wokenWhileRunning = true;
      return;
    }
    this.cancel?.();
    this.running = this.round().then((waitMs) => {
      this.running = null;
      if (this.isStopped) return;
      const wait = this.wokenWhileRunning ? 0 : waitMs;
      this.wokenWhileRunning = false;
      this.cancel = this.scheduler.after(wait, () => this.wake());
    });
  }

  /** Milliseconds until there may be something to do. */
  private async round(): Promise<number> {
    try {
      const step = await this.store.expireDue(this.clock.now(), STEP_ENTRIES_MAX);
      if (step.expired > 0) {
        this.observer.settled({ kind: 'expired', count: step.expired });
        this.bus.publish('receipts');
      }
      const purging = await this.purgeStep();
      const tidying = (await this.store.tidy(STEP_ENTRIES_MAX)).more;
      if (step.more || purging || tidying) return 0;
      const untilNext = step.nextAt === null ? POLL_MS : step.nextAt - this.clock.now();
      return Math.min(POLL_MS, Math.max(1, untilNext));
    } catch (error) {
      this.observer.storeFailed({ operation: 'chores', error });
      return POLL_MS;
    }
  }

  private async purgeStep(): Promise<boolean> {
    const now = this.clock.monotonic();
    if (now - this.purgedAt < PURGE_EVERY_MS) return false;
    const step = await this.store.purge(this.clock.now(), STEP_ENTRIES_MAX);
    if (!step.more) this.purgedAt = now;
    return step.more;
  }
}
