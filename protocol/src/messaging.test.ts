import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { accepted, block, body, parse, refusal, warnings } from '../test/support.ts';
import { parseJsonBody } from './body.ts';
import { parseMessagingRequest } from './messaging.ts';

const blockPath = '/channels/appmessaging';

describe('the sample of the page', () => {
  const bytes = readFileSync(new URL('../test/fixtures/sample-request.json', import.meta.url));

  test('is accepted with every part of it', () => {
    const parsed = parseJsonBody(bytes);
    expect(parsed.ok).toBe(true);
    const result = parseMessagingRequest(parsed.ok ? parsed.value : undefined, { now: 0 });
    expect(result).toMatchObject({
      ok: true,
      request: {
        channelWord: 'appmessaging',
        correlationid: 'order-4711',
        notifyUrl: 'https://shop.example/receipts',
        callbackData: 'campaign-7',
        expiry: Date.UTC(2035, 3, 12, 13, 0, 19, 456),
        priority: 3,
        message: { text: 'RTM_message', attachment: { contentType: 'image', size: 10 } },
        thread: { id: '6f1c0d5e-3f6a-4c7e-9a43-0f3a6c1f2b10' },
        notification: {
          title: 'notification_title',
          windows_extras: { badge: 'wnd_badge', notificationaction: { action: 'OPEN_URL' } },
          web_extras: { collapse_key: 'web_col_key', action: 'web_col_key' },
          android_extras: { customtags: { imageurl: 'and_not_image' } },
          interactive: { category: 'DOUBLE_YES_NO', pushref: 'pu_ref' },
        },
        destinations: [
          {
            correlationid: 'order-4711-a',
            identifiers: [
              { type: 'msisdn', value: '+447700900123' },
              { type: 'customerid', value: 'ada' },
            ],
          },
          { correlationid: 'order-4711-b', identifiers: [{ type: 'customerid' }, { type: 'customerid' }] },
        ],
      },
      warnings: [
        { path: '/channels/appmessaging/thread_type' },
        { path: '/channels/appmessaging/thread_title' },
        { path: '/channels/appmessaging/message/text' },
      ],
    });
  });
});

describe('7000', () => {
  test.each([null, 1, 'text', [], [body()], true])('is the code of %j', (value) => {
    expect(refusal(value)).toBe('7000 ');
  });
});

describe('7003 mandatory parameters missing', () => {
  const absent: unknown[] = [undefined, null, ''];

  test.each(absent)('deliverychannel, destination and channels as %j', (value) => {
    expect(refusal(body({ deliverychannel: value }))).toBe('7003 /deliverychannel');
    expect(refusal(body({ destination: value }))).toBe('7003 /destination');
    expect(refusal(body({ channels: value }))).toBe('7003 /channels');
    expect(refusal(body({ channels: { appmessaging: value } }))).toBe('7003 /channels/appmessaging');
  });

  test('empty lists of channels and destinations', () => {
    expect(refusal(body({ destination: [] }))).toBe('7003 /destination');
    expect(refusal(body({ channels: [] }))).toBe('7003 /channels');
  });

  test.each(absent)('message.text as %j without attachment and template', (value) => {
    expect(refusal(body({}, { message: { text: value } }))).toBe(`7003 ${blockPath}/message/text`);
    expect(refusal(body({}, { message: value }))).toBe(`7003 ${blockPath}/message/text`);
  });

  test('no text is needed with an attachment or a template of either layer', () => {
    const attachment = { contentType: 'image', file: 'https://a.example/i.jpg' };
    expect(accepted(body({}, { message: { attachment } })).message).toEqual({ attachment });
    expect(accepted(body({ message: { template: 'T' } }, { message: undefined })).template?.id).toBe('T');
    expect(accepted(body({}, { message: { template: 'T' } })).template?.id).toBe('T');
  });

  test.each(absent)('thread_type and thread_title as %j without thread_id', (value) => {
    expect(refusal(body({}, { thread_type: value }))).toBe(`7003 ${blockPath}/thread_type`);
    expect(refusal(body({}, { thread_title: value }))).toBe(`7003 ${blockPath}/thread_title`);
    const byId = { thread_type: value, thread_title: value, thread_id: 'thread-1' };
    expect(accepted(body({}, byId)).thread).toEqual({ id: 'thread-1' });
  });

  test('all of an empty object at once', () => {
    expect(refusal({})).toBe('7003 /deliverychannel /destination /channels');
  });
});

