import { once } from 'node:events';
import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import type { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { makeCertificate } from '../../test/support/certificates.ts';
import { drip } from '../../test/support/drip.ts';
import { hostileNames, hostileUrls, startCanaries } from '../../test/support/ssrf-targets.ts';
import type { Canaries } from '../../test/support/ssrf-targets.ts';
import { parseAllowList } from './address-filter.ts';
import type { AllowList } from './address-filter.ts';
import { createGuardedFetch } from './guarded-fetch.ts';
import type { GuardedFetch, GuardedFetchOptions, GuardedRequest, GuardedResult } from './guarded-fetch.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function allow(...entries: readonly string[]): AllowList {
  const result = parseAllowList(entries);
  if (!result.ok) throw new Error(result.message);
  return result.allowList;
}

const LOOPBACK = allow('127.0.0.0/8', '::1');
const EVERYTHING = allow('0.0.0.0/0', '::/0');

function client(options: GuardedFetchOptions = {}): GuardedFetch {
  const fetch = createGuardedFetch(options);
  cleanups.push(() => fetch.close());
  return fetch;
}

function post(url: string, changes: Partial<GuardedRequest> = {}): GuardedRequest {
  return { url, method: 'POST', body: Buffer.from('{}'), deadlineMs: 10_000, answerBytesMax: 65_536, ...changes };
}

