import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeHints, encodeHints, hintsPerMessage, isSendable, shardOf, wireLimits } from './wire.ts';

const NUMBER = fc.maxSafeNat();

function decoded(bytes: Uint8Array): { isUnderstood: boolean; hints: { user: number; head: number; entry: null }[] } {
  const hints: { user: number; head: number; entry: null }[] = [];
  const isUnderstood = decodeHints(bytes, (user, head) => hints.push({ user, head, entry: null }));
  return { isUnderstood, hints };
}

describe('hints on the wire', () => {
  it('come out as they went in', () => {
    const hint = fc.record({ user: NUMBER, head: NUMBER, entry: fc.constant(null) });
    fc.assert(
      fc.property(fc.array(hint, { minLength: 1, maxLength: 50 }), (hints) => {
        // Not at the beginning of its memory, as a message in a larger read is.
        const bytes = encodeHints(hints);
        const inside = new Uint8Array(bytes.length + 7);
        inside.set(bytes, 3);
        expect(decoded(inside.subarray(3, 3 + bytes.length))).toEqual({ isUnderstood: true, hints });
      }),
    );
  });

  it('anything else is refused without a call, never with an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, isMarked) => {
        if (isMarked && bytes.length > 1) bytes.set([0xc4, 1]);
        const { isUnderstood, hints } = decoded(bytes);
        if (!isUnderstood) expect(hints).toEqual([]);
        for (const hint of hints) expect(isSendable(hint)).toBe(true);
      }),
    );
    const full = Array.from({ length: wireLimits.hintsPerMessageMax }, () => ({ user: 1, head: 1, entry: null }));
    expect(decoded(encodeHints(full)).isUnderstood).toBe(true);
    expect(decoded(encodeHints([...full, ...full.slice(0, 1)]))).toEqual({ isUnderstood: false, hints: [] });
    expect(decoded(encodeHints([])).isUnderstood).toBe(false);
  });

  it('are as many in a message as fit', () => {
    expect([0, 17, 18, 33, 34, 1_048_576].map(hintsPerMessage)).toEqual([0, 0, 1, 1, 2, 4_096]);
    expect(encodeHints([{ user: 1, head: 1, entry: null }])).toHaveLength(18);
  });

  it('are spread over the shards', () => {
    const counts = new Uint32Array(wireLimits.shards);
    for (let user = 0; user < 102_400; user += 1) counts[shardOf(user)]! += 1;
    expect(Math.max(...counts)).toBeLessThan(200);
    fc.assert(
      fc.property(NUMBER, (user) => {
        const shard = shardOf(user);
        return Number.isInteger(shard) && shard >= 0 && shard < wireLimits.shards;
      }),
    );
  });
});
