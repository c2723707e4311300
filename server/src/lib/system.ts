import { randomFillSync } from 'node:crypto';

/** The machine's clocks. */
export const systemClock = {
  now: (): number => Date.now(),
  monotonic: (): number => performance.now(),
};

const POOL_BYTES = 8192;
const pool = new Uint8Array(POOL_BYTES);
let used = POOL_BYTES;

/**
 * Cryptographic randomness. Drawn from a pool, since one system call per link slug would cost more than the slug.
 * A byte is handed out once and overwritten, so that it cannot be read from the pool later.
 */
function bytes(count: number): Uint8Array {
  if (count > POOL_BYTES) return randomFillSync(new Uint8Array(count));
  if (used + count > POOL_BYTES) {
    randomFillSync(pool);
    used = 0;
  }
  const taken = pool.slice(used, used + count);
  pool.fill(0, used, used + count);
  used += count;
  return taken;
}

export const systemRandom = {
  bytes,
  unit(): number {
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = bytes(6);
    return (((a * 256 + b) * 256 + c) * 16777216 + (d * 256 + e) * 256 + f) / 281474976710656;
  },
};
