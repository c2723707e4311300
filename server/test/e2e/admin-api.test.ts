import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hashOf } from '../../src/http/admin/provision.ts';
import { openAdminWorld } from '../support/admin-world.ts';
import type { AdminAnswer, AdminWorld } from '../support/admin-world.ts';

let world: AdminWorld;
beforeEach(async () => {
  world = await openAdminWorld();
});
afterEach(() => world.close());

type Body = Record<string, unknown>;

const root = (method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<AdminAnswer> =>
  world.call(method, `/admin/v1${path}`, {
    token: world.rootToken,
    ...(body === undefined ? undefined : { body }),
    ...(headers === undefined ? undefined : { headers }),
  });

async function make(path: string, body: unknown): Promise<Body & { id: string }> {
  const answer = await root('POST', path, body);
  expect(answer.status, answer.text).toBe(201);
  return answer.body as Body & { id: string };
}

async function makeService(): Promise<{ clientId: string; appId: string; service: Body & { id: string } }> {
  const { id: clientId } = await make('/clients', { name: 'Acme' });
  const { id: appId } = await make('/apps', { name: 'Shop', clientId });
  return { clientId, appId, service: await make('/services', { name: 'Orders', clientId, appId }) };
}

const details = (answer: AdminAnswer): string[] =>
  (answer.body as { error: { details: { path: string }[] } }).error.details.map(({ path }) => path);
const message = (answer: AdminAnswer): string => (answer.body as { error: { message: string } }).error.message;

describe('making things', () => {
  it('gives ids in the forms that callers know', async () => {
    const { clientId, appId, service } = await makeService();
    const template = await make('/templates', { name: 'Greeting', text: 'Hello ${name}', clientId });
    const first = await make('/smartlinks', { name: 'Offer', url: 'https://shop.example/', clientId });
    const second = await make('/smartlinks', { name: 'Offer', url: 'https://shop.example/', clientId });
    const token = await make('/tokens', { name: 'ci', clientId });
    expect(clientId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/u);
    expect(appId).toMatch(/^[A-Z]{2}\d{8}$/u);
    expect(service['key']).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/u);
    expect(service['receiptSecret']).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/u);
    expect(template.id).toMatch(/^[0-9A-Z]{10}$/u);
    expect([first.id, second.id]).toEqual(['1', '2']);
    expect(token['token']).toMatch(/^cat_[\w-]{43}$/u);
  });

  it('tells secrets once and stores keys and tokens as hashes', async () => {
    const { appId, service } = await makeService();
    const key = String(service['key']);
    expect(await world.store.getObject('key', hashOf(key))).toMatchObject({ serviceId: service.id, state: 'active' });
    const texts = await Promise.all(
      [
        `/services/${service.id}`,
        '/services',
        `/services/${service.id}/keys`,
        `/apps/${appId}`,
        '/apps',
        '/tokens',
      ].map(async (path) => (await root('GET', path)).text),
    );
    const app = await world.store.getObject('app', appId);
    const secrets = [key, app!.secrets[0]!, String(service['receiptSecret']), world.rootToken];
    for (const text of texts) for (const secret of secrets) expect(text).not.toContain(secret);
    expect(await world.store.getObject('token', world.rootToken)).toBeNull();
  });

  it('says every fault of a body by its pointer', async () => {
    const { clientId, appId } = await makeService();
    const answer = await root('POST', '/services', {
      clientId,
      appId,
      state: 'asleep',
      colour: 'red',
      statuses: ['Gone'],
    });
    expect(answer.status).toBe(400);
    expect(details(answer).toSorted()).toEqual(['/colour', '/name', '/state', '/statuses/0']);
  });

  it.each([
    ['/services', { notifyUrl: 'ftp://x.example/' }, '/notifyUrl'],
    ['/services', { inboundUrl: 'https://user:pass@x.example/' }, '/inboundUrl'],
    ['/apps', { jwksUrl: 'javascript:alert(1)' }, '/jwksUrl'],
    ['/apps', { origins: ['https://a.example', 'https://b.example/path'] }, '/origins/1'],
    ['/apps', { hasSecret: false }, '/jwksUrl'],
    ['/smartlinks', { url: 'data:text/html,x' }, '/url'],
  ])('refuses in %s what only a look at the value shows: %j', async (path, fields, pointer) => {
    const { clientId, appId } = await makeService();
    const base: Record<string, Body> = { '/services': { appId }, '/apps': {}, '/smartlinks': {} };
    const answer = await root('POST', path, { name: 'x', clientId, ...base[path], ...fields });
    expect(answer.status, answer.text).toBe(400);
    expect(details(answer)).toEqual([pointer]);
  });

  it('wants to know whose it is, and takes the token’s own client where it has one', async () => {
    const acme = await world.tenant('acme');
    expect(details(await root('POST', '/templates', { name: 'x', text: 'y' }))).toEqual(['/clientId']);
    const own = await world.call('POST', '/admin/v1/templates', { token: acme.token, body: { name: 'x', text: 'y' } });
    expect(own.body).toMatchObject({ clientId: acme.clientId });
  });
});