describe('7004 invalid parameters', () => {
  test.each([
    [body({ deliverychannel: 'sms' }), '/deliverychannel'],
    [body({ deliverychannel: 1 }), '/deliverychannel'],
    [body({ appid: 7 }), '/appid'],
    [body({ channels: 'appmessaging' }), '/channels'],
    [body({ channels: [{ appmessaging: block() }, {}] }), '/channels'],
    [body({ channels: { appmessaging: [] } }), '/channels/appmessaging'],
    [body({ message: [] }), '/message'],
    [body({}, { message: 'Hello' }), `${blockPath}/message`],
    [body({}, { message: { text: 5 } }), `${blockPath}/message/text`],
    [body({}, { message: { text: 'x'.repeat(4097) } }), `${blockPath}/message/text`],
    [body({}, { message: { text: 'a\u0000b' } }), `${blockPath}/message/text`],
    [body({}, { thread_type: 'chat' }), `${blockPath}/thread_type`],
    [body({}, { thread_title: {} }), `${blockPath}/thread_title`],
    [body({}, { thread_id: 5 }), `${blockPath}/thread_id`],
    [body({ correlationid: 5 }), '/correlationid'],
    [body({ correlationid: 'x'.repeat(51) }), '/correlationid'],
    [body({ correlationid: 'é'.repeat(26) }), '/correlationid'],
    [body({ callbackData: 'x'.repeat(2001) }), '/callbackData'],
    [body({ callbackData: {} }), '/callbackData'],
    [body({ expiry: 'tomorrow' }), '/expiry'],
    [body({ expiry: 1_900_000_000 }), '/expiry'],
    [body({ notifyurl: 'ftp://a.example/' }), '/notifyurl'],
    [body({ notifyurl: 'a.example/receipts' }), '/notifyurl'],
    [body({ notifyurl: ' https://a.example/' }), '/notifyurl'],
    [body({}, { notification: 'text' }), `${blockPath}/notification`],
    [body({}, { extras: 'text' }), `${blockPath}/extras`],
  ])('no. %#', (value, path) => {
    expect(refusal(value)).toBe(`7004 ${path}`);
  });

  test('every message says what would be right', () => {
    const result = parse(body({ expiry: 'tomorrow' }));
    expect(result).toMatchObject({ details: [{ message: expect.stringContaining('2030-04-12T13:00:19.456Z') }] });
  });

  test('limits are met exactly', () => {
    const text = '\u{1f514}'.repeat(4096);
    expect(accepted(body({}, { message: { text } })).message.text).toBe(text);
    expect(refusal(body({}, { message: { text: `${text}x` } }))).toMatch(/^7004/);
    expect(accepted(body({ correlationid: 'é'.repeat(25) })).correlationid).toHaveLength(25);
    expect(accepted(body({ callbackData: 'x'.repeat(2000) })).callbackData).toHaveLength(2000);
  });
});

describe('the order of codes', () => {
  const many = Array.from({ length: 1001 }, (_, index) => ({ userid: [String(index)] }));

  test('7009, 7003, 7004; details hold every fault, the deciding code first', () => {
    const wrong = { deliverychannel: '', expiry: 'never', appid: 1 };
    expect(refusal(body({ ...wrong, destination: many }))).toBe(
      '7009 /destination /destination /deliverychannel /appid /expiry',
    );
    expect(refusal(body(wrong))).toBe('7003 /deliverychannel /appid /expiry');
  });

  test('the number of details is bounded and the rest counted', () => {
    const result = parse(body({ destination: Array.from({ length: 1500 }, () => 5) }));
    expect(result).toMatchObject({ ok: false, code: '7009' });
    const details = result.ok ? [] : result.details;
    expect(details).toHaveLength(1001);
    expect(details.at(-1)).toEqual({ path: '', message: '501 more faults are not listed' });
  });
});

