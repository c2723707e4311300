import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Lru } from './lru.ts';

test('never holds more than it may, and what it gives is what was put', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 20 }),
      fc.array(fc.tuple(fc.integer({ min: 0, max: 40 }), fc.boolean())),
      (max, steps) => {
        const lru = new Lru<number, number>(max);
        const latest = new Map<number, number>();
        steps.forEach(([key, isPut], index) => {
          if (isPut) {
            lru.set(key, index);
            latest.set(key, index);
          }
          const value = lru.get(key);
          if (value !== undefined) expect(value).toBe(latest.get(key));
          expect(lru.size).toBeLessThanOrEqual(max + 1);
        });
      },
    ),
  );
});

test('what is used stays, what is not used goes', () => {
  const lru = new Lru<string, string>(4);
  lru.set('used', 'here');
  for (let index = 0; index < 100; index += 1) {
    expect(lru.get('used')).toBe('here');
    lru.set(`other ${index}`, 'x');
  }
  expect(lru.get('other 0')).toBeUndefined();
});
