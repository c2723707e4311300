import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { STATE } from '../../src/core/delivery-state.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../support/builders.ts';
import { GatewayWorld } from '../support/gateway-world.ts';

let world: GatewayWorld;
beforeEach(async () => {
  world = await GatewayWorld.open();
});
afterEach(() => world.close());

const v5 = { protocolVersion: 5 } as const;

describe('delivery', () => {
  test('a live message goes down as JSON of the contract; its PUBACK makes it delivered', async () => {
    const device = await world.device();
    expect(await device.subscribe(world.topic(), { qos: 2 })).toMatchObject({ granted: [1] });
    const { tid } = await world.send('Hello', {
      content: JSON.stringify({
        message: 'Grüße',
        media: [],
        notification: { title: 'T', text: 'x' },
        extras: { a: 1 },
      }),
      priority: 3,
    });
    const { packet, body } = await device.down();
    expect(packet).toMatchObject({ topic: world.topic(), qos: 1, retain: false, dup: false });
    expect(body).toEqual({
      seq: 1,
      type: 'message',
      tid,
      created: '2026-01-01T00:00:00.000Z',
      expiry: '2026-01-02T00:00:00.000Z',
      priority: 3,
      thread: { id: expect.any(String) as string, title: 'Orders', type: 'Conversation' },
      message: 'Grüße',
      media: [],
      notification: { title: 'T', text: 'x' },
      extras: { a: 1 },
    });
    expect(await world.statusOf(tid)).toBe(STATE.queued);
    device.ack(packet);
    await device.ping();
    await world.writer.drained();
    expect(await world.statusOf(tid)).toBe(STATE.delivered);
  });

  test('what waited goes out by priority, then number; another user gets nothing', async () => {
    for (const [text, priority] of [
      ['a', 1],
      ['b', 2],
      ['c', 3],
      ['d', 1],
      ['e', 2],
      ['f', 3],
    ] as const) {
      await world.send(text, { priority });
    }
    await world.send('other', { user: 'bob' });
    const device = await world.device();
    await device.subscribe(world.topic());
    const texts: unknown[] = [];
    for (let count = 0; count < 6; count += 1) texts.push((await device.take())['message']);
    expect(texts).toEqual(['c', 'f', 'b', 'e', 'a', 'd']);
    await device.ping();
    expect(device.pending).toEqual([]);
  });

  test('a backlog larger than what is read ahead arrives whole, in order, with live ones behind it', async () => {
    for (let n = 0; n < 200; n += 1) await world.send(`m${n}`);
    const device = await world.device();
    await device.subscribe(world.topic());
    const got: unknown[] = [];
    while (got.length < 200) {
      got.push((await device.take())['message']);
      if (got.length === 100) for (let n = 200; n < 300; n += 1) await world.send(`m${n}`);
    }
    while (got.length < 300) got.push((await device.take())['message']);
    expect(got).toEqual(Array.from({ length: 300 }, (_, n) => `m${n}`));
  });

  test('the window: no more in flight than the device takes, and 64 at most', async () => {
    for (let n = 0; n < 80; n += 1) await world.send(`m${n}`);
    const narrow = await world.device({ ...v5, clientId: 'narrow', properties: { receiveMaximum: 2 } });
    const wide = await world.device({ ...v5, clientId: 'wide' });
    await narrow.subscribe(world.topic());
    await wide.subscribe(world.topic());
    const first = await narrow.down();
    await narrow.down();
    await narrow.ping();
    expect(narrow.pending).toEqual([]);
    narrow.ack(first.packet);
    await narrow.down();
    for (let count = 0; count < 64; count += 1) await wide.down();
    await wide.ping();
    expect(wide.pending).toEqual([]);
  });

  test('two devices get it; the first acknowledgement delivers', async () => {
    const phone = await world.device({ clientId: 'phone' });
    const tablet = await world.device({ clientId: 'tablet' });
    await phone.subscribe(world.topic());
    await tablet.subscribe(world.topic());
    const { tid } = await world.send('both');
    expect(await phone.take()).toMatchObject({ tid });
    expect(await tablet.take()).toMatchObject({ tid });
    await tablet.ping();
    await world.writer.drained();
    expect(await world.statusOf(tid)).toBe(STATE.delivered);
  });

  test('an expired message is not sent and ends as expired; MQTT 5 tells the remaining seconds', async () => {
    const late = await world.send('late', { expiry: world.clock.now() + MINUTE_MS });
    const fresh = await world.send('fresh', { expiry: world.clock.now() + HOUR_MS });
    world.clock.advance(MINUTE_MS);
    const device = await world.device(v5);
    await device.subscribe(world.topic());
    const { packet, body } = await device.down();
    expect(body).toMatchObject({ tid: fresh.tid });
    expect(packet.properties?.messageExpiryInterval).toBe(59 * 60);
    await device.ping();
    expect(device.pending).toEqual([]);
    await world.writer.drained();
    expect(await world.statusOf(late.tid)).toBe(STATE.expired);
  });

  test('a message that expires while the window is full is not sent', async () => {
    const device = await world.device({ ...v5, properties: { receiveMaximum: 1 } });
    await device.subscribe(world.topic());
    await world.send('first');
    const { tid } = await world.send('short', { expiry: world.clock.now() + MINUTE_MS });
    const first = await device.down();
    world.clock.advance(MINUTE_MS);
    device.ack(first.packet);
    await device.ping();
    await world.writer.drained();
    expect(device.pending).toEqual([]);
    expect(await world.statusOf(tid)).toBe(STATE.expired);
  });

  test.each([
    ['here', true],
    ['by another node, whose hint says no more than that the log grew', false],
  ])('a message recalled %s while it waits behind the window is not sent; the event is', async (_, isHere) => {
    const device = await world.device({ ...v5, properties: { receiveMaximum: 1 } });
    await device.subscribe(world.topic());
    await world.send('first');
    const first = await device.down();
    const { tid } = await world.send('oops');
    const recalled = await world.store.recall(world.tenant.serviceId, tid, world.clock.now());
    const [entry] = recalled?.[0]?.entries ?? [];
    world.bus.publishUsers([{ user: entry!.user, head: entry!.n, entry: isHere ? entry! : null }]);
    device.ack(first.packet);
    expect(await device.take()).toMatchObject({ type: 'recalled', tid });
    await device.ping();
    expect(device.pending).toEqual([]);
  });

  test('links: each recipient gets its own short link', async () => {
    const device = await world.device();
    await device.subscribe(world.topic());
    await world.send('', {
      content: JSON.stringify({ message: 'See {{link_7}} and {{link_8}}', media: [] }),
      links: [{ linkid: '7', url: 'https://shop.example/', expiresAt: world.clock.now() + DAY_MS }],
    });
    expect((await device.take())['message']).toMatch(/^See https:\/\/carillon\.example\/l\/[\w-]+ and \{\{link_8\}\}$/);
  });

  test('a packet larger than the device takes is passed over with an error event', async () => {
    const device = await world.device({ ...v5, properties: { maximumPacketSize: 400 } });
    await device.subscribe(world.topic());
    const large = await world.send('x'.repeat(400));
    const small = await world.send('small');
    expect(await device.take()).toMatchObject({ type: 'error', tid: large.tid });
    expect(await device.take()).toMatchObject({ tid: small.tid });
  });

  test('a lost hint costs a poll', async () => {
    const device = await world.device();
    await device.subscribe(world.topic());
    const { tid } = await world.writeSilently('quiet');
    await device.ping();
    expect(device.pending).toEqual([]);
    world.pass(5_000);
    expect(await device.take()).toMatchObject({ tid });
  });

  test('a hint behind a lost one brings both, in order', async () => {
    const device = await world.device();
    await device.subscribe(world.topic());
    const lost = await world.writeSilently('lost');
    const told = await world.send('told');
    expect(await device.take()).toMatchObject({ tid: lost.tid });
    expect(await device.take()).toMatchObject({ tid: told.tid });
  });

  test('UNSUBSCRIBE stops delivery, SUBSCRIBE goes on without a gap or a repeat', async () => {
    const device = await world.device(v5);
    await device.subscribe(world.topic());
    await world.send('one');
    await device.take();
    device.send({ cmd: 'unsubscribe', messageId: 5, unsubscriptions: [world.topic(), 'x/y'] });
    expect((await device.next('unsuback')).granted).toEqual([0, 0x11]);
    await world.send('two');
    await device.ping();
    expect(device.pending).toEqual([]);
    await device.subscribe(world.topic());
    expect(await device.take()).toMatchObject({ message: 'two' });
  });
});

