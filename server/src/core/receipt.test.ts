import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Thread } from './model.ts';
import { buildInboundEvent, buildReceipt, encodeBody, encodeReceipt } from './receipt.ts';
import type { InboundFacts, ReceiptFacts } from './receipt.ts';

const AT = Date.parse('2024-02-12T05:38:48.519Z');

function facts(changes: Partial<ReceiptFacts>): ReceiptFacts {
  return {
    state: 'Delivered',
    code: '',
    description: null,
    channelWord: 'rt',
    destination: '97XX90',
    destinationType: 'customerid',
    deviceId: 'device-1',
    transid: '2054f89f-0000-40d5-b08f-2ae89e45a94f',
    callbackData: 'order=7&x="y"',
    correlationid: 'corr-1',
    at: AT,
    ...changes,
  };
}

const IDS = {
  subtid: '',
  transid: '2054f89f-0000-40d5-b08f-2ae89e45a94f',
  callbackData: 'order=7&x="y"',
  correlationid: 'corr-1',
};

function info(code: string, status: string, description = status): Record<string, unknown> {
  return {
    timeStamp: '2024-02-12T05:38:48.519Z',
    Description: description,
    code,
    deliveryChannel: 'rt',
    additionalInfo: '',
    destination: '97XX90',
    destinationType: 'customerid',
    deliveryStatus: status,
  };
}

/** The text, so that the order of members is compared too. */
function text(value: unknown): string {
  return JSON.stringify(value, null, 1);
}

