import { expect, it } from 'vitest';
import { FeedTail } from './feed-tail.ts';
import type { FeedRow } from './feed-tail.ts';

const row = (seq: number, detail: string | null = null): FeedRow => ({
  seq,
  kind: 1,
  request: null,
  user: 1,
  n: seq,
  device: null,
  at: 0,
  detail,
});

function tailOf(from: number, to: number): FeedTail {
  const tail = new FeedTail();
  for (let seq = from; seq <= to; seq += 1) tail.add(row(seq));
  return tail;
}

const seqs = (rows: readonly FeedRow[] | null): number[] | null => rows?.map(({ seq }) => seq) ?? null;

it('gives rows once, in order, as far as asked', () => {
  const tail = tailOf(5, 9);
  expect(seqs(tail.takeAfter(4, 2))).toEqual([5, 6]);
  expect(seqs(tail.takeAfter(6, 2))).toEqual([7, 8]);
  expect(seqs(tail.takeAfter(8, 9))).toEqual([9]);
  expect(tail.takeAfter(9, 1)).toBeNull();
  tail.add(row(10));
  expect(seqs(tail.takeAfter(9, 1))).toEqual([10]);
});

it('gives nothing where the first row is not here, and takes up again where the file was read to', () => {
  const tail = tailOf(5, 9);
  expect(tail.takeAfter(3, 9)).toBeNull();
  expect(seqs(tail.takeAfter(7, 9))).toEqual([8, 9]);
  expect(tail.takeAfter(4, 9)).toBeNull();
});

it('leaves long details to the file, and all before them', () => {
  const tail = tailOf(1, 3);
  tail.add(row(4, 'x'.repeat(65)));
  tail.add(row(5, 'x'.repeat(64)));
  expect(tail.takeAfter(0, 9)).toBeNull();
  expect(tail.takeAfter(3, 9)).toBeNull();
  expect(seqs(tail.takeAfter(4, 9))).toEqual([5]);
});

it('keeps no more than it may: the older half goes', () => {
  const tail = tailOf(1, 32_769);
  expect(tail.takeAfter(0, 1)).toBeNull();
  expect(tail.takeAfter(16_383, 1)).toBeNull();
  expect(seqs(tail.takeAfter(16_384, 1))).toEqual([16_385]);
  expect(tail.takeAfter(16_385, 100_000)).toHaveLength(16_384);
});
