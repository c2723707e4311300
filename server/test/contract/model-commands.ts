import fc from 'fast-check';
import type { Priority } from '../../src/core/model.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../support/builders.ts';

export const USERS = ['ann', 'ben', 'cyd'] as const;
const DEVICES = ['phone', 'tablet'] as const;
export const PRIORITIES: readonly Priority[] = [1, 2, 3];

const who = fc.constantFrom(...USERS);
const device = fc.constantFrom(...DEVICES);
/** Which of the messages there are, counted from the newest. */
const pick = fc.nat({ max: 20 });

/** One thing that happens to a store. */
export const command = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('accept' as const),
      users: fc.array(fc.uniqueArray(who, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 3 }),
      priority: fc.constantFrom(...PRIORITIES),
      validMs: fc.constantFrom(0, MINUTE_MS, HOUR_MS, 3 * DAY_MS),
      thread: fc.constantFrom('own', 'own', 'unknown'),
      unroutable: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('settle' as const),
      kind: fc.constantFrom('sent' as const, 'read' as const, 'clicked' as const, 'failed' as const),
      pick,
      byTid: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ type: fc.constant('acknowledge' as const), who, device, numbers: fc.array(pick) }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('connect' as const), who, device, clean: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('disconnect' as const),
      who,
      device,
      keepMs: fc.constantFrom(0, 5 * MINUTE_MS, DAY_MS),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('recall' as const), pick }) },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('advance' as const),
      ms: fc.constantFrom(1, MINUTE_MS, 40 * MINUTE_MS, DAY_MS),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('expire' as const) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constant('receipts' as const),
      outcomes: fc.array(fc.constantFrom('done', 'done', 'done', 'retry', 'dead', 'lost'), { minLength: 1 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('purge' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('reopen' as const), crash: fc.boolean() }) },
);
export type Command = typeof command extends fc.Arbitrary<infer One> ? One : never;
export type CommandOf<Type extends Command['type']> = Extract<Command, { type: Type }>;
