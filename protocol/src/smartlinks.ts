/** `smartlinks`: short links of the recipient's own. Source: the page's smartlinks block; docs/api.md. */
import {
  demand,
  isObject,
  kindOf,
  readArray,
  readNumber,
  warnUnknown,
  type NumberRange,
  type Source,
} from './fields.ts';
import { limits } from './limits.ts';
import type { Smartlink } from './messaging.ts';

const smartlinkKeys = new Set(['linkid', 'validity']);
const linkidRange: NumberRange = {
  min: 1,
  max: Number.MAX_SAFE_INTEGER,
  whole: true,
  what: 'the number of a smartlink',
};
const validityRange: NumberRange = {
  min: 1,
  max: limits.smartlinkValidityMinutesMax,
  whole: true,
  what: 'a number of minutes',
};

function readSmartlink(source: Source): Smartlink | undefined {
  warnUnknown(source, smartlinkKeys);
  demand(source, 'linkid', 'must be the number of a smartlink');
  const linkid = readNumber(source, 'linkid', linkidRange);
  const validityMinutes = readNumber(source, 'validity', validityRange);
  if (linkid === undefined) {
    return undefined;
  }
  return validityMinutes === undefined ? { linkid } : { linkid, validityMinutes };
}

/** Puts the smartlinks of one layer over those of the weaker ones: one entry for each linkid, the last layer's winning. */
export function readSmartlinks(source: Source, merged: Map<number, Smartlink>): void {
  const list = readArray(source, 'smartlinks');
  if (list === undefined) {
    return;
  }
  if (list.length > limits.smartlinksMax) {
    source.faults.invalid(source.path, 'smartlinks', `must hold at most ${limits.smartlinksMax}`);
    return;
  }
  const path = `${source.path}/smartlinks`;
  for (const [index, object] of list.entries()) {
    if (isObject(object)) {
      const link = readSmartlink({ object, path: `${path}/${index}`, faults: source.faults });
      if (link !== undefined) {
        merged.set(link.linkid, link);
      }
    } else {
      source.faults.invalid(path, index, `must be an object, not ${kindOf(object)}`);
    }
  }
}
