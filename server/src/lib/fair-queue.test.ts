import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FairQueue } from './fair-queue.ts';

function drain<Item>(queue: FairQueue<Item>): Item[] {
  const items: Item[] = [];
  for (let item = queue.take(); item !== undefined; item = queue.take()) items.push(item);
  return items;
}

test('higher priority goes first, whatever came before', () => {
  const queue = new FairQueue<string>();
  queue.push(1, 'a', 'low');
  queue.push(3, 'a', 'high');
  queue.push(2, 'a', 'medium');
  expect(drain(queue)).toEqual(['high', 'medium', 'low']);
});

test('a group with much to do delays another by one item', () => {
  const queue = new FairQueue<string>();
  for (let index = 0; index < 1000; index += 1) queue.push(2, 'loud', `loud ${index}`);
  queue.push(2, 'quiet', 'quiet');
  expect(drain(queue).indexOf('quiet')).toBe(1);
});

test('order within a group and a priority is kept, and nothing is lost or doubled', () => {
  const pushes = fc.array(
    fc.record({ priority: fc.integer({ min: 1, max: 3 }), group: fc.constantFrom('a', 'b', 'c') }),
  );
  fc.assert(
    fc.property(pushes, fc.integer({ min: 0, max: 20 }), (made, takenBetween) => {
      const queue = new FairQueue<{ priority: number; group: string; index: number }>();
      const taken: { priority: number; group: string; index: number }[] = [];
      made.forEach((push, index) => {
        queue.push(push.priority, push.group, { ...push, index });
        if (index % 7 === takenBetween % 7) {
          const item = queue.take();
          if (item !== undefined) taken.push(item);
        }
      });
      expect(queue.size).toBe(made.length - taken.length);
      taken.push(...drain(queue));
      expect(taken.map((item) => item.index).toSorted((a, b) => a - b)).toEqual(made.map((_, index) => index));
      for (const priority of [1, 2, 3]) {
        for (const group of ['a', 'b', 'c']) {
          const mine = taken
            .filter((item) => item.priority === priority && item.group === group)
            .map((item) => item.index);
          expect(mine).toEqual(mine.toSorted((a, b) => a - b));
        }
      }
    }),
  );
});
