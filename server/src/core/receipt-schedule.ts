import type { Random } from './ports.ts';

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

/** Wait before each try, counted from the one before: 75 hours 35 minutes in all (contract §3). */
const WAITS_MS: readonly number[] = [
  0,
  5 * SECOND_MS,
  5 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  5 * HOUR_MS,
  10 * HOUR_MS,
  14 * HOUR_MS,
  20 * HOUR_MS,
  24 * HOUR_MS,
];

/** Tries of one receipt, the first included. */
export const RECEIPT_TRIES_MAX = WAITS_MS.length;

/**
 * Each wait is drawn from this part of itself, so that receipts that failed together do not come back together.
 * Within ±10 %, but less early than late: ten draws of −10 % would end after 68 hours, and 72 are promised.
 */
const JITTER_LEAST = 0.955;
const JITTER_MOST = 1.1;

/** A server may put a try off so far and no further. */
const RETRY_AFTER_MAX_MS = 24 * HOUR_MS;

/** How a try ended. */
export type TryResult =
  | {
      readonly kind: 'answered';
      readonly status: number;
      /** The header `Retry-After` as it came; null: none. */
      readonly retryAfter: string | null;
    }
  /** No answer. `permanent`: no later try can do better (the URL itself is wrong). */
  | { readonly kind: 'unanswered'; readonly permanent: boolean };

export type NextTry =
  | { readonly kind: 'done' }
  /** `at`: wall ms. */
  | { readonly kind: 'retry'; readonly at: number }
  /** Given up; visible and replayable. */
  | { readonly kind: 'dead' }
  /** 410: the endpoint wants nothing more until it is enabled again. */
  | { readonly kind: 'disable' };

export interface TryState {
  /** Tries made, the one with this result included. */
  readonly attempts: number;
  readonly result: TryResult;
  /** Wall ms. */
  readonly now: number;
  readonly random: Random;
}

/**
 * What follows a try of a receipt (contract §3): 2xx is success, 410 disables the endpoint, everything else (3xx,
 * 4xx, 5xx, no answer) is tried again after the schedule's wait, or later where 429 or 503 ask for it.
 */
export function nextTry({ attempts, result, now, random }: TryState): NextTry {
  if (result.kind === 'answered' && result.status >= 200 && result.status <= 299) return { kind: 'done' };
  if (result.kind === 'answered' && result.status === 410) return { kind: 'disable' };
  if (result.kind === 'unanswered' && result.permanent) return { kind: 'dead' };
  const waitMs = WAITS_MS[attempts];
  if (waitMs === undefined) return { kind: 'dead' };
  const jittered = Math.round(waitMs * (JITTER_LEAST + (JITTER_MOST - JITTER_LEAST) * random.unit()));
  return { kind: 'retry', at: now + Math.max(jittered, askedWaitMs(result, now)) };
}

function askedWaitMs(result: TryResult, now: number): number {
  if (result.kind !== 'answered' || (result.status !== 429 && result.status !== 503)) return 0;
  return result.retryAfter === null ? 0 : (readRetryAfter(result.retryAfter, now) ?? 0);
}

const SECONDS = /^\d+$/;
/** The three forms of RFC 9110 §5.6.7; the last one carries no zone and means UTC. */
const HTTP_DATE = /^[A-Z][a-z]{2,8}, \d{2}[ -][A-Z][a-z]{2}[ -]\d{2,4} \d{2}:\d{2}:\d{2} GMT$/;
const ASCTIME_DATE = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/;

/**
 * Reads `Retry-After` (RFC 9110 §10.2.3), seconds or an HTTP date, into a wait of 0 to 24 hours in ms.
 * Null: neither of the two.
 *
 * @param now wall ms that a date is counted from
 */
export function readRetryAfter(text: string, now: number): number | null {
  const value = text.trim();
  const waitMs = SECONDS.test(value) ? Number(value) * SECOND_MS : httpDate(value) - now;
  return Number.isNaN(waitMs) ? null : Math.min(Math.max(waitMs, 0), RETRY_AFTER_MAX_MS);
}

function httpDate(value: string): number {
  if (HTTP_DATE.test(value)) return Date.parse(value);
  return ASCTIME_DATE.test(value) ? Date.parse(`${value} GMT`) : Number.NaN;
}
