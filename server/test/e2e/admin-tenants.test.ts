/**
 * One tenant can neither read nor guess another's objects (contract §5, promise 9): every route of the admin API, taken from
 * its own OpenAPI document so that a new one cannot be forgotten, with every kind of id that is in its path.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openAdminWorld } from '../support/admin-world.ts';
import type { AdminWorld, Belongings } from '../support/admin-world.ts';

let world: AdminWorld;
beforeEach(async () => {
  world = await openAdminWorld();
});
afterEach(() => world.close());

interface Route {
  readonly method: string;
  readonly path: string;
}

/** Collected once, before the tests are made. */
const routes = await (async (): Promise<Route[]> => {
  const once = await openAdminWorld();
  const { body } = await once.call('GET', '/openapi.json');
  await once.close();
  const { paths } = body as { paths: Record<string, Record<string, unknown>> };
  return Object.entries(paths)
    .filter(([path]) => path.startsWith('/admin/v1/'))
    .flatMap(([path, operations]) => Object.keys(operations).map((method) => ({ method: method.toUpperCase(), path })));
})();
const withIds = routes.filter(({ path }) => path.includes('{'));

/** What a placeholder of a path stands for. */
function idOf(path: string, name: string, owner: Belongings): string {
  const inside: Record<string, string> = {
    keyId: owner.keyId,
    userid: owner.userid,
    threadId: owner.threadId,
    transid: owner.transid,
  };
  const first: Record<string, string> = {
    clients: owner.clientId,
    services: owner.serviceId,
    apps: owner.appId,
    templates: owner.templateId,
    smartlinks: owner.smartlinkId,
    receipts: owner.receiptId,
    'disabled-endpoints': owner.endpointId,
    tokens: owner.tokenId,
  };
  const id = inside[name] ?? first[path.split('/')[3] ?? ''];
  if (id === undefined) throw new Error(`this test knows no id for {${name}} of ${path}: add it`);
  return id;
}

const fill = (path: string, id: (name: string) => string): string =>
  path.replaceAll(/\{(\w+)\}/gu, (_whole, name: string) => encodeURIComponent(id(name)));

const BODIES: Record<string, unknown> = { PATCH: {}, PUT: {} };

function call(route: Route, path: string, token: string | undefined): ReturnType<AdminWorld['call']> {
  const body = BODIES[route.method];
  return world.call(route.method, path, {
    ...(token === undefined ? undefined : { token }),
    ...(body === undefined ? undefined : { body }),
  });
}

/** Ids of the right form, of no form, and hostile ones; none exists. */
const UNKNOWN = [
  '0198c0de-0000-7000-8000-000000000000',
  'SA00000000',
  '0',
  '-1',
  '*',
  "' OR 1=1 --",
  '../clients',
  '%00',
  'ü'.repeat(100),
];

