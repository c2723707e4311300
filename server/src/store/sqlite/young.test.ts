import { expect, it } from 'vitest';
import { STATE } from '../../core/delivery-state.ts';
import { Young } from './young.ts';
import type { YoungEntry } from './young.ts';

const entryOf = (user: number, n: number, request: number): YoungEntry => ({
  user,
  n,
  request,
  destination: 0,
  member: 0,
  priority: 2,
  thread: 1,
  detail: null,
  state: STATE.queued,
  device: null,
  sent: null,
  at: null,
});

/** Three requests for three users, committed. */
function youngOfThree(): Young {
  const young = new Young();
  for (const request of [1, 2, 3]) {
    young.open(request, request * 10);
    young.add(entryOf(request, 1, request));
  }
  young.committed();
  return young;
}

it('counts a request as open again when the transaction that wrote its rows fails', () => {
  const young = youngOfThree();
  young.take(1);
  young.take(2);
  expect(young.foldedTo(3)).toBe(2);
  young.rolledBack();
  expect(young.size).toBe(3);
  // A start after a crash reads from here on: what is young again must not lie before it.
  expect(young.foldedTo(3)).toBe(0);
  expect(young.feedNeededFrom()).toBe(10);
});

it('passes a request by once its rows are committed', () => {
  const young = youngOfThree();
  young.take(1);
  expect(young.foldedTo(3)).toBe(1);
  young.committed();
  expect(young.foldedTo(3)).toBe(1);
  expect(young.feedNeededFrom()).toBe(20);
  young.take(2);
  young.take(3);
  expect(young.foldedTo(3)).toBe(3);
});

it('takes back what a failed transaction added, changed and wrote, in the order of the numbers', () => {
  const young = youngOfThree();
  const first = young.find(1, 1)!;
  young.change(first, { state: STATE.delivered, device: 7, sent: 5, at: 6 });
  young.open(4, 40);
  young.add(entryOf(1, 2, 4));
  young.take(1);
  young.add(entryOf(1, 3, 4));
  young.rolledBack();
  expect(young.of(1)).toEqual([entryOf(1, 1, 1)]);
  expect(young.last(1)).toBe(1);
  expect(young.size).toBe(3);
});
