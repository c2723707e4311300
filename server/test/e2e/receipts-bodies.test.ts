import { describe, expect, it } from 'vitest';
import type { InboundEvent } from '@carillon/protocol/inbound.ts';
import { buildInboundEvent } from '../../src/core/receipt.ts';
import { customerid, destinationOf, makeSession, msisdn, userid } from '../support/builders.ts';
import { openSink, openWorld } from '../support/receipt-world.ts';
import type { ReceiptWorld, Sink } from '../support/receipt-world.ts';

const CONTENT = JSON.stringify({
  message: 'Your parcel is here',
  media: [],
  notification: {
    title: 'Parcel',
    text: 'It is here',
    interactive: {
      category: 'DOUBLE_OK_LEARN_MORE',
      pushref: 'ref-7',
      actions: [
        { pos: 1, action: 'TRIVIAL_REPLY', identifier: 'OK' },
        { pos: 2, action: 'OPEN_URL', identifier: 'LEARN_MORE', value: 'https://shop.example/parcel' },
      ],
    },
  },
});
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

async function setUp(): Promise<{ sink: Sink; world: ReceiptWorld; device: number }> {
  const sink = await openSink();
  const world = await openWorld({ service: { notifyUrl: sink.url('/notify'), inboundUrl: sink.url('/inbound') } });
  const opened = await world.writer.open(makeSession({ at: world.clock.now() }));
  return { sink, world, device: opened.device };
}

function sendLabelled(world: ReceiptWorld) {
  return world.send({
    content: CONTENT,
    channelWord: 'rt',
    callbackData: 'order 5',
    destinations: [{ correlationid: 'c-1', identifiers: [customerid('ann')] }],
  });
}

function body(about: { tid: string; state: string; code: string; more?: Record<string, unknown> }): unknown {
  return {
    deliveryInfoNotification: {
      deliveryInfo: {
        timeStamp: expect.stringMatching(TIME),
        Description: about.state,
        code: about.code,
        deliveryChannel: 'rt',
        additionalInfo: '',
        destination: 'ann',
        destinationType: 'customerid',
        deliveryStatus: about.state,
        ...about.more,
      },
      subtid: '',
      transid: about.tid,
      callbackData: 'order 5',
      correlationid: 'c-1',
    },
  };
}