describe('changing things', () => {
  it('changes the fields given and tells the caches', async () => {
    const { service } = await makeService();
    let hints = 0;
    world.bus.subscribe('objects', () => (hints += 1));
    const answer = await root('PATCH', `/services/${service.id}`, {
      state: 'suspended',
      notifyUrl: 'https://n.example/',
    });
    expect(answer.body).toMatchObject({ name: 'Orders', state: 'suspended', notifyUrl: 'https://n.example/' });
    expect(hints).toBe(1);
    const cleared = await root('PATCH', `/services/${service.id}`, { notifyUrl: null });
    expect(cleared.body).toMatchObject({ state: 'suspended', notifyUrl: null });
    expect(await world.store.getObject('service', service.id)).toMatchObject({
      receiptSecrets: [service['receiptSecret']],
    });
  });

  it('lets two people change one thing only one after the other', async () => {
    const { clientId } = await makeService();
    const { etag } = (await root('GET', `/clients/${clientId}`)).headers;
    const change = (name: string): Promise<AdminAnswer> =>
      root('PATCH', `/clients/${clientId}`, { name }, { 'if-match': String(etag) });
    const statuses = (await Promise.all([change('one'), change('two')])).map(({ status }) => status);
    expect(statuses).toEqual([200, 412]);
    expect((await root('DELETE', `/clients/${clientId}`, undefined, { 'if-match': String(etag) })).status).toBe(412);
    expect((await root('GET', `/clients/${clientId}`)).body).toMatchObject({ name: 'one' });
  });

  it('keeps what cannot change: the owner, and what a customerid means', async () => {
    const { clientId, appId, service } = await makeService();
    expect(details(await root('PATCH', `/apps/${appId}`, { customerid: 'linked' }))).toEqual(['/customerid']);
    expect(details(await root('PATCH', `/services/${service.id}`, { clientId }))).toEqual(['/clientId']);
  });

  it('rotates keys with two active at a time, however many ask at once', async () => {
    const { service } = await makeService();
    const keys = `/services/${service.id}/keys`;
    const answers = await Promise.all([1, 2, 3].map(() => root('POST', keys)));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    const first = String(service['keyId']);
    expect((await root('DELETE', `${keys}/${first}`)).status).toBe(409);
    expect((await root('POST', `${keys}/${first}/revoke`)).body).toMatchObject({ state: 'revoked' });
    expect((await root('POST', keys)).status).toBe(201);
    expect((await root('DELETE', `${keys}/${first}`)).status).toBe(204);
    expect((await root('GET', keys)).body).toMatchObject({ items: [{ state: 'active' }, { state: 'active' }] });
  });

  it('rotates the secrets of receipts and of apps, the newest first', async () => {
    const { appId, service } = await makeService();
    const old = service['receiptSecret'];
    const rotated = (await root('POST', `/services/${service.id}/receipt-secrets/rotate`)).body as {
      secrets: string[];
    };
    expect(rotated.secrets).toEqual([expect.stringMatching(/^whsec_/u), old]);
    const retired = await root('POST', `/services/${service.id}/receipt-secrets/retire`);
    expect(retired.body).toEqual({ secrets: [rotated.secrets[0]] });
    expect((await root('GET', `/services/${service.id}/receipt-secrets`)).body).toEqual(retired.body);

    const app = (await root('POST', `/apps/${appId}/secrets/rotate`)).body as { secret: string; secretHints: string[] };
    expect(app.secretHints).toHaveLength(2);
    expect(app.secretHints[0]).toBe(app.secret.slice(-4));
    expect((await root('POST', `/apps/${appId}/secrets/retire`)).body).toMatchObject({
      secretHints: [app.secretHints[0]],
    });
    expect((await root('DELETE', `/apps/${appId}/secrets`)).status).toBe(409);
    await root('PATCH', `/apps/${appId}`, { jwksUrl: 'https://keys.example/' });
    expect((await root('DELETE', `/apps/${appId}/secrets`)).body).toMatchObject({ secretHints: [] });
    expect(details(await root('PATCH', `/apps/${appId}`, { jwksUrl: null }))).toEqual(['/jwksUrl']);
  });
});

