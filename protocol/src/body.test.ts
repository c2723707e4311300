import { describe, expect, test } from 'vitest';
import { parseJsonBody } from './body.ts';

function parse(text: string): ReturnType<typeof parseJsonBody> {
  return parseJsonBody(new TextEncoder().encode(text));
}

function nested(depth: number, open: string, close: string): string {
  return `{"a":${open.repeat(depth - 1)}${close.repeat(depth - 1)}}`;
}

describe('parseJsonBody', () => {
  test('reads an object, also after a byte order mark', () => {
    expect(parse('{"a":"\u{1f514}"}')).toEqual({ ok: true, value: { a: '\u{1f514}' } });
    expect(parse('\ufeff{"a":1}')).toEqual({ ok: true, value: { a: 1 } });
  });

  test.each(['', ' ', '{', '{"a":}', "{'a':1}", '{"a":1,}', '{"a":1}{', 'NaN', '{"a":"\n"}'])('refuses %j', (text) => {
    expect(parse(text).ok).toBe(false);
  });

  test.each(['null', '[]', '"text"', '5', 'true'])('refuses %s, which is no object', (text) => {
    expect(parse(text)).toMatchObject({ ok: false, message: expect.stringContaining('must be a JSON object') });
  });

  test('tells where, and never quotes the body', () => {
    const result = parse('{"secret":"s3cr3t" "b":1}');
    expect(result).toMatchObject({ ok: false, message: expect.stringContaining('line 1, column') });
    expect(JSON.stringify(result)).not.toContain('s3cr3t');
    expect(JSON.stringify(parse('s3cr3t'))).not.toContain('s3cr3t');
  });

  test.each([
    [[0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]],
    [[0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x3a, 0x31, 0x7d]],
    [[0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d]],
    [[0x7b, 0x22, 0xe2, 0x82, 0x22, 0x3a, 0x31, 0x7d]],
  ])('refuses invalid UTF-8 %#', (bytes) => {
    expect(parseJsonBody(Uint8Array.from(bytes))).toEqual({ ok: false, message: 'the body is not valid UTF-8' });
  });

  test('takes a depth of 32 and refuses 33', () => {
    expect(parse(nested(32, '[', ']')).ok).toBe(true);
    expect(parse(nested(33, '[', ']'))).toMatchObject({ ok: false, message: expect.stringContaining('32 deep') });
    expect(parse('{"a":'.repeat(32) + '1' + '}'.repeat(32)).ok).toBe(true);
    expect(parse('{"a":'.repeat(33) + '1' + '}'.repeat(33)).ok).toBe(false);
  });

  test('brackets inside strings are text', () => {
    expect(parse(`{"a":"${'['.repeat(100)}","b\\"${'{'.repeat(100)}":1,"c":"\\\\"}`).ok).toBe(true);
  });

  test('a million brackets are refused, not recursed into', () => {
    expect(parse('['.repeat(1_000_000)).ok).toBe(false);
  });
});
