/** The HTTP port itself: health, metrics, device tokens, upgrades, time limits, TLS, stopping. */
import { connect } from 'node:net';
import { request as httpsRequest } from 'node:https';
import { connect as tlsConnect } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { makeCertificate } from '../support/certificates.ts';
import { itemsOf, makeBody, startTestServer } from '../support/http-server.ts';
import type { Answered, TestServer, TestServerOptions } from '../support/http-server.ts';
import { seedTenant } from '../support/seed.ts';

let server: TestServer | undefined;
async function start(options: TestServerOptions = {}): Promise<TestServer> {
  server = await startTestServer(options);
  return server;
}
afterEach(async () => {
  await server?.close();
  server = undefined;
});

describe('health', () => {
  it('is alive and ready, and tells nothing else', async () => {
    const { call } = await start();
    expect((await call({ path: '/health/live' })).text).toBe('{"status":"ok"}');
    expect((await call({ path: '/health/ready' })).text).toBe('{"status":"ok"}');
  });

  it('is not ready where the store takes no writes, or the process says so', async () => {
    const { call, store } = await start();
    store.probe = () => Promise.reject(new Error('disk full'));
    const answered = await call({ path: '/health/ready' });
    expect([answered.status, answered.text]).toEqual([503, '{"status":"unavailable"}']);
    expect((await call({ path: '/health/live' })).status).toBe(200);
    await server?.close();
    const starting = await start({ deps: { isReady: () => false } });
    expect((await starting.call({ path: '/health/ready' })).status).toBe(503);
  });

  it('asks the store once for all who ask at once', async () => {
    const { call, store } = await start();
    let probes = 0;
    store.probe = () => {
      probes += 1;
      return Promise.resolve();
    };
    await Promise.all(Array.from({ length: 20 }, () => call({ path: '/health/ready' })));
    expect(probes).toBe(1);
  });
});

describe('metrics', () => {
  const metrics = {
    token: 'metrics-token-0001',
    render: () => Promise.resolve({ contentType: 'text/plain', body: 'up 1\n' }),
  };

  it('are for this machine, or for who has the token', async () => {
    const { call } = await start({ deps: { metrics } });
    expect((await call({ path: '/metrics' })).text).toBe('up 1\n');
    const passedOn = { 'x-forwarded-for': '203.0.113.1' };
    expect((await call({ path: '/metrics', headers: passedOn })).status).toBe(404);
    for (const [token, status] of [
      ['metrics-token-0001', 200],
      ['metrics-token-0002', 404],
      ['', 404],
    ] as const) {
      const headers = { ...passedOn, authorization: `Bearer ${token}` };
      expect((await call({ path: '/metrics', headers })).status).toBe(status);
    }
  });

  it('are nowhere without a source', async () => {
    const { call } = await start();
    expect((await call({ path: '/metrics' })).status).toBe(404);
  });
});

