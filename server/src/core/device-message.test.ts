import { describe, expect, test } from 'vitest';
import { encodeMessage, encodeParts, tidOf } from './device-message.ts';
import type { LogEntry, RequestContent } from './ports.ts';
import { newUid, transidOf } from './transid.ts';

const content: RequestContent = {
  key: 1,
  uid: newUid(),
  serviceId: 's',
  appId: 'a',
  acceptedAt: Date.UTC(2026, 0, 1),
  expiry: Date.UTC(2026, 0, 2),
  priority: 2,
  content: JSON.stringify({ message: 'Hi {{link_7}} "ü" {{link_8}}', media: [] }),
};

function entry(overrides: Partial<NonNullable<LogEntry['message']>> = {}, n = 5): LogEntry {
  const thread = { id: 't"1', title: 'Bestellungen „ü“', type: 'Conversation' } as const;
  return {
    user: 1,
    n,
    priority: 2,
    state: 0,
    message: { content, destination: 3, thread, links: null, ...overrides },
    event: null,
  };
}

const options = { linkBase: 'https://c.example' };

describe('encodeMessage', () => {
  test('is the JSON of the contract', () => {
    expect(JSON.parse(encodeMessage(entry(), options))).toEqual({
      seq: 5,
      type: 'message',
      tid: transidOf(content.uid, 3),
      created: '2026-01-01T00:00:00.000Z',
      expiry: '2026-01-02T00:00:00.000Z',
      priority: 2,
      thread: { id: 't"1', title: 'Bestellungen „ü“', type: 'Conversation' },
      message: 'Hi {{link_7}} "ü" {{link_8}}',
      media: [],
    });
  });

  test('links of the recipient stand for their tokens; unknown ones stay; no name of Object is one', () => {
    const told = JSON.parse(encodeMessage(entry({ links: { 7: 'abc' } }), options)) as { message: string };
    expect(told.message).toBe('Hi https://c.example/l/abc "ü" {{link_8}}');
    const odd = { ...content, content: JSON.stringify({ message: '{{link_constructor}} {{link___proto__}}' }) };
    expect(encodeMessage(entry({ content: odd, links: {} }), options)).toContain(
      '{{link_constructor}} {{link___proto__}}',
    );
  });

  test('two parts are the same text, and the larger one is shared', () => {
    const first = encodeParts(entry(), options);
    const second = encodeParts(entry({ destination: 4 }, 6), options);
    expect(first.head + first.tail.toString()).toBe(encodeMessage(entry(), options));
    expect(second.tail).toBe(first.tail);
  });

  test('content without members, and state events', () => {
    expect(JSON.parse(encodeMessage(entry({ content: { ...content, content: '{}' } }), options))).toMatchObject({
      seq: 5,
    });
    const event: LogEntry = { ...entry(), message: null, event: { type: 'read', tids: ['x'] } };
    expect(JSON.parse(encodeMessage(event, options))).toEqual({ seq: 5, type: 'read', tids: ['x'] });
    const parts = encodeParts(event, options);
    expect(parts.head + parts.tail.toString()).toBe(encodeMessage(event, options));
    expect([tidOf(event), tidOf(entry())]).toEqual([null, transidOf(content.uid, 3)]);
  });
});