describe('decision 3: absent means absent', () => {
  const optional = [
    'appid',
    'correlationid',
    'notifyurl',
    'callbackData',
    'expiry',
    'priority',
    'message',
    'smartlinks',
  ];

  test.each([null, ''])('every optional parameter as %j', (value) => {
    const given = Object.fromEntries(optional.map((name) => [name, value]));
    const blockGiven = {
      notification: value,
      extras: value,
      thread_id: value,
      expiry: value,
      priority: value,
      notifyurl: value,
      callbackData: value,
      smartlinks: value,
      message: { text: 'Hello', attachment: value, template: value, parameters: value, extras: value },
    };
    expect(accepted(body(given, blockGiven))).toEqual(accepted(body()));
    expect(warnings(body(given, blockGiven))).toEqual([]);
  });

  test('unknown parameters are ignored and told, by pointer', () => {
    const value = body(
      { colour: 1, message: { tone: 1 }, destination: [{ userid: ['ada'], 'a/b~c': 1 }] },
      { sms: 1, message: { text: 'Hello', quickReplies: {} } },
    );
    (value['channels'] as Record<string, unknown>)['sms'] = {};
    expect(warnings(value).toSorted()).toEqual([
      '/channels/appmessaging/message/quickReplies',
      '/channels/appmessaging/sms',
      '/channels/sms',
      '/colour',
      '/destination/0/a~1b~0c',
      '/message/tone',
    ]);
    expect(accepted(value)).toEqual(accepted(body()));
  });

  test('what is known and stands back is told too: the other name of the block, the thread besides its id', () => {
    const value = body({}, { thread_id: 'thread-1' });
    const { appmessaging } = value['channels'] as Record<string, unknown>;
    (value['channels'] as Record<string, unknown>)['rt'] = { message: { text: 'Other' } };
    const threadPaths = [`${blockPath}/thread_title`, `${blockPath}/thread_type`];
    expect(warnings(value).toSorted()).toEqual([...threadPaths, '/channels/rt']);
    expect(warnings({ ...value, deliverychannel: 'rt', channels: { rt: appmessaging, appmessaging } })).toContain(
      '/channels/appmessaging',
    );
    expect(warnings(body({}, { thread_id: 'thread-1', thread_type: '', thread_title: null }))).toEqual([]);
  });

  test('warnings are bounded', () => {
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`unknown${index}`, 1]));
    expect(warnings(body(many))).toHaveLength(100);
  });

  test('extras pass through, those of the message over those of the block', () => {
    const extras = { a: { b: [1, null] }, c: 1 };
    expect(accepted(body({}, { extras })).extras).toEqual(extras);
    const both = body({}, { extras, message: { text: 'Hello', extras: { c: 2 } } });
    expect(accepted(both).extras).toEqual({ a: { b: [1, null] }, c: 2 });
  });
});

describe('decision 4: expiry', () => {
  test('an offset without leading zero is read, a past time is accepted with a warning', () => {
    expect(accepted(body({ expiry: '2035-04-12T18:30:19.456+5:30' })).expiry).toBe(
      Date.UTC(2035, 3, 12, 13, 0, 19, 456),
    );
    const past = body({ expiry: '2015-04-12T13:00:19.456Z' });
    expect(accepted(past).expiry).toBe(Date.UTC(2015, 3, 12, 13, 0, 19, 456));
    expect(warnings(past)).toEqual(['/expiry']);
    expect(accepted(body())).not.toHaveProperty('expiry');
  });
});

describe('decision 5: priority', () => {
  test.each([
    [1, 1],
    ['1', 1],
    [2, 2],
    ['2', 2],
    [3, 3],
    ['3', 3],
  ])('%j is %j', (given, expected) => {
    expect(accepted(body({ priority: given })).priority).toBe(expected);
  });

  test.each([0, 4, '4', 'high', 1.5, true, {}, ['1'], ' 1'])('%j falls back, with a warning', (given) => {
    expect(accepted(body({ priority: given }))).not.toHaveProperty('priority');
    expect(warnings(body({ priority: given }))).toEqual(['/priority']);
  });
});

describe('decision 6: layers', () => {
  test('the channel block wins', () => {
    const base = { expiry: '2031-01-01T00:00:00Z', priority: 1, notifyurl: 'https://a.example/', callbackData: 'a' };
    const channel = { expiry: '2032-01-01T00:00:00Z', priority: 3, notifyurl: 'https://b.example/', callbackData: 'b' };
    const effective = { expiry: Date.UTC(2032, 0, 1), priority: 3, notifyUrl: 'https://b.example/', callbackData: 'b' };
    expect(accepted(body(base, channel))).toMatchObject(effective);
    expect(accepted(body({}, channel))).toMatchObject(effective);
    expect(accepted(body(base))).toMatchObject({ priority: 1, callbackData: 'a' });
  });

  test("a wrong priority in the block falls back to the client's", () => {
    expect(accepted(body({ priority: 1 }, { priority: 'x' }))).not.toHaveProperty('priority');
  });

  test('templates and parameters are merged by name', () => {
    const base = { message: { template: 'A', parameters: { name: 'Ada', code: '1' } } };
    const channel = { message: { template: 'B', parameters: { code: '2', place: 7, plain: true } } };
    const template = accepted(body(base, channel)).template;
    expect(template?.id).toBe('B');
    expect({ ...template?.parameters }).toEqual({ name: 'Ada', code: '2', place: '7', plain: 'true' });
    expect(accepted(body(base, { message: { parameters: { code: '3' } } })).template).toMatchObject({
      id: 'A',
      parameters: { name: 'Ada', code: '3' },
    });
  });

  test('an empty parameter is absent and does not hide the weaker one', () => {
    const base = { message: { template: 'A', parameters: { name: 'Ada', gone: '' } } };
    const template = accepted(body(base, { message: { parameters: { name: '' } } })).template;
    expect({ ...template?.parameters }).toEqual({ name: 'Ada' });
  });

  test('a parameter that is an object is refused', () => {
    const base = { message: { template: 'A', parameters: { name: {} } } };
    expect(refusal(body(base, { message: undefined }))).toBe('7004 /message/parameters/name');
    expect(refusal(body({ message: { template: 5 } }, { message: undefined }))).toBe('7004 /message/template');
    expect(refusal(body({ message: 5 }, { message: undefined }))).toBe('7004 /message');
  });

  test('text in the block beats any template, with a warning', () => {
    const value = body({ message: { template: 'A' } }, { message: { text: 'Hello', template: 'B' } });
    expect(accepted(value)).not.toHaveProperty('template');
    expect(warnings(value)).toEqual([`${blockPath}/message/text`]);
  });
});