describe('removing things', () => {
  it('says why what is in use stays', async () => {
    const { clientId, appId, service } = await makeService();
    expect(message(await root('DELETE', `/clients/${clientId}`))).toContain('still has a service');
    expect(message(await root('DELETE', `/apps/${appId}`))).toContain(service.id);
    expect(message(await root('DELETE', `/services/${service.id}`))).toContain('suspend it first');
    await root('PATCH', `/services/${service.id}`, { state: 'suspended' });
    expect((await root('DELETE', `/services/${service.id}`)).status).toBe(204);
    expect(await world.store.getObject('key', String(service['keyId']))).toBeNull();
    expect((await root('DELETE', `/apps/${appId}`)).status).toBe(204);
    expect((await root('DELETE', `/clients/${clientId}`)).status).toBe(204);
    expect((await root('GET', `/clients/${clientId}`)).status).toBe(404);
  });

  it('keeps a service whose receipts are still to be delivered', async () => {
    const acme = await world.tenant('acme');
    await root('POST', `/receipts/${acme.receiptId}/replay`);
    await root('PATCH', `/services/${acme.serviceId}`, { state: 'suspended' });
    expect(message(await root('DELETE', `/services/${acme.serviceId}`))).toContain('receipts');
  });

  it('takes a removed token out of use at once', async () => {
    const acme = await world.tenant('acme');
    const token = await make('/tokens', { name: 'short', clientId: acme.clientId });
    const list = (): Promise<AdminAnswer> => world.call('GET', '/admin/v1/services', { token: String(token['token']) });
    expect((await list()).status).toBe(200);
    expect((await root('DELETE', `/tokens/${token.id}`)).status).toBe(204);
    expect((await list()).status).toBe(401);
  });
});

describe('lists', () => {
  it('pages by cursor without loss or repeat', async () => {
    const { id: clientId } = await make('/clients', { name: 'Acme' });
    const made = new Set<string>();
    for (let index = 0; index < 7; index += 1) {
      made.add((await make('/templates', { name: `t${index}`, text: 'x', clientId })).id);
    }
    const seen: string[] = [];
    let next: string | null = '';
    while (next !== null) {
      const answer = await root('GET', `/templates?limit=3&cursor=${encodeURIComponent(next)}`);
      const page = answer.body as { items: { id: string }[]; next: string | null };
      seen.push(...page.items.map(({ id }) => id));
      next = page.next;
    }
    expect(seen).toHaveLength(7);
    expect(new Set(seen)).toEqual(made);
  });

  it('refuses sizes and parameters it does not know', async () => {
    expect(details(await root('GET', '/templates?limit=0'))).toEqual(['/limit']);
    expect(details(await root('GET', '/templates?limit=101'))).toEqual(['/limit']);
    expect(details(await root('GET', '/templates?colour=red'))).toEqual(['/colour']);
  });
});