describe('sessions', () => {
  test('kept: everything this device has not acknowledged, whatever others did; a new one: what nobody has', async () => {
    const kept = await world.device({ clientId: 'kept', clean: false });
    const other = await world.device({ clientId: 'other' });
    await kept.subscribe(world.topic());
    await other.subscribe(world.topic());
    await world.send('one');
    await world.send('two');
    await kept.take();
    const { body: unacknowledged } = await kept.down();
    kept.destroy();
    await other.take();
    await other.take();
    await world.send('three');
    await other.ping();
    await world.writer.drained();

    const again = await world.raw();
    const connack = await again.connect({
      username: world.topic(),
      password: await world.token(),
      clientId: 'kept',
      clean: false,
    });
    expect(connack.sessionPresent).toBe(true);
    // Without a new SUBSCRIBE, and with the same tid.
    expect(await again.take()).toEqual(unacknowledged);
    expect(await again.take()).toMatchObject({ message: 'three' });
    await again.ping();
    expect(again.pending).toEqual([]);

    const fresh = await world.device({ clientId: 'fresh' });
    await fresh.subscribe(world.topic());
    await fresh.ping();
    expect(fresh.pending).toEqual([]);
  });

  test('what was in flight when the connection ended is sent, and goes out again', async () => {
    const device = await world.device({ clientId: 'phone' });
    await device.subscribe(world.topic());
    const { tid } = await world.send('one');
    await device.down();
    device.send({ cmd: 'disconnect' });
    await device.closed();
    await world.writer.drained();
    expect(await world.statusOf(tid)).toBe(STATE.sent);
    const again = await world.device({ clientId: 'phone' });
    await again.subscribe(world.topic());
    expect(await again.take()).toMatchObject({ tid });
  });

  test('what goes on after a crash is known before the answer: QoS 1 does, a view and what was unsubscribed do not', async () => {
    const device = await world.device({ clientId: 'kept', clean: false });
    // Opened as after a crash: the connection has not been closed in the store.
    const goesOn = async (): Promise<boolean | undefined> => {
      const session = { appId: world.tenant.appId, userid: 'ann', customerid: null, msisdn: null, deviceid: 'kept' };
      const open = { ...session, clean: false, keepMs: HOUR_MS, at: world.clock.now() };
      const { opens } = await world.store.write({ opens: [open], accepts: [], settlements: [], closes: [] });
      return opens[0]?.subscribed;
    };
    await device.subscribe(world.topic(), { qos: 0 });
    expect(await goesOn()).toBe(false);
    await device.subscribe(world.topic(), { qos: 1 });
    expect(await goesOn()).toBe(true);
    device.send({ cmd: 'unsubscribe', messageId: 5, unsubscriptions: [world.topic()] });
    await device.next('unsuback');
    expect(await goesOn()).toBe(false);
  });

  test('a kept session ends with its expiry', async () => {
    const properties = { sessionExpiryInterval: 60 };
    const device = await world.device({ ...v5, clean: false, properties });
    await device.subscribe(world.topic());
    device.send({ cmd: 'disconnect', reasonCode: 0 });
    await device.closed();
    await world.writer.drained();
    world.clock.advance(61_000);
    const again = await world.raw();
    const connack = await again.connect({
      ...v5,
      username: world.topic(),
      password: await world.token(),
      clean: false,
      properties,
    });
    expect(connack.sessionPresent).toBe(false);
  });

  test('a session expiry over 30 days is cut, and told', async () => {
    const device = await world.raw();
    const properties = { sessionExpiryInterval: 0xff_ff_ff_ff };
    const connack = await device.connect({ ...v5, username: world.topic(), password: await world.token(), properties });
    expect(connack.properties).toMatchObject({
      sessionExpiryInterval: 30 * 86_400,
      maximumQoS: 1,
      retainAvailable: false,
    });
  });

  test('take-over: the newer connection wins, the older hears 0x8E, nothing is lost', async () => {
    const older = await world.device({ ...v5, clean: false, properties: { sessionExpiryInterval: 600 } });
    await older.subscribe(world.topic());
    const one = await world.send('one');
    await older.down();
    const newer = await world.device({ ...v5, clean: false, properties: { sessionExpiryInterval: 600 } });
    expect((await older.next('disconnect')).reasonCode).toBe(0x8e);
    await older.closed();
    expect(await newer.take()).toMatchObject({ tid: one.tid });
    const two = await world.send('two');
    expect(await newer.take()).toMatchObject({ tid: two.tid });
    const stranger = await world.device({ user: 'bob', clientId: 'phone' });
    await stranger.ping();
    await newer.ping();
  });

  test('take-over ping-pong under traffic loses nothing', async () => {
    const seen = new Set<unknown>();
    const sent: string[] = [];
    for (let round = 0; round < 20; round += 1) {
      const device = await world.device({ ...v5, clean: false, properties: { sessionExpiryInterval: 600 } });
      if (round === 0) await device.subscribe(world.topic());
      sent.push((await world.send(`m${round}`)).tid);
      if (round % 3 === 0) seen.add((await device.take())['tid']);
    }
    const last = await world.device({ ...v5, clean: false, properties: { sessionExpiryInterval: 600 } });
    while (seen.size < sent.length) seen.add((await last.take())['tid']);
    expect(seen).toEqual(new Set(sent));
  });

  test('QoS 0 is a view: sent again to each new session until a delivered event', async () => {
    const { tid } = await world.send('view');
    for (const clientId of ['a', 'b', 'b']) {
      const device = await world.device({ clientId });
      expect(await device.subscribe(world.topic(), { qos: 0 })).toMatchObject({ granted: [0] });
      const { packet } = await device.down();
      expect(packet.qos).toBe(0);
      device.send({ cmd: 'disconnect' });
      await device.closed();
      await world.writer.drained();
      expect(await world.statusOf(tid)).toBe(STATE.sent);
    }
    const device = await world.device({ clientId: 'c' });
    expect(await device.up(world.topic(), { type: 'delivered', tids: [tid] })).toBe(0);
    expect(await world.statusOf(tid)).toBe(STATE.delivered);
    await device.subscribe(world.topic(), { qos: 0 });
    await device.ping();
    expect(device.pending).toEqual([]);
  });

  test('a view of a kept session too: what was shown and not taken is shown again', async () => {
    await world.send('one');
    await world.send('two');
    for (let round = 0; round < 2; round += 1) {
      const device = await world.device({ clean: false });
      await device.subscribe(world.topic(), { qos: 0 });
      expect([(await device.take())['message'], (await device.take())['message']]).toEqual(['one', 'two']);
      device.send({ cmd: 'disconnect' });
      await device.closed();
    }
  });

  test('a QoS 0 backlog larger than the socket takes arrives whole', async () => {
    const text = 'x'.repeat(4_000);
    for (let n = 0; n < 150; n += 1) await world.send(`${n} ${text}`);
    const device = await world.device();
    await device.subscribe(world.topic(), { qos: 0 });
    for (let n = 0; n < 150; n += 1) expect((await device.take())['message']).toBe(`${n} ${text}`);
  });
});

