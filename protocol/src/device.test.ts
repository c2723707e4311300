import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatPosition, parsePosition, parseUpEvent } from './device.ts';

describe('parseUpEvent', () => {
  test.each([
    { type: 'delivered', tids: ['t1', 't2'] },
    { id: 'e1', type: 'delivered', tids: ['t1'] },
    { type: 'read', tids: ['t1'] },
    { type: 'clicked', tid: 't1' },
    { type: 'clicked', tid: 't1', identifier: 'YES', url: 'shop://x' },
    { type: 'pressed', tid: 't1', identifier: 'YES' },
    { id: 'e2', type: 'pressed', tid: 't1', identifier: 'REPLY', text: 'On my way' },
    { id: 'e3', type: 'reply', thread: { id: 'h1' }, message: 'Hello' },
    {
      id: 'e4',
      type: 'reply',
      thread: { id: 'h1' },
      message: '',
      attachments: [{ contentType: 'image', file: 'https://a.example/i.jpg' }],
    },
    { type: 'typing', thread: { id: 'h1' }, on: true },
    { type: 'typing', thread: { id: 'h1' }, on: false },
  ])('takes %j', (event) => {
    expect(parseUpEvent(event)).toEqual({ ok: true, event });
  });

  test('ignores what it does not know', () => {
    const event = { type: 'read', tids: ['t1'], more: 1, id: null };
    expect(parseUpEvent(event)).toEqual({ ok: true, event: { type: 'read', tids: ['t1'] } });
  });

  test.each([
    [null, 'JSON object'],
    [[], 'JSON object'],
    [{}, '/type'],
    [{ type: 'seen' }, '/type'],
    [{ type: 'toString' }, '/type'],
    [{ type: 'delivered' }, '/tids'],
    [{ type: 'delivered', tids: [] }, '/tids'],
    [{ type: 'delivered', tids: 't1' }, '/tids'],
    [{ type: 'delivered', tids: ['t1', 5] }, '/tids/1'],
    [{ type: 'delivered', tids: [''] }, '/tids/0'],
    [{ type: 'delivered', tids: ['x'.repeat(129)] }, '/tids/0'],
    [{ type: 'read', tids: Array.from({ length: 1001 }, () => 't') }, '/tids'],
    [{ type: 'read', tids: ['t1'], id: 5 }, '/id'],
    [{ type: 'clicked' }, '/tid'],
    [{ type: 'clicked', tid: 't', url: 5 }, '/url'],
    [{ type: 'pressed', tid: 't' }, '/identifier'],
    [{ type: 'pressed', tid: 't', identifier: 'YES', text: {} }, '/text'],
    [{ type: 'reply', thread: { id: 'h' }, message: 'x' }, '/id'],
    [{ type: 'reply', id: 'e', message: 'x' }, '/thread'],
    [{ type: 'reply', id: 'e', thread: 'h', message: 'x' }, '/thread'],
    [{ type: 'reply', id: 'e', thread: {}, message: 'x' }, '/thread/id'],
    [{ type: 'reply', id: 'e', thread: { id: 'h' } }, '/message'],
    [{ type: 'reply', id: 'e', thread: { id: 'h' }, message: 'x'.repeat(4097) }, '/message'],
    [{ type: 'reply', id: 'e', thread: { id: 'h' }, attachments: [{}] }, '/attachments/0/contentType'],
    [{ type: 'reply', id: 'e', thread: { id: 'h' }, attachments: [5] }, '/attachments/0'],
    [{ type: 'typing', thread: { id: 'h' } }, '/on'],
    [{ type: 'typing', thread: { id: 'h' }, on: 'yes' }, '/on'],
  ])('refuses no. %#', (value, where) => {
    const result = parseUpEvent(value);
    expect(result).toMatchObject({ ok: false, message: expect.stringContaining(where) });
  });

  test('never throws', () => {
    const event = fc.record(
      {
        id: fc.jsonValue(),
        type: fc.constantFrom('delivered', 'read', 'clicked', 'pressed', 'reply', 'typing', 'x', 5),
        tids: fc.jsonValue(),
        tid: fc.jsonValue(),
        thread: fc.jsonValue(),
        message: fc.jsonValue(),
        attachments: fc.jsonValue(),
        identifier: fc.jsonValue(),
        on: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(event, fc.jsonValue()), (value) => {
        expect(typeof parseUpEvent(value).ok).toBe('boolean');
      }),
    );
  });
});

describe('positions', () => {
  test('round trip', () => {
    expect(parsePosition('a1b2:17')).toEqual({ epoch: 'a1b2', number: 17 });
    expect(formatPosition({ epoch: 'a1b2', number: 0 })).toBe('a1b2:0');
  });

  test.each(['', '17', ':17', 'a:', 'a:-1', 'a:1.5', 'a:b', 'a b:1', 'a:1\n', `a:${'9'.repeat(16)}`])(
    '%j is none',
    (text) => {
      expect(parsePosition(text)).toBe(undefined);
    },
  );
});