describe('what is posted to the notify URL', () => {
  it('tells Submitted, Delivered and Read, once each, with the members of the original', async () => {
    const { sink, world, device } = await setUp();
    const { user, tid } = await sendLabelled(world);
    await world.settle({ kind: 'delivered', user, device, ref: { tid }, sentAt: null });
    await world.settle({ kind: 'delivered', user, device, ref: { tid }, sentAt: null });
    await world.settle({ kind: 'read', user, device, ref: { tid } });
    await world.settle({ kind: 'read', user, device, ref: { tid } });
    await sink.got(3);
    await world.idle();
    expect(sink.bodies()).toEqual([
      body({ tid, state: 'Submitted', code: '7501' }),
      body({ tid, state: 'Delivered', code: '7500', more: { deviceid: 'phone' } }),
      body({ tid, state: 'Read', code: '7502', more: { deviceid: 'phone' } }),
    ]);
    expect(new Set(sink.ids()).size).toBe(3);
    for (const arrival of sink.arrivals) expect(arrival.path).toBe('/notify');
  });

  it('keeps the order of the members', async () => {
    const { sink, world, device } = await setUp();
    const { user, tid } = await sendLabelled(world);
    await world.settle({ kind: 'delivered', user, device, ref: { tid }, sentAt: null });
    await sink.got(2);
    const inside =
      '"timeStamp","Description","code","deliveryChannel","additionalInfo","destination","destinationType"';
    const names = [...sink.arrivals[1]!.text.matchAll(/("[A-Za-z_]+"):/g)].map(([, name]) => name).join(',');
    expect(names).toBe(
      `"deliveryInfoNotification","deliveryInfo",${inside},"deliveryStatus","deviceid","subtid","transid","callbackData","correlationid"`,
    );
  });

  it('puts a Delivered before a Read that came without one', async () => {
    const { sink, world, device } = await setUp();
    const { user, tid } = await sendLabelled(world);
    await world.settle({ kind: 'read', user, device, ref: { tid } });
    await sink.got(3);
    expect(sink.bodies().map((one) => JSON.stringify(one).match(/"code":"(\d+)"/)![1])).toEqual([
      '7501',
      '7500',
      '7502',
    ]);
  });

  it('tells a pressed button as Read with interaction, and as a postback at the inbound URL', async () => {
    const { sink, world, device } = await setUp();
    const { user, tid } = await sendLabelled(world);
    await world.settle({ kind: 'read', user, device, ref: { tid } });
    await world.settle({ kind: 'pressed', user, device, ref: { tid }, once: 'p1', identifier: 'OK', text: null });
    await sink.got(5);
    const interaction = { Button_Pressed: 'OK', MessageRef: 'ref-7', pushref: 'ref-7' };
    const notified = sink.arrivals
      .filter((one) => one.path === '/notify')
      .map((one) => JSON.parse(one.text) as unknown);
    expect(notified).toHaveLength(4);
    expect(notified[3]).toEqual(body({ tid, state: 'Read', code: '7502', more: { deviceid: 'phone', interaction } }));
    const [inbound] = sink.arrivals.filter((one) => one.path === '/inbound');
    const event = JSON.parse(inbound!.text) as Extract<InboundEvent, { event: 'OnPostback' }>;
    expect(event).toEqual({
      userId: 'ann',
      channel: 'Rtm',
      appId: world.tenant.appId,
      ts: expect.stringMatching(TIME),
      timeStamp: event.ts,
      tid: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
      event: 'OnPostback',
      message: 'OK',
      pushref: 'ref-7',
      relatedTid: tid,
      interactiveData: JSON.stringify({
        reference: 'ref-7',
        identifier: 'OK',
        type: 'quickReplyPostback',
        title: 'OK',
      }),
      clientId: `${world.tenant.appId}/ann/phone`,
      thread_id: expect.any(String),
      thread_title: 'Orders',
      thread: expect.any(String),
      extras: {},
    });
    expect(JSON.parse(event.thread)).toMatchObject({ id: event.thread_id, title: 'Orders', type: 'Conversation' });
  });

  it('carries the text of an inline reply', async () => {
    const { sink, world, device } = await setUp();
    const { user, tid } = await sendLabelled(world);
    await world.settle({ kind: 'pressed', user, device, ref: { tid }, once: null, identifier: 'OK', text: 'At noon' });
    await sink.got(4);
    const inbound = sink.arrivals.find((one) => one.path === '/inbound');
    expect(JSON.parse(inbound!.text)).toMatchObject({ message: 'At noon', relatedTid: tid });
  });

  it('says nothing of a dismissed or displayed message', async () => {
    const { sink, world, device } = await setUp();
    const { user, tid } = await sendLabelled(world);
    await world.settle({ kind: 'displayed', user, device, ref: { tid }, once: null });
    await world.settle({ kind: 'dismissed', user, device, ref: { tid }, once: null });
    await world.settle({ kind: 'pressed', user, device, ref: { tid }, once: null, identifier: 'DISMISS', text: null });
    await sink.got(2);
    await world.idle();
    expect(sink.bodies().map((one) => JSON.stringify(one).match(/"code":"(\d+)"/)![1])).toEqual(['7501', '7500']);
  });

  it('tells Clicked with everything inside deliveryInfo', async () => {
    const { sink, world, device } = await setUp();
    const { user, tid } = await sendLabelled(world);
    const click = { kind: 'clicked', user, device, ref: { tid }, identifier: 'LEARN_MORE', url: null } as const;
    await world.settle({ ...click, once: 'c1' });
    await world.settle({ ...click, once: 'c2' });
    await sink.got(3);
    await world.idle();
    expect(sink.bodies()).toHaveLength(3);
    expect(sink.bodies()[2]).toEqual({
      deliveryInfoNotification: {
        deliveryInfo: {
          timeStamp: expect.stringMatching(TIME),
          Description: 'Clicked',
          code: '7528',
          deliveryChannel: 'rt',
          additionalInfo: '',
          destination: 'ann',
          destinationType: 'customerid',
          deliveryStatus: 'Clicked',
          deviceid: 'phone',
          subtid: '',
          transid: tid,
          callbackData: 'order 5',
          correlationid: 'c-1',
          interactiveData: {
            identifier: 'LEARN_MORE',
            type: 'webUrl',
            title: 'LEARN_MORE',
            url: 'https://shop.example/parcel',
          },
        },
      },
    });
  });

  it('tells a failure with its code and the words of the table', async () => {
    const { sink, world } = await setUp();
    await world.accept({ destinations: [destinationOf(msisdn('+4915100000000'))] });
    await world.accept({ thread: { id: 'nowhere' } });
    await world.accept({ expiry: world.clock.now() });
    const later = await world.send();
    await world.settle({ kind: 'failed', user: later.user, ref: { tid: later.tid }, code: '7513' });
    const expiring = await world.send();
    await world.settle({ kind: 'expired', user: expiring.user, ref: { tid: expiring.tid } });
    await sink.got(10);
    const failed = sink.arrivals.map((one) => one.text).filter((text) => text.includes('"Failed"'));
    const told = failed.map((text) => /"Description":"([^"]*)","code":"(\d+)"/.exec(text)!.slice(1, 3).join(' '));
    expect(told.toSorted()).toEqual([
      'Customer profile not found 7105',
      'Invalid thread id 7312',
      'Message expired 7301',
      'Message expired 7301',
      'Unregistered Device 7513',
    ]);
    for (const text of failed) expect(text).toContain('"pushId":"","deviceid":""');
  });
});

