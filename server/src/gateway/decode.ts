/**
 * Packets of clients, decoded by hand: this server reads eight kinds of them, strictly (texts, lengths, reserved bits,
 * properties), keeps no parser per connection and creates nothing for an acknowledgement but a number.
 * MQTT 3.1.1 and MQTT 5, both OASIS standards, chapter 3.
 */
import { readProperties } from './properties.ts';
import type { Properties } from './properties.ts';
import { BadPacket, PacketReader } from './reader.ts';
import { REASON } from './reasons.ts';
import type { ReasonCode } from './reasons.ts';

/** 4: MQTT 3.1.1. */
export type Version = 4 | 5;

export interface ConnectPacket {
  readonly kind: 'connect';
  readonly version: Version;
  readonly clean: boolean;
  readonly keepAliveSeconds: number;
  readonly properties: Properties;
  readonly clientId: string;
  readonly hasWill: boolean;
  readonly username: string | null;
  readonly password: Buffer | null;
}

export interface PublishPacket {
  readonly kind: 'publish';
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly topic: string;
  /** 0 with QoS 0. */
  readonly packetId: number;
  readonly properties: Properties;
  readonly payload: Buffer;
}

export interface SubscribePacket {
  readonly kind: 'subscribe';
  readonly packetId: number;
  readonly properties: Properties;
  readonly filters: readonly { readonly filter: string; readonly qos: 0 | 1 | 2 }[];
}

export interface UnsubscribePacket {
  readonly kind: 'unsubscribe';
  readonly packetId: number;
  readonly filters: readonly string[];
}

export type ClientPacket =
  | ConnectPacket
  | PublishPacket
  | SubscribePacket
  | UnsubscribePacket
  | { readonly kind: 'puback'; readonly packetId: number; readonly reason: number }
  | { readonly kind: 'pingreq' }
  | { readonly kind: 'disconnect'; readonly reason: number; readonly properties: Properties }
  | { readonly kind: 'auth'; readonly reason: number; readonly properties: Properties };

export type DecodeResult =
  | { readonly ok: true; readonly packet: ClientPacket }
  | { readonly ok: false; readonly reason: ReasonCode; readonly message: string };

export const PACKET = {
  connect: 1,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  unsubscribe: 10,
  pingreq: 12,
  disconnect: 14,
  auth: 15,
} as const;

const NO_PROPERTIES: Properties = {};

/**
 * Decodes one whole packet. `start`: where the fields begin, after the remaining length. Version: the one of the
 * connection; of a CONNECT it is read from the packet. Never throws for what a packet holds.
 */
export function decodePacket(bytes: Buffer, start: number, version: Version): DecodeResult {
  try {
    return { ok: true, packet: decode(bytes, new PacketReader(bytes, start), version) };
  } catch (error) {
    if (error instanceof UnsupportedVersion) {
      return { ok: false, reason: REASON.unsupportedVersion, message: error.message };
    }
    if (!(error instanceof BadPacket)) throw error;
    const reason = error.isMalformed ? REASON.malformed : REASON.protocolError;
    return { ok: false, reason, message: error.message };
  }
}

class UnsupportedVersion extends Error {}

function decode(bytes: Buffer, reader: PacketReader, version: Version): ClientPacket {
  const first = bytes.readUInt8(0);
  const type = first >> 4;
  const flags = first & 0x0f;
  if (type === PACKET.publish) return publish(reader, flags, version);
  const wanted = type === PACKET.subscribe || type === PACKET.unsubscribe || type === PACKET.pubrel ? 2 : 0;
  if (flags !== wanted) throw new BadPacket('reserved flags of the packet are set');
  switch (type) {
    case PACKET.connect:
      return connect(reader);
    case PACKET.puback:
      return puback(reader, version);
    case PACKET.subscribe:
      return subscribe(reader, version);
    case PACKET.unsubscribe:
      return unsubscribe(reader, version);
    case PACKET.pingreq:
      reader.done();
      return { kind: 'pingreq' };
    case PACKET.disconnect:
      return disconnect(reader, version);
    case PACKET.auth:
      return auth(reader, version);
    case PACKET.pubrec:
    case PACKET.pubrel:
    case PACKET.pubcomp:
      throw new BadPacket('QoS 2 is not used here', false);
    default:
      throw new BadPacket('the packet is not one of a client');
  }
}

function connectVersion(reader: PacketReader): Version {
  const name = reader.text();
  const level = reader.byte();
  if (name === 'MQIsdp' && level === 3) throw new UnsupportedVersion('MQTT 3.1 is not spoken, 3.1.1 and 5 are');
  if (name !== 'MQTT') throw new BadPacket('the protocol name is not MQTT');
  if (level !== 4 && level !== 5) throw new UnsupportedVersion('MQTT 3.1.1 and 5 are spoken');
  return level;
}

