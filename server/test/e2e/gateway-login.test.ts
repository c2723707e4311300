import { generate } from 'mqtt-packet';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { STATE } from '../../src/core/delivery-state.ts';
import { GatewayWorld } from '../support/gateway-world.ts';
import type { RawConnect } from '../support/raw-device.ts';

let world: GatewayWorld;
beforeEach(async () => {
  world = await GatewayWorld.open({ limits: { sessionsPerUserMax: 3 } });
});
afterEach(() => world.close());

const v5 = { protocolVersion: 5 } as const;

async function connack(options: RawConnect): Promise<{ code: number | undefined; properties: object | undefined }> {
  const device = await world.raw();
  const packet = await device.connect({ username: world.topic(), ...options });
  const code = options.protocolVersion === 5 ? packet.reasonCode : packet.returnCode;
  if (code !== 0) await device.closed();
  return { code, properties: packet.properties };
}

describe('CONNECT', () => {
  test('refusals, in both versions', async () => {
    const password = await world.token();
    const will = { topic: 'x', payload: 'x', qos: 0, retain: false } as const;
    const cases: [RawConnect, number, number][] = [
      [{ password: 'nonsense' }, 0x86, 4],
      [{ password: await world.token('bob') }, 0x86, 4],
      [{ username: 'other-app/ann', password }, 0x86, 4],
      [{ username: 'ann', password }, 0x86, 4],
      [{ password, will }, 0x87, 5],
      [{ password, clientId: 'a+b' }, 0x85, 2],
      [{ password, clientId: 'a\nb' }, 0x85, 2],
      [{ password, clientId: 'x'.repeat(257) }, 0x85, 2],
      [{ password, clientId: 'acme-app/bob/phone' }, 0x85, 2],
      [{ password: await world.token('ann', { deviceid: 'tablet' }) }, 0x85, 2],
    ];
    for (const [options, reason, returnCode] of cases) {
      expect(await connack({ ...v5, ...options }), JSON.stringify(options)).toMatchObject({ code: reason });
      expect(await connack(options), JSON.stringify(options)).toMatchObject({ code: returnCode });
    }
  });

  test('an expired token, and the leeway of a minute', async () => {
    const password = await world.token('ann', { ttlSeconds: 10 });
    world.clock.advance(60_000);
    expect(await connack({ password })).toMatchObject({ code: 0 });
    world.clock.advance(10_000);
    expect(await connack({ ...v5, password })).toMatchObject({
      code: 0x86,
      properties: { reasonString: 'the token has ended' },
    });
  });

  test('client ids: the original form is read, an empty one is assigned', async () => {
    const password = await world.token();
    await world.device({ clientId: 'acme-app/ann/phone' });
    const second = await world.device({ ...v5, clientId: 'phone' });
    await second.ping();
    expect(await connack({ ...v5, password, clientId: '' })).toMatchObject({
      code: 0,
      properties: { assignedClientIdentifier: expect.stringMatching(/^d-[0-9a-f]{24}$/) as string },
    });
    const bound = await world.token('ann', { deviceid: 'tablet' });
    expect(await connack({ ...v5, password: bound, clientId: '' })).toMatchObject({
      properties: { assignedClientIdentifier: 'tablet' },
    });
  });

  test('a userid with a slash stands percent-encoded in topics', async () => {
    const device = await world.raw();
    const password = await world.token('a/b+ü');
    await device.connect({ username: 'acme-app/a%2Fb%2Bü', password });
    expect(await device.subscribe('acme-app/a%2fb%2Bü')).toMatchObject({ granted: [1] });
    await world.send('slash', { user: 'a/b+ü' });
    expect((await device.down()).packet.topic).toBe('acme-app/a%2fb%2Bü');
  });

  test('sessions of one user are bounded; a take-over is not one more', async () => {
    const password = await world.token();
    for (const clientId of ['1', '2', '3']) await world.device({ clientId });
    expect(await connack({ ...v5, password, clientId: '4' })).toMatchObject({ code: 0x97 });
    expect(await connack({ ...v5, password, clientId: '3' })).toMatchObject({ code: 0 });
  });

  test('a method other than token is refused; the token may come as its data', async () => {
    const token = await world.token();
    expect(await connack({ ...v5, properties: { authenticationMethod: 'SCRAM' }, password: token })).toMatchObject({
      code: 0x8c,
    });
    const properties = { authenticationMethod: 'token', authenticationData: Buffer.from(token) };
    expect(await connack({ ...v5, properties })).toMatchObject({
      code: 0,
      properties: { authenticationMethod: 'token' },
    });
  });
});

