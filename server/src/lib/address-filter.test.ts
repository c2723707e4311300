import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createAddressFilter, EMPTY_ALLOW_LIST, parseAllowList } from './address-filter.ts';
import type { AddressFilter } from './address-filter.ts';

const closed = createAddressFilter(EMPTY_ALLOW_LIST);

function opened(...entries: readonly string[]): AddressFilter {
  const result = parseAllowList(entries);
  if (!result.ok) throw new Error(result.message);
  return createAddressFilter(result.allowList);
}

/** First and last address of every block that is not the public's (IANA special-purpose registries). */
const REFUSED: readonly (readonly [string, string])[] = [
  ['0.0.0.0', '0.255.255.255'],
  ['10.0.0.0', '10.255.255.255'],
  ['100.64.0.0', '100.127.255.255'],
  ['127.0.0.0', '127.255.255.255'],
  ['168.63.129.16', '168.63.129.16'],
  ['169.254.0.0', '169.254.255.255'],
  ['172.16.0.0', '172.31.255.255'],
  ['192.0.0.0', '192.0.0.255'],
  ['192.0.2.0', '192.0.2.255'],
  ['192.88.99.0', '192.88.99.255'],
  ['192.168.0.0', '192.168.255.255'],
  ['198.18.0.0', '198.19.255.255'],
  ['198.51.100.0', '198.51.100.255'],
  ['203.0.113.0', '203.0.113.255'],
  ['224.0.0.0', '239.255.255.255'],
  ['240.0.0.0', '255.255.255.255'],
  ['::', '::ffff:ffff'],
  ['::8.8.8.8', '::1.1.1.1'],
  ['::ffff:10.0.0.0', '::ffff:10.255.255.255'],
  ['64:ff9b::', '64:ff9b::ffff:ffff'],
  ['64:ff9b:1::', '64:ff9b:1:ffff:ffff:ffff:ffff:ffff'],
  ['100::', '100::ffff:ffff:ffff:ffff'],
  ['2001::', '2001:0:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['2002::', '2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['3fff::', '3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['5f00::', '5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['fc00::', 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['fe80::', 'febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['fec0::', 'feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['ff00::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
];

describe('address filter', () => {
  it.each(REFUSED)('refuses %s to %s', (first, last) => {
    expect(closed(first).allowed).toBe(false);
    expect(closed(last).allowed).toBe(false);
  });

  it.each([
    '1.1.1.1',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '128.0.0.0',
    '168.63.129.17',
    '172.15.255.255',
    '172.32.0.0',
    '192.0.1.0',
    '223.255.255.255',
    '::ffff:8.8.8.8',
    '2606:4700:4700::1111',
    '2a00:1450:4001::1',
    '3ffe::1',
  ])('allows %s, next to what is refused', (address) => {
    expect(closed(address)).toEqual({ allowed: true });
  });

  it.each([
    '',
    'localhost',
    '127.1',
    '0x7f.1',
    '2130706433',
    'fe80::1%lo',
    '8.8.8.8%x',
    '[::1]',
    '8.8.8.8 ',
    '8.8.8.8/32',
  ])('refuses %j, which is no address', (text) =>
    expect(closed(text)).toEqual({ allowed: false, range: 'notAnAddress' }),
  );

  it('names the range for the error text', () => {
    expect(closed('127.0.0.1')).toEqual({ allowed: false, range: 'loopback' });
    expect(closed('168.63.129.16')).toEqual({ allowed: false, range: 'metadata' });
    expect(closed('4000::1')).toEqual({ allowed: false, range: 'notGlobalUnicast' });
  });

  it('refuses every IPv6 address outside 2000::/3, whatever it is', () => {
    const outside = fc
      .array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 })
      .filter((groups) => ((groups[0] ?? 0) & 0xe000) !== 0x2000)
      .filter((groups) => !(groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff));
    const text = (groups: readonly number[]): string => groups.map((group) => group.toString(16)).join(':');
    fc.assert(fc.property(outside, (groups) => !closed(text(groups)).allowed));
  });

  it('judges an IPv4-mapped address as the IPv4 address it reaches', () => {
    const quad = fc.tuple(...[0, 1, 2, 3].map(() => fc.integer({ min: 0, max: 255 })));
    fc.assert(
      fc.property(quad, (bytes) => {
        const address = bytes.join('.');
        expect(closed(`::ffff:${address}`)).toEqual(closed(address));
      }),
    );
  });
});

describe('allow list', () => {
  it('opens what it names and nothing beside it', () => {
    const filter = opened('10.1.0.0/16', '127.0.0.1', 'fd00::/8');
    expect(filter('10.1.255.255').allowed).toBe(true);
    expect(filter('::ffff:10.1.2.3').allowed).toBe(true);
    expect(filter('10.2.0.0').allowed).toBe(false);
    expect(filter('127.0.0.1').allowed).toBe(true);
    expect(filter('127.0.0.2').allowed).toBe(false);
    expect(filter('fd12::1').allowed).toBe(true);
    expect(filter('fc00::1').allowed).toBe(false);
    expect(filter('::1').allowed).toBe(false);
  });

  it('does not open the embedded forms of a range it names', () => {
    const filter = opened('127.0.0.0/8');
    for (const address of ['::127.0.0.1', '64:ff9b::7f00:1', '2002:7f00:1::'])
      expect(filter(address).allowed).toBe(false);
  });

  it('takes a whole family', () => {
    const filter = opened('0.0.0.0/0', '::/0');
    expect(filter('127.0.0.1').allowed).toBe(true);
    expect(filter('fe80::1').allowed).toBe(true);
  });

  it.each([
    ['', 'expected something like'],
    ['10/8', 'expected something like'],
    ['127.1', 'expected something like'],
    ['0177.0.0.1', 'expected something like'],
    ['localhost', 'expected something like'],
    ['10.0.0.0/8/8', 'expected something like'],
    ['fe80::1%lo/64', 'expected something like'],
    ['10.0.0.0/33', 'from 0 to 32'],
    ['10.0.0.0/', 'from 0 to 32'],
    ['10.0.0.0/-1', 'from 0 to 32'],
    ['fd00::/129', 'from 0 to 128'],
    ['10.0.0.1/8', 'did you mean 10.0.0.0/8'],
    ['fd00::1/8', 'did you mean fd00::/8'],
    ['::ffff:10.0.0.0/104', 'write it as an IPv4 range'],
  ])('refuses %j and says what would be right', (entry, message) => {
    expect(parseAllowList(['10.0.0.0/8', entry])).toEqual({ ok: false, message: expect.stringContaining(message) });
    expect(parseAllowList([entry])).toEqual({ ok: false, message: expect.stringContaining(`"${entry}"`) });
  });
});
