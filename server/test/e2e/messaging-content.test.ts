/** What is stored of a request: layers, templates, links, defaults; and what `dryRun` and `Prefer: warnings` tell. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AcceptUnit } from '../../src/core/ports.ts';
import { FakeClock } from '../support/clock.ts';
import { itemsOf, makeBody, startTestServer } from '../support/http-server.ts';
import type { Answered, TestServer, TestServerOptions } from '../support/http-server.ts';

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

let server: TestServer;
let clock: FakeClock;
let units: AcceptUnit[];

async function start(options: TestServerOptions = {}): Promise<void> {
  clock = new FakeClock();
  units = [];
  server = await startTestServer({
    clock,
    writer: (writer) => ({
      accept: (unit) => {
        units.push(unit);
        return writer.accept(unit);
      },
    }),
    ...options,
  });
  const { clientId } = server.tenant;
  const createdAt = 0;
  await server.store.putObjects(
    [
      {
        kind: 'template',
        value: { id: 't1', clientId, name: 't', text: 'Hello ${name}, your code is ${code}', createdAt },
      },
      {
        kind: 'smartlink',
        value: { id: '5', clientId, name: 'l', url: 'https://a.example/x', validityMinutes: null, createdAt },
      },
      {
        kind: 'smartlink',
        value: { id: '6', clientId, name: 'l', url: 'https://b.example/', validityMinutes: 10, createdAt },
      },
    ],
    'create',
  );
}
beforeEach(() => start());
afterEach(() => server.close());

async function unitOf(body: unknown): Promise<AcceptUnit> {
  itemsOf(await server.send(body));
  return units.at(-1)!;
}
const contentOf = (unit: AcceptUnit): Record<string, unknown> => JSON.parse(unit.content) as Record<string, unknown>;

describe('what is stored', () => {
  it('has message, media, notification and extras once for all', async () => {
    const unit = await unitOf(
      makeBody(
        { destination: [{ userid: ['a', 'b'] }, { customerid: ['c'], correlationid: 'x' }] },
        {
          message: { text: 'See', attachment: { contentType: 'image', file: 'https://a.example/i.png', size: '10' } },
          notification: { title: 'T', text: 'N' },
          extras: { customtags: { a: 1 } },
        },
      ),
    );
    expect(contentOf(unit)).toEqual({
      message: 'See',
      media: [{ contentType: 'image', file: 'https://a.example/i.png', size: 10 }],
      notification: { title: 'T', text: 'N' },
      extras: { customtags: { a: 1 } },
    });
    expect(unit.destinations).toEqual([
      {
        correlationid: null,
        identifiers: [
          { type: 'userid', value: 'a' },
          { type: 'userid', value: 'b' },
        ],
      },
      { correlationid: 'x', identifiers: [{ type: 'customerid', value: 'c' }] },
    ]);
  });

  it('has an empty message where there is only an attachment', async () => {
    const attachment = { contentType: 'location', latitude: '48.1', longitude: 11.5 };
    const unit = await unitOf(makeBody({}, { message: { attachment } }));
    expect(contentOf(unit)).toEqual({
      message: '',
      media: [{ contentType: 'location', latitude: 48.1, longitude: 11.5 }],
    });
  });

  it('takes expiry and priority of the request, else the defaults of service and client', async () => {
    const now = clock.now();
    expect(await unitOf(makeBody())).toMatchObject({
      expiry: now + 30 * DAY_MS,
      priority: 2,
      channelWord: 'appmessaging',
    });
    const given = await unitOf(makeBody({ expiry: '2030-04-12T13:00:19.456+5:30', priority: '3' }));
    expect(given).toMatchObject({ expiry: Date.parse('2030-04-12T07:30:19.456Z'), priority: 3 });
    expect(await unitOf(makeBody({ priority: 1 }, { priority: 'urgent' }))).toMatchObject({ priority: 2 });
    await server.close();
    await start({ seed: { service: { expiryMs: 5 * MINUTE_MS }, client: { priority: 3 } } });
    expect(await unitOf(makeBody({ priority: 9 }))).toMatchObject({ expiry: clock.now() + 5 * MINUTE_MS, priority: 3 });
  });

  it('keeps the word rt, the notify URL and the callback data', async () => {
    const unit = await unitOf({
      deliverychannel: 'rt',
      destination: [{ userid: ['ann'] }],
      notifyurl: 'https://weak.example/',
      callbackData: 'cb',
      channels: { rt: { message: { text: 'x' }, thread_id: 't', notifyurl: 'https://strong.example/r' } },
    });
    expect(unit).toMatchObject({
      channelWord: 'rt',
      notifyUrl: 'https://strong.example/r',
      callbackData: 'cb',
      thread: { id: 't' },
    });
  });
});

describe('templates', () => {
  const parameters = { name: 'Ada', code: '${name} {{link_5}} $&' };

  it('are rendered in one literal pass', async () => {
    const unit = await unitOf(makeBody({ message: { template: 't1', parameters } }, { message: {} }));
    expect(contentOf(unit)['message']).toBe('Hello Ada, your code is ${name} {{link_5}} $&');
    expect(unit.links).toEqual([]);
  });

  it("take the channel's parameters over the body's, by name", async () => {
    const block = { message: { parameters: { code: '7' } } };
    const unit = await unitOf(makeBody({ message: { template: 't1', parameters } }, block));
    expect(contentOf(unit)['message']).toBe('Hello Ada, your code is 7');
  });

  it('give way to a text, with a warning', async () => {
    const answered = await server.send(makeBody({ message: { template: 't1', parameters } }), {
      headers: { prefer: 'respond-async, warnings' },
    });
    expect(contentOf(units.at(-1)!)['message']).toBe('Hello');
    expect(itemsOf(answered)[0]!['warnings']).toEqual([
      { path: '/channels/appmessaging/message/text', message: expect.stringContaining('t1') as string },
    ]);
  });

  it('leave the prototype of objects alone', async () => {
    const hostile = '{"name":"a","code":"b","__proto__":{"polluted":"yes"},"constructor":"c"}';
    const body = JSON.stringify(makeBody({ message: { template: 't1', parameters: 'HERE' } }, { message: {} }));
    await server.send(body.replace('"HERE"', hostile));
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});

describe('smartlinks', () => {
  const text = 'Go {{link_5}} or {{link_6}}';

  it('are made where their token is: text, notification, template', async () => {
    const smartlinks = [{ linkid: '5', validity: '30' }, { linkid: 6 }];
    const unit = await unitOf(makeBody({ smartlinks }, { message: { text } }));
    expect(unit.links).toEqual([
      { linkid: '5', url: 'https://a.example/x', expiresAt: clock.now() + 30 * MINUTE_MS },
      { linkid: '6', url: 'https://b.example/', expiresAt: clock.now() + 10 * MINUTE_MS },
    ]);
    const notified = await unitOf(makeBody({ smartlinks }, { notification: { title: 'x', text } }));
    expect(notified.links).toHaveLength(2);
    const templated = { message: { template: 't1', parameters: { name: '{{link_6}}', code: '1' } } };
    const rendered = await unitOf(makeBody({ ...templated, smartlinks }, { message: {} }));
    expect(rendered.links.map((link) => link.linkid)).toEqual(['6']);
  });

  it('last as long as the message is kept where nobody says otherwise', async () => {
    const unit = await unitOf(makeBody({}, { message: { text: '{{link_5}}' }, smartlinks: [{ linkid: 5 }] }));
    expect(unit.links[0]!.expiresAt).toBe(unit.expiry + 30 * DAY_MS);
  });

  it('whose token is nowhere, and tokens without a link, are warnings', async () => {
    const answered = await server.send(makeBody({ smartlinks: [{ linkid: 5 }] }, { message: { text: '{{link_6}}' } }), {
      headers: { prefer: 'warnings' },
    });
    const [item] = itemsOf(answered);
    expect(item!['warnings']).toEqual([
      { path: '/smartlinks/0/linkid', message: expect.stringContaining('{{link_5}}') as string },
      { path: '/channels', message: expect.stringContaining('{{link_6}}') as string },
    ]);
    expect(answered.headers['preference-applied']).toBe('warnings');
    expect(units.at(-1)!.links).toEqual([]);
  });

  it('count with their full address where the message must not grow beyond what a device takes', async () => {
    const smartlinks = [{ linkid: 5 }];
    const fits = 'x'.repeat(4_000);
    itemsOf(
      await server.send(makeBody({ smartlinks }, { message: { text: fits }, extras: { a: 'y'.repeat(28_000) } })),
    );
    const many = '{{link_5}}'.repeat(400);
    const answered = await server.send(
      makeBody({ smartlinks }, { message: { text: many }, extras: { a: 'y'.repeat(28_000) } }),
    );
    expect(answered.text).toContain('7004');
  });
});

describe('Prefer: warnings', () => {
  it('lists what was ignored: of an object in its item, of the request in the first', async () => {
    const destination = [{ userid: ['a'] }, { userid: ['b'], colour: 'red' }];
    const answered = await server.send(makeBody({ destination, colour: 'blue' }), { headers: { prefer: 'warnings' } });
    expect(itemsOf(answered).map((item) => item['warnings'])).toEqual([
      [expect.objectContaining({ path: '/colour' })],
      [expect.objectContaining({ path: '/destination/1/colour' })],
    ]);
  });

  it('is nothing where nobody asks', async () => {
    const answered = await server.send(makeBody({ colour: 'blue' }), { headers: { prefer: 'warningsx' } });
    expect(answered.text).not.toContain('warnings');
  });

  it('does not make the answer larger than the request by much', async () => {
    const unknown = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`k${index}${'x'.repeat(900)}`, 1]));
    const destination = Array.from({ length: 1_000 }, (_, index) => ({ userid: [`u${index}`] }));
    const body = JSON.stringify(makeBody({ destination, ...unknown }));
    const answered = await server.send(body, { headers: { prefer: 'warnings' } });
    expect(itemsOf(answered)).toHaveLength(1_000);
    expect(answered.text.length).toBeLessThan(body.length);
  });
});

describe('?dryRun=true', () => {
  const dry = (body: unknown): Promise<Answered> => server.send(body, { query: '?dryRun=true' });

  it('shows what each destination would get and stores nothing', async () => {
    const answered = await dry(
      makeBody(
        {
          destination: [{ userid: ['a'], correlationid: 'x' }, { msisdn: ['+4915112345678'] }],
          priority: 3,
          smartlinks: [{ linkid: 5 }],
        },
        { message: { text: 'Go {{link_5}}' } },
      ),
    );
    expect(answered.json).toMatchObject({ dryRun: true });
    const items = itemsOf(answered);
    expect(items[0]).toMatchObject({
      code: '1001',
      correlationid: 'x',
      identifiers: [{ type: 'userid', value: 'a' }],
      message: {
        type: 'message',
        tid: items[0]!.transid,
        message: `Go https://msg.example/l/${'x'.repeat(14)}`,
        media: [],
        priority: 3,
        thread: { type: 'Conversation', title: 'Orders' },
      },
    });
    expect(items[1]).toMatchObject({ identifiers: [{ type: 'msisdn' }], message: { tid: items[1]!.transid } });
    expect(units).toEqual([]);
    expect((await server.store.counts(clock.now())).waiting).toBe(0);
  });

  it('refuses what the call itself would refuse', async () => {
    expect((await dry(makeBody({ appid: 'nix' }))).text).toContain('7104');
  });

  it('repeats a large message only so often', async () => {
    const destination = Array.from({ length: 1_000 }, (_, index) => ({ userid: [`u${index}`] }));
    const answered = await dry(makeBody({ destination }, { extras: { a: 'x'.repeat(30_000) } }));
    const items = itemsOf(answered);
    expect(items[999]!['messageLike']).toBe(items[0]!.transid);
    expect(answered.text.length).toBeLessThan(2_000_000);
  });

  it('is asked for by that word alone', async () => {
    for (const query of ['?dryRun=1', '?dryrun=true', '?dryRun', '?x=dryRun=true']) {
      expect((await server.send(makeBody(), { query })).json).not.toHaveProperty('dryRun');
    }
    expect(units).toHaveLength(4);
  });
});