async function serve(server: Server | ReturnType<typeof createTcpServer>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => {
    if ('closeAllConnections' in server) server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function serveHttp(listener: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await serve(createServer(listener))}`;
}

/** A server that speaks bytes; its sockets are cut at the end of the test. */
async function serveBytes(onConnection: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
    onConnection(socket);
  });
  const port = await serve(server);
  cleanups.push(() => sockets.forEach((socket) => socket.destroy()));
  return `http://127.0.0.1:${port}`;
}

function failure(result: GuardedResult): string {
  return result.ok ? `status ${result.status}` : result.reason;
}

describe('forbidden addresses', () => {
  let canaries: Canaries;
  beforeEach(async () => {
    canaries = await startCanaries();
    cleanups.push(() => canaries.close());
  });

  it('refuses every hostile URL and reaches no canary', async () => {
    const fetch = client();
    for (const url of hostileUrls(canaries.port)) {
      const result = await fetch.send(post(url));
      // What no parser here takes for an address is a name, and this one exists nowhere.
      const expected = url.includes('metadata.google.internal') ? ['dns'] : ['forbidden-address', 'bad-url'];
      expect(expected, url.slice(0, 100)).toContain(failure(result));
    }
    expect(canaries.hits()).toBe(0);
  });

  it('would reach the canaries through the same URLs if nothing were refused', async () => {
    const fetch = client({ allowList: EVERYTHING, lookup: () => Promise.reject(new Error('no names here')) });
    const urls = hostileUrls(canaries.port).filter((url) => /^http:\/\/(127|0|2130|017|%3|①|１|local|\[::)/i.test(url));
    const results = await Promise.all(urls.map((url) => fetch.send(post(url, { deadlineMs: 1_000 }))));
    expect(results.filter((result) => result.ok).length).toBeGreaterThan(15);
    expect(canaries.hits()).toBeGreaterThan(15);
  });

  it.each(Object.entries(hostileNames))('refuses %s for what it resolves to', async (name, addresses) => {
    const fetch = client({ lookup: () => Promise.resolve(addresses) });
    for (const scheme of ['http', 'https']) {
      expect(await fetch.send(post(`${scheme}://${name}:${canaries.port}/`))).toMatchObject({
        ok: false,
        reason: 'forbidden-address',
      });
    }
    expect(canaries.hits()).toBe(0);
  });

  it('resolves once per connection: an answer that changes after the check gains nothing', async () => {
    const answers = [['127.0.0.1'], ['127.0.0.2']];
    const lookup = vi.fn(() => Promise.resolve(answers.shift() ?? []));
    const fetch = client({ allowList: allow('127.0.0.1'), lookup });
    const url = `http://rebind.example:${canaries.port}/`;
    expect(await fetch.send(post(url))).toMatchObject({ ok: true, status: 200 });
    expect(lookup).toHaveBeenCalledTimes(1);
    // The canary closes its connections, so this is a new one, to a name that has moved inside meanwhile.
    expect(await fetch.send(post(url))).toMatchObject({ ok: false, reason: 'forbidden-address' });
    expect(lookup).toHaveBeenCalledTimes(2);
    expect(canaries.hits()).toBe(1);
  });

  it('connects to the address that was checked, whatever the name', async () => {
    const seen: (string | undefined)[] = [];
    const url = await serveHttp((request, response) => {
      seen.push(request.headers.host);
      response.end();
    });
    const port = new URL(url).port;
    const fetch = client({ allowList: LOOPBACK, lookup: () => Promise.resolve(['127.0.0.1']) });
    expect(await fetch.send(post(`http://hooks.example:${port}/`))).toMatchObject({ ok: true, status: 200 });
    expect(seen).toEqual([`hooks.example:${port}`]);
    // Nobody listens there: an answer would have come from another address than the one checked.
    const elsewhere = client({ allowList: LOOPBACK, lookup: () => Promise.resolve(['127.0.0.9']) });
    expect((await elsewhere.send(post(`http://hooks.example:${port}/`, { deadlineMs: 2_000 }))).ok).toBe(false);
  });

  it('tries the next checked address where the first does not answer', async () => {
    const fetch = client({ allowList: LOOPBACK, lookup: () => Promise.resolve(['127.0.0.9', '127.0.0.1']) });
    expect(await fetch.send(post(`http://two.example:${canaries.port}/`))).toMatchObject({ ok: true });
  });

  it('reaches loopback, also by the name localhost, where the allow list says so', async () => {
    const fetch = client({ allowList: allow('127.0.0.0/8'), lookup: () => Promise.reject(new Error('not asked')) });
    for (const host of ['127.0.0.1', 'localhost', 'LOCALHOST.', 'app.localhost', '2130706433', '[::ffff:7f00:1]']) {
      const result = await fetch.send(post(`http://${host}:${canaries.port}/`));
      expect(result, host).toMatchObject({ ok: true, status: 200 });
    }
    expect(await fetch.send(post(`http://[::1]:${canaries.port}/`))).toMatchObject({ reason: 'forbidden-address' });
    expect(canaries.hits()).toBe(6);
  });

  it.each([301, 302, 303, 307, 308])('reports a %d and does not follow it', async (status) => {
    const targets = [`http://127.0.0.1:${canaries.port}/`, `//[::1]:${canaries.port}/`, '/again', 'file:///etc/passwd'];
    let calls = 0;
    const url = await serveHttp((_request, response) => {
      response
        .writeHead(status, { location: targets[calls++ % targets.length], refresh: `0; url=${targets[0]}` })
        .end();
    });
    const fetch = client({ allowList: LOOPBACK });
    for (const [index] of targets.entries()) {
      expect(await fetch.send(post(url))).toMatchObject({ ok: true, status });
      expect(calls).toBe(index + 1);
    }
    expect(canaries.hits()).toBe(0);
  });

  it('ignores proxies and lax TLS of the environment', async () => {
    const proxy = `http://127.0.0.1:${canaries.port}`;
    for (const name of ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'ALL_PROXY', 'all_proxy'])
      vi.stubEnv(name, proxy);
    vi.stubEnv('NODE_USE_ENV_PROXY', '1');
    cleanups.push(() => vi.unstubAllEnvs());
    const url = await serveHttp((_request, response) => response.end());
    expect(await client({ allowList: LOOPBACK }).send(post(url))).toMatchObject({ ok: true, status: 200 });
    expect(await client().send(post('http://10.0.0.1/'))).toMatchObject({ reason: 'forbidden-address' });
    expect(canaries.hits()).toBe(0);
  });

  it('tells no resolved address and no difference between an open and a closed port', async () => {
    const fetch = client({ lookup: () => Promise.resolve(['10.20.30.40']) });
    const [open, shut] = await Promise.all([
      client().send(post(`http://127.0.0.1:${canaries.port}/`)),
      client().send(post('http://127.0.0.1:1/')),
    ]);
    expect({ ...open, ms: 0 }).toEqual({ ...shut, ms: 0 });
    expect(JSON.stringify(await fetch.send(post('http://inside.example/')))).not.toContain('10.20.30.40');
  });
});

describe('hostile answers', () => {
  const fetchLoopback = (): GuardedFetch => client({ allowList: LOOPBACK });

  it('reads an endless body up to the bound, counts the status and cuts the connection', async () => {
    const cut = Promise.withResolvers<void>();
    const url = await serveHttp((_request, response) => {
      response.on('close', cut.resolve);
      const pump = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(16_384, 'x')));
      };
      response.on('drain', pump);
      pump();
    });
    const result = await fetchLoopback().send(post(url, { answerBytesMax: 1_000 }));
    expect(result).toMatchObject({ ok: true, status: 200, bodyBytes: 1_000, truncated: true });
    expect(result.ok && result.body.length).toBe(1_000);
    await cut.promise;
  });

  it('keeps the connection where the body ends exactly at the bound', async () => {
    const ports = new Set<number | undefined>();
    const url = await serveHttp((request, response) => {
      ports.add(request.socket.remotePort);
      response.end('x'.repeat(1_000));
    });
    const fetch = client({ allowList: LOOPBACK, connectionsPerOriginMax: 1 });
    for (let index = 0; index < 3; index += 1) {
      const result = await fetch.send(post(url, { answerBytesMax: 1_000 }));
      expect(result).toMatchObject({ ok: true, bodyBytes: 1_000, truncated: false });
    }
    expect(ports.size).toBe(1);
  });

  it('joins a body that comes in many pieces', async () => {
    const url = await serveBytes((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
      for (let index = 0; index < 1_000; index += 1) socket.write(`1\r\n${index % 10}\r\n`);
      socket.write('0\r\n\r\n');
    });
    const result = await fetchLoopback().send(post(url));
    expect(result.ok && result.body.toString()).toBe('0123456789'.repeat(100));
  });

  it('gives up on a dripping body at the deadline', async () => {
    const cut = Promise.withResolvers<void>();
    const url = await serveBytes((socket) => {
      socket.on('close', cut.resolve);
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n');
      drip(socket, 'x', 20);
    });
    const result = await fetchLoopback().send(post(url, { deadlineMs: 150 }));
    expect(result).toMatchObject({ ok: false, reason: 'timeout', status: 200 });
    expect(result.ms).toBeGreaterThanOrEqual(140);
    await cut.promise;
  });

  it('gives up on headers that do not come, and on endless 103s', async () => {
    const silent = await serveBytes(() => {});
    const early = await serveBytes((socket) => drip(socket, 'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n', 10));
    const fetch = fetchLoopback();
    const results = await Promise.all([silent, early].map((url) => fetch.send(post(url, { deadlineMs: 150 }))));
    for (const result of results) expect(result).toMatchObject({ ok: false, reason: 'timeout', status: null });
  });

  it('refuses 10 MB of headers', async () => {
    const url = await serveBytes((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      for (let index = 0; index < 1_000; index += 1) socket.write(`x-${index}: ${'y'.repeat(10_000)}\r\n`);
    });
    expect(await fetchLoopback().send(post(url))).toMatchObject({ ok: false, reason: 'protocol', status: null });
  });

  it('does not inflate a compressed answer', async () => {
    const bomb = gzipSync(Buffer.alloc(10_000_000));
    const url = await serveHttp((request, response) => {
      expect(request.headers['accept-encoding']).toBe('identity');
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb);
    });
    const result = await fetchLoopback().send(post(url));
    expect(result).toMatchObject({ ok: true, status: 200, bodyBytes: bomb.length });
    expect(result.ok && result.body.equals(bomb)).toBe(true);
  });

  it.each([
    ['at once', '', 'connection-lost'],
    ['within the headers', 'HTTP/1.1 200 OK\r\ncontent-le', 'connection-lost'],
    ['within the body', 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf', 'connection-lost'],
    ['after HTTP/0.9', 'hello world', 'protocol'],
    ['after rubbish', '\0\x01\x02\r\n\r\n', 'protocol'],
    ['after two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab', 'protocol'],
  ])('reports a server that closes %s', async (_name, bytes, reason) => {
    const url = await serveBytes((socket) => socket.once('data', () => socket.end(bytes)));
    expect(await fetchLoopback().send(post(url))).toMatchObject({ ok: false, reason });
  });

  it('reports an upgrade nobody asked for', async () => {
    const url = await serveBytes((socket) =>
      socket.once('data', () => socket.write('HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n')),
    );
    const result = await fetchLoopback().send(post(url, { deadlineMs: 1_000 }));
    expect(result.ok).toBe(false);
  });

  it('reports a closed port and an unknown name', async () => {
    const url = await serveBytes(() => {});
    const closed = createTcpServer();
    closed.listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const address = closed.address();
    closed.close();
    await once(closed, 'close');
    if (address === null || typeof address === 'string') throw new Error('no port');
    const fetch = client({
      allowList: LOOPBACK,
      lookup: () => Promise.reject(Object.assign(new Error('x'), { code: 'ENOTFOUND' })),
    });
    const refused = await fetch.send(post(`http://127.0.0.1:${address.port}/`));
    expect(refused).toMatchObject({ ok: false, reason: 'connect', message: 'no connection (ECONNREFUSED)' });
    const unknown = await fetch.send(post(`http://nowhere.example:${new URL(url).port}/`));
    expect(unknown).toMatchObject({ ok: false, reason: 'dns', message: expect.stringContaining('ENOTFOUND') });
    const empty = client({ lookup: () => Promise.resolve([]) });
    expect(await empty.send(post('http://empty.example/'))).toMatchObject({ ok: false, reason: 'dns' });
  });

  it('keeps its deadline while the name server hangs, and does not send afterwards', async () => {
    const received: (string | undefined)[] = [];
    const live = await serveHttp((request, response) => {
      received.push(request.url);
      response.end();
    });
    const answer = Promise.withResolvers<readonly string[]>();
    const fetch = client({ allowList: LOOPBACK, lookup: () => answer.promise, connectionsPerOriginMax: 1 });
    const url = `http://slow.example:${new URL(live).port}`;
    expect(await fetch.send(post(`${url}/first`, { deadlineMs: 50 }))).toMatchObject({ reason: 'timeout' });
    // Waits behind the first one on the only connection.
    const second = fetch.send(post(`${url}/second`));
    answer.resolve(['127.0.0.1']);
    expect(await second).toMatchObject({ ok: true, status: 200 });
    expect(received).toEqual(['/second']);
  });

  it('ends connecting after its own bound', async () => {
    const fetch = client({ lookup: () => new Promise(() => {}), connectTimeoutMs: 50 });
    expect(await fetch.send(post('http://hangs.example/'))).toMatchObject({
      reason: 'timeout',
      message: expect.stringContaining('connecting'),
    });
  });
});

