import { isIPv6 } from 'node:net';
import type { Clock } from '../core/ports.ts';
import { httpLimits } from './limits.ts';

interface Bucket {
  tokens: number;
  at: number;
}

/** A network guesses, not an address: one IPv6 customer has a /64 and so 2^64 addresses. */
function networkOf(address: string): string {
  if (!isIPv6(address) || address.startsWith('::ffff:')) return address;
  const [head = '', tail] = address.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  return [...before, ...Array.from({ length: zeros }, () => '0'), ...after].slice(0, 4).join(':');
}

/**
 * How many unknown short links an address may ask for. Known ones cost nothing, so that a whole office behind one
 * address can follow its links.
 */
export class GuessLimiter {
  private readonly clock: Clock;
  private readonly buckets = new Map<string, Bucket>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  isExhausted(address: string): boolean {
    const bucket = this.buckets.get(networkOf(address));
    if (bucket === undefined) return false;
    this.refill(bucket);
    return bucket.tokens < 1;
  }

  /** The address asked for a link that is unknown. */
  guessed(address: string): void {
    const network = networkOf(address);
    let bucket = this.buckets.get(network);
    if (bucket === undefined) {
      this.makeRoom();
      bucket = { tokens: httpLimits.linkGuessesPerSecond, at: this.clock.monotonic() };
      this.buckets.set(network, bucket);
    }
    this.refill(bucket);
    bucket.tokens -= 1;
  }

  private refill(bucket: Bucket): void {
    const now = this.clock.monotonic();
    const perMs = httpLimits.linkGuessesPerSecond / 1_000;
    bucket.tokens = Math.min(httpLimits.linkGuessesPerSecond, bucket.tokens + (now - bucket.at) * perMs);
    bucket.at = now;
  }

  private makeRoom(): void {
    if (this.buckets.size < httpLimits.linkGuessAddressesMax) return;
    const [oldest] = this.buckets.keys();
    if (oldest !== undefined) this.buckets.delete(oldest);
  }
}