describe('where it is posted', () => {
  it("prefers the request's own URL to the service's", async () => {
    const { sink, world } = await setUp();
    await world.send({ notifyUrl: sink.url('/own') });
    await sink.got(1);
    expect(sink.arrivals.map((one) => one.path)).toEqual(['/own']);
  });

  it('posts nothing where there is no URL, and is done with it', async () => {
    const world = await openWorld();
    await world.send();
    await world.until(() => world.skipped.length === 1);
    await world.idle();
    expect(world.skipped).toEqual([{ serviceId: world.tenant.serviceId, reason: 'no-url', count: 1 }]);
    expect(await world.records()).toEqual([]);
  });

  it('posts only the statuses that the service wants', async () => {
    const { sink, world } = await setUp();
    await world.changeService({ statuses: ['Read', 'Failed'] });
    const { user, tid } = await world.send();
    await world.settle({ kind: 'read', user, ref: { tid } });
    await sink.got(1);
    await world.idle();
    expect(sink.bodies()).toMatchObject([{ deliveryInfoNotification: { deliveryInfo: { deliveryStatus: 'Read' } } }]);
    expect(new Set(world.skipped.map((one) => one.reason))).toEqual(new Set(['not-wanted']));
    expect(world.skipped.reduce((sum, one) => sum + one.count, 0)).toBe(2);
  });

  it('posts messages and typing of users to the inbound URL, in order, whatever the statuses', async () => {
    const { sink, world, device } = await setUp();
    await world.changeService({ statuses: [] });
    const { user } = await world.send();
    const session = await world.store.listThreads({ appId: world.tenant.appId, user, start: 0, limit: 10 });
    const [thread] = session.threads;
    const facts = {
      appId: world.tenant.appId,
      userId: 'ann',
      deviceId: 'phone',
      at: world.clock.now(),
      thread: thread!,
      threadUnread: 0,
    };
    const events: InboundEvent[] = [
      buildInboundEvent({ ...facts, tid: 't-1', event: 'TypingIndicator', on: true }),
      buildInboundEvent({
        ...facts,
        tid: 't-2',
        event: 'MO',
        message: 'Where is it?',
        attachments: [],
        replyTo: 'a/ann',
        extras: {},
      }),
      buildInboundEvent({ ...facts, tid: 't-3', event: 'TypingIndicator', on: false }),
    ];
    for (const event of events) {
      await world.settle({ kind: 'inbound', user, device, once: event.tid, threadId: thread!.id, event });
    }
    await sink.got(3);
    const got = sink.bodies() as { event: string; tid: string }[];
    expect(got.map((one) => [one.event, one.tid])).toEqual(events.map((one) => [one.event, one.tid]));
    expect(got[1]).toEqual({ ...events[1], thread: expect.any(String) });
    for (const arrival of sink.arrivals) expect(arrival.path).toBe('/inbound');
  });

  it('follows the service to its new URL', async () => {
    const { sink, world } = await setUp();
    await world.changeService({ notifyUrl: sink.url('/moved') });
    await world.accept({ destinations: [destinationOf(userid('ann'), userid('ben'))] });
    await sink.got(2);
    for (const arrival of sink.arrivals) expect(arrival.path).toBe('/moved');
  });
});
