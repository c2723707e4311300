import fc from 'fast-check';
import { generate } from 'mqtt-packet';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GatewayWorld } from '../support/gateway-world.ts';
import type { RawDevice } from '../support/raw-device.ts';

/** One gateway for all: whatever a connection does, the next one must find it well. */
let world: GatewayWorld;
let token = '';
beforeAll(async () => {
  world = await GatewayWorld.open();
  token = await world.token();
});
afterAll(() => world.close());

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex');
}

function text(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    const digit = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? digit | 0x80 : digit);
  } while (rest > 0);
  return Buffer.from(bytes);
}

function packet(first: number, ...parts: (Buffer | number[])[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return Buffer.concat([Buffer.from([first]), varint(body.length), body]);
}

interface ConnectParts {
  name?: string | Buffer;
  level?: number;
  flags?: number;
  keepAlive?: number[];
  properties?: Buffer;
  clientId?: string | Buffer;
  rest?: Buffer;
}

/** A CONNECT of any shape; without changes it is a good one. */
function connect(parts: ConnectParts = {}): Buffer {
  const { name = 'MQTT', level = 4, flags = 0xc2, keepAlive = [0, 0], clientId = 'phone' } = parts;
  const properties = parts.properties ?? (level === 5 ? Buffer.from([0]) : Buffer.alloc(0));
  const rest = parts.rest ?? Buffer.concat([text('acme-app/ann'), text(token)]);
  return packet(0x10, text(name), [level, flags], keepAlive, properties, text(clientId), rest);
}

function withLength(properties: Buffer): Buffer {
  return Buffer.concat([varint(properties.length), properties]);
}

/** How a connection ended: the CONNACK code where one came, then the end. */
async function ending(bytes: Buffer): Promise<number | 'closed' | 'accepted'> {
  const device = await world.raw();
  device.send(bytes);
  await device.closedOr('connack');
  const connack = device.pending.find((each) => each.cmd === 'connack');
  if (connack?.cmd !== 'connack') return 'closed';
  // A raw device reads as 3.1.1 until it connects itself: byte 4 is the code in both versions.
  const code = connack.returnCode ?? connack.reasonCode ?? 0;
  device.destroy();
  return code === 0 ? 'accepted' : code;
}

const duplicated = hex('11 00000001 11 00000001');
const tooManyProperties = Buffer.concat(Array.from({ length: 10_000 }, () => hex('26 0001 61 0001 62')));

describe('CONNECT', () => {
  const cases: [string, () => Buffer, number | 'closed' | 'accepted'][] = [
    ['a good one', () => connect(), 'accepted'],
    ['a good one of MQTT 5', () => connect({ level: 5 }), 'accepted'],
    ['remaining length 0', () => hex('10 00'), 'closed'],
    ['protocol name wrong', () => connect({ name: 'MQTX' }), 'closed'],
    ['protocol name empty', () => connect({ name: '' }), 'closed'],
    ['protocol name of 64 KB', () => connect({ name: 'M'.repeat(65_535) }), 'closed'],
    ['level 0', () => connect({ level: 0 }), 1],
    ['level 2', () => connect({ level: 2 }), 1],
    ['level 6', () => connect({ level: 6 }), 1],
    ['level 255', () => connect({ level: 255 }), 1],
    ['MQIsdp, level 3', () => connect({ name: 'MQIsdp', level: 3 }), 1],
    ['reserved flag', () => connect({ flags: 0xc3 }), 'closed'],
    ['header flags', () => Buffer.concat([hex('11'), connect().subarray(1)]), 'closed'],
    ['will flag without its fields', () => connect({ flags: 0xc6 }), 'closed'],
    ['will QoS 3', () => connect({ flags: 0xde }), 'closed'],
    ['will QoS without a will', () => connect({ flags: 0xca }), 'closed'],
    ['user name flag without a user name', () => connect({ rest: Buffer.alloc(0) }), 'closed'],
    ['password without a user name', () => connect({ flags: 0x42, rest: text(token) }), 'closed'],
    [
      'bytes behind it',
      () => connect({ rest: Buffer.concat([text('acme-app/ann'), text(token), hex('00')]) }),
      'closed',
    ],
    ['keep alive 65535', () => connect({ keepAlive: [0xff, 0xff] }), 'accepted'],
    ['client id empty, kept session', () => connect({ flags: 0xc0, clientId: '' }), 2],
    ['client id of 65,535 bytes', () => connect({ clientId: 'x'.repeat(65_535) }), 'closed'],
    ['client id with NUL', () => connect({ clientId: 'a\0b' }), 'closed'],
    ['client id #', () => connect({ clientId: '#' }), 2],
    ['client id +', () => connect({ clientId: '+' }), 2],
    ['client id /', () => connect({ clientId: '/' }), 'accepted'],
    ['client id with CR LF', () => connect({ clientId: 'a\r\nb' }), 2],
    ['client id with a byte order mark', () => connect({ clientId: '\ufeffa' }), 2],
    ['client id not UTF-8', () => connect({ clientId: hex('c3 28') }), 'closed'],
    ['client id with a surrogate', () => connect({ clientId: hex('ed a0 80') }), 'closed'],
    ['10,000 user properties', () => connect({ level: 5, properties: withLength(tooManyProperties) }), 'closed'],
    ['a property twice', () => connect({ level: 5, properties: withLength(duplicated) }), 'closed'],
    ['an unknown property', () => connect({ level: 5, properties: withLength(hex('7f 00')) }), 'closed'],
    ['a property of another packet', () => connect({ level: 5, properties: withLength(hex('23 0001')) }), 'closed'],
    ['properties longer than the packet', () => connect({ level: 5, properties: hex('ff 7f 11') }), 'closed'],
    ['property length of five bytes', () => connect({ level: 5, properties: hex('ff ff ff ff 01') }), 'closed'],
    ['receive maximum 0', () => connect({ level: 5, properties: withLength(hex('21 0000')) }), 'closed'],
    ['receive maximum 1', () => connect({ level: 5, properties: withLength(hex('21 0001')) }), 'accepted'],
    ['maximum packet size 0', () => connect({ level: 5, properties: withLength(hex('27 00000000')) }), 'closed'],
    [
      'authentication data without a method',
      () => connect({ level: 5, properties: withLength(hex('16 0001 61')) }),
      'closed',
    ],
    ['remaining length of five bytes', () => hex('10 ff ff ff ff 01'), 'closed'],
    ['remaining length of 256 MB', () => hex('10 ff ff ff 7f 00 04'), 'closed'],
  ];
  test.each(cases)('%s', async (_name, make, expected) => {
    expect(await ending(make())).toBe(expected);
  });

  test.each([...Array(16).keys()].filter((type) => type !== 1))('a first packet of type %i', async (type) => {
    for (const flags of [0, 2]) expect(await ending(Buffer.from([(type << 4) | flags, 2, 0, 1]))).toBe('closed');
  });

  test('a device that takes packets of one byte gets none, and no crash', async () => {
    const device = await world.raw();
    device.send(connect({ level: 5, properties: withLength(hex('27 00000001')) }));
    device.send(hex('c0 00'));
    device.send(hex('e0 00'));
    await device.closed();
    expect(device.pending).toEqual([]);
  });

  test('at every split of the bytes it is the same packet', async () => {
    const bytes = Buffer.concat([
      connect(),
      generate({ cmd: 'subscribe', messageId: 3, subscriptions: [{ topic: 'acme-app/ann', qos: 1 }] }),
    ]);
    for (let at = 1; at < bytes.length; at += 7) {
      const device = await world.raw();
      device.send(bytes.subarray(0, at));
      await new Promise((resolve) => setImmediate(resolve));
      device.send(bytes.subarray(at));
      expect((await device.next('suback')).granted).toEqual([1]);
      device.destroy();
    }
  });
});

describe('after CONNECT, MQTT 5', () => {
  const topic = 'acme-app/ann';
  const up = `${topic}/up`;
  /** 0: the connection goes on. */
  const cases: [string, () => Buffer, number][] = [
    ['CONNECT twice', () => connect({ level: 5 }), 0x82],
    ['CONNACK', () => hex('20 02 00 00'), 0x81],
    ['SUBACK', () => hex('90 03 00 01 00'), 0x81],
    ['PINGRESP', () => hex('d0 00'), 0x81],
    ['type 0', () => hex('00 00'), 0x81],
    ['PINGREQ with a body', () => hex('c0 01 00'), 0x81],
    ['PINGREQ with flags', () => hex('c1 00'), 0x81],
    ['PUBLISH, empty topic', () => packet(0x30, text(''), [0]), 0x90],
    ['PUBLISH, topic with NUL', () => packet(0x30, text('a\0'), [0]), 0x81],
    ['PUBLISH, wildcard', () => packet(0x30, text('a/#'), [0]), 0x90],
    ['PUBLISH, 101 levels', () => packet(0x30, text('/'.repeat(101)), [0]), 0],
    ['PUBLISH, 65,535 levels', () => packet(0x30, text('/'.repeat(65_535)), [0]), 0x95],
    ['PUBLISH, 60,000 levels', () => packet(0x30, text('/'.repeat(60_000)), [0]), 0],
    ['PUBLISH, QoS 3', () => packet(0x36, text(up), [0, 1, 0]), 0x81],
    ['PUBLISH, QoS 2', () => packet(0x34, text(up), [0, 1, 0]), 0x9b],
    ['PUBLISH, packet id 0', () => packet(0x32, text(up), [0, 0, 0]), 0x82],
    ['PUBLISH, DUP with QoS 0', () => packet(0x38, text(up), [0]), 0x81],
    ['PUBLISH, topic alias 0', () => packet(0x30, text(''), hex('03 23 0000')), 0x94],
    ['PUBLISH, topic alias', () => packet(0x30, text(''), hex('03 23 0005')), 0x94],
    ['PUBLISH, subscription id from a client', () => packet(0x30, text(up), hex('02 0b 01')), 0x81],
    ['PUBLISH, payload format 2', () => packet(0x30, text(up), hex('02 01 02')), 0x82],
    ['PUBLISH, payload format lie', () => packet(0x30, text(up), hex('02 01 01 ff fe')), 0],
    ['PUBLISH, message expiry 0 and 2^32-1', () => packet(0x30, text(up), hex('05 02 ffffffff 7b 7d')), 0],
    [
      'PUBLISH, response topic',
      () => packet(0x30, text(up), Buffer.concat([hex('05 08'), text('x/'), hex('7b 7d')])),
      0,
    ],
    ['PUBLISH, topic longer than the packet', () => packet(0x30, hex('ff ff 61')), 0x81],
    ['PUBLISH of 256 MB', () => hex('30 ff ff ff 7f'), 0x95],
    ['PUBACK of an unknown id', () => hex('40 02 12 34'), 0],
    ['PUBACK, id 0', () => hex('40 02 00 00'), 0x82],
    ['PUBACK too short', () => hex('40 01 00'), 0x81],
    ['PUBREC', () => hex('50 02 00 01'), 0x82],
    ['PUBREL', () => hex('62 02 00 01'), 0x82],
    ['PUBREL, wrong flags', () => hex('60 02 00 01'), 0x81],
    ['PUBCOMP', () => hex('70 02 00 01'), 0x82],
    ['SUBSCRIBE, empty list', () => hex('82 03 00 01 00'), 0x82],
    ['SUBSCRIBE, wrong flags', () => packet(0x80, [0, 1, 0], text(topic), [1]), 0x81],
    ['SUBSCRIBE, reserved option bits', () => packet(0x82, [0, 1, 0], text(topic), [0xc1]), 0x81],
    ['SUBSCRIBE, QoS 3', () => packet(0x82, [0, 1, 0], text(topic), [3]), 0x81],
    ['SUBSCRIBE, retain handling 3', () => packet(0x82, [0, 1, 0], text(topic), [0x31]), 0x82],
    ['SUBSCRIBE, subscription id', () => packet(0x82, [0, 1, 2, 0x0b, 1], text(topic), [1]), 0xa1],
    ['SUBSCRIBE, subscription id 0', () => packet(0x82, [0, 1, 2, 0x0b, 0], text(topic), [1]), 0x82],
    ['SUBSCRIBE, packet id 0', () => packet(0x82, [0, 0, 0], text(topic), [1]), 0x82],
    ['UNSUBSCRIBE, empty list', () => hex('a2 03 00 01 00'), 0x82],
    ['AUTH without a method', () => hex('f0 02 19 00'), 0x82],
    ['AUTH with data and without a method', () => hex('f0 06 19 04 16 0001 61'), 0x82],
    ['AUTH of no bytes', () => hex('f0 00'), 0x82],
    ['AUTH of another reason', () => hex('f0 02 18 00'), 0x82],
    ['AUTH with flags', () => hex('f1 02 19 00'), 0x81],
    ['DISCONNECT with flags', () => hex('e1 00'), 0x81],
    ['remaining length of five bytes', () => hex('c0 80 80 80 80 00'), 0x81],
  ];
  test.each(cases)('%s', async (_name, make, reason) => {
    const device = await world.device({ protocolVersion: 5, clientId: 'm' });
    device.send(make());
    if (reason === 0) {
      await device.ping();
      device.destroy();
      return;
    }
    expect((await device.next('disconnect')).reasonCode).toBe(reason);
    await device.closed();
  });

  test('filters of every kind get their code, 10,000 of them too', async () => {
    const device = await world.device({ protocolVersion: 5, clientId: 'm' });
    const expected: [string, number][] = [
      ['#', 0xa2],
      ['+/+', 0xa2],
      ['#/a', 0x8f],
      ['a#', 0x8f],
      ['+a', 0x8f],
      ['', 0x8f],
      ['$share//x', 0x9e],
      ['$share/a+/x', 0x9e],
      ['$share/g/acme-app/ann', 0x9e],
      ['$SYS/#', 0xa2],
      ['$MQTT.sub.x', 0x87],
      ['acme-app/bob', 0x87],
      ['acme-app/ann/up', 0x87],
      ['acme-app/ann\r\n', 0x87],
      ['acme-app/ann ', 0x87],
      ['ACME-APP/ann', 0x87],
      ['a/'.repeat(101), 0x87],
      ['acme-app/ann', 1],
    ];
    const filters = expected.map(([filter]) => Buffer.concat([text(filter), Buffer.from([1])]));
    device.send(packet(0x82, [0, 9, 0], ...filters));
    expect((await device.next('suback')).granted).toEqual(expected.map(([, code]) => code));
    const many = Array.from({ length: 10_000 }, () => Buffer.concat([text('#'), Buffer.from([1])]));
    device.send(packet(0x82, [0, 9, 0], ...many));
    expect((await device.next('suback')).granted).toHaveLength(10_000);
    device.send(packet(0xa2, [0, 9, 0], text('never/subscribed')));
    expect((await device.next('unsuback')).granted).toEqual([0x11]);
  });

  test('a flood of pings is answered, ping for ping', async () => {
    const device = await world.device({ clientId: 'm' });
    device.send(Buffer.concat(Array.from({ length: 5_000 }, () => hex('c0 00'))));
    for (let count = 0; count < 5_000; count += 1) await device.next('pingresp');
  });

  test('the same QoS 2 packet again and again is refused at the first', async () => {
    const device = await world.device({ clientId: 'm' });
    device.send(Buffer.concat(Array.from({ length: 2_000 }, () => packet(0x34, text(up), [0, 1]))));
    await device.closed();
  });
});

describe('anything at all', () => {
  async function serves(): Promise<void> {
    const device: RawDevice = await world.device({ clientId: 'after' });
    await device.ping();
    device.destroy();
  }

  test('random bytes from strangers', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
        const device = await world.raw();
        device.send(Buffer.from(bytes));
        device.socket.end();
        await device.closed();
      }),
      { numRuns: 100 },
    );
    await serves();
  });

  test('mutated packets from devices', async () => {
    const seeds = [
      packet(0x82, [0, 1, 0], text('acme-app/ann'), [1]),
      packet(0x32, text('acme-app/ann/up'), [0, 1, 0], Buffer.from('{"type":"read","tids":["x"]}')),
      packet(0xa2, [0, 1, 0], text('acme-app/ann')),
      hex('40 04 00 01 00 00'),
      hex('e0 02 04 00'),
      hex('f0 0a 19 08 15 00 05 74 6f 6b 65 6e'),
    ];
    const change = fc.record({ seed: fc.nat(seeds.length - 1), at: fc.nat(60), value: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
        const device = await world.device({ protocolVersion: 5, clientId: 'mutant' });
        for (const { seed, at, value } of changes) {
          const bytes = Buffer.from(seeds[seed]!);
          bytes[at % bytes.length] = value;
          device.send(bytes);
        }
        device.socket.end();
        await device.closed();
      }),
      { numRuns: 150 },
    );
    await serves();
  });
});
