import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Priority } from '../core/model.ts';
import type { LogEntry } from '../core/ports.ts';
import { Lanes } from './lanes.ts';

function entry(n: number, priority: Priority): LogEntry {
  return { user: 1, n, priority, state: 0, message: null, event: { type: 'x' } };
}

/** Takes everything, reading from `log` where a lane asks for it. */
function drain(lanes: Lanes, log: readonly LogEntry[], limit: number): number[] {
  const out: number[] = [];
  for (;;) {
    const step = lanes.next();
    if (step.kind === 'idle') return out;
    if (step.kind === 'entry') {
      step.lane.take();
      out.push(step.entry.n);
      continue;
    }
    const { lane } = step;
    const asked = lane.hinted;
    const page = log.filter(({ n, priority }) => n > lane.after && priority === lane.priority).slice(0, limit);
    lane.fill(page, { asked, limit });
  }
}

describe('Lanes', () => {
  test('a log that was there: priority, then number', () => {
    const log = [1, 2, 3, 2, 1, 3].map((priority, index) => entry(index + 1, priority as Priority));
    expect(drain(new Lanes(0, 6), log, 2)).toEqual([3, 6, 2, 4, 1, 5]);
  });

  test('nothing waits: nothing is read', () => {
    expect(new Lanes(6, 6).next().kind).toBe('idle');
    expect(new Lanes(6, 6).floor).toBe(6);
  });

  test('live entries are taken without a read; beyond the bound they are read later', () => {
    const lanes = new Lanes(0, 0);
    const log = [1, 2, 3, 4, 5].map((n) => entry(n, 2));
    for (const each of log) lanes.offer(each, 3);
    const steps: string[] = [];
    for (let count = 0; count < 3; count += 1) {
      const step = lanes.next();
      steps.push(step.kind);
      if (step.kind === 'entry') step.lane.take();
    }
    expect(steps).toEqual(['entry', 'entry', 'entry']);
    expect(lanes.next().kind).toBe('read');
    expect(lanes.floor).toBe(3);
    expect(drain(lanes, log, 64)).toEqual([4, 5]);
    expect(lanes.floor).toBe(5);
  });

  test('what was read ahead is read again where the log grew by something untold; nothing is passed over', () => {
    const lanes = new Lanes(0, 0);
    const log = [entry(1, 2), entry(2, 3), entry(3, 2), entry(4, 2)];
    for (const each of log) lanes.offer(each, 64);
    const first = lanes.next();
    expect(first).toMatchObject({ kind: 'entry', entry: { n: 2 } });
    if (first.kind === 'entry') first.lane.take();
    // 5 took back 3.
    lanes.expect(5);
    expect(lanes.floor).toBe(0);
    expect(drain(lanes, [log[0]!, log[1]!, log[3]!, entry(5, 2)], 64)).toEqual([1, 4, 5]);
    expect(lanes.floor).toBe(5);
  });

  test('an entry twice is one', () => {
    const lanes = new Lanes(0, 0);
    lanes.offer(entry(1, 2), 64);
    lanes.offer(entry(1, 2), 64);
    expect(drain(lanes, [entry(1, 2)], 64)).toEqual([1]);
  });

  test('the floor stays below what was not taken', () => {
    const lanes = new Lanes(0, 0);
    for (const each of [entry(1, 1), entry(2, 3), entry(3, 2)]) lanes.offer(each, 64);
    const step = lanes.next();
    if (step.kind === 'entry') step.lane.take();
    expect(lanes.floor).toBe(0);
    lanes.drop(({ n }) => n === 1);
    expect(lanes.floor).toBe(2);
  });

  test('whatever is told, lost or told late: everything comes once, in order per priority', () => {
    const told = fc.constantFrom('hint', 'lost', 'head', 'take');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom<Priority>(1, 2, 3), told), { maxLength: 60 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 0, max: 5 }),
        (steps, limit, before) => {
          const log = Array.from({ length: before }, (_, index) => entry(index + 1, ((index % 3) + 1) as Priority));
          const lanes = new Lanes(0, before);
          const out: number[] = [];
          for (const [priority, how] of steps) {
            const made = entry(log.length + 1, priority);
            log.push(made);
            if (how === 'hint') lanes.offer(made, limit);
            if (how === 'head') lanes.expect(made.n);
            if (how === 'take') out.push(...drain(lanes, log, limit));
          }
          lanes.expect(log.length);
          out.push(...drain(lanes, log, limit));
          expect(out.toSorted((a, b) => a - b)).toEqual(log.map(({ n }) => n));
          for (const priority of [1, 2, 3]) {
            const ofOne = out.filter((n) => log[n - 1]?.priority === priority);
            expect(ofOne).toEqual(ofOne.toSorted((a, b) => a - b));
          }
          expect(lanes.floor).toBe(log.length);
        },
      ),
      { numRuns: 500 },
    );
  });
});
