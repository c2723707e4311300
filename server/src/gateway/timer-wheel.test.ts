import { expect, test } from 'vitest';
import { TimerWheel } from './timer-wheel.ts';
import type { WheelItem } from './timer-wheel.ts';

class Item implements WheelItem {
  wheelSlot = -1;
  readonly checks: number[] = [];
  next: number | null = null;
  onCheck(now: number): number | null {
    this.checks.push(now);
    return this.next;
  }
}

test('an item is looked at once, after its deadline and within a second', () => {
  const wheel = new TimerWheel(0);
  const item = new Item();
  wheel.schedule(item, 2_500);
  for (let now = 0; now <= 6_000; now += 500) wheel.advance(now);
  expect(item.checks).toEqual([3_000]);
});

test('an earlier deadline wins, a later one does not put it off, and it is looked at once', () => {
  const wheel = new TimerWheel(0);
  const item = new Item();
  wheel.schedule(item, 5_000);
  wheel.schedule(item, 2_000);
  wheel.schedule(item, 9_000);
  for (let now = 0; now <= 12_000; now += 1_000) wheel.advance(now);
  expect(item.checks).toEqual([2_000]);
});

test('it goes on as the item tells, over a long stop too, until it is removed', () => {
  const wheel = new TimerWheel(0);
  const item = new Item();
  item.next = 4_000;
  wheel.schedule(item, 1_000);
  wheel.advance(1_000);
  wheel.advance(3_900);
  expect(item.checks).toEqual([1_000]);
  item.next = 9_000_000;
  wheel.advance(8_000_000);
  expect(item.checks).toEqual([1_000, 8_000_000]);
  wheel.remove(item);
  wheel.advance(10_000_000);
  expect(item.checks).toHaveLength(2);
});

test('a deadline that has passed is looked at with the next tick, not in a loop', () => {
  const wheel = new TimerWheel(10_000);
  const item = new Item();
  item.next = 0;
  wheel.schedule(item, 0);
  wheel.advance(10_500);
  expect(item.checks).toEqual([]);
  wheel.advance(11_000);
  wheel.advance(12_000);
  expect(item.checks).toEqual([11_000, 12_000]);
});