describe('device tokens', () => {
  const minted: unknown[] = [];
  const deps: TestServerOptions = {
    deps: {
      mintDeviceToken: (request) => {
        minted.push(request);
        return request.app.secrets.length === 0
          ? Promise.resolve({ ok: false, message: 'the app has no secret' })
          : Promise.resolve({ ok: true, token: 'a.b.c', expires: '2026-01-01T01:00:00.000Z' });
      },
    },
  };
  const ask = (body: unknown, headers: Record<string, string> = { key: server!.tenant.keyText }): Promise<Answered> =>
    server!.call({ method: 'POST', path: '/resources/v1/device-tokens', headers, body: JSON.stringify(body) });

  it('are made for a user of an app of the client', async () => {
    await start(deps);
    const answered = await ask({
      appid: 'acme-app',
      userid: 'ann',
      customerid: 'c',
      msisdn: '+4915112345678',
      deviceid: 'd',
      ttl: '60',
    });
    expect([answered.status, answered.json]).toEqual([200, { token: 'a.b.c', expires: '2026-01-01T01:00:00.000Z' }]);
    expect(minted.at(-1)).toMatchObject({
      app: { id: 'acme-app' },
      userid: 'ann',
      customerid: 'c',
      msisdn: '+4915112345678',
      deviceid: 'd',
      ttlSeconds: 60,
    });
    expect((await ask({ userid: 'ann' })).status).toBe(200);
    expect(minted.at(-1)).not.toHaveProperty('customerid');
  });

  it.each([true, [60], '0x10', ' 60 ', 1.5, {}])('are not made for a ttl of %j', async (ttl) => {
    await start(deps);
    const answered = await ask({ userid: 'ann', ttl });
    expect(answered.status).toBe(400);
    expect(answered.json).toMatchObject({ response: { code: '7004', details: [{ path: '/ttl' }] } });
  });

  it('are refused with a status and a code', async () => {
    await start(deps);
    await seedTenant(server!.store, { name: 'other' });
    await seedTenant(server!.store, { name: 'sleepy', service: { state: 'suspended' } });
    await seedTenant(server!.store, { name: 'bare', app: { secrets: [] } });
    const cases: [unknown, Record<string, string> | undefined, number, string][] = [
      [{ userid: 'ann' }, {}, 401, '7002'],
      [{ userid: 'ann' }, { key: 'nobody' }, 401, '7001'],
      [{ userid: 'ann' }, { key: 'sleepy-service-key-0001' }, 403, '7007'],
      [{ userid: 'ann' }, { key: 'bare-service-key-0001' }, 400, '7004'],
      [{}, undefined, 400, '7003'],
      [[], undefined, 400, '7000'],
      [{ userid: 5 }, undefined, 400, '7004'],
      [{ userid: 'a\nb' }, undefined, 400, '7004'],
      [{ userid: 'x'.repeat(257) }, undefined, 400, '7004'],
      [{ userid: 'ann', ttl: 86_401 }, undefined, 400, '7004'],
      [{ userid: 'ann', ttl: 'soon' }, undefined, 400, '7004'],
      [{ userid: 'ann', appid: 'other-app' }, undefined, 404, '7104'],
      [{ userid: 'ann', appid: 'nix' }, undefined, 404, '7104'],
    ];
    for (const [body, headers, status, code] of cases) {
      const answered = await ask(body, headers ?? { key: server!.tenant.keyText });
      expect([body, answered.status, answered.json]).toMatchObject([body, status, { response: { code } }]);
    }
  });
});

describe('everything beside the hot route', () => {
  it('refuses bodies that are packed or too large, in one form', async () => {
    const { call, tenant } = await start();
    const path = `/rtmsAPI/api/v1/apps/${tenant.appId}/threads`;
    const headers = { key: tenant.keyText };
    const packed = await call({ method: 'POST', path, headers: { ...headers, 'content-encoding': 'gzip' }, body: 'x' });
    expect([packed.status, packed.json]).toMatchObject([415, { error: { code: 'unsupported-media-type' } }]);
    const large = await call({ method: 'POST', path, headers, body: 'x'.repeat(1_048_577) });
    expect([large.status, large.json]).toMatchObject([413, { error: { code: 'payload-too-large' } }]);
  });

  it('answers a failing store with 503, a fault of ours with 500, and tells neither reason', async () => {
    const { call, store, tenant } = await start();
    const { StoreUnavailable } = await import('../../src/core/ports.ts');
    const headers = { key: tenant.keyText };
    store.requestStatus = () => Promise.reject(new StoreUnavailable('disk full at /var', { retryAfterSeconds: 3 }));
    const unavailable = await call({ path: '/resources/v1/messaging/status/x', headers });
    expect([unavailable.status, unavailable.headers['retry-after']]).toEqual([503, '3']);
    store.requestStatus = () => Promise.reject(new TypeError('secret'));
    const failed = await call({ path: '/resources/v1/messaging/status/x', headers });
    expect(failed.status).toBe(500);
    expect(unavailable.text + failed.text).not.toMatch(/disk|secret/);
  });

  it('takes routes of others, with 405 for the methods they have not', async () => {
    const { call } = await start({
      deps: { registerAdmin: (app) => void app.get('/admin/v1/things/:id', () => ({ made: 'elsewhere' })) },
    });
    expect((await call({ path: '/admin/v1/things/5' })).json).toEqual({ made: 'elsewhere' });
    const answered = await call({ method: 'DELETE', path: '/admin/v1/things/5' });
    expect([answered.status, answered.headers.allow]).toEqual([405, 'GET, HEAD']);
  });
});

