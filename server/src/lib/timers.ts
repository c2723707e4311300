/** Calls later; time passes by the monotonic clock. Passed in, so that tests can let time pass by hand. */
export interface Scheduler {
  /** Calls once after `ms`; the returned function cancels. Does not keep the process alive. */
  after(ms: number, call: () => void): () => void;
}

/** The longest time a timer takes: above it Node would call at once. */
const TIMER_MS_MAX = 2_147_483_647;

export const systemScheduler: Scheduler = {
  after(ms, call) {
    const timer = setTimeout(call, Math.min(Math.max(0, ms), TIMER_MS_MAX));
    timer.unref();
    return () => clearTimeout(timer);
  },
};
