import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Framer } from './framing.ts';

const MAX = 70_000;

function packet(first: number, length: number): Buffer {
  const digits: number[] = [];
  let rest = length;
  do {
    const digit = rest % 128;
    rest = Math.floor(rest / 128);
    digits.push(rest > 0 ? digit | 0x80 : digit);
  } while (rest > 0);
  return Buffer.concat([Buffer.from([first, ...digits]), Buffer.alloc(length, first)]);
}

/** The packets that come out of chunks, or what ended the stream. */
function read(chunks: Iterable<Buffer>, bytesMax = MAX): (Buffer | string)[] {
  const framer = new Framer();
  const out: (Buffer | string)[] = [];
  for (const chunk of chunks) {
    framer.append(chunk);
    for (;;) {
      const frame = framer.next(bytesMax);
      if (frame.kind === 'more') break;
      if (frame.kind !== 'packet') return [...out, frame.kind];
      // The fields begin behind the remaining length, whose last byte is the first below 128.
      expect(frame.bytes[frame.start - 1]).toBeLessThan(128);
      out.push(Buffer.from(frame.bytes));
    }
  }
  return framer.heldBytes === 0 ? out : [...out, 'rest'];
}

describe('Framer', () => {
  const packets = [
    packet(0xc0, 0),
    packet(0x40, 2),
    packet(0x30, 127),
    packet(0x31, 128),
    packet(0x32, 300),
    packet(0xe0, 0),
  ];
  const bytes = Buffer.concat(packets);

  test('packets in one chunk, and split in two at every offset', () => {
    expect(read([bytes])).toEqual(packets);
    for (let at = 1; at < bytes.length; at += 1) {
      expect(read([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(packets);
    }
  });

  test('byte by byte', () => {
    expect(read(Array.from(bytes, (byte) => Buffer.from([byte])))).toEqual(packets);
  });

  test('any packets in any chunks', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ first: fc.nat(255), length: fc.oneof(fc.nat(20), fc.nat(20_000)) }), {
          minLength: 1,
          maxLength: 5,
        }),
        fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 1, maxLength: 20 }),
        (parts, sizes) => {
          const wanted = parts.map(({ first, length }) => packet(first, length));
          const all = Buffer.concat(wanted);
          const chunks: Buffer[] = [];
          for (let at = 0, index = 0; at < all.length; index += 1) {
            const size = sizes[index % sizes.length] ?? 1;
            chunks.push(all.subarray(at, at + size));
            at += size;
          }
          expect(read(chunks)).toEqual(wanted);
        },
      ),
      { numRuns: 200 },
    );
  });

  test('bounds: too large by its header alone, five bytes of length', () => {
    expect(read([Buffer.from([0x30, 0x80, 0x01])], 130)).toEqual(['too-large']);
    expect(read([packet(0x30, 128)], 131)).toEqual([packet(0x30, 128)]);
    expect(read([Buffer.from([0x30, 0xff, 0xff, 0xff]), Buffer.from([0xff, 0x01])])).toEqual(['bad-length']);
  });

  test('what was appended twice before it was read', () => {
    const framer = new Framer();
    framer.append(bytes.subarray(0, 5));
    framer.append(bytes.subarray(5));
    expect(framer.heldBytes).toBe(bytes.length);
    for (const wanted of packets) expect(framer.next(MAX)).toMatchObject({ kind: 'packet', bytes: wanted });
    expect(framer.heldBytes).toBe(0);
  });
});
