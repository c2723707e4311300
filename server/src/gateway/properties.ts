import { BadPacket } from './reader.ts';
import type { PacketReader } from './reader.ts';

/** Properties of MQTT 5 (§2.2.2) that a client may send, those this server has a use for by name. */
export interface Properties {
  sessionExpirySeconds?: number;
  receiveMaximum?: number;
  packetBytesMax?: number;
  wantsProblemInformation?: boolean;
  method?: string;
  data?: Buffer;
  topicAlias?: number;
  subscriptionId?: number;
  /** In the order in which they came. */
  user?: [name: string, value: string][];
}

export type PropertyHolder =
  | 'connect'
  | 'will'
  | 'publish'
  | 'puback'
  | 'subscribe'
  | 'unsubscribe'
  | 'disconnect'
  | 'auth';

interface PropertyRule {
  readonly in: readonly PropertyHolder[];
  readonly read: (reader: PacketReader, into: Properties) => void;
}

function bit(reader: PacketReader): boolean {
  const value = reader.byte();
  if (value > 1) throw new BadPacket('a property of one bit is neither 0 nor 1', false);
  return value === 1;
}

function notZero(value: number, name: string): number {
  if (value === 0) throw new BadPacket(`${name} must not be 0`, false);
  return value;
}

const USER_PROPERTY = 0x26;

const RULES: ReadonlyMap<number, PropertyRule> = new Map<number, PropertyRule>([
  [0x01, { in: ['publish', 'will'], read: (reader) => void bit(reader) }],
  [0x02, { in: ['publish', 'will'], read: (reader) => void reader.fourBytes() }],
  [0x03, { in: ['publish', 'will'], read: (reader) => void reader.text() }],
  [0x08, { in: ['publish', 'will'], read: (reader) => void reader.text() }],
  [0x09, { in: ['publish', 'will'], read: (reader) => void reader.binary() }],
  [
    0x0b,
    {
      in: ['subscribe'],
      read: (reader, into) => {
        into.subscriptionId = notZero(reader.varint(), 'a subscription identifier');
      },
    },
  ],
  [
    0x11,
    {
      in: ['connect', 'disconnect'],
      read: (reader, into) => {
        into.sessionExpirySeconds = reader.fourBytes();
      },
    },
  ],
  [
    0x15,
    {
      in: ['connect', 'auth'],
      read: (reader, into) => {
        into.method = reader.text();
      },
    },
  ],
  [
    0x16,
    {
      in: ['connect', 'auth'],
      read: (reader, into) => {
        into.data = reader.binary();
      },
    },
  ],
  [
    0x17,
    {
      in: ['connect'],
      read: (reader, into) => {
        into.wantsProblemInformation = bit(reader);
      },
    },
  ],
  [0x18, { in: ['will'], read: (reader) => void reader.fourBytes() }],
  [0x19, { in: ['connect'], read: (reader) => void bit(reader) }],
  [0x1f, { in: ['puback', 'disconnect', 'auth'], read: (reader) => void reader.text() }],
  [
    0x21,
    {
      in: ['connect'],
      read: (reader, into) => {
        into.receiveMaximum = notZero(reader.twoBytes(), 'receive maximum');
      },
    },
  ],
  [0x22, { in: ['connect'], read: (reader) => void reader.twoBytes() }],
  [
    0x23,
    {
      in: ['publish'],
      read: (reader, into) => {
        into.topicAlias = reader.twoBytes();
      },
    },
  ],
  [
    USER_PROPERTY,
    {
      in: ['connect', 'will', 'publish', 'puback', 'subscribe', 'unsubscribe', 'disconnect', 'auth'],
      read: (reader, into) => {
        into.user ??= [];
        into.user.push([reader.text(), reader.text()]);
      },
    },
  ],
  [
    0x27,
    {
      in: ['connect'],
      read: (reader, into) => {
        into.packetBytesMax = notZero(reader.fourBytes(), 'maximum packet size');
      },
    },
  ],
]);

/** Reads the properties of a packet; one that does not belong there or comes twice breaks the protocol. */
export function readProperties(reader: PacketReader, holder: PropertyHolder): Properties {
  const properties: Properties = {};
  const length = reader.varint();
  if (length === 0) return properties;
  const seen = new Set<number>();
  reader.part(length, (part) => {
    while (part.remaining > 0) {
      const id = part.varint();
      const rule = RULES.get(id);
      if (rule === undefined || !rule.in.includes(holder)) {
        throw new BadPacket(`property 0x${id.toString(16)} does not belong into this packet`);
      }
      if (id !== USER_PROPERTY && seen.has(id)) {
        throw new BadPacket(`property 0x${id.toString(16)} comes twice`, false);
      }
      seen.add(id);
      rule.read(part, properties);
    }
  });
  // MQTT 5 §3.1.2.11.10 and §3.15.2.2.3: nobody could say what such data is.
  if (properties.data !== undefined && properties.method === undefined) {
    throw new BadPacket('authentication data without an authentication method', false);
  }
  return properties;
}
