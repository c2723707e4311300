import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/clock.ts';
import { httpLimits } from './limits.ts';
import { GuessLimiter } from './link-guard.ts';

function exhaust(limiter: GuessLimiter, address: string): void {
  for (let index = 0; index < httpLimits.linkGuessesPerSecond; index += 1) limiter.guessed(address);
}

describe('GuessLimiter', () => {
  it('counts an IPv4 address by itself and an IPv6 one with its /64', () => {
    const limiter = new GuessLimiter(new FakeClock());
    exhaust(limiter, '203.0.113.1');
    expect(limiter.isExhausted('203.0.113.1')).toBe(true);
    expect(limiter.isExhausted('203.0.113.2')).toBe(false);
    exhaust(limiter, '2001:db8::1');
    expect(limiter.isExhausted('2001:db8:0:0:ffff::2')).toBe(true);
    expect(limiter.isExhausted('2001:db8:0:1::1')).toBe(false);
    expect(limiter.isExhausted('::1')).toBe(false);
    exhaust(limiter, '::ffff:203.0.113.9');
    expect(limiter.isExhausted('::ffff:203.0.113.8')).toBe(false);
  });

  it('forgives with time', () => {
    const clock = new FakeClock();
    const limiter = new GuessLimiter(clock);
    exhaust(limiter, '203.0.113.1');
    clock.advance(1_000 / httpLimits.linkGuessesPerSecond);
    expect(limiter.isExhausted('203.0.113.1')).toBe(false);
  });

  it('stays within its bound', () => {
    const limiter = new GuessLimiter(new FakeClock());
    exhaust(limiter, 'first');
    for (let index = 0; index < httpLimits.linkGuessAddressesMax - 1; index += 1) limiter.guessed(`a${index}`);
    expect(limiter.isExhausted('first')).toBe(true);
    limiter.guessed('one more');
    expect(limiter.isExhausted('first')).toBe(false);
  });
});