describe('TLS', () => {
  const hourMs = 3_600_000;
  const authority = {
    commonName: 'Test authority',
    ...makeCertificate({ commonName: 'Test authority', authority: true }),
  };
  const signed = { commonName: 'hooks.example', altNames: ['hooks.example', '127.0.0.1'], issuer: authority };

  async function tryTls(certificate: { cert: string; key: string }, host = 'hooks.example'): Promise<GuardedResult> {
    const port = await serve(createTlsServer(certificate, (_request, response) => response.end('hello')));
    const fetch = client({
      allowList: LOOPBACK,
      lookup: () => Promise.resolve(['127.0.0.1']),
      certificateAuthorities: [authority.cert],
    });
    return fetch.send(post(`https://${host}:${port}/`));
  }

  it.each(['hooks.example', 'hooks.example.', 'HOOKS.example', '127.0.0.1'])(
    'trusts a good certificate for %s',
    async (host) => {
      expect(await tryTls(makeCertificate(signed), host)).toMatchObject({ ok: true, status: 200, bodyBytes: 5 });
    },
  );

  it('names the server without a final dot, and an address not at all', async () => {
    const names: unknown[] = [];
    const server = createTlsServer(makeCertificate(signed), (request, response) => {
      names.push('servername' in request.socket && request.socket.servername);
      response.end();
    });
    const port = await serve(server);
    const lookup = (): Promise<readonly string[]> => Promise.resolve(['127.0.0.1']);
    const fetch = client({ allowList: LOOPBACK, lookup, certificateAuthorities: [authority.cert] });
    for (const host of ['hooks.example.', '127.0.0.1']) await fetch.send(post(`https://${host}:${port}/`));
    expect(names).toEqual(['hooks.example', false]);
  });

  it.each([
    ['self-signed', { ...signed, issuer: undefined }, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    ['expired', { ...signed, notAfter: new Date(Date.now() - hourMs / 2) }, 'CERT_HAS_EXPIRED'],
    ['not valid yet', { ...signed, notBefore: new Date(Date.now() + hourMs) }, 'CERT_NOT_YET_VALID'],
    ['for another host', { ...signed, altNames: ['other.example'] }, 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ])('refuses a certificate that is %s, also where the environment is lax', async (_name, options, code) => {
    const { issuer, ...rest } = options;
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
    cleanups.push(() => vi.unstubAllEnvs());
    const result = await tryTls(makeCertificate(issuer === undefined ? rest : { ...rest, issuer }));
    expect(result).toMatchObject({ ok: false, reason: 'tls', message: `TLS failed (${code})` });
  });

  it('reports a server that speaks no TLS', async () => {
    const url = await serveBytes((socket) => socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')));
    const result = await client({ allowList: LOOPBACK }).send(post(url.replace('http:', 'https:')));
    expect(result).toMatchObject({ ok: false, reason: 'tls' });
  });
});

describe('bounds and life cycle', () => {
  it('posts the bytes and headers given and reuses the connection', async () => {
    const seen: unknown[] = [];
    const ports = new Set<number | undefined>();
    const url = await serveHttp((request, response) => {
      ports.add(request.socket.remotePort);
      request.setEncoding('utf8');
      let body = '';
      request.on('data', (text: string) => (body += text));
      request.on('end', () => {
        seen.push([request.method, request.url, request.headers['x-test'], request.headers['content-length'], body]);
        response.writeHead(503, { 'retry-after': '120' }).end('later');
      });
    });
    const fetch = client({ allowList: LOOPBACK, connectionsPerOriginMax: 1 });
    const request = post(`${url}/a%20b?c=d#e`, { headers: { 'x-test': 'yes' }, body: Buffer.from('{"ü":1}') });
    const results = [await fetch.send(request), await fetch.send(request)];
    for (const result of results)
      expect(result).toMatchObject({ ok: true, status: 503, headers: { 'retry-after': '120' }, bodyBytes: 5 });
    expect(seen).toEqual(Array.from({ length: 2 }, () => ['POST', '/a%20b?c=d', 'yes', '8', '{"ü":1}']));
    expect(ports.size).toBe(1);
  });

  it('gets too, without a body', async () => {
    const url = await serveHttp((request, response) => response.end(request.method));
    const result = await client({ allowList: LOOPBACK }).send({
      url,
      method: 'GET',
      deadlineMs: 5_000,
      answerBytesMax: 10,
    });
    expect(result.ok && result.body.toString()).toBe('GET');
  });

  it('refuses header text that would break the message', async () => {
    const url = await serveHttp((_request, response) => response.end());
    const result = await client({ allowList: LOOPBACK }).send(post(url, { headers: { 'x-test': 'a\r\nx-evil: 1' } }));
    expect(result).toMatchObject({ ok: false, reason: 'protocol' });
  });

  it('renews the connections of an origin after five minutes, and lets what is under way there end', async () => {
    const ports: (number | undefined)[] = [];
    const held: (() => void)[] = [];
    const started = Promise.withResolvers<void>();
    const url = await serveHttp((request, response) => {
      ports.push(request.socket.remotePort);
      if (request.url !== '/held') return void response.end();
      held.push(() => response.end());
      started.resolve();
    });
    let now = 0;
    const fetch = client({ allowList: LOOPBACK, connectionsPerOriginMax: 1, monotonic: () => now });
    await fetch.send(post(url));
    now += 300_000;
    const under = fetch.send(post(`${url}/held`));
    await started.promise;
    now += 1;
    expect(await fetch.send(post(url))).toMatchObject({ ok: true });
    expect(await fetch.send(post(url))).toMatchObject({ ok: true });
    held[0]?.();
    expect(await under).toMatchObject({ ok: true });
    expect(new Set(ports.slice(0, 2)).size).toBe(1);
    expect(new Set(ports.slice(2)).size).toBe(1);
    expect(new Set(ports).size).toBe(2);
    // One that is never answered keeps the old connections until the client is closed.
    const hung = fetch.send(post(`${url}/held`));
    await vi.waitUntil(() => held.length === 2);
    now += 300_001;
    expect(await fetch.send(post(url))).toMatchObject({ ok: true });
    await fetch.close();
    expect(await hung).toMatchObject({ ok: false, reason: 'closed' });
  });

  it('opens no more connections to an origin than allowed', async () => {
    let open = 0;
    let openMost = 0;
    const answers: (() => void)[] = [];
    const full = Promise.withResolvers<void>();
    const url = await serveHttp((_request, response) => {
      openMost = Math.max(openMost, (open += 1));
      answers.push(() => {
        open -= 1;
        response.end();
      });
      if (answers.length === 3) full.resolve();
      if (answers.length > 3) answers.at(-1)?.();
    });
    const fetch = client({ allowList: LOOPBACK, connectionsPerOriginMax: 3 });
    const sent = Array.from({ length: 30 }, () => fetch.send(post(url)));
    await full.promise;
    for (const answer of answers.slice(0, 3)) answer();
    expect((await Promise.all(sent)).every((result) => result.ok)).toBe(true);
    expect(openMost).toBe(3);
  });

  it('refuses beyond the requests it may have under way, and takes more once there is room', async () => {
    const answers: (() => void)[] = [];
    const both = Promise.withResolvers<void>();
    const url = await serveHttp((_request, response) => {
      answers.push(() => response.end());
      if (answers.length === 2) both.resolve();
      if (answers.length > 2) response.end();
    });
    const fetch = client({ allowList: LOOPBACK, inFlightMax: 2 });
    const sent = [fetch.send(post(url)), fetch.send(post(url))];
    await both.promise;
    expect(await fetch.send(post(url))).toMatchObject({ ok: false, reason: 'busy' });
    for (const answer of answers) answer();
    await Promise.all(sent);
    expect(await fetch.send(post(url))).toMatchObject({ ok: true });
  });

  it('keeps as many origins as allowed: an idle one makes room, a busy one does not', async () => {
    const closed = Promise.withResolvers<void>();
    const first = await serveHttp((request, response) => {
      request.socket.once('close', closed.resolve);
      response.end();
    });
    const started = Promise.withResolvers<void>();
    let answer = (): void => {};
    const second = await serveHttp((_request, response) => {
      answer = () => response.end();
      started.resolve();
    });
    const fetch = client({ allowList: LOOPBACK, originsMax: 1, idleTimeoutMs: 60_000 });
    expect(await fetch.send(post(first))).toMatchObject({ ok: true });
    const busy = fetch.send(post(second));
    await closed.promise;
    await started.promise;
    expect(await fetch.send(post(first))).toMatchObject({ ok: false, reason: 'busy' });
    answer();
    expect(await busy).toMatchObject({ ok: true });
  });

  it('gives no origin’s place to an address that is refused', async () => {
    const ports = new Set<number | undefined>();
    const url = await serveHttp((request, response) => {
      ports.add(request.socket.remotePort);
      response.end();
    });
    const options = { originsMax: 1, connectionsPerOriginMax: 1, idleTimeoutMs: 60_000 };
    const fetch = client({ allowList: LOOPBACK, ...options });
    expect(await fetch.send(post(url))).toMatchObject({ ok: true });
    expect(await fetch.send(post('http://10.0.0.1/'))).toMatchObject({ reason: 'forbidden-address' });
    expect(await fetch.send(post(url))).toMatchObject({ ok: true });
    expect(ports.size).toBe(1);
  });

  it('obeys an abort signal, before and during the request', async () => {
    const cut = Promise.withResolvers<void>();
    const url = await serveHttp((request) => {
      request.socket.once('close', cut.resolve);
      controller.abort();
    });
    const controller = new AbortController();
    const fetch = client({ allowList: LOOPBACK });
    expect(await fetch.send(post(url, { signal: controller.signal }))).toMatchObject({ ok: false, reason: 'aborted' });
    await cut.promise;
    expect(await fetch.send(post(url, { signal: controller.signal }))).toMatchObject({ ok: false, reason: 'aborted' });
  });

  it('ends everything on close', async () => {
    const started = Promise.withResolvers<void>();
    const url = await serveHttp(() => started.resolve());
    const fetch = createGuardedFetch({ allowList: LOOPBACK, lookup: () => new Promise(() => {}) });
    const sent = [fetch.send(post(url)), fetch.send(post('http://hangs.example/'))];
    await started.promise;
    await fetch.close();
    for (const result of await Promise.all(sent)) expect(result).toMatchObject({ ok: false, reason: 'closed' });
    expect(await fetch.send(post(url))).toMatchObject({ ok: false, reason: 'closed' });
  });
});
