export interface BackoffOptions {
  /** Bound of the first wait. */
  readonly baseMs: number;
  /** Bound of every wait. */
  readonly capMs: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Doubling beyond this would leave the range of whole numbers. */
const DOUBLINGS_MAX = 30;

/**
 * How long to wait before try `attempt` (0, 1, 2 …): anything from nothing to a bound that doubles each time. Full jitter, so
 * that a million devices cut off at once do not come back at once.
 */
export function backoffMs(attempt: number, options: BackoffOptions): number {
  const bound = Math.min(options.capMs, options.baseMs * 2 ** Math.min(attempt, DOUBLINGS_MAX));
  return options.random() * bound;
}