describe('people and deliveries', () => {
  it('makes, links, reads and erases a profile', async () => {
    const { clientId } = await makeService();
    const { id: appId } = await make('/apps', { name: 'Linked', clientId, customerid: 'linked' });
    const path = `/apps/${appId}/profiles/${encodeURIComponent('ann/1 %ü')}`;
    const put = await root('PUT', path, { customerid: 'c-1', msisdn: '+491510000' });
    expect(put.body).toMatchObject({ userid: 'ann/1 %ü', customerid: 'c-1', msisdn: '+491510000' });
    expect((await root('PUT', `/apps/${appId}/profiles/ben`, { msisdn: '+491510000' })).status).toBe(409);
    expect((await root('GET', `/apps/${appId}/profiles`)).body).toMatchObject({ items: [{ customerid: 'c-1' }] });
    expect((await root('DELETE', path)).status).toBe(204);
    expect((await root('GET', path)).status).toBe(404);
  });

  it('takes a userid of 256 bytes and none longer, and none with control characters', async () => {
    const { appId } = await makeService();
    const put = async (userid: string): Promise<number> =>
      (await root('PUT', `/apps/${appId}/profiles/${encodeURIComponent(userid)}`, {})).status;
    expect(await put('ü'.repeat(128))).toBe(200);
    expect(await put('u'.repeat(257))).toBe(400);
    expect(await put('a\nb')).toBe(400);
  });

  it('knows that the customerid is the userid where the app says so', async () => {
    const { appId } = await makeService();
    expect(details(await root('PUT', `/apps/${appId}/profiles/ann`, { customerid: 'other' }))).toEqual(['/customerid']);
    expect((await root('PUT', `/apps/${appId}/profiles/ann`, { customerid: 'ann' })).status).toBe(200);
  });

  it('moves what waits for a customerid and wakes the user’s devices', async () => {
    const acme = await world.tenant('acme');
    const { id: appId } = await make('/apps', { name: 'Linked', clientId: acme.clientId, customerid: 'linked' });
    await root('PUT', `/apps/${appId}/profiles/ann`, {});
    const user = await world.store.findUser(appId, 'ann');
    const heads: number[] = [];
    world.bus.watch(user!, (hint) => heads.push(hint.head));
    const { makeUnit, destinationOf, customerid } = await import('../support/builders.ts');
    const ids = { clientId: acme.clientId, serviceId: acme.serviceId, appId };
    const unit = makeUnit({ ...ids, destinations: [destinationOf(customerid('c-9'))] });
    await world.store.write({ opens: [], accepts: [unit], settlements: [], closes: [] });
    expect(heads).toEqual([]);
    await root('PUT', `/apps/${appId}/profiles/ann`, { customerid: 'c-9' });
    expect(heads).toEqual([1]);
  });

  it('tells the gateways when it erases a user', async () => {
    const acme = await world.tenant('acme');
    let told = 0;
    const stop = world.bus.subscribe('erased', () => (told += 1));
    const profile = `/apps/${acme.appId}/profiles/${acme.userid}`;
    expect((await root('DELETE', profile)).status).toBe(204);
    expect((await root('DELETE', profile)).status).toBe(404);
    stop();
    expect(told).toBe(1);
  });

  it('shows a message’s way, its receipts, and sends them again', async () => {
    const acme = await world.tenant('acme');
    const timeline = (await root('GET', `/messages/${acme.transid}`)).body;
    expect(timeline).toMatchObject({
      serviceId: acme.serviceId,
      correlationid: 'order-1',
      deliveries: [{ destination: { type: 'userid', value: 'ann' }, state: 'queued', userid: 'ann' }],
    });
    expect(JSON.stringify(timeline)).not.toContain('Hello');
    const { transid, clientId, serviceId, appId } = acme;
    const found = { items: [{ transid, clientId, serviceId, appId, acceptedAt: expect.any(String) }], next: null };
    for (const query of [
      `correlationid=order-1&serviceId=${serviceId}`,
      `transid=${transid}`,
      `appId=${appId}&userid=ann`,
    ])
      expect((await root('GET', `/messages?${query}`)).body, query).toEqual(found);
    const wrong = ['', 'userid=ann', `transid=${transid}&correlationid=order-1`, `appId=${appId}`];
    for (const query of wrong) expect((await root('GET', `/messages?${query}`)).status, query).toBe(400);

    const dead = await root('GET', `/receipts?state=dead&serviceId=${acme.serviceId}`);
    expect(dead.body).toMatchObject({ items: [{ id: acme.receiptId, state: 'dead', history: [{ status: 500 }] }] });
    let woken = 0;
    world.bus.subscribe('receipts', () => (woken += 1));
    expect((await root('POST', `/receipts/${acme.receiptId}/replay`)).status).toBe(204);
    expect(woken).toBe(1);
    expect((await root('GET', '/receipts?state=dead')).body).toMatchObject({ items: [] });
  });

  it('lists threads, and enables an address that had said 410', async () => {
    const acme = await world.tenant('acme');
    const threads = await root('GET', `/apps/${acme.appId}/threads?userid=ann`);
    expect(threads.body).toMatchObject({ items: [{ id: acme.threadId, title: 'Orders' }], next: null });
    expect((await root('GET', `/apps/${acme.appId}/threads?userid=nobody`)).body).toEqual({ items: [], next: null });
    expect((await root('GET', '/disabled-endpoints')).body).toMatchObject({
      items: [{ url: 'https://gone.example/' }],
    });
    expect((await root('DELETE', `/disabled-endpoints/${acme.endpointId}`)).status).toBe(204);
    expect((await root('GET', '/disabled-endpoints')).body).toEqual({ items: [], next: null });
  });

  it('shows how a smartlink does', async () => {
    const acme = await world.tenant('acme');
    const answer = await root('GET', `/smartlinks/${acme.smartlinkId}`);
    expect(answer.body).toMatchObject({ figures: { minted: 0, visits: 0, recipients: 0 } });
  });
});

describe('odd requests', () => {
  it('answers JSON that is none, another content type and a broken path like any other fault', async () => {
    const headers = { authorization: `Bearer ${world.rootToken}` };
    const url = '/admin/v1/clients';
    const broken = await world.fastify.inject({
      method: 'POST',
      url,
      headers: { ...headers, 'content-type': 'application/json' },
      payload: '{"name":',
    });
    const xml = await world.fastify.inject({
      method: 'POST',
      url,
      headers: { ...headers, 'content-type': 'text/xml' },
      payload: '<a/>',
    });
    expect([broken.statusCode, xml.statusCode]).toEqual([400, 415]);
    for (const answer of [broken, xml]) expect(answer.json()).toMatchObject({ error: { code: 'invalid' } });
  });

  it('says 503 where the store cannot take it, and nothing of the inside', async () => {
    await world.store.close();
    const answer = await root('GET', '/clients');
    expect([500, 503]).toContain(answer.status);
    expect(answer.text).not.toMatch(/sqlite|database|at .*\.ts/iu);
  });
});
