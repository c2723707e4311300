import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canMove, isTerminal, isWaiting, STATE, type StateName, stateName } from './delivery-state.ts';

const names = Object.keys(STATE) as StateName[];
const anyName = fc.constantFrom(...names);

describe('delivery states', () => {
  it('has the numbers that the stores keep: they never change', () => {
    expect(STATE).toEqual({
      queued: 0,
      sent: 1,
      delivered: 2,
      read: 3,
      failed: 4,
      expired: 5,
      recalled: 6,
      moved: 7,
    });
  });

  it('names every number and no other', () => {
    for (const name of names) expect(stateName(STATE[name])).toBe(name);
    fc.assert(
      fc.property(
        fc.oneof(fc.integer({ min: 8 }), fc.integer({ max: -1 }), fc.constantFrom(0.5, Number.NaN)),
        (number) => {
          expect(() => stateName(number)).toThrow('no such delivery state');
        },
      ),
    );
  });

  it('waits or is terminal, never both', () => {
    for (const name of names) expect(isWaiting(STATE[name])).toBe(!isTerminal(STATE[name]));
    expect(names.filter((name) => isWaiting(STATE[name]))).toEqual(['queued', 'sent']);
  });

  it('moves only to a larger number: one comparison decides, and nothing comes back', () => {
    fc.assert(
      fc.property(anyName, anyName, (from, to) => {
        if (canMove(from, to)) expect(STATE[to]).toBeGreaterThan(STATE[from]);
      }),
    );
  });

  it('lets a delivery end in one way: of what ended, only the delivered goes on, to read or recalled', () => {
    const moves = names.flatMap((from) => names.filter((to) => canMove(from, to)).map((to) => `${from} ${to}`));
    const afterTheEnd = moves.filter((move) => isTerminal(STATE[move.split(' ')[0] as StateName]));
    expect(afterTheEnd).toEqual(['delivered read', 'delivered recalled']);
  });

  it('ends whatever waits in every way', () => {
    for (const from of ['queued', 'sent'] as const) {
      for (const to of ['delivered', 'read', 'failed', 'expired', 'recalled', 'moved'] as const) {
        expect(canMove(from, to)).toBe(true);
      }
    }
    expect(canMove('queued', 'sent')).toBe(true);
  });

  it('takes at most three steps along any path', () => {
    fc.assert(
      fc.property(fc.array(anyName, { maxLength: 20 }), (wishes) => {
        let state: StateName = 'queued';
        let steps = 0;
        let ends = 0;
        for (const to of wishes) {
          if (!canMove(state, to)) continue;
          if (isWaiting(STATE[state]) && isTerminal(STATE[to])) ends += 1;
          state = to;
          steps += 1;
        }
        expect(steps).toBeLessThanOrEqual(3);
        expect(ends).toBe(isTerminal(STATE[state]) ? 1 : 0);
      }),
    );
  });
});