describe('receipts', () => {
  it('are written as they are built, byte by byte', () => {
    const anyText = fc.oneof(fc.string({ unit: 'binary' }), fc.constant('\ud800'));
    const anyFacts = fc.record<ReceiptFacts>(
      {
        state: fc.constantFrom('Submitted', 'Delivered', 'Read', 'Clicked', 'Failed'),
        code: fc.constantFrom('', '7105', '7301', '"'),
        description: fc.option(anyText),
        channelWord: anyText,
        destination: anyText,
        destinationType: anyText,
        deviceId: fc.oneof(fc.constant(''), anyText),
        transid: anyText,
        callbackData: anyText,
        correlationid: anyText,
        at: fc.integer({ min: 0, max: 4e12 }),
        interaction: fc.record({ button: anyText, pushref: anyText }),
        interactiveData: fc.record({ identifier: anyText, title: anyText, url: anyText }),
      },
      {
        requiredKeys: [
          'state',
          'code',
          'description',
          'channelWord',
          'destination',
          'destinationType',
          'deviceId',
          'transid',
          'callbackData',
          'correlationid',
          'at',
        ],
      },
    );
    fc.assert(
      fc.property(anyFacts, (some) => {
        expect(Buffer.from(encodeReceipt(some)).toString()).toBe(
          Buffer.from(encodeBody(buildReceipt(some))).toString(),
        );
      }),
      { numRuns: 300 },
    );
  });

  it('Submitted names no device', () => {
    expect(text(buildReceipt(facts({ state: 'Submitted', deviceId: '' })))).toBe(
      text({ deliveryInfoNotification: { deliveryInfo: info('7501', 'Submitted'), ...IDS } }),
    );
  });

  it('Delivered and Read name the device', () => {
    expect(text(buildReceipt(facts({})))).toBe(
      text({
        deliveryInfoNotification: { deliveryInfo: { ...info('7500', 'Delivered'), deviceid: 'device-1' }, ...IDS },
      }),
    );
    expect(text(buildReceipt(facts({ state: 'Read' })))).toBe(
      text({ deliveryInfoNotification: { deliveryInfo: { ...info('7502', 'Read'), deviceid: 'device-1' }, ...IDS } }),
    );
  });

  it('Read tells the button that was pressed, with the reference under both of its names', () => {
    const receipt = buildReceipt(facts({ state: 'Read', interaction: { button: 'SUBSCRIBE', pushref: '123252445' } }));
    const interaction = { Button_Pressed: 'SUBSCRIBE', MessageRef: '123252445', pushref: '123252445' };
    expect(text(receipt)).toBe(
      text({
        deliveryInfoNotification: {
          deliveryInfo: { ...info('7502', 'Read'), deviceid: 'device-1', interaction },
          ...IDS,
        },
      }),
    );
  });

  it('Clicked holds everything inside deliveryInfo', () => {
    const receipt = buildReceipt(
      facts({
        state: 'Clicked',
        deviceId: '',
        interactiveData: { identifier: '1', title: 'View Item', url: 'https://x.example/' },
      }),
    );
    const interactiveData = { identifier: '1', type: 'webUrl', title: 'View Item', url: 'https://x.example/' };
    expect(text(receipt)).toBe(
      text({ deliveryInfoNotification: { deliveryInfo: { ...info('7528', 'Clicked'), ...IDS, interactiveData } } }),
    );
    expect(buildReceipt(facts({ state: 'Clicked' }))).toMatchObject({
      deliveryInfoNotification: {
        deliveryInfo: { deviceid: 'device-1', interactiveData: { identifier: '', type: 'webUrl', title: '', url: '' } },
      },
    });
  });

  it.each([
    ['7312', 'Invalid thread id'],
    ['7301', 'Message expired'],
    ['7105', 'Customer profile not found'],
    ['9999', 'Unknown'],
  ])('Failed carries %s, %s', (code, description) => {
    expect(text(buildReceipt(facts({ state: 'Failed', code, deviceId: '' })))).toBe(
      text({
        deliveryInfoNotification: {
          deliveryInfo: { ...info(code, 'Failed', description), pushId: '', deviceid: '' },
          ...IDS,
        },
      }),
    );
  });

  it('Failed takes words of its own where there are better ones', () => {
    const receipt = buildReceipt(facts({ state: 'Failed', code: '7513', description: 'Token expired' }));
    expect(receipt.deliveryInfoNotification.deliveryInfo).toMatchObject({ code: '7513', Description: 'Token expired' });
  });

  it('only Failed looks at the code given, only Read at the interaction, only Clicked at what was opened', () => {
    const extra = {
      code: '7301',
      interaction: { button: 'X', pushref: 'y' },
      interactiveData: { identifier: '', title: '', url: '' },
    };
    expect(buildReceipt(facts(extra))).toEqual(buildReceipt(facts({})));
  });

  it('repeats the word of the request for its channel', () => {
    const receipt = buildReceipt(facts({ channelWord: 'appmessaging' }));
    expect(receipt.deliveryInfoNotification.deliveryInfo.deliveryChannel).toBe('appmessaging');
  });

  it('is posted as JSON in UTF-8, the same bytes each time', () => {
    const receipt = buildReceipt(facts({ callbackData: 'grüße 🔔\r\n"' }));
    const bytes = encodeBody(receipt);
    expect(JSON.parse(Buffer.from(bytes).toString('utf8'))).toEqual(receipt);
    expect(encodeBody(buildReceipt(facts({ callbackData: 'grüße 🔔\r\n"' })))).toEqual(bytes);
  });
});

const THREAD: Thread = {
  id: 'thread-1',
  appId: 'SA28064527',
  type: 'Conversation',
  title: 'Orders',
  category: null,
  externalid: null,
  status: 'Active',
  extras: { team: 'a' },
  serviceId: null,
  createdAt: AT - 60_000,
  updatedAt: AT - 1_000,
};
const COMMON = { appId: 'SA28064527', userId: '8953', tid: '44003228-0498-4559-9342-c9e05c7fdfa6', at: AT };
const IN_THREAD = { deviceId: 'phone', thread: THREAD, threadUnread: 3 };
const COMMON_OUT = {
  userId: '8953',
  channel: 'Rtm',
  appId: 'SA28064527',
  ts: '2024-02-12T05:38:48.519Z',
  timeStamp: '2024-02-12T05:38:48.519Z',
  tid: '44003228-0498-4559-9342-c9e05c7fdfa6',
};
const THREAD_OUT = { clientId: 'SA28064527/8953/phone', thread_id: 'thread-1', thread_title: 'Orders' };
const THREAD_TEXT = {
  id: 'thread-1',
  title: 'Orders',
  type: 'Conversation',
  category: '',
  status: 'Active',
  created_on: '2024-02-12T05:37:48.519Z',
  updated_on: '2024-02-12T05:38:47.519Z',
  unread_msg_count: 3,
  extras: { team: 'a' },
};

