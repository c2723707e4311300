import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Fifo } from './fifo.ts';

test('gives what was put, in order, nothing lost or doubled', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constant('put' as const), fc.integer({ min: 0, max: 5 }))), (steps) => {
      const fifo = new Fifo<number>();
      const model: number[] = [];
      let next = 0;
      for (const step of steps) {
        if (step === 'put') {
          fifo.push(next);
          model.push(next);
          next += 1;
        } else {
          expect(fifo.take(step)).toEqual(model.splice(0, step));
        }
        expect(fifo.size).toBe(model.length);
      }
    }),
  );
});
