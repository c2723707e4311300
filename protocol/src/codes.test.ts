import { describe as suite, expect, test } from 'vitest';
import { codeRanges, codes, describe } from './codes.ts';

suite('the table of codes', () => {
  test.each([
    ['1001', 'Queued'],
    ['7000', 'Invalid JSON'],
    ['7001', 'Authentication failed'],
    ['7002', 'Service key missing'],
    ['7003', 'Mandatory parameters missing'],
    ['7004', 'Invalid parameters'],
    ['7006', 'Internal error occurred'],
    ['7007', 'Service inactive'],
    ['7009', 'Max number of destinations'],
  ])("%s is %s, in the page's own words", (code, description) => {
    expect(describe(code)).toMatchObject({ description, kind: 'request', used: true });
  });

  test('each code stands once, in order, complete', () => {
    const numbers = codes.map((entry) => entry.code);
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(numbers).toEqual(numbers.toSorted());
    expect(new Set(codes.map((entry) => entry.name)).size).toBe(codes.length);
    for (const entry of codes) {
      expect(entry.code).toMatch(/^\d{4}$/);
      expect(entry.name).toMatch(/^[a-z]+(-[a-z]+)*$/);
      expect(entry.description).not.toBe('');
      expect(entry.explanation).toMatch(/\.$/);
    }
  });

  test('ranges hold no code of the table', () => {
    for (const { from, to } of codeRanges) {
      expect(codes.some((entry) => entry.code >= from && entry.code <= to)).toBe(false);
    }
  });

  test('statuses other than 200', () => {
    const others = codes.filter((entry) => entry.http !== undefined).map((entry) => [entry.code, entry.http]);
    expect(others).toEqual([
      ['7006', 500],
      ['7020', 429],
    ]);
    expect(describe('nonsense')).toBe(undefined);
  });
});