describe('the matrix of the admin API', () => {
  it('is about every route', () => {
    expect(routes.length).toBeGreaterThan(40);
    expect(withIds.length).toBeGreaterThan(25);
  });

  describe.each(withIds)('$method $path', (route) => {
    it('is closed without a token and with one that is none', async () => {
      const acme = await world.tenant('acme');
      const path = fill(route.path, (name) => idOf(route.path, name, acme));
      for (const token of [undefined, 'nonsense', `cat_${'A'.repeat(43)}`, acme.key, acme.tokenId]) {
        const answer = await call(route, path, token);
        expect(answer.status).toBe(401);
        expect(answer.headers['www-authenticate']).toContain('Bearer');
      }
    });

    it('tells another tenant’s ids from ids that do not exist by not one byte', async () => {
      const acme = await world.tenant('acme');
      const rival = await world.tenant('rival');
      const own = fill(route.path, (name) => idOf(route.path, name, rival));
      const isPerson = route.path.includes('{userid}') || route.path.includes('{threadId}');
      const expected = await call(
        route,
        fill(route.path, () => UNKNOWN[0] ?? ''),
        acme.token,
      );
      expect(expected.status).toBe(404);
      for (const id of UNKNOWN) {
        const unknown = await call(
          route,
          fill(route.path, () => id),
          acme.token,
        );
        expect({ id, status: unknown.status, text: unknown.text }).toEqual({ id, status: 404, text: expected.text });
      }
      const others = await call(route, own, acme.token);
      expect(others.status).toBe(404);
      expect(others.text).toBe(expected.text);
      expect(Object.keys(others.headers).toSorted()).toEqual(Object.keys(expected.headers).toSorted());
      // Nothing happened to it either: its owner still finds it.
      if (!isPerson || route.method === 'GET') expect((await call(route, own, rival.token)).status).not.toBe(404);
    });

    it('does not find what belongs to the other one behind an own parent', async () => {
      const [, ...inner] = route.path.matchAll(/\{(\w+)\}/gu);
      if (inner.length === 0) return;
      const acme = await world.tenant('acme');
      const rival = await world.tenant('rival');
      if (route.path.includes('{userid}')) return; // A userid belongs to an app and means nothing beside it.
      const mixed = fill(route.path, (name) => idOf(route.path, name, name === 'id' ? acme : rival));
      expect((await call(route, mixed, acme.token)).status).toBe(404);
    });

    it('is open to its owner and to a token for the whole installation', async () => {
      for (const who of ['owner', 'root']) {
        const acme = await world.tenant(`acme-${who}`);
        const path = fill(route.path, (name) => idOf(route.path, name, acme));
        const answer = await call(route, path, who === 'root' ? world.rootToken : acme.token);
        // 409: it is in use, which only who may see it is told.
        expect([200, 201, 204, 409], answer.text).toContain(answer.status);
      }
    });
  });
});

describe('lists', () => {
  const lists = routes.filter(
    ({ method, path }) => method === 'GET' && !path.includes('{') && !path.endsWith('/messages'),
  );

  it.each(lists)('$path shows a tenant its own and nothing of the other', async (route) => {
    const acme = await world.tenant('acme');
    const rival = await world.tenant('rival');
    const mine = await call(route, route.path, acme.token);
    expect(mine.status).toBe(200);
    const { items } = mine.body as { items: Record<string, string>[] };
    expect(items.length).toBeGreaterThan(0);
    for (const item of items) expect(item['clientId'] ?? item['id']).toBe(acme.clientId);
    const all = (await call(route, route.path, world.rootToken)).text;
    expect(all).toContain(rival.clientId);
  });

  it.each(lists)('$path does not tell whether another client exists', async (route) => {
    const acme = await world.tenant('acme');
    const rival = await world.tenant('rival');
    const ask = (clientId: string): ReturnType<AdminWorld['call']> =>
      call(route, `${route.path}?clientId=${clientId}`, acme.token);
    const unknown = await ask('0198c0de-0000-7000-8000-000000000000');
    expect(unknown.status).toBe(404);
    expect((await ask(rival.clientId)).text).toBe(unknown.text);
    expect((await ask(acme.clientId)).status).toBe(200);
  });

  it('filters receipts and messages by own services only', async () => {
    const acme = await world.tenant('acme');
    const rival = await world.tenant('rival');
    for (const path of ['/admin/v1/receipts?serviceId=', '/admin/v1/messages?correlationid=order-1&serviceId=']) {
      const unknown = await world.call('GET', `${path}nothing`, { token: acme.token });
      const others = await world.call('GET', path + rival.serviceId, { token: acme.token });
      expect([unknown.status, others.text]).toEqual([404, unknown.text]);
      expect((await world.call('GET', path + acme.serviceId, { token: acme.token })).status).toBe(200);
    }
    for (const query of ['correlationid=order-1', `transid=${rival.transid}`, `appId=${rival.appId}&userid=ann`]) {
      const answer = await world.call('GET', `/admin/v1/messages?${query}`, { token: acme.token });
      expect(answer.text, query).not.toContain(rival.transid);
    }
    const byTransid = await world.call('GET', `/admin/v1/receipts?transid=${rival.transid}`, { token: acme.token });
    expect(byTransid.body).toEqual({ items: [], next: null });
  });

  it('leads nowhere with a cursor that was another tenant’s', async () => {
    const acme = await world.tenant('acme');
    const rival = await world.tenant('rival');
    const answer = await world.call('GET', `/admin/v1/templates?cursor=${rival.templateId}`, { token: acme.token });
    expect(answer.text).not.toContain(rival.clientId);
  });
});