describe('an address or a method that is not there', () => {
  const broken = [
    ['application/json', '{'],
    ['text/xml', '<a/>'],
    [undefined, 'x'],
    ['application/json', 'x'.repeat(1_048_577)],
  ] as const;
  it.each(broken)('is told as such whatever the body is: %s', async (type, content) => {
    const { call } = await start({ deps: { registerAdmin: (app) => void app.get('/admin/v1/things', () => ({})) } });
    const sent = { headers: type === undefined ? {} : { 'content-type': type }, body: content };
    for (const method of ['POST', 'PUT', 'DELETE']) {
      const nowhere = await call({ method, path: '/nowhere', ...sent });
      expect([nowhere.status, nowhere.json]).toMatchObject([404, { error: { code: 'not-found' } }]);
    }
    for (const [method, path] of [
      ['PUT', '/resources/v1/messaging'],
      ['POST', '/health/live'],
      ['PATCH', '/rtmsAPI/api/v1/apps/any/threads'],
      ['DELETE', '/admin/v1/things'],
    ] as const) {
      const other = await call({ method, path, ...sent });
      expect([other.status, other.json]).toMatchObject([405, { error: { code: 'method-not-allowed' } }]);
      expect(other.headers.allow).toMatch(/^[A-Z, ]+$/);
    }
  });
});

function talk(port: number, bytes: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    let seen = '';
    socket.on('data', (chunk) => {
      seen += chunk.toString();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(seen));
  });
}

describe('upgrades', () => {
  const asking = 'GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';

  it('go to their handler', async () => {
    const { port } = await start({
      deps: { onUpgrade: (request, socket) => socket.end(`HTTP/1.1 101 Switching Protocols\r\n\r\n${request.url}`) },
    });
    expect(await talk(port, asking)).toContain('/mqtt');
  });

  it('are 404 where there is none', async () => {
    const { port } = await start();
    expect(await talk(port, asking)).toMatch(/^HTTP\/1\.1 404 /);
  });
});

describe('time limits', () => {
  const timeouts = { headersMs: 100, requestMs: 200, checkMs: 20 };

  it('408 for headers and for a body that do not come, and the connection ends', async () => {
    const { port, send } = await start({ deps: { timeouts } });
    const started = 'POST /resources/v1/messaging HTTP/1.1\r\nHost: x\r\n';
    const [headers, body] = await Promise.all([
      talk(port, started),
      talk(port, `${started}Content-Length: 100\r\n\r\n{`),
    ]);
    expect(headers).toMatch(/^HTTP\/1\.1 408 /);
    expect(body).toMatch(/^HTTP\/1\.1 408 /);
    expect(itemsOf(await send(makeBody()))).toHaveLength(1);
  });
});

describe('TLS', () => {
  it('serves the certificate it was given, and a new one after a change, without a break', async () => {
    const first = makeCertificate({ commonName: 'one.example' });
    const second = makeCertificate({ commonName: 'two.example' });
    const { port, http, tenant } = await start({ deps: { tls: first } });
    const subject = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = tlsConnect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
          resolve(String(socket.getPeerCertificate().subject.CN));
          socket.destroy();
        });
        socket.on('error', reject);
      });
    expect(await subject()).toBe('one.example');
    http.setTls(second);
    expect(await subject()).toBe('two.example');
    const text = await new Promise<string>((resolve, reject) => {
      const request = httpsRequest(
        {
          host: '127.0.0.1',
          port,
          method: 'POST',
          path: '/resources/v1/messaging',
          headers: { key: tenant.keyText },
          rejectUnauthorized: false,
          agent: false,
        },
        (response) => {
          let seen = '';
          response.on('data', (chunk: Buffer) => {
            seen += chunk.toString();
          });
          response.on('end', () => resolve(seen));
        },
      );
      request.on('error', reject);
      request.end(JSON.stringify(makeBody()));
    });
    expect(text).toContain('"code":"1001"');
  });
});

describe('stopping', () => {
  it('lets a request in hand end and takes no new one', async () => {
    let release: (() => void) | undefined;
    let entered: (() => void) | undefined;
    const started = new Promise<void>((resolve) => {
      entered = resolve;
    });
    const { send, http, port } = await start({
      writer: (writer) => ({
        accept: async (unit) => {
          entered?.();
          await new Promise<void>((resolve) => {
            release = resolve;
          });
          return writer.accept(unit);
        },
      }),
    });
    const answer = send(makeBody());
    await started;
    const closed = http.close();
    await expect(talk(port, 'GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n')).resolves.toBe('');
    release?.();
    expect(itemsOf(await answer)).toHaveLength(1);
    await closed;
  });
});