describe('tokens that end', () => {
  test('the end closes the session with its own reason', async () => {
    const device = await world.device({ ...v5, ttlSeconds: 100 });
    world.pass(159_000);
    await device.ping();
    world.pass(2_000);
    expect(await device.next('disconnect')).toMatchObject({
      reasonCode: 0x87,
      properties: { reasonString: expect.stringContaining('token has ended') as string },
    });
    await device.closed();
  });

  test('a jump of the wall clock past the end is noticed', async () => {
    const device = await world.device({ ttlSeconds: 1_000 });
    world.clock.jump(2_000_000);
    world.pass(16_000);
    await device.closed();
  });

  test('AUTH with a fresh token goes on; with a foreign or bad one it ends', async () => {
    const auth = (token: string, reasonCode = 0x19) =>
      ({
        cmd: 'auth',
        reasonCode,
        properties: { authenticationMethod: 'token', authenticationData: Buffer.from(token) },
      }) as const;
    const device = await world.device({ ...v5, ttlSeconds: 100 });
    world.pass(90_000);
    device.send(auth(await world.token('ann', { ttlSeconds: 1_000 })));
    expect(await device.next('auth')).toMatchObject({ reasonCode: 0 });
    world.pass(300_000);
    await device.ping();
    device.send(auth(await world.token('bob')));
    expect(await device.next('disconnect')).toMatchObject({ reasonCode: 0x87 });
    const other = await world.device(v5);
    other.send(auth('nonsense'));
    expect(await other.next('disconnect')).toMatchObject({ reasonCode: 0x87 });
    const third = await world.device(v5);
    third.send({ cmd: 'auth', reasonCode: 0x19, properties: { authenticationMethod: 'other' } });
    expect(await third.next('disconnect')).toMatchObject({ reasonCode: 0x82 });
  });
});

describe('users that are erased', () => {
  const erase = async (user: string): Promise<void> => {
    expect(await world.store.deleteProfile(world.tenant.appId, user)).toBe(true);
  };

  test('every session of the user ends with its reason within a second, subscribed or not; others go on', async () => {
    const subscribed = await world.device({ ...v5, clientId: 'phone' });
    await subscribed.subscribe(world.topic());
    const silent = await world.device({ ...v5, clientId: 'tablet' });
    const other = await world.device({ user: 'ben', clientId: 'phone' });
    await erase('ann');
    world.bus.publish('erased');
    world.pass(1_000);
    for (const device of [subscribed, silent]) {
      expect(await device.next('disconnect')).toMatchObject({
        reasonCode: 0x98,
        properties: { reasonString: 'the user was erased' },
      });
      await device.closed();
    }
    await other.ping();
  });

  test('also where nobody told of it, and who connects again is somebody new', async () => {
    await world.send('before');
    const device = await world.device({ ...v5, clean: false, properties: { sessionExpiryInterval: 60 } });
    await erase('ann');
    world.pass(world.gateway.context.limits.pollMs);
    await device.closed();
    const again = await world.raw();
    const password = await world.token();
    const connack = await again.connect({ ...v5, username: world.topic(), password, clean: false });
    expect(connack.sessionPresent).toBe(false);
  });
});

describe('strangers', () => {
  test('5 s for a CONNECT, byte by byte too', async () => {
    const silent = await world.raw();
    const slow = await world.raw();
    const bytes = generate({
      cmd: 'connect',
      clientId: 'phone',
      clean: true,
      keepalive: 0,
      username: 'x',
      password: Buffer.from('x'),
    });
    slow.send(bytes.subarray(0, 4));
    world.pass(4_000);
    slow.send(bytes.subarray(4, 5));
    const late = await world.raw();
    world.pass(1_500);
    await silent.closed();
    await slow.closed();
    expect(late.isClosed).toBe(false);
  });

  test('4 KiB before the login', async () => {
    const device = await world.raw();
    device.send(Buffer.concat([Buffer.from([0x10, 0xff, 0x7f]), Buffer.alloc(20_000)]));
    await device.closed();
    const pipelining = await world.raw();
    const connect = generate({
      cmd: 'connect',
      clientId: 'phone',
      clean: true,
      keepalive: 0,
      username: world.topic(),
      password: Buffer.from(await world.token()),
    });
    pipelining.send(Buffer.concat([connect, ...Array.from({ length: 3_000 }, () => Buffer.from([0xc0, 0]))]));
    await pipelining.closed();
  });

  test('what is pipelined behind CONNECT is read after its answer', async () => {
    const device = await world.raw();
    const username = world.topic();
    const password = Buffer.from(await world.token());
    device.send(
      Buffer.concat([
        generate({ cmd: 'connect', clientId: 'phone', clean: true, keepalive: 0, username, password }),
        generate({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: username, qos: 1 }] }),
      ]),
    );
    await device.next('connack');
    expect((await device.next('suback')).granted).toEqual([1]);
  });
});