describe('references in bodies', () => {
  it.each([
    ['POST', '/services', 'appId', (owner: Belongings) => ({ name: 'x', appId: owner.appId })],
    ['POST', '/services', 'clientId', (owner: Belongings) => ({ name: 'x', appId: 'any', clientId: owner.clientId })],
    ['POST', '/apps', 'clientId', (owner: Belongings) => ({ name: 'x', clientId: owner.clientId })],
    ['POST', '/templates', 'clientId', (owner: Belongings) => ({ name: 'x', text: 'y', clientId: owner.clientId })],
    [
      'POST',
      '/smartlinks',
      'clientId',
      (owner: Belongings) => ({ name: 'x', url: 'https://x/', clientId: owner.clientId }),
    ],
    ['POST', '/tokens', 'clientId', (owner: Belongings) => ({ name: 'x', clientId: owner.clientId })],
  ] as const)('%s %s with another client’s %s answers as if it did not exist', async (method, path, _field, body) => {
    const acme = await world.tenant('acme');
    const rival = await world.tenant('rival');
    const nobody = { ...rival, appId: 'SA00000000', clientId: '0198c0de-0000-7000-8000-000000000000' };
    const send = (owner: Belongings): ReturnType<AdminWorld['call']> =>
      world.call(method, `/admin/v1${path}`, { token: acme.token, body: body(owner) });
    const unknown = await send(nobody);
    const others = await send(rival);
    expect(unknown.status).toBe(404);
    expect([others.status, others.text]).toEqual([404, unknown.text]);
  });

  it('lets no service move to another client’s app, not even with a token for everything', async () => {
    const acme = await world.tenant('acme');
    const rival = await world.tenant('rival');
    for (const token of [acme.token, world.rootToken]) {
      const path = `/admin/v1/services/${acme.serviceId}`;
      const unknown = await world.call('PATCH', path, { token, body: { appId: 'SA00000000' } });
      const others = await world.call('PATCH', path, { token, body: { appId: rival.appId } });
      expect([others.status, others.text]).toEqual([404, unknown.text]);
    }
    expect(await world.store.getObject('service', acme.serviceId)).toMatchObject({ appId: acme.appId });
  });

  it('lets no token make one that sees more', async () => {
    const acme = await world.tenant('acme');
    const wide = await world.call('POST', '/admin/v1/tokens', {
      token: acme.token,
      body: { name: 'x', clientId: '*' },
    });
    expect(wide.status).toBe(400);
    const client = await world.call('POST', '/admin/v1/clients', { token: acme.token, body: { name: 'x' } });
    expect(client.status).toBe(403);
    const own = await world.call('POST', '/admin/v1/tokens', { token: acme.token, body: { name: 'x' } });
    expect(own.body).toMatchObject({ clientId: acme.clientId });
  });

  it('tells who has no token nothing about paths', async () => {
    const known = await world.call('GET', '/admin/v1/services');
    const unknown = await world.call('GET', '/admin/v1/no-such-thing');
    expect([known.status, unknown.text]).toEqual([401, known.text]);
    expect((await world.call('GET', '/admin/v1/no-such-thing', { token: world.rootToken })).status).toBe(404);
  });
});
