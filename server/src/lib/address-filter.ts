import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Range = readonly [Address, number];

/** Address ranges an operator opened on purpose. Made by `parseAllowList`, empty by default. */
export type AllowList = readonly Range[];

export type AllowListResult =
  | { readonly ok: true; readonly allowList: AllowList }
  | { readonly ok: false; readonly message: string };

/** `range` names why an address is refused, for the error text: `loopback`, `private`, `linkLocal` … */
export type AddressVerdict = { readonly allowed: true } | { readonly allowed: false; readonly range: string };

export type AddressFilter = (address: string) => AddressVerdict;

export const EMPTY_ALLOW_LIST: AllowList = [];

const ALLOWED: AddressVerdict = { allowed: true };

/** RFC 4291 §2.4 and the IANA registry: only this block is handed out as global unicast. */
const GLOBAL_UNICAST_V6 = ipaddr.parseCIDR('2000::/3');

/**
 * What ipaddr.js calls `unicast` although no stranger may name it as a target.
 * Everything IPv6 outside 2000::/3 is refused as a whole and needs no line here.
 */
const SPECIAL_RANGES: readonly (readonly [string, Range])[] = [
  ['metadata', ipaddr.parseCIDR('168.63.129.16/32')], // Azure's host agent; lies in public space
  ['reserved', ipaddr.parseCIDR('192.88.99.0/24')], // RFC 7526, once the 6to4 relay
  ['reserved', ipaddr.parseCIDR('3fff::/20')], // RFC 9637, documentation
  ['segmentRouting', ipaddr.parseCIDR('5f00::/16')], // RFC 9602
  ['siteLocal', ipaddr.parseCIDR('fec0::/10')], // RFC 3879
  ['ipv4Compatible', ipaddr.parseCIDR('::/96')], // RFC 4291 §2.5.5.1: [::127.0.0.1]
  ['rfc6052', ipaddr.parseCIDR('64:ff9b::/96')], // NAT64 carries an IPv4 address inside
  ['rfc6052', ipaddr.parseCIDR('64:ff9b:1::/48')], // RFC 8215, local-use NAT64
  ['6to4', ipaddr.parseCIDR('2002::/16')], // RFC 3056 carries an IPv4 address inside
  ['teredo', ipaddr.parseCIDR('2001::/32')], // RFC 4380 carries two
];

/**
 * Reads the CIDR ranges of `--allow-private`. A bare address stands for itself alone.
 * Errors say what is wrong with which entry and what would be right (contract §1).
 */
export function parseAllowList(entries: readonly string[]): AllowListResult {
  const allowList: Range[] = [];
  for (const entry of entries) {
    const parsed = parseRange(entry.trim());
    if (typeof parsed === 'string') return { ok: false, message: `"${entry}" is not an address range: ${parsed}` };
    allowList.push(parsed);
  }
  return { ok: true, allowList };
}

function parseRange(entry: string): Range | string {
  const [addressText = '', prefixText, ...rest] = entry.split('/');
  const version = addressText.includes('%') ? 0 : isIP(addressText);
  // isIP is strict where ipaddr.js reads 127.1 and 0177.0.0.1: a range that opens the inside must not be a guess.
  if (version === 0 || rest.length > 0) return 'expected something like 10.0.0.0/8, 192.168.1.20 or fd00::/8';
  const bits = version === 4 ? 32 : 128;
  const prefix = prefixText === undefined ? bits : Number(prefixText);
  if (prefixText !== undefined && !/^\d{1,3}$/.test(prefixText)) return `the prefix must be a number from 0 to ${bits}`;
  if (prefix > bits) return `the prefix must be a number from 0 to ${bits}`;
  const address = parseAddress(addressText);
  if (address.kind() === 'ipv6' && (address as ipaddr.IPv6).isIPv4MappedAddress()) return 'write it as an IPv4 range';
  const network = networkAddress(address, prefix);
  if (network !== address.toString()) return `it has bits beyond its prefix, did you mean ${network}/${prefix}?`;
  return [address, prefix];
}

function networkAddress(address: Address, prefix: number): string {
  const bytes = address.toByteArray().map((byte, index) => {
    const bitsKept = Math.min(8, Math.max(0, prefix - index * 8));
    return byte & (0xff << (8 - bitsKept)) & 0xff;
  });
  return ipaddr.fromByteArray(bytes).toString();
}

/**
 * Makes the check every outgoing connection to an address from outside has to pass:
 * public unicast is allowed, all else (loopback, private, link-local, metadata, multicast, reserved, transition
 * addresses that carry an IPv4 address) is refused unless the allow list covers it. Text that is no address is refused.
 */
export function createAddressFilter(allowList: AllowList): AddressFilter {
  return (text) => {
    // A zone (`fe80::1%lo`) only ever belongs to link-local and only confuses the parser's ranges.
    if (isIP(text) === 0 || text.includes('%')) return { allowed: false, range: 'notAnAddress' };
    const address = unmapped(parseAddress(text));
    if (allowList.some((range) => covers(range, address))) return ALLOWED;
    const range = rangeName(address);
    return range === 'unicast' ? ALLOWED : { allowed: false, range };
  };
}

/**
 * Reads what `isIP` accepted. ipaddr.js takes `::127.0.0.1` for `::ffff:127.0.0.1`, which is another address, so
 * a dotted tail is written as two groups first.
 */
function parseAddress(text: string): Address {
  if (isIP(text) !== 6) return ipaddr.parse(text);
  return ipaddr.parse(
    text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_quad, ...bytes) => {
      const [first = 0, second = 0, third = 0, fourth = 0] = bytes.slice(0, 4).map(Number);
      return `${((first << 8) | second).toString(16)}:${((third << 8) | fourth).toString(16)}`;
    }),
  );
}

/** ::ffff:127.0.0.1 reaches 127.0.0.1: judged as what it reaches. */
function unmapped(address: Address): Address {
  if (address.kind() === 'ipv4') return address;
  const address6 = address as ipaddr.IPv6;
  return address6.isIPv4MappedAddress() ? address6.toIPv4Address() : address6;
}

function covers([network, prefix]: Range, address: Address): boolean {
  return network.kind() === address.kind() && address.match(network, prefix);
}

function rangeName(address: Address): string {
  const range: string = address.range();
  if (range !== 'unicast') return range;
  for (const [name, special] of SPECIAL_RANGES) if (covers(special, address)) return name;
  if (address.kind() === 'ipv6' && !covers(GLOBAL_UNICAST_V6, address)) return 'notGlobalUnicast';
  return 'unicast';
}
