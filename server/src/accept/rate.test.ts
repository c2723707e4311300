import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/clock.ts';
import { RateLimiter } from './rate.ts';

describe('RateLimiter', () => {
  it('lets a service without a rate do as it likes', () => {
    const rate = new RateLimiter(new FakeClock());
    rate.take('s', null, 1_000_000);
    expect(rate.waitSeconds('s', null)).toBe(0);
  });

  it('lets one second’s worth go at once and then holds the rate', () => {
    const clock = new FakeClock();
    const rate = new RateLimiter(clock);
    let sent = 0;
    for (let tick = 0; tick < 10_000; tick += 10) {
      while (rate.waitSeconds('s', 20) === 0) {
        rate.take('s', 20, 1);
        sent += 1;
      }
      clock.advance(10);
    }
    expect(sent).toBeGreaterThanOrEqual(218);
    expect(sent).toBeLessThanOrEqual(220);
  });

  it('holds the rate over time whatever the sizes of the requests', () => {
    const clock = new FakeClock();
    const rate = new RateLimiter(clock);
    let sent = 0;
    for (let tick = 0; tick < 100_000; tick += 100) {
      if (rate.waitSeconds('s', 10) === 0) {
        rate.take('s', 10, 137);
        sent += 137;
      }
      clock.advance(100);
    }
    expect(sent).toBeLessThanOrEqual(10 * 100 + 10 + 137);
    expect(sent).toBeGreaterThanOrEqual(10 * 100 - 137);
  });

  it('says how long to wait, and waiting that long is enough', () => {
    const clock = new FakeClock();
    const rate = new RateLimiter(clock);
    rate.take('s', 4, 30);
    const seconds = rate.waitSeconds('s', 4);
    expect(seconds).toBeCloseTo(27 / 4);
    clock.advance(seconds * 1_000 - 1);
    expect(rate.waitSeconds('s', 4)).toBeGreaterThan(0);
    clock.advance(1.1);
    expect(rate.waitSeconds('s', 4)).toBe(0);
  });

  it('gives back, follows the monotonic clock alone, and keeps services apart', () => {
    const clock = new FakeClock();
    const rate = new RateLimiter(clock);
    rate.take('s', 1, 1);
    expect(rate.waitSeconds('s', 1)).toBeGreaterThan(0);
    expect(rate.waitSeconds('t', 1)).toBe(0);
    clock.jump(86_400_000);
    expect(rate.waitSeconds('s', 1)).toBeGreaterThan(0);
    rate.take('s', 1, -1);
    expect(rate.waitSeconds('s', 1)).toBe(0);
  });

  it('works for rates below one a second', () => {
    const clock = new FakeClock();
    const rate = new RateLimiter(clock);
    expect(rate.waitSeconds('s', 0.5)).toBe(0);
    rate.take('s', 0.5, 1);
    expect(rate.waitSeconds('s', 0.5)).toBe(2);
    clock.advance(2_000);
    expect(rate.waitSeconds('s', 0.5)).toBe(0);
  });
});