describe('inbound events', () => {
  const message: Extract<InboundFacts, { event: 'MO' }> = {
    ...COMMON,
    ...IN_THREAD,
    event: 'MO',
    message: 'Simple text',
    attachments: [],
    replyTo: 'SA28064527/8953/up',
    extras: { k: 1 },
  };

  it('MO: thread is JSON inside JSON, attachments are empty where there are none', () => {
    const { thread, ...rest } = { ...buildInboundEvent(message) } as Record<string, unknown>;
    expect(rest).toEqual({
      ...COMMON_OUT,
      ...THREAD_OUT,
      event: 'MO',
      message: 'Simple text',
      attachments: '',
      replyTo: 'SA28064527/8953/up',
      extras: { k: 1 },
    });
    expect(JSON.parse(String(thread))).toEqual(THREAD_TEXT);
  });

  it('MO: attachments are a JSON text', () => {
    const attachments = [{ contentType: 'image' as const, file: 'https://files.example/a.png', size: 75_370 }];
    const event = buildInboundEvent({ ...message, attachments });
    expect(event).toMatchObject({ attachments: JSON.stringify(attachments) });
  });

  it('MO without a thread leaves its members empty', () => {
    const event = buildInboundEvent({ ...message, thread: null });
    expect(event).toMatchObject({ thread: '', thread_id: '', thread_title: '', clientId: 'SA28064527/8953/phone' });
  });

  it('OnPostback carries the reference and the button, as JSON text', () => {
    const event = buildInboundEvent({
      ...COMMON,
      ...IN_THREAD,
      event: 'OnPostback',
      message: 'Yes',
      pushref: 'ref-1',
      relatedTid: 'tid-1',
      interactiveData: { reference: 'ref-1', identifier: 'YES', type: 'quickReplyPostback', title: 'Yes' },
      extras: {},
    });
    expect(event).toEqual({
      ...COMMON_OUT,
      ...THREAD_OUT,
      thread: JSON.stringify(THREAD_TEXT),
      event: 'OnPostback',
      message: 'Yes',
      pushref: 'ref-1',
      relatedTid: 'tid-1',
      interactiveData: '{"reference":"ref-1","identifier":"YES","type":"quickReplyPostback","title":"Yes"}',
      extras: {},
    });
  });

  it.each([
    [true, 'typingStart'],
    [false, 'typingStop'],
  ])('TypingIndicator, on: %s', (on, type) => {
    const event = buildInboundEvent({ ...COMMON, ...IN_THREAD, event: 'TypingIndicator', on });
    const thread = JSON.stringify(THREAD_TEXT);
    expect(event).toEqual({ ...COMMON_OUT, ...THREAD_OUT, thread, event: 'TypingIndicator', type });
  });

  it('OnThreadClosed', () => {
    const thread: Thread = { ...THREAD, status: 'Closed' };
    expect(buildInboundEvent({ ...COMMON, event: 'OnThreadClosed', thread, origin: 'api' })).toEqual({
      ...COMMON_OUT,
      event: 'OnThreadClosed',
      threadId: 'thread-1',
      title: 'Orders',
      type: 'Conversation',
      status: 'Closed',
      datetime: '2024-02-12T05:38:48.519Z',
      origin: 'api',
    });
  });
});