describe('names of the prototype', () => {
  const text =
    '{"__proto__":{"text":"x"},"constructor":{"template":"C"},"toString":"t","hasOwnProperty":1,"valueOf":"v","n":"1"}';

  test('are harmless as parameters', () => {
    const message = JSON.parse(
      '{"template":"A","parameters":{"__proto__":"p","constructor":"c","toString":"t"}}',
    ) as object;
    const result = parseMessagingRequest({ ...body({}, { message: undefined }), message }, { now: 0 });
    const read = result.ok ? result.request.template?.parameters : undefined;
    expect(Object.entries(read ?? {})).toEqual([
      ['__proto__', 'p'],
      ['constructor', 'c'],
      ['toString', 't'],
    ]);
    expect(Object.getPrototypeOf(read)).toBe(null);
    expect(({} as Record<string, unknown>)['p']).toBe(undefined);
  });

  test('are harmless in customtags, extras and at the top', () => {
    const tags = JSON.parse(text) as object;
    const notification = { title: 'T', text: 'T', android_extras: { customtags: tags } };
    const value = { ...(JSON.parse(text) as object), ...body({}, { notification, extras: tags }) };
    const result = parseMessagingRequest(value, { now: 0 });
    expect(result.ok).toBe(true);
    const request = result.ok ? result.request : undefined;
    expect(JSON.stringify(request?.notification?.android_extras?.customtags)).toBe(text);
    expect(JSON.stringify(request?.extras)).toBe(text);
  });
});

describe('decision 7: smartlinks', () => {
  test('are taken at three levels, the strongest winning by linkid', () => {
    const value = body(
      { smartlinks: [{ linkid: 5 }, { linkid: '6', validity: '30' }] },
      { smartlinks: [{ linkid: 6 }] },
    );
    (value['channels'] as Record<string, unknown>)['smartlinks'] = [{ linkid: 7, validity: 60 }];
    expect(accepted(value).smartlinks).toEqual([{ linkid: 5 }, { linkid: 6 }, { linkid: 7, validityMinutes: 60 }]);
  });

  test.each([
    [[{}], '7003 /smartlinks/0/linkid'],
    [[{ linkid: '' }], '7003 /smartlinks/0/linkid'],
    [[{ linkid: 'five' }], '7004 /smartlinks/0/linkid'],
    [[{ linkid: 0 }], '7004 /smartlinks/0/linkid'],
    [[{ linkid: 1.5 }], '7004 /smartlinks/0/linkid'],
    [[{ linkid: 5, validity: -1 }], '7004 /smartlinks/0/validity'],
    [[{ linkid: 5, validity: 'long' }], '7004 /smartlinks/0/validity'],
    [[5], '7004 /smartlinks/0'],
    [{ linkid: 5 }, '7004 /smartlinks'],
    [Array.from({ length: 101 }, () => ({ linkid: 5 })), '7004 /smartlinks'],
  ])('no. %# is refused', (smartlinks, expected) => {
    expect(refusal(body({ smartlinks }))).toBe(expected);
  });
});

describe('decisions 8, 9, 11: leniency', () => {
  test('channels as an array of one object', () => {
    expect(accepted(body({ channels: [{ appmessaging: block() }] }))).toEqual(accepted(body()));
    expect(refusal(body({ channels: [{ appmessaging: block({ thread_title: 5 }) }] }))).toBe(
      '7004 /channels/0/appmessaging/thread_title',
    );
  });

  test('rt for appmessaging, the word being kept', () => {
    expect(accepted(body({ deliverychannel: 'rt' })).channelWord).toBe('rt');
    expect(accepted(body({ deliverychannel: 'rt', channels: { rt: block() } })).message.text).toBe('Hello');
    expect(accepted(body({ channels: { rt: block() } })).channelWord).toBe('appmessaging');
  });

  test('thread types without regard to case', () => {
    expect(accepted(body({}, { thread_type: 'CONVERSATION' })).thread).toEqual({
      type: 'Conversation',
      title: 'Orders',
    });
    expect(accepted(body({}, { thread_type: 'Announcement' })).thread).toEqual({
      type: 'Announcement',
      title: 'Orders',
    });
  });

  test('thread_id decides where both are given', () => {
    expect(accepted(body({}, { thread_id: 'thread-1' })).thread).toEqual({ id: 'thread-1' });
  });
});
