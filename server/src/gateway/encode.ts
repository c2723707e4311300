/**
 * Packets of the server. The three that are sent all the time (PUBLISH, PUBACK, PINGRESP) are written by hand;
 * the rare ones with properties go through mqtt-packet.
 */
import { generate } from 'mqtt-packet';
import type { IConnackPacket } from 'mqtt-packet';
import type { MessageParts } from '../core/device-message.ts';
import type { Version } from './decode.ts';
import { returnCodeOf } from './reasons.ts';
import type { ReasonCode } from './reasons.ts';

export const PINGRESP: Buffer = Buffer.from([0xd0, 0x00]);

/** A topic with its length before it, as it stands in PUBLISH: made once per session. */
export function topicField(topic: string): Buffer {
  const bytes = Buffer.byteLength(topic);
  const field = Buffer.allocUnsafeSlow(2 + bytes);
  field.writeUInt16BE(bytes, 0);
  field.write(topic, 2, 'utf8');
  return field;
}

export interface PublishFields {
  readonly version: Version;
  readonly topic: Buffer;
  /** 0: QoS 0, else QoS 1. */
  readonly packetId: number;
  /** Remaining life in seconds, ≥ 1; 0: without one. MQTT 5 only. */
  readonly expirySeconds: number;
  readonly payload: MessageParts;
}

/** Bytes of the remaining length field (§2.1.4). */
function lengthBytes(length: number): number {
  if (length < 128) return 1;
  if (length < 16_384) return 2;
  return length < 2_097_152 ? 3 : 4;
}

/** PUBLISH, QoS 0 or 1, in one buffer of its own. */
export function encodePublish(fields: PublishFields): Buffer {
  const { version, topic, packetId, payload } = fields;
  const hasExpiry = version === 5 && fields.expirySeconds > 0;
  const properties = version === 4 ? 0 : hasExpiry ? 6 : 1;
  const head = Buffer.byteLength(payload.head);
  const length = topic.length + (packetId === 0 ? 0 : 2) + properties + head + payload.tail.length;
  const bytes = Buffer.allocUnsafe(1 + lengthBytes(length) + length);
  bytes[0] = packetId === 0 ? 0x30 : 0x32;
  let at = 1;
  let rest = length;
  do {
    const digit = rest % 128;
    rest = (rest - digit) / 128;
    bytes[at] = rest > 0 ? digit | 0x80 : digit;
    at += 1;
  } while (rest > 0);
  at += topic.copy(bytes, at);
  if (packetId !== 0) at = bytes.writeUInt16BE(packetId, at);
  if (properties > 0) at = bytes.writeUInt8(properties - 1, at);
  if (hasExpiry) {
    at = bytes.writeUInt8(0x02, at);
    at = bytes.writeUInt32BE(Math.min(fields.expirySeconds, 0xff_ff_ff_ff), at);
  }
  at += bytes.write(payload.head, at, 'utf8');
  payload.tail.copy(bytes, at);
  return bytes;
}

/** PUBACK of success, the same in both versions. */
export function encodePuback(packetId: number): Buffer {
  return Buffer.from([0x40, 0x02, packetId >> 8, packetId & 0xff]);
}

export interface Answer {
  readonly version: Version;
  readonly reason: ReasonCode;
  /** For people; left out in 3.1.1, where there is no place for it. */
  readonly text?: string | undefined;
}

/** PUBACK with a reason code; in 3.1.1 it cannot say one. */
export function encodePubackReason(packetId: number, answer: Answer): Buffer {
  if (answer.version === 4) return encodePuback(packetId);
  return generate(
    { cmd: 'puback', messageId: packetId, reasonCode: answer.reason, ...reasonString(answer) },
    { protocolVersion: 5 },
  );
}

function reasonString(answer: Answer): { properties?: { reasonString: string } } {
  return answer.text === undefined ? {} : { properties: { reasonString: answer.text } };
}

/** CONNACK that refuses. */
export function encodeRefusal(answer: Answer): Buffer {
  if (answer.version === 4) {
    return generate({ cmd: 'connack', sessionPresent: false, returnCode: returnCodeOf(answer.reason) });
  }
  return generate(
    { cmd: 'connack', sessionPresent: false, reasonCode: answer.reason, ...reasonString(answer) },
    { protocolVersion: 5 },
  );
}

/** CONNACK that accepts. */
export function encodeConnack(options: {
  version: Version;
  present: boolean;
  properties: NonNullable<IConnackPacket['properties']>;
}): Buffer {
  const { version, present, properties } = options;
  if (version === 4) return generate({ cmd: 'connack', sessionPresent: present, returnCode: 0 });
  return generate({ cmd: 'connack', sessionPresent: present, reasonCode: 0, properties }, { protocolVersion: 5 });
}

/** SUBACK; `granted`: a QoS or a reason code per filter. `position`: told in MQTT 5 as a user property. */
export function encodeSuback(options: {
  version: Version;
  packetId: number;
  granted: readonly number[];
  position: string | null;
}): Buffer {
  const { version, packetId, granted, position } = options;
  const told = position === null ? {} : { properties: { userProperties: { position } } };
  return generate({ cmd: 'suback', messageId: packetId, granted: [...granted], ...told }, { protocolVersion: version });
}

/** UNSUBACK; `granted`: a reason code per filter, said in MQTT 5 only. */
export function encodeUnsuback(version: Version, packetId: number, granted: readonly number[]): Buffer {
  return generate({ cmd: 'unsuback', messageId: packetId, granted: [...granted] }, { protocolVersion: version });
}

/** DISCONNECT of MQTT 5; 3.1.1 servers have none. */
export function encodeDisconnect(answer: Answer): Buffer {
  return generate({ cmd: 'disconnect', reasonCode: answer.reason, ...reasonString(answer) }, { protocolVersion: 5 });
}

/** AUTH that ends a re-authentication well. */
export function encodeAuthSuccess(method: string): Buffer {
  return generate({ cmd: 'auth', reasonCode: 0, properties: { authenticationMethod: method } }, { protocolVersion: 5 });
}
