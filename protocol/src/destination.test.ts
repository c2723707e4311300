import { describe, expect, test } from 'vitest';
import { accepted, body, refusal } from '../test/support.ts';

function sent(destination: unknown): unknown {
  return body({ destination });
}

describe('identifier keys', () => {
  test.each(['customerid', 'msisdn', 'userid'])('%s is taken', (type) => {
    expect(accepted(sent([{ [type]: ['a', 'b'] }])).destinations).toEqual([
      {
        identifiers: [
          { type, value: 'a' },
          { type, value: 'b' },
        ],
      },
    ]);
  });

  test('msisdn/customerid is resolved value by value', () => {
    const values = ['+447700900123', '447700900123', 'ada', '8953', '+0123456789', '+1234567890123456'];
    const types = accepted(sent([{ 'msisdn/customerid': values }])).destinations[0]?.identifiers.map((one) => one.type);
    expect(types).toEqual(['msisdn', 'msisdn', 'customerid', 'customerid', 'customerid', 'customerid']);
  });

  test('objects may differ, in order', () => {
    const request = accepted(sent([{ userid: ['a'] }, { msisdn: ['+447700900123'] }, { customerid: ['c'] }]));
    expect(request.destinations.map((one) => one.identifiers[0]?.type)).toEqual(['userid', 'msisdn', 'customerid']);
  });

  test('an absent key beside the one given is passed over', () => {
    expect(accepted(sent([{ userid: ['a'], customerid: null, msisdn: '' }])).destinations).toHaveLength(1);
  });

  test.each([
    [[{}], '7003 /destination/0/customerid'],
    [[{ email: ['a@b.example'] }], '7003 /destination/0/customerid'],
    [[{ userid: [] }], '7003 /destination/0/userid'],
    [[{ userid: null }], '7003 /destination/0/customerid'],
    [[{ userid: 'ada' }], '7004 /destination/0/userid'],
    [[{ userid: { a: 1 } }], '7004 /destination/0/userid'],
    [[{ userid: ['ada', 5] }], '7004 /destination/0/userid/1'],
    [[{ userid: [null] }], '7004 /destination/0/userid/0'],
    [[{ userid: [''] }], '7004 /destination/0/userid/0'],
    [[{ 'msisdn/customerid': [5] }], '7004 /destination/0/msisdn~1customerid/0'],
    [[{ 'msisdn/customerid': 'ada' }], '7004 /destination/0/msisdn~1customerid'],
    [[{ userid: ['a\u0000'] }], '7004 /destination/0/userid/0'],
    [[{ userid: ['\ud800'] }], '7004 /destination/0/userid/0'],
    [[{ userid: ['x'.repeat(257)] }], '7004 /destination/0/userid/0'],
    [[{ userid: ['€'.repeat(86)] }], '7004 /destination/0/userid/0'],
    [[{ userid: ['a'], customerid: ['b'] }], '7004 /destination/0/customerid'],
    [['ada'], '7004 /destination/0'],
    [{ userid: ['ada'] }, '7004 /destination'],
    ['ada', '7004 /destination'],
    [[{ userid: ['a'] }, { customerid: [] }], '7003 /destination/1/customerid'],
  ])('no. %# is refused', (destination, expected) => {
    expect(refusal(sent(destination))).toBe(expected);
  });

  test('identifiers of exactly 256 bytes', () => {
    const values = ['x'.repeat(256), '€'.repeat(85), '\u{1f514}'.repeat(64)];
    expect(accepted(sent([{ userid: values }])).destinations[0]?.identifiers).toHaveLength(3);
  });
});

describe('decision 2: correlationid', () => {
  test("the destination's wins over the body's", () => {
    const destination = [
      { userid: ['a'], correlationid: 'own' },
      { userid: ['b'] },
      { userid: ['c'], correlationid: '' },
    ];
    const request = accepted(body({ correlationid: 'whole', destination }));
    expect(request.correlationid).toBe('whole');
    expect(request.destinations.map((one) => one.correlationid)).toEqual(['own', 'whole', 'whole']);
    expect(accepted(sent(destination)).destinations[1]).not.toHaveProperty('correlationid');
  });

  test('50 bytes of UTF-8', () => {
    const path = '/destination/0/correlationid';
    expect(refusal(sent([{ userid: ['a'], correlationid: '€'.repeat(17) }]))).toBe(`7004 ${path}`);
    expect(refusal(sent([{ userid: ['a'], correlationid: 5 }]))).toBe(`7004 ${path}`);
    expect(accepted(sent([{ userid: ['a'], correlationid: 'x'.repeat(50) }])).destinations).toHaveLength(1);
  });
});

describe('7009', () => {
  const objects = (count: number): unknown => Array.from({ length: count }, (_, index) => ({ userid: [`u${index}`] }));
  const values = (count: number): string[] => Array.from({ length: count }, (_, index) => `u${index}`);

  test('1,000 objects, 1,000 identifiers are taken', () => {
    expect(accepted(sent(objects(1000))).destinations).toHaveLength(1000);
    expect(accepted(sent([{ userid: values(1000) }])).destinations[0]?.identifiers).toHaveLength(1000);
  });

  test('one more of either is refused', () => {
    expect(refusal(sent(objects(1001)))).toBe('7009 /destination /destination');
    expect(refusal(sent([{ userid: values(1001) }]))).toBe('7009 /destination');
    expect(refusal(sent([{ userid: values(600) }, { customerid: values(401) }]))).toBe('7009 /destination');
  });
});
