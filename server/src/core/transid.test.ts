import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newUid, splitTransid, transidOf } from './transid.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
/** Uids as {@link newUid} makes them, of any time. */
const uid = fc.uuid({ version: 7 }).map((uuid) => `${uuid.slice(0, -3)}000`);
const destination = fc.nat({ max: 4095 });

describe('transids', () => {
  it('makes version 7 UUIDs that end in 000, each one new', () => {
    const uids = Array.from({ length: 5_000 }, newUid);
    for (const one of uids) expect(one).toMatch(UUID);
    expect(uids.every((one) => one.endsWith('000'))).toBe(true);
    expect(new Set(uids).size).toBe(uids.length);
  });

  it('makes them in an order that never goes back', () => {
    const uids = Array.from({ length: 5_000 }, newUid);
    expect(uids).toEqual(uids.toSorted());
  });

  it('splits what it joined, in any letter case', () => {
    fc.assert(
      fc.property(uid, destination, fc.boolean(), (uid, destination, upper) => {
        const transid = transidOf(uid, destination);
        expect(transid).toMatch(UUID);
        expect(splitTransid(upper ? transid.toUpperCase() : transid)).toEqual({ uid, destination });
      }),
    );
  });

  it('gives every destination of every request another transid', () => {
    fc.assert(
      fc.property(uid, uid, destination, destination, (left, right, first, second) => {
        const isSame = left === right && first === second;
        expect(transidOf(left, first) === transidOf(right, second)).toBe(isSame);
      }),
    );
  });

  it('joins what it split: a transid that is one of ours is told back as it is', () => {
    fc.assert(
      fc.property(fc.uuid({ version: 7 }), (uuid) => {
        const parts = splitTransid(uuid)!;
        expect(transidOf(parts.uid, parts.destination)).toBe(uuid);
      }),
    );
  });

  it('takes nothing else for a transid', () => {
    const mangled = fc
      .tuple(uid, fc.nat({ max: 35 }), fc.constantFrom('', ' ', 'g', '\n', '00'))
      .map(([uid, at, put]) => {
        return uid.slice(0, at) + put + uid.slice(at + 1);
      });
    fc.assert(
      fc.property(fc.oneof(mangled, fc.uuid({ version: [1, 4] }), fc.string()), (text) => {
        expect(splitTransid(text)).toBeNull();
      }),
    );
    for (const around of [' ', '\n', '{', '0']) {
      const transid = newUid();
      expect(splitTransid(around + transid)).toBeNull();
      expect(splitTransid(transid + around)).toBeNull();
    }
  });
});