describe('keep-alive', () => {
  test('one and a half times, then 0x8D; a ping renews it, 0 has none', async () => {
    const device = await world.device({ ...v5, keepalive: 10, clientId: 'a' });
    const silent = await world.device({ clientId: 'b', keepalive: 10 });
    const endless = await world.device({ clientId: 'c', keepalive: 0 });
    world.pass(14_000);
    await device.ping();
    world.pass(2_000);
    await silent.closed();
    await device.ping();
    world.clock.jump(-3_600_000);
    world.pass(14_000);
    await device.ping();
    world.pass(16_000);
    expect(await device.next('disconnect')).toMatchObject({ reasonCode: 0x8d });
    await endless.ping();
  });
});

describe('events up', () => {
  test('topics: foreign ones are refused, wildcards, QoS 2, retain and aliases end it', async () => {
    const device = await world.device(v5);
    const publish = { cmd: 'publish', payload: '{}', qos: 1, dup: false, retain: false, messageId: 3 } as const;
    for (const topic of ['acme-app/bob/up', 'acme-app/ann', '$SYS/x', 'acme-app/ann/up/x']) {
      device.send({ ...publish, topic });
      expect((await device.next('puback')).reasonCode).toBe(0x87);
    }
    const old = await world.device({ clientId: 'old' });
    old.send({ ...publish, topic: 'acme-app/bob/up' });
    await old.closed();
    const up = 'acme-app/ann/up';
    const endings: [object, number][] = [
      [{ ...publish, topic: up, qos: 2 }, 0x9b],
      [{ ...publish, topic: up, retain: true }, 0x9a],
      [{ ...publish, topic: '', properties: { topicAlias: 1 } }, 0x94],
      [{ ...publish, topic: 'acme-app/+/up' }, 0x90],
    ];
    for (const [packet, reasonCode] of endings) {
      const other = await world.device({ ...v5, clientId: 'other' });
      other.send(packet as never);
      expect(await other.next('disconnect')).toMatchObject({ reasonCode });
      await other.closed();
    }
  });

  test('malformed ones: 0x99 in MQTT 5, PUBACK and an error event in 3.1.1', async () => {
    const device = await world.device(v5);
    for (const event of [
      '{',
      '[]',
      '{"type":"nothing"}',
      '{"type":"read","tids":[]}',
      '{"type":"reply","message":"x"}',
    ]) {
      expect(await device.up(world.topic(), event), event).toBe(0x99);
    }
    const old = await world.device({ clientId: 'old' });
    await old.subscribe(world.topic());
    expect(await old.up(world.topic(), '{"type":"nothing"}')).toBe(0);
    expect(await old.take()).toMatchObject({ type: 'error', message: expect.stringContaining('type') as string });
    expect(world.refusals.filter((reason) => reason === 'bad-event')).toHaveLength(6);
  });

  test('about nothing that this user has: refused; a repeat and a mixed list are not', async () => {
    const { tid } = await world.send('one');
    const bob = await world.device({ ...v5, user: 'bob', clientId: 'b' });
    expect(await bob.up(world.topic('bob'), { type: 'read', tids: [tid] })).toBe(0x83);
    expect(await bob.up(world.topic('bob'), { id: '1', type: 'reply', thread: { id: 'no' }, message: 'x' })).toBe(0x83);
    expect(await world.statusOf(tid)).toBe(STATE.queued);
    const ann = await world.device(v5);
    expect(await ann.up(world.topic(), { type: 'read', tids: [tid, 'unknown'] })).toBe(0);
    expect(await ann.up(world.topic(), { type: 'read', tids: [tid] })).toBe(0);
    expect(await world.statusOf(tid)).toBe(STATE.read);
  });

  test('a reply reaches the service once, with its thread; a closed thread takes none', async () => {
    await world.send('one');
    const device = await world.device(v5);
    await device.subscribe(world.topic());
    const { thread } = (await device.take()) as { thread: { id: string } };
    const reply = { id: 'r1', type: 'reply', thread: { id: thread.id }, message: 'Thanks' };
    expect(await device.up(world.topic(), reply)).toBe(0);
    expect(await device.up(world.topic(), reply)).toBe(0);
    expect(await device.up(world.topic(), { type: 'typing', thread: { id: thread.id }, on: true })).toBe(0);
    const claim = { limit: 100, leaseMs: 1_000, now: world.clock.now() };
    const works = await world.store.claimReceipts(claim);
    const inbound = works.filter(({ kind }) => kind === 'inbound').map((work) => work.inbound);
    expect(inbound).toMatchObject([
      {
        event: 'MO',
        message: 'Thanks',
        userId: 'ann',
        clientId: 'acme-app/ann/phone',
        thread_id: thread.id,
        thread_title: 'Orders',
      },
      { event: 'TypingIndicator', type: 'typingStart', thread_id: thread.id },
    ]);
    await world.store.updateThread(world.tenant.appId, thread.id, { status: 'Closed' }, world.clock.now());
    expect(await device.up(world.topic(), { ...reply, id: 'r2' })).toBe(0x83);
  });

  test('a device that is too fast is read more slowly, and loses nothing', async () => {
    await world.close();
    world = await GatewayWorld.open({ limits: { upEventsBurst: 5, upEventsPerSecond: 5 } });
    const { tid } = await world.send('one');
    const device = await world.device(v5);
    for (let messageId = 1; messageId <= 12; messageId += 1) {
      const payload = JSON.stringify({ type: 'delivered', tids: [tid] });
      device.send({
        cmd: 'publish',
        topic: `${world.topic()}/up`,
        payload,
        qos: 1,
        dup: false,
        retain: false,
        messageId,
      });
    }
    for (let count = 0; count < 5; count += 1) await device.next('puback');
    expect(device.pending).toEqual([]);
    world.pass(1_000);
    for (let count = 0; count < 5; count += 1) await device.next('puback');
    expect(device.pending).toEqual([]);
    world.pass(1_000);
    for (let count = 0; count < 2; count += 1) await device.next('puback');
  });
});

