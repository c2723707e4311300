import fc from 'fast-check';
import { parser } from 'mqtt-packet';
import type { Packet } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import {
  encodeConnack,
  encodeDisconnect,
  encodePuback,
  encodePubackReason,
  encodePublish,
  encodeRefusal,
  topicField,
} from './encode.ts';
import { REASON } from './reasons.ts';

/** As mqtt-packet reads it. */
function read(bytes: Buffer, protocolVersion: 4 | 5): Packet {
  const reader = parser({ protocolVersion });
  const packets: Packet[] = [];
  reader.on('packet', (packet) => packets.push(packet));
  reader.on('error', (error: Error) => {
    throw error;
  });
  reader.parse(bytes);
  expect(packets).toHaveLength(1);
  return packets[0]!;
}

describe('PUBLISH', () => {
  test('is read back by another codec, whatever it holds', () => {
    fc.assert(
      fc.property(
        fc.record({
          version: fc.constantFrom<4 | 5>(4, 5),
          topic: fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }),
          packetId: fc.nat(0xff_ff),
          expirySeconds: fc.nat(100_000),
          head: fc.string({ maxLength: 300, unit: 'grapheme' }),
          tail: fc.uint8Array({ maxLength: 20_000 }),
        }),
        ({ version, topic, packetId, expirySeconds, head, tail }) => {
          const payload = { head, tail: Buffer.from(tail) };
          const bytes = encodePublish({ version, topic: topicField(topic), packetId, expirySeconds, payload });
          const hasExpiry = version === 5 && expirySeconds > 0;
          expect(read(bytes, version)).toMatchObject({
            cmd: 'publish',
            topic,
            qos: packetId === 0 ? 0 : 1,
            retain: false,
            dup: false,
            payload: Buffer.concat([Buffer.from(head), payload.tail]),
            ...(packetId === 0 ? {} : { messageId: packetId }),
            ...(hasExpiry ? { properties: { messageExpiryInterval: expirySeconds } } : {}),
          });
        },
      ),
      { numRuns: 300 },
    );
  });

  test.each([100, 127, 128, 129, 16_383, 16_384, 16_385, 70_000])('remaining length around %i', (size) => {
    const payload = { head: '', tail: Buffer.alloc(size - 3) };
    const bytes = encodePublish({ version: 4, topic: topicField('t'), packetId: 0, expirySeconds: 0, payload });
    expect(read(bytes, 4)).toMatchObject({ length: size });
  });
});

test('answers', () => {
  expect(read(encodePuback(0x1234), 5)).toMatchObject({ cmd: 'puback', messageId: 0x1234, reasonCode: 0 });
  const refused = encodePubackReason(7, { version: 5, reason: REASON.badPayload, text: 'why' });
  expect(read(refused, 5)).toMatchObject({ messageId: 7, reasonCode: 0x99, properties: { reasonString: 'why' } });
  expect(encodePubackReason(7, { version: 4, reason: REASON.badPayload })).toEqual(encodePuback(7));
  expect(read(encodeRefusal({ version: 4, reason: REASON.badCredentials }), 4)).toMatchObject({ returnCode: 4 });
  expect(read(encodeRefusal({ version: 5, reason: REASON.quotaExceeded, text: 'x' }), 5)).toMatchObject({
    reasonCode: 0x97,
  });
  expect(read(encodeConnack({ version: 4, present: true, properties: {} }), 4)).toMatchObject({
    sessionPresent: true,
    returnCode: 0,
  });
  expect(read(encodeDisconnect({ version: 5, reason: REASON.takenOver }), 5)).toMatchObject({
    cmd: 'disconnect',
    reasonCode: 0x8e,
  });
});
