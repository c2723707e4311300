import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../test/support/random.ts';
import type { Random } from './ports.ts';
import { nextTry, readRetryAfter, RECEIPT_TRIES_MAX } from './receipt-schedule.ts';
import type { NextTry, TryResult } from './receipt-schedule.ts';

const HOUR_MS = 3_600_000;
const NOW = Date.UTC(2026, 0, 1);
const LOST: TryResult = { kind: 'unanswered', permanent: false };

function fixedRandom(unit: number): Random {
  return { unit: () => unit, bytes: (count) => new Uint8Array(count) };
}

function answered(status: number, retryAfter: string | null = null): TryResult {
  return { kind: 'answered', status, retryAfter };
}

/** Runs tries that all end alike until there is no next one; the moments of all tries. */
function run(result: TryResult, random: Random): { at: readonly number[]; end: NextTry } {
  const at = [NOW];
  for (;;) {
    const next = nextTry({ attempts: at.length, result, now: at.at(-1) ?? NOW, random });
    if (next.kind !== 'retry') return { at, end: next };
    at.push(next.at);
  }
}

describe('receipt schedule', () => {
  it('tries ten times, each wait as documented', () => {
    // The middle of the jitter is not 1 but 1.0275; scaled back, the waits are the contract's.
    const { at, end } = run(LOST, fixedRandom((1 - 0.955) / (1.1 - 0.955)));
    const waits = at.slice(1).map((moment, index) => (moment - (at[index] ?? 0)) / 1_000);
    expect(waits).toEqual([5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]);
    expect(at.length).toBe(RECEIPT_TRIES_MAX);
    expect(end).toEqual({ kind: 'dead' });
  });

  it('goes on for at least 72 hours and ends within 84, whatever the dice', () => {
    const dice = fc.oneof(
      fc.integer().map((seed) => seededRandom(seed)),
      fc.constantFrom(0, 1 - Number.EPSILON).map(fixedRandom),
    );
    fc.assert(
      fc.property(dice, (random) => {
        const { at } = run(LOST, random);
        const total = (at.at(-1) ?? 0) - NOW;
        expect(at.length).toBe(10);
        expect(total).toBeGreaterThanOrEqual(72 * HOUR_MS);
        expect(total).toBeLessThanOrEqual(84 * HOUR_MS);
      }),
    );
  });

  it('keeps every wait within 10 % and uses the breadth', () => {
    const waits = Array.from({ length: 1_000 }, (_, seed) => {
      const next = nextTry({ attempts: 4, result: LOST, now: NOW, random: seededRandom(seed) });
      return next.kind === 'retry' ? next.at - NOW : 0;
    });
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(1.8 * HOUR_MS);
    expect(Math.max(...waits)).toBeLessThanOrEqual(2.2 * HOUR_MS);
    expect(Math.max(...waits) - Math.min(...waits)).toBeGreaterThan(0.13 * 2 * HOUR_MS);
  });

  it.each([200, 201, 202, 204, 299])('takes %d as success, also at the last try', (status) => {
    for (const attempts of [1, RECEIPT_TRIES_MAX])
      expect(nextTry({ attempts, result: answered(status), now: NOW, random: seededRandom(1) })).toEqual({
        kind: 'done',
      });
  });

  it.each([1, RECEIPT_TRIES_MAX])('takes 410 as the end of the endpoint at try %d', (attempts) => {
    expect(nextTry({ attempts, result: answered(410), now: NOW, random: seededRandom(1) })).toEqual({
      kind: 'disable',
    });
  });

  it.each([300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 429, 500, 502, 503, 504, 599])(
    'tries again after %d, and gives up after the last try',
    (status) => {
      const { at, end } = run(answered(status), seededRandom(status));
      expect(at.length).toBe(RECEIPT_TRIES_MAX);
      expect(end).toEqual({ kind: 'dead' });
    },
  );

  it('gives up at once where no later try can do better', () => {
    const result: TryResult = { kind: 'unanswered', permanent: true };
    expect(nextTry({ attempts: 1, result, now: NOW, random: seededRandom(1) })).toEqual({ kind: 'dead' });
  });
});

describe('Retry-After', () => {
  const seconds = fc.integer({ min: 0, max: 86_400 });
  const tries = fc.integer({ min: 1, max: RECEIPT_TRIES_MAX - 1 });

  it('is never anticipated, in seconds or as a date, at 429 and 503', () => {
    const cases = fc.record({
      wait: seconds,
      attempts: tries,
      asDate: fc.boolean(),
      status: fc.constantFrom(429, 503),
      seed: fc.integer(),
    });
    fc.assert(
      fc.property(cases, ({ wait, attempts, asDate, status, seed }) => {
        const text = asDate ? new Date(NOW + wait * 1_000).toUTCString() : String(wait);
        const random = seededRandom(seed);
        const next = nextTry({ attempts, result: answered(status, text), now: NOW, random });
        expect(next.kind === 'retry' && next.at >= NOW + wait * 1_000).toBe(true);
      }),
    );
  });

  it('never brings a try forward, and is not looked at with other statuses', () => {
    fc.assert(
      fc.property(
        seconds,
        tries,
        fc.constantFrom(200, 301, 400, 500, 502, 429),
        fc.integer(),
        (wait, attempts, status, seed) => {
          const [plain, asked] = [null, String(wait)].map((retryAfter) =>
            nextTry({ attempts, result: answered(status, retryAfter), now: NOW, random: seededRandom(seed) }),
          );
          if (status !== 429) expect(asked).toEqual(plain);
          else expect(asked?.kind === 'retry' && plain?.kind === 'retry' && asked.at >= plain.at).toBe(true);
        },
      ),
    );
  });

  it('puts a try off by 24 hours at most', () => {
    const result = answered(503, '9'.repeat(400));
    expect(nextTry({ attempts: 1, result, now: NOW, random: seededRandom(1) })).toEqual({
      kind: 'retry',
      at: NOW + 24 * HOUR_MS,
    });
  });

  const at = Date.UTC(1994, 10, 6, 8, 49, 37);
  it.each([
    ['Sun, 06 Nov 1994 08:49:37 GMT', 10_000],
    ['Sunday, 06-Nov-94 08:49:37 GMT', 10_000],
    ['Sun Nov  6 08:49:37 1994', 10_000],
    [' 10 ', 10_000],
    ['0', 0],
    ['Sun, 06 Nov 1994 08:49:20 GMT', 0],
    ['Sun, 06 Nov 2094 08:49:37 GMT', 24 * HOUR_MS],
    ['', null],
    ['-1', null],
    ['1.5', null],
    ['1e3', null],
    ['soon', null],
    ['1994-11-06T08:49:37Z', null],
    ['Sun, 99 Nov 1994 08:49:37 GMT', null],
    ['Sun, 06 Nov 1994 08:49:37 +0100', null],
  ])('reads %j', (text, waitMs) => {
    expect(readRetryAfter(text, at - 10_000)).toBe(waitMs);
  });
});
