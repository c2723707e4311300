import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseTime } from './expiry.ts';

describe('parseTime', () => {
  test.each([
    ['2015-04-12T13:00:19.456Z', Date.UTC(2015, 3, 12, 13, 0, 19, 456)],
    ['2015-04-12T18:30:19.456+5:30', Date.UTC(2015, 3, 12, 13, 0, 19, 456)],
    ['2015-04-12T18:30:19.456+05:30', Date.UTC(2015, 3, 12, 13, 0, 19, 456)],
    ['2015-04-12T05:00:19-8:00', Date.UTC(2015, 3, 12, 13, 0, 19)],
    ['2015-04-12t13:00:19z', Date.UTC(2015, 3, 12, 13, 0, 19)],
    ['2015-04-12 13:00:19Z', Date.UTC(2015, 3, 12, 13, 0, 19)],
    ['2015-04-12T13:00:19.4Z', Date.UTC(2015, 3, 12, 13, 0, 19, 400)],
    ['2015-04-12T13:00:19.456999999Z', Date.UTC(2015, 3, 12, 13, 0, 19, 456)],
    ['2024-02-29T00:00:00Z', Date.UTC(2024, 1, 29)],
    ['2000-02-29T00:00:00Z', Date.UTC(2000, 1, 29)],
    ['1969-12-31T23:59:59Z', -1000],
    ['2016-12-31T23:59:60Z', Date.UTC(2017, 0, 1)],
    ['2017-01-01T05:29:60+05:30', Date.UTC(2017, 0, 1)],
    ['9999-12-31T23:59:59.999Z', Date.UTC(9999, 11, 31, 23, 59, 59, 999)],
    ['2030-01-01T00:30:00+01:00', Date.UTC(2029, 11, 31, 23, 30)],
  ])('%s', (text, expected) => {
    expect(parseTime(text)).toBe(expected);
  });

  test.each([
    '',
    'tomorrow',
    '2015-04-12',
    '2015-04-12T13:00:19',
    '2015-04-12T13:00Z',
    '2015-02-29T00:00:00Z',
    '1900-02-29T00:00:00Z',
    '2015-04-31T00:00:00Z',
    '2015-13-01T00:00:00Z',
    '2015-00-01T00:00:00Z',
    '2015-01-00T00:00:00Z',
    '2015-04-12T24:00:00Z',
    '2015-04-12T13:60:00Z',
    '2015-04-12T13:00:61Z',
    '2015-04-12T13:00:60Z',
    '2015-04-12T13:00:19+24:00',
    '2015-04-12T13:00:19+5:60',
    '2015-04-12T13:00:19.Z',
    '2015-04-12T13:00:19 Z',
    ' 2015-04-12T13:00:19Z',
    '2015-04-12T13:00:19Z\n',
    '+02015-04-12T13:00:19Z',
    '1900000000',
  ])('%j is no time', (text) => {
    expect(parseTime(text)).toBe(undefined);
  });

  test('round trip with any moment and any offset', () => {
    const moments = fc.date({
      min: new Date('0001-01-02T00:00:00Z'),
      max: new Date('9999-12-30T00:00:00Z'),
      noInvalidDate: true,
    });
    const offsets = fc.record({
      sign: fc.constantFrom(1, -1),
      hour: fc.nat(23),
      minute: fc.nat(59),
      short: fc.boolean(),
    });
    fc.assert(
      fc.property(moments, offsets, (moment, { sign, hour, minute, short }) => {
        const local = new Date(moment.getTime() + sign * (hour * 60 + minute) * 60_000).toISOString().slice(0, -1);
        fc.pre(!local.startsWith('+') && !local.startsWith('-'));
        const hours = short ? String(hour) : String(hour).padStart(2, '0');
        const text = `${local}${sign < 0 ? '-' : '+'}${hours}:${String(minute).padStart(2, '0')}`;
        expect(parseTime(moment.toISOString())).toBe(moment.getTime());
        expect(parseTime(text)).toBe(moment.getTime());
      }),
    );
  });
});
