/** `destination`: who gets the message. Source: docs/api.md, destinations. */
import type { Faults } from './faults.ts';
import { fitsBytes, isAbsent, isObject, kindOf, readLabel, textFault, type Json, type Source } from './fields.ts';
import { limits } from './limits.ts';
import type { Destination, Identifier, IdentifierType } from './messaging.ts';

type IdentifierKey = IdentifierType | 'msisdn/customerid';

const noIdentifier = 'must name its recipients: customerid, msisdn or userid, with a list of strings';

/** Digits as E.164 has them, the plus left out or not: ITU-T E.164 §6 allows 15; fewer than 7 are no subscriber. */
const phoneNumberPattern = /^\+?[1-9]\d{6,14}$/;

function typeOf(key: IdentifierKey, value: string): IdentifierType {
  if (key !== 'msisdn/customerid') {
    return key;
  }
  return phoneNumberPattern.test(value) ? 'msisdn' : 'customerid';
}

/** Runs up to a thousand times a request: plain short ASCII is decided in one pass without a call. */
function identifierFault(value: unknown): string | undefined {
  if (typeof value !== 'string') {
    return `must be a string, not ${kindOf(value)}`;
  }
  if (value.length === 0) {
    return 'must not be empty';
  }
  let plain = value.length <= limits.identifierBytesMax;
  for (let index = 0; plain && index < value.length; index += 1) {
    const unit = value.charCodeAt(index);
    plain = unit > 0 && unit < 0x80;
  }
  if (plain) {
    return undefined;
  }
  return fitsBytes(value, limits.identifierBytesMax)
    ? textFault(value)
    : `must be at most ${limits.identifierBytesMax} bytes of UTF-8`;
}

/** One object of `destination`. Its pointer is built when a fault asks for it: a thousand of them cost a tenth of a call. */
class DestinationSource implements Source {
  readonly object: Json;
  readonly faults: Faults;
  readonly #index: number;

  constructor(object: Json, index: number, faults: Faults) {
    this.object = object;
    this.#index = index;
    this.faults = faults;
  }

  get path(): string {
    return `/destination/${this.#index}`;
  }
}

/** The one identifier key of an object of `destination`; undefined, and a fault, where there is none or more than one. */
function findKey(source: Source): IdentifierKey | undefined {
  const { object, faults } = source;
  let found: IdentifierKey | undefined;
  for (const key of Object.keys(object)) {
    switch (key) {
      case 'customerid':
      case 'msisdn':
      case 'userid':
      case 'msisdn/customerid':
        if (isAbsent(object[key])) {
          break;
        }
        if (found !== undefined) {
          faults.invalid(source.path, key, `stands beside ${found}; an object of destination has one identifier key`);
          return undefined;
        }
        found = key;
        break;
      case 'correlationid':
        break;
      default:
        faults.warn(source.path, key, 'is not a known parameter and is ignored');
    }
  }
  if (found === undefined) {
    faults.missing(source.path, 'customerid', noIdentifier);
  }
  return found;
}

function readIdentifiers(source: Source, key: IdentifierKey): Identifier[] {
  const { object, faults } = source;
  const list = object[key];
  const identifiers: Identifier[] = [];
  if (!Array.isArray(list)) {
    faults.invalid(source.path, key, `must be a list of strings, not ${kindOf(list)}`);
    return identifiers;
  }
  if (list.length === 0) {
    faults.missing(source.path, key, 'must hold at least one identifier');
    return identifiers;
  }
  for (let index = 0; index < list.length; index += 1) {
    const value: unknown = list[index];
    const fault = identifierFault(value);
    if (fault === undefined) {
      identifiers.push({ type: typeOf(key, value as string), value: value as string });
    } else {
      const keyToken = key === 'msisdn/customerid' ? 'msisdn~1customerid' : key;
      faults.invalid(`${source.path}/${keyToken}`, index, fault);
    }
  }
  return identifiers;
}

function readDestination(source: Source, bodyCorrelationid: string | undefined): Destination {
  const key = findKey(source);
  const correlationid = readLabel(source, 'correlationid', limits.correlationidBytesMax) ?? bodyCorrelationid;
  const identifiers = key === undefined ? [] : readIdentifiers(source, key);
  return correlationid === undefined ? { identifiers } : { correlationid, identifiers };
}

function lengthOf(value: unknown): number {
  return Array.isArray(value) ? value.length : 0;
}

/** How many identifiers a list of destinations names, right or wrong. */
function countIdentifiers(list: readonly unknown[]): number {
  let count = 0;
  for (const item of list) {
    if (isObject(item)) {
      count += lengthOf(item['customerid']) + lengthOf(item['msisdn']) + lengthOf(item['userid']);
      count += lengthOf(item['msisdn/customerid']);
    }
  }
  return count;
}

function checkCounts(list: readonly unknown[], faults: Faults): void {
  const max = limits.destinationsMax;
  if (list.length > max) {
    faults.add('7009', '', 'destination', `must hold at most ${max} objects, not ${list.length}`);
  }
  const count = countIdentifiers(list);
  if (count > max) {
    faults.add('7009', '', 'destination', `must name at most ${max} identifiers in total, not ${count}`);
  }
}

/**
 * Reads `destination` of the body. The correlationid of each destination is its own, else the body's. Faults: 7003 for
 * nothing there, 7004 for what is wrong, 7009 over 1,000 objects or identifiers.
 */
export function readDestinations(root: Source, bodyCorrelationid: string | undefined): Destination[] {
  const { faults } = root;
  const list = root.object['destination'];
  const destinations: Destination[] = [];
  if (isAbsent(list) || (Array.isArray(list) && list.length === 0)) {
    faults.missing('', 'destination', 'must be a list of objects, each with customerid, msisdn or userid');
    return destinations;
  }
  if (!Array.isArray(list)) {
    faults.invalid('', 'destination', `must be a list of objects, not ${kindOf(list)}`);
    return destinations;
  }
  checkCounts(list, faults);
  for (let index = 0; index < list.length; index += 1) {
    const object: unknown = list[index];
    if (isObject(object)) {
      destinations.push(readDestination(new DestinationSource(object, index, faults), bodyCorrelationid));
    } else {
      faults.invalid('/destination', index, `must be an object, not ${kindOf(object)}`);
    }
  }
  return destinations;
}
