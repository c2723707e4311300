import { performance } from 'node:perf_hooks';
import * as fc from 'fast-check';
import { describe as suite, expect, test } from 'vitest';
import { block, body, now } from '../test/support.ts';
import { parseJsonBody } from './body.ts';
import { describe } from './codes.ts';
import { limits } from './limits.ts';
import { parseMessagingRequest } from './messaging.ts';

/** Resolves a JSON pointer as far as it goes; a fault may name a member that is not there, but its parent is. */
function parentExists(value: unknown, pointer: string): boolean {
  const tokens = pointer.split('/').slice(1, -1);
  let current = value;
  for (const token of tokens) {
    const key = token.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof current !== 'object' || current === null) {
      return false;
    }
    current = (current as Record<string, unknown>)[key];
  }
  return true;
}

function check(value: unknown): void {
  const start = performance.now();
  const result = parseMessagingRequest(value, { now });
  expect(performance.now() - start).toBeLessThan(1000);
  if (result.ok) {
    const count = result.request.destinations.reduce((sum, one) => sum + one.identifiers.length, 0);
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThanOrEqual(limits.destinationsMax);
    expect(JSON.parse(JSON.stringify(result.request))).toBeTypeOf('object');
    return;
  }
  expect(describe(result.code as string)).toMatchObject({ used: true });
  expect(result.details.length).toBeGreaterThan(0);
  for (const detail of result.details) {
    expect(detail.message).not.toBe('');
  }
}

/** Any JSON in any place of an otherwise good body. */
const places = [
  'appid',
  'correlationid',
  'notifyurl',
  'callbackData',
  'expiry',
  'priority',
  'message',
  'deliverychannel',
  'channels',
  'destination',
  'smartlinks',
] as const;
const blockPlaces = ['message', 'notification', 'thread_type', 'thread_title', 'thread_id', 'extras'] as const;
const interesting = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom('', null, '__proto__', 'javascript:x', '\ud800', '\u0000', [[]], [{}], {}),
);

suite('parseMessagingRequest', () => {
  test('never throws on any JSON, and always answers with a documented code', () => {
    fc.assert(fc.property(fc.jsonValue(), check));
  });

  test('nor on a good body with anything in one place', () => {
    fc.assert(
      fc.property(fc.constantFrom(...places), interesting, (place, value) => {
        check(body({ [place]: value }));
      }),
    );
  });

  test('nor on a good block with anything in one place, pointers leading into the body', () => {
    fc.assert(
      fc.property(fc.constantFrom(...blockPlaces), interesting, (place, value) => {
        const whole = body({ channels: { appmessaging: block({ [place]: value }) } });
        check(whole);
        const result = parseMessagingRequest(whole, { now });
        for (const { path } of result.ok ? result.warnings : result.details) {
          expect(path === '' || parentExists(whole, path) || path.endsWith('/message/text')).toBe(true);
        }
      }),
    );
  });

  test('the largest bodies take less than a second', () => {
    const faults = { ...body(), destination: Array.from({ length: 200_000 }, () => 1) };
    const unknown = Object.fromEntries(Array.from({ length: 60_000 }, (_, index) => [`key${index}`, 1]));
    const parameters = { template: 'T', parameters: unknown };
    check(faults);
    check({ ...body(), ...unknown });
    check({ ...body({}, { message: parameters }), message: parameters });
    check(body({}, { message: { text: '\u{1f514}'.repeat(250_000) } }));
    check(body({ destination: [{ userid: Array.from({ length: 200_000 }, () => '') }] }));
  });
});

suite('parseJsonBody', () => {
  test('never throws on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(typeof parseJsonBody(bytes).ok).toBe('boolean');
      }),
    );
  });

  test('reads what JSON.stringify wrote, and nothing else as an object', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 5 })), (value) => {
        const text = JSON.stringify(value);
        expect(parseJsonBody(new TextEncoder().encode(text))).toEqual({ ok: true, value: JSON.parse(text) });
      }),
    );
  });
});