describe('bounds', () => {
  test('a device that takes nothing is cut, others are served', async () => {
    const stuck = await world.device({ clientId: 'stuck' });
    const other = await world.device({ clientId: 'other' });
    await stuck.subscribe(world.topic(), { qos: 0 });
    await other.subscribe(world.topic(), { qos: 0 });
    stuck.socket.pause();
    const text = 'x'.repeat(30_000);
    for (let n = 0; n < 400; n += 1) {
      await world.send(`${n} ${text}`);
      await other.take();
    }
    expect(world.gateway.connectionCount).toBe(2);
    world.pass(31_000);
    expect(world.refusals).toContain('slow-consumer');
    await other.ping();
    expect(world.gateway.connectionCount).toBe(1);
  });

  test('a device that pauses and goes on gets everything, in order', async () => {
    const text = 'x'.repeat(30_000);
    for (let n = 0; n < 400; n += 1) await world.send(`${n} ${text}`);
    const paused = await world.device({ clientId: 'paused' });
    const other = await world.device({ clientId: 'other' });
    await paused.subscribe(world.topic(), { qos: 0 });
    paused.socket.pause();
    // More than the system's buffers take, so the server has stopped by the time another device has all of it.
    await other.subscribe(world.topic(), { qos: 0 });
    for (let n = 0; n < 400; n += 1) await other.take();
    paused.socket.resume();
    for (let n = 0; n < 400; n += 1) expect((await paused.take())['message']).toBe(`${n} ${text}`);
  });

  test('connections beyond the bound are closed at once', async () => {
    await world.close();
    world = await GatewayWorld.open({ limits: { connectionsMax: 1 } });
    const first = await world.device();
    const second = await world.raw();
    await second.closed();
    await first.ping();
  });
});

describe('drain', () => {
  test('0x8B, closed within the time, nothing lost, no new connections', async () => {
    const device = await world.device({ ...v5, clean: false, properties: { sessionExpiryInterval: 600 } });
    await device.subscribe(world.topic());
    const { tid } = await world.send('one');
    await device.down();
    const stuck = await world.device({ clientId: 'stuck' });
    stuck.socket.pause();
    await world.gateway.drain(300);
    expect(await device.next('disconnect')).toMatchObject({ reasonCode: 0x8b });
    expect(world.gateway.connectionCount).toBe(0);
    await world.writer.drained();
    expect(await world.statusOf(tid)).toBe(STATE.sent);
    await expect(world.raw()).rejects.toThrow('ECONNREFUSED');
  });
});

describe('a store that cannot take it', () => {
  test('CONNECT is refused for now, an event is not acknowledged, both without a hang', async () => {
    const device = await world.device({ ...v5, clientId: 'open' });
    const password = await world.token();
    await world.failWrites();
    expect(await connack({ ...v5, password })).toMatchObject({ code: 0x88 });
    expect(await connack({ password })).toMatchObject({ code: 3 });
    const event = JSON.stringify({ type: 'read', tids: ['x'] });
    const publish = { cmd: 'publish', qos: 1, dup: false, retain: false, messageId: 4 } as const;
    device.send({ ...publish, topic: `${world.topic()}/up`, payload: event });
    expect(await device.next('disconnect')).toMatchObject({ reasonCode: 0x89 });
    expect(device.pending).toEqual([]);
  });
});
