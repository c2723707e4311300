import type { Scheduler } from '../lib/timers.ts';

/** At most one call per `everyMs`: the first at once; all that is asked for within the time after it is one more call at its end. */
export class Coalesced {
  private readonly scheduler: Scheduler;
  private readonly everyMs: number;
  private readonly call: () => void;
  private cancel: (() => void) | null = null;
  private isPending = false;

  constructor(options: { scheduler: Scheduler; everyMs: number; call: () => void }) {
    this.scheduler = options.scheduler;
    this.everyMs = options.everyMs;
    this.call = options.call;
  }

  request(): void {
    if (this.cancel === null) this.begin();
    else this.isPending = true;
  }

  /** What waits is called now. */
  flush(): void {
    if (!this.isPending) return;
    this.isPending = false;
    this.call();
  }

  /** Forgets what waits. */
  close(): void {
    this.isPending = false;
    this.cancel?.();
    this.cancel = null;
  }

  private begin(): void {
    this.cancel = this.scheduler.after(this.everyMs, () => {
      this.cancel = null;
      if (!this.isPending) return;
      this.isPending = false;
      this.begin();
    });
    this.call();
  }
}
