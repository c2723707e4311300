/** Every code of the messaging API and every status beside 200, over a real socket (docs/api.md, codes). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { StoreUnavailable } from '../../src/core/ports.ts';
import { FakeClock } from '../support/clock.ts';
import { itemsOf, makeBody, refusalOf, startTestServer } from '../support/http-server.ts';
import type { TestServer } from '../support/http-server.ts';
import { seedTenant } from '../support/seed.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const createdAt = 0;

let server: TestServer;
let otherApp: string;

beforeAll(async () => {
  server = await startTestServer();
  const { store, tenant } = server;
  const other = await seedTenant(store, { name: 'other' });
  otherApp = other.appId;
  await seedTenant(store, { name: 'sleepy', service: { state: 'suspended' } });
  await store.putObjects(
    [
      { kind: 'app', value: { ...(await store.getObject('app', tenant.appId))!, id: 'second-app' } },
      {
        kind: 'template',
        value: { id: 't1', clientId: tenant.clientId, name: 't', text: 'Hi ${name}, ${code}', createdAt },
      },
      { kind: 'template', value: { id: 't2', clientId: other.clientId, name: 't', text: 'theirs', createdAt } },
      {
        kind: 'smartlink',
        value: {
          id: '5',
          clientId: tenant.clientId,
          name: 'l',
          url: 'https://a.example/',
          validityMinutes: null,
          createdAt,
        },
      },
      {
        kind: 'smartlink',
        value: {
          id: '6',
          clientId: other.clientId,
          name: 'l',
          url: 'https://b.example/',
          validityMinutes: null,
          createdAt,
        },
      },
    ],
    'create',
  );
});
afterAll(() => server.close());

const waiting = async (): Promise<number> => (await server.store.counts(server.clock.now())).waiting;

describe('1001', () => {
  it('has one item per object of destination, in order, with transid and the effective correlationid', async () => {
    const before = await waiting();
    const answered = await server.send(
      makeBody({
        correlationid: 'body',
        destination: [{ userid: ['a', 'b'], correlationid: 'own' }, { customerid: ['c'] }, { userid: ['d'] }],
      }),
    );
    expect(answered.status).toBe(200);
    const items = itemsOf(answered);
    expect(items.map(({ code, description, correlationid }) => [code, description, correlationid])).toEqual([
      ['1001', 'Queued', 'own'],
      ['1001', 'Queued', 'body'],
      ['1001', 'Queued', 'body'],
    ]);
    for (const { transid } of items) expect(transid).toMatch(UUID);
    expect(new Set(items.map((item) => item.transid)).size).toBe(3);
    expect(await waiting()).toBe(before + 4);
  });

  it('has no correlationid where none was given', async () => {
    const [item] = itemsOf(await server.send(makeBody()));
    expect(Object.keys(item!)).toEqual(['code', 'description', 'transid']);
  });

  it('reads the body as JSON whatever its content type', async () => {
    for (const type of [
      'text/plain',
      'multipart/form-data; boundary=x',
      'application/json; charset=utf-7',
      'nonsense',
      '',
    ]) {
      const answered = await server.send(makeBody(), { headers: { 'content-type': type } });
      expect(itemsOf(answered)).toHaveLength(1);
    }
  });

  it('takes a slash and a query after the path', async () => {
    for (const query of ['/', '?a=b', '/?a=b', '?']) {
      expect(itemsOf(await server.send(makeBody(), { query }))).toHaveLength(1);
    }
  });

  it('takes another app of the same client', async () => {
    expect(itemsOf(await server.send(makeBody({ appid: 'second-app' })))).toHaveLength(1);
  });

  it('takes a thousand identifiers at once', async () => {
    const destination = Array.from({ length: 1_000 }, (_, index) => ({ userid: [`u${index}`] }));
    const items = itemsOf(await server.send(makeBody({ destination })));
    expect(new Set(items.map((item) => item.transid)).size).toBe(1_000);
  });
});

const long = (count: number): unknown[] => Array.from({ length: count }, (_, index) => ({ userid: [`u${index}`] }));

interface Refused {
  readonly name: string;
  readonly code: string;
  readonly description: string;
  readonly body?: unknown;
  readonly key?: string;
  readonly path?: string;
}

const refused: readonly Refused[] = [
  { name: 'no key', code: '7002', description: 'Service key missing', key: '' },
  { name: 'an unknown key', code: '7001', description: 'Authentication failed', key: 'nobody' },
  { name: 'a key that is far too long', code: '7001', description: 'Authentication failed', key: 'k'.repeat(8_000) },
  { name: 'a suspended service', code: '7007', description: 'Service inactive', key: 'sleepy-service-key-0001' },
  { name: 'no JSON', code: '7000', description: 'Invalid JSON', body: '{', path: '' },
  { name: 'no object', code: '7000', description: 'Invalid JSON', body: '[]', path: '' },
  { name: 'no body', code: '7000', description: 'Invalid JSON', body: '', path: '' },
  {
    name: '1,001 objects',
    code: '7009',
    description: 'Max number of destinations',
    body: makeBody({ destination: long(1_001) }),
    path: '/destination',
  },
  {
    name: '1,001 identifiers',
    code: '7009',
    description: 'Max number of destinations',
    body: makeBody({ destination: [{ userid: Array.from({ length: 1_001 }, String) }] }),
    path: '/destination',
  },
  {
    name: 'nothing mandatory',
    code: '7003',
    description: 'Mandatory parameters missing',
    body: {},
    path: '/deliverychannel',
  },
  {
    name: 'no recipient',
    code: '7003',
    description: 'Mandatory parameters missing',
    body: makeBody({ destination: [] }),
    path: '/destination',
  },
  {
    name: 'a wrong type',
    code: '7004',
    description: 'Invalid parameters',
    body: makeBody({ destination: [{ userid: 'ann' }] }),
    path: '/destination/0/userid',
  },
  {
    name: 'a long correlationid',
    code: '7004',
    description: 'Invalid parameters',
    body: makeBody({ correlationid: 'é'.repeat(26) }),
    path: '/correlationid',
  },
  {
    name: 'an unknown smartlink',
    code: '7004',
    description: 'Invalid parameters',
    body: makeBody({ smartlinks: [{ linkid: 5 }, { linkid: 77 }] }),
    path: '/smartlinks/1/linkid',
  },
  {
    name: "another client's smartlink",
    code: '7004',
    description: 'Invalid parameters',
    body: makeBody({}, { smartlinks: [{ linkid: '6' }] }),
    path: '/channels/appmessaging/smartlinks/0/linkid',
  },
  {
    name: 'an unknown app',
    code: '7104',
    description: 'Invalid app id',
    body: makeBody({ appid: 'nix' }),
    path: '/appid',
  },
  {
    name: 'an unknown template',
    code: '7108',
    description: 'Invalid template',
    body: makeBody({ message: { template: 'nix' } }, { message: {} }),
    path: '/message/template',
  },
  {
    name: "another client's template",
    code: '7108',
    description: 'Invalid template',
    body: makeBody({}, { message: { template: 't2' } }),
    path: '/channels/appmessaging/message/template',
  },
  {
    name: 'a missing template parameter',
    code: '7121',
    description: 'Replaceable params could not be fetched',
    body: makeBody({ message: { template: 't1', parameters: { name: 'Ada' } } }, { message: {} }),
    path: '/message/parameters',
  },
  {
    name: 'a message too large once rendered',
    code: '7004',
    description: 'Invalid parameters',
    body: makeBody(
      { message: { template: 't1', parameters: { name: 'x'.repeat(20_000), code: 'y'.repeat(20_000) } } },
      { message: {} },
    ),
    path: '/channels',
  },
  {
    name: 'extras too large for a device',
    code: '7004',
    description: 'Invalid parameters',
    body: makeBody({}, { extras: { customtags: 'ü'.repeat(16_384) } }),
    path: '/channels',
  },
];

describe('refusals', () => {
  it.each(refused)('$code: $name', async ({ code, description, body, key, path }) => {
    const before = await waiting();
    const headers = key === undefined ? {} : { key };
    const answered = await server.send(body ?? makeBody(), { headers });
    expect(answered.status).toBe(200);
    const refusal = refusalOf(answered);
    expect(refusal).toMatchObject({ code, description });
    expect(refusal.transid).toMatch(UUID);
    if (path !== undefined) expect(refusal.details?.[0]?.path).toBe(path);
    expect(refusal.details?.[0]?.message).not.toBe('');
    expect(await waiting()).toBe(before);
  });

  it('names every fault and never stores a part of a request', async () => {
    const before = await waiting();
    const answered = await server.send(
      makeBody({ destination: [{ userid: ['fine'] }, { userid: [1] }, { userid: [''] }] }),
    );
    expect(refusalOf(answered).details).toHaveLength(2);
    expect(await waiting()).toBe(before);
  });

  it("answers another client's app exactly as one that does not exist", async () => {
    const shape = async (appid: string): Promise<string> => {
      const answered = await server.send(makeBody({ appid }));
      return answered.text.replace(refusalOf(answered).transid, '');
    };
    expect(await shape(otherApp)).toBe(await shape('x'.repeat(otherApp.length)));
  });

  it('works no longer with a key as soon as it is revoked', async () => {
    const tenant = await seedTenant(server.store, { name: 'leaver' });
    const headers = { key: tenant.keyText };
    expect(itemsOf(await server.send(makeBody(), { headers }))).toHaveLength(1);
    const { keyIdOf } = await import('../../src/core/directory.ts');
    const key = (await server.store.getObject('key', keyIdOf(tenant.keyText)))!;
    await server.store.putObjects([{ kind: 'key', value: { ...key, state: 'revoked' } }], 'replace');
    server.bus.publish('objects');
    expect(refusalOf(await server.send(makeBody(), { headers })).code).toBe('7001');
  });
});

describe('the order of the codes', () => {
  it.each([
    ['7002 before 7000', { key: '' }, '{', '7002'],
    ['7001 before 7000', { key: 'nobody' }, '{', '7001'],
    ['7007 before 7000', { key: 'sleepy-service-key-0001' }, '{', '7007'],
    ['7009 before 7003', {}, { destination: long(1_001) }, '7009'],
    ['7003 before 7004', {}, makeBody({ destination: [{ userid: 'ann' }, {}] }), '7003'],
    ['7004 before 7104', {}, makeBody({ appid: 'nix', smartlinks: [{ linkid: 77 }] }), '7004'],
    ['7104 before 7108', {}, makeBody({ appid: 'nix', message: { template: 'nix' } }, { message: {} }), '7104'],
    ['7108 before 7121', {}, makeBody({ message: { template: 'nix', parameters: {} } }, { message: {} }), '7108'],
  ])('%s', async (_name, headers: Record<string, string>, body, code) => {
    expect(refusalOf(await server.send(body, { headers })).code).toBe(code);
  });

  it('413 and 415 before 7002', async () => {
    const large = await server.send('x'.repeat(1_048_577), { headers: { key: '' } });
    expect(large.status).toBe(413);
    const packed = await server.send('x', { headers: { key: '', 'content-encoding': 'gzip' } });
    expect(packed.status).toBe(415);
  });
});

describe('other statuses', () => {
  it('413 over 1 MiB, declared or not, and not at 1 MiB', async () => {
    const body = JSON.stringify(makeBody({ padding: '' }));
    const exact = body.replace('"padding":""', `"padding":"${'x'.repeat(1_048_576 - body.length)}"`);
    expect(exact).toHaveLength(1_048_576);
    expect(itemsOf(await server.send(exact))).toHaveLength(1);
    for (const headers of [{}, { 'transfer-encoding': 'chunked' }]) {
      const answered = await server.send(`${exact} `, { headers });
      expect(answered.status).toBe(413);
      expect(refusalOf(answered).details?.[0]?.message).toContain('1048576');
    }
  });

  it.each(['gzip', 'br', 'zstd', 'deflate', 'x-unknown', 'gzip, identity'])(
    '415 for content encoding %s',
    async (encoding) => {
      const answered = await server.send(makeBody(), { headers: { 'content-encoding': encoding } });
      expect(answered.status).toBe(415);
    },
  );

  it('takes the encoding identity', async () => {
    expect(itemsOf(await server.send(makeBody(), { headers: { 'content-encoding': 'Identity' } }))).toHaveLength(1);
  });

  it('404 and 405 elsewhere, as JSON', async () => {
    const unknown = await server.call({ path: '/resources/v1/nothing' });
    expect([unknown.status, unknown.json]).toMatchObject([404, { error: { code: 'not-found' } }]);
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const answered = await server.call({ method, path: '/resources/v1/messaging' });
      expect([answered.status, answered.headers.allow]).toEqual([405, 'POST']);
    }
  });

  it('tells no version and carries the headers of an API', async () => {
    for (const answered of [
      await server.send(makeBody()),
      await server.call({ path: '/nix' }),
      await server.call({ path: '/health/live' }),
    ]) {
      expect(answered.headers['x-content-type-options']).toBe('nosniff');
      expect(answered.headers['cache-control']).toBe('no-store');
      expect(answered.headers['content-security-policy']).toContain("default-src 'none'");
      expect(answered.headers['server']).toBeUndefined();
      expect(answered.headers['x-powered-by']).toBeUndefined();
      expect(answered.text).not.toMatch(/fastify|node\.js|\d+\.\d+\.\d+/i);
    }
  });
});

describe('429', () => {
  it('comes with 7020 and Retry-After once the rate is used up, before the body is looked at', async () => {
    const clock = new FakeClock();
    const limited = await startTestServer({ clock, seed: { service: { ratePerSecond: 10 } } });
    try {
      const destination = long(25);
      expect(itemsOf(await limited.send(makeBody({ destination })))).toHaveLength(25);
      const answered = await limited.send('{');
      expect(answered.status).toBe(429);
      expect(refusalOf(answered)).toMatchObject({
        code: '7020',
        description: 'You have reached maximum transaction limit',
      });
      expect(answered.headers['retry-after']).toBe('2');
      clock.advance(1_500);
      expect((await limited.send(makeBody())).status).toBe(429);
      clock.advance(100);
      expect((await limited.send(makeBody())).status).toBe(200);
      clock.jump(3_600_000);
      expect((await limited.send(makeBody())).status).toBe(429);
    } finally {
      await limited.close();
    }
  });

  it('is not brought about by what was refused or only tried', async () => {
    const limited = await startTestServer({ seed: { service: { ratePerSecond: 2 } } });
    try {
      for (let index = 0; index < 10; index += 1) {
        expect(refusalOf(await limited.send(makeBody({ appid: 'nix' }))).code).toBe('7104');
        expect(itemsOf(await limited.send(makeBody(), { query: '?dryRun=true' }))).toHaveLength(1);
      }
      expect(itemsOf(await limited.send(makeBody()))).toHaveLength(1);
    } finally {
      await limited.close();
    }
  });
});

describe('503 and 500', () => {
  it('503 with 7006 and Retry-After where the store cannot take it', async () => {
    const failing = await startTestServer({
      writer: () => ({ accept: () => Promise.reject(new StoreUnavailable('disk full', { retryAfterSeconds: 7 })) }),
    });
    try {
      const answered = await failing.send(makeBody());
      expect([answered.status, answered.headers['retry-after']]).toEqual([503, '7']);
      expect(refusalOf(answered)).toMatchObject({ code: '7006', description: 'Internal error occurred' });
      expect(answered.text).not.toContain('disk full');
    } finally {
      await failing.close();
    }
  });

  it('500 with 7006 for a fault of ours, which is told to the operator and not outside', async () => {
    const told: unknown[] = [];
    const { silentObserver } = await import('../support/silent-observer.ts');
    const failing = await startTestServer({
      observer: { ...silentObserver, warning: (event) => told.push(event.error) },
      writer: () => ({ accept: () => Promise.reject(new TypeError('secret detail')) }),
    });
    try {
      const answered = await failing.send(makeBody());
      expect(answered.status).toBe(500);
      expect(refusalOf(answered).code).toBe('7006');
      expect(answered.text).not.toContain('secret detail');
      expect(told).toHaveLength(1);
    } finally {
      await failing.close();
    }
  });

  it('503 at the bound of what waits for a user and in all, storing nothing of the request', async () => {
    const bounded = await startTestServer({ deps: { limits: { waitingPerUserMax: 2, waitingTotalMax: 4 } } });
    try {
      await bounded.send(makeBody());
      await bounded.send(makeBody());
      const user = await bounded.send(makeBody({ destination: [{ userid: ['bob'] }, { userid: ['ann'] }] }));
      expect([user.status, refusalOf(user).code]).toEqual([503, '7006']);
      expect(Number(user.headers['retry-after'])).toBeGreaterThan(0);
      expect((await bounded.store.counts(0)).waiting).toBe(2);
      const total = await bounded.send(makeBody({ destination: [{ userid: ['b', 'c', 'd'] }] }));
      expect(total.status).toBe(503);
      expect(itemsOf(await bounded.send(makeBody({ destination: [{ userid: ['b', 'c'] }] })))).toHaveLength(1);
    } finally {
      await bounded.close();
    }
  });
});
