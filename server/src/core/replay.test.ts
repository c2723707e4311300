import { describe, expect, test } from 'vitest';
import { STATE } from './delivery-state.ts';
import type { StateNumber } from './delivery-state.ts';
import type { LogEntry, RequestContent } from './ports.ts';
import { isGone, replayPage, startReplay } from './replay.ts';

const NOW = 1_000;

function message(n: number, state: StateNumber = STATE.queued, expiry = NOW + 1): LogEntry {
  const content = { expiry } as RequestContent;
  const thread = { id: 't', title: 't', type: 'Conversation' } as const;
  return { user: 1, n, priority: 2, state, message: { content, destination: 0, thread, links: null }, event: null };
}

function told(page: LogEntry[], range: { after: number; upTo: number }): (number | string)[] {
  const { items, after } = replayPage(page, { ...range, now: NOW });
  return [...items.map((item) => (item.kind === 'entry' ? item.entry.n : `${item.from}-${item.to}`)), `after ${after}`];
}

describe('startReplay', () => {
  const log = { epoch: 'e1', head: 10, purgedTo: 4 };
  test.each([
    ['e1:4', { kind: 'from', after: 4 }],
    ['e1:10', { kind: 'from', after: 10 }],
    ['e1:3', { kind: 'reset', reason: 'too-old' }],
    ['e1:11', { kind: 'reset', reason: 'ahead' }],
    ['e2:4', { kind: 'reset', reason: 'epoch' }],
    ['e1', { kind: 'reset', reason: 'malformed' }],
    ['e1:-1', { kind: 'reset', reason: 'malformed' }],
    ['', { kind: 'reset', reason: 'malformed' }],
  ])('%s', (since, expected) => {
    expect(startReplay(since, log)).toEqual(expected);
  });
});

describe('replayPage', () => {
  test('no number is passed over in silence', () => {
    expect(told([message(1), message(2)], { after: 0, upTo: 2 })).toEqual([1, 2, 'after 2']);
    expect(told([message(2), message(5)], { after: 0, upTo: 7 })).toEqual(['1-1', 2, '3-4', 5, '6-7', 'after 7']);
    expect(told([], { after: 3, upTo: 9 })).toEqual(['4-9', 'after 9']);
    expect(told([], { after: 9, upTo: 9 })).toEqual(['after 9']);
  });

  test('what ended is a hole, joined with its neighbours; what was delivered or read is told again', () => {
    const page = [
      message(1, STATE.read),
      message(2, STATE.expired),
      message(3, STATE.queued, NOW),
      message(4, STATE.recalled),
      message(5, STATE.delivered),
    ];
    expect(told(page, { after: 0, upTo: 5 })).toEqual([1, '2-4', 5, 'after 5']);
  });

  test('a state event never ends', () => {
    expect(isGone({ ...message(1, STATE.failed), message: null, event: { type: 'read' } }, NOW)).toBe(false);
  });
});