function connect(reader: PacketReader): ConnectPacket {
  const version = connectVersion(reader);
  const flags = reader.byte();
  const hasWill = (flags & 0x04) !== 0;
  const [hasUsername, hasPassword] = [(flags & 0x80) !== 0, (flags & 0x40) !== 0];
  if ((flags & 0x01) !== 0) throw new BadPacket('the reserved flag of CONNECT is set');
  if (!hasWill && (flags & 0x38) !== 0) throw new BadPacket('will flags without a will');
  if ((flags & 0x18) === 0x18) throw new BadPacket('a will of QoS 3');
  if (version === 4 && hasPassword && !hasUsername) throw new BadPacket('a password without a user name');
  const keepAliveSeconds = reader.twoBytes();
  const properties = version === 5 ? readProperties(reader, 'connect') : NO_PROPERTIES;
  const clientId = reader.text();
  if (hasWill) passWill(reader, version);
  const username = hasUsername ? reader.text() : null;
  const password = hasPassword ? reader.binary() : null;
  reader.done();
  const clean = (flags & 0x02) !== 0;
  return { kind: 'connect', version, clean, keepAliveSeconds, properties, clientId, hasWill, username, password };
}

function passWill(reader: PacketReader, version: Version): void {
  if (version === 5) readProperties(reader, 'will');
  reader.text();
  reader.binary();
}

function packetId(reader: PacketReader): number {
  const id = reader.twoBytes();
  if (id === 0) throw new BadPacket('packet identifier 0', false);
  return id;
}

function publish(reader: PacketReader, flags: number, version: Version): PublishPacket {
  const qos = (flags >> 1) & 0x03;
  if (qos === 3) throw new BadPacket('QoS 3');
  if (qos === 0 && (flags & 0x08) !== 0) throw new BadPacket('a duplicate of QoS 0');
  const topic = reader.text();
  const id = qos === 0 ? 0 : packetId(reader);
  const properties = version === 5 ? readProperties(reader, 'publish') : NO_PROPERTIES;
  const retain = (flags & 0x01) !== 0;
  return { kind: 'publish', qos: qos as 0 | 1 | 2, retain, topic, packetId: id, properties, payload: reader.rest() };
}

function puback(reader: PacketReader, version: Version): ClientPacket {
  const id = packetId(reader);
  let reason = 0;
  if (version === 5 && reader.remaining > 0) {
    reason = reader.byte();
    if (reader.remaining > 0) readProperties(reader, 'puback');
  }
  reader.done();
  return { kind: 'puback', packetId: id, reason };
}

function subscribe(reader: PacketReader, version: Version): SubscribePacket {
  const id = packetId(reader);
  const properties = version === 5 ? readProperties(reader, 'subscribe') : NO_PROPERTIES;
  const filters: { filter: string; qos: 0 | 1 | 2 }[] = [];
  const reserved = version === 5 ? 0xc0 : 0xfc;
  while (reader.remaining > 0) {
    const filter = reader.text();
    const options = reader.byte();
    const qos = options & 0x03;
    if ((options & reserved) !== 0 || qos === 3)
      throw new BadPacket('reserved bits of the subscription options are set');
    if (version === 5 && (options & 0x30) === 0x30) throw new BadPacket('retain handling 3', false);
    filters.push({ filter, qos: qos as 0 | 1 | 2 });
  }
  if (filters.length === 0) throw new BadPacket('SUBSCRIBE without a topic filter', false);
  return { kind: 'subscribe', packetId: id, properties, filters };
}

function unsubscribe(reader: PacketReader, version: Version): UnsubscribePacket {
  const id = packetId(reader);
  if (version === 5) readProperties(reader, 'unsubscribe');
  const filters: string[] = [];
  while (reader.remaining > 0) filters.push(reader.text());
  if (filters.length === 0) throw new BadPacket('UNSUBSCRIBE without a topic filter', false);
  return { kind: 'unsubscribe', packetId: id, filters };
}

function disconnect(reader: PacketReader, version: Version): ClientPacket {
  let reason = 0;
  let properties = NO_PROPERTIES;
  if (version === 5 && reader.remaining > 0) {
    reason = reader.byte();
    if (reader.remaining > 0) properties = readProperties(reader, 'disconnect');
  }
  reader.done();
  return { kind: 'disconnect', reason, properties };
}

function auth(reader: PacketReader, version: Version): ClientPacket {
  if (version !== 5) throw new BadPacket('AUTH is a packet of MQTT 5');
  let reason = 0;
  let properties = NO_PROPERTIES;
  if (reader.remaining > 0) {
    reason = reader.byte();
    if (reader.remaining > 0) properties = readProperties(reader, 'auth');
  }
  reader.done();
  return { kind: 'auth', reason, properties };
}