describe('counts', () => {
  test('are told before everything else to who asks, and to nobody else', async () => {
    for (const text of ['a', 'b', 'c']) await world.send(text);
    const plain = await world.device({ ...v5, clientId: 'plain' });
    await plain.subscribe(world.topic(), { counts: 'off' });
    const read = await plain.take();
    expect(read['type']).toBe('message');
    expect(await plain.up(world.topic(), { type: 'read', tids: [read['tid']] })).toBe(0);
    const asking = await world.device({ ...v5, clientId: 'asking' });
    await asking.subscribe(world.topic(), { counts: 'on' });
    const { packet, body } = await asking.down();
    const user = await world.store.findUser(world.tenant.appId, 'ann');
    const position = `${world.store.epoch()}:${await world.store.head(user!)}`;
    expect(packet.qos).toBe(0);
    expect(body).toEqual({ type: 'counts', position, unread: 2, total: 3 });
    expect((await asking.down()).body).toMatchObject({ type: 'message' });
  });
});

describe('since', () => {
  test('SUBACK tells the position; since tells everything after one, in number order', async () => {
    for (const [text, priority] of [
      ['a', 1],
      ['b', 3],
      ['c', 2],
    ] as const)
      await world.send(text, { priority });
    const device = await world.device(v5);
    const epoch = world.store.epoch();
    expect((await device.subscribe(world.topic())).position).toBe(`${epoch}:3`);
    for (let count = 0; count < 3; count += 1) await device.take();
    await world.send('d');
    await device.take();
    await device.subscribe(world.topic(), { since: `${epoch}:1` });
    expect([
      (await device.take())['message'],
      (await device.take())['message'],
      (await device.take())['message'],
    ]).toEqual(['b', 'c', 'd']);
    const live = await world.send('e');
    expect(await device.take()).toMatchObject({ tid: live.tid });
    await device.ping();
    expect(device.pending).toEqual([]);
  });

  test('state events come with their numbers; what is gone is told as a range', async () => {
    const read = await world.send('read');
    await world.send('short 1', { expiry: world.clock.now() + MINUTE_MS });
    await world.send('short 2', { expiry: world.clock.now() + MINUTE_MS });
    const device = await world.device(v5);
    await device.subscribe(world.topic());
    for (let count = 0; count < 3; count += 1) await device.take();
    expect(await device.up(world.topic(), { type: 'read', tids: [read.tid] })).toBe(0);
    expect(await device.take()).toMatchObject({ seq: 4, type: 'read', tids: [read.tid] });
    world.clock.advance(2 * MINUTE_MS);
    await device.subscribe(world.topic(), { since: `${world.store.epoch()}:0` });
    expect(await device.take()).toMatchObject({ seq: 1, tid: read.tid });
    expect(await device.take()).toEqual({ type: 'gone', from: 2, to: 3 });
    expect(await device.take()).toMatchObject({ seq: 4, type: 'read' });
  });

  test.each([
    ['nonsense', 'malformed'],
    ['other-epoch:1', 'epoch'],
    ['HERE:99', 'ahead'],
  ])('%s: reset (%s), then everything unexpired', async (since, reason) => {
    await world.send('short', { expiry: world.clock.now() + MINUTE_MS });
    await world.send('one');
    world.clock.advance(MINUTE_MS);
    const device = await world.device(v5);
    const epoch = world.store.epoch();
    await device.subscribe(world.topic(), { since: since.replace('HERE', epoch) });
    expect(await device.take()).toEqual({ type: 'reset', reason, position: `${epoch}:2` });
    expect(await device.take()).toMatchObject({ message: 'one' });
    const live = await world.send('live');
    expect(await device.take()).toMatchObject({ tid: live.tid });
  });

  test('a position older than what is kept: reset', async () => {
    const device = await world.device(v5);
    await device.subscribe(world.topic());
    await world.send('old');
    await device.take();
    await device.ping();
    await world.writer.drained();
    world.clock.advance(40 * DAY_MS);
    await world.store.expireDue(world.clock.now(), 100);
    await world.store.purge(world.clock.now(), 100);
    await world.send('new');
    const later = await world.device(v5);
    await later.subscribe(world.topic(), { since: `${world.store.epoch()}:0` });
    expect(await later.take()).toMatchObject({ type: 'reset', reason: 'too-old' });
    expect(await later.take()).toMatchObject({ message: 'new' });
  });

  test('a long log is told page by page', async () => {
    for (let n = 0; n < 150; n += 1) await world.send(`m${n}`, { priority: ((n % 3) + 1) as 1 | 2 | 3 });
    const device = await world.device(v5);
    await device.subscribe(world.topic(), { since: `${world.store.epoch()}:0` });
    for (let n = 0; n < 150; n += 1) expect(await device.take()).toMatchObject({ seq: n + 1, message: `m${n}` });
  });
});
