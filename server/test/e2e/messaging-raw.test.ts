/** Bodies and bytes that no client library would send: every one has a documented answer (contract of docs/api.md). */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { itemsOf, makeBody, refusalOf, startTestServer } from '../support/http-server.ts';
import type { TestServer } from '../support/http-server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ deps: { limits: { waitingPerUserMax: 100_000, waitingTotalMax: 1_000_000 } } });
});
afterAll(() => server.close());

const text = JSON.stringify(makeBody());
const withMember = (member: string): string => text.replace('{', `{${member},`);
const nest = (depth: number, open: string, close: string): string => open.repeat(depth) + close.repeat(depth);

/** Strings that collide as array indices in some engines: a table of them must not stall the parser. */
const indexKeys = Array.from({ length: 20_000 }, (_, index) => `"${index * 65_536}":1`).join(',');

const bodies: readonly (readonly [string, string | Uint8Array, string])[] = [
  ['nothing', '', '7000'],
  ['null', 'null', '7000'],
  ['an array', '[]', '7000'],
  ['a string', '"x"', '7000'],
  ['a number', '1', '7000'],
  ['a byte order mark', `\uFEFF${text}`, '1001'],
  ['UTF-16', Buffer.from(text, 'utf16le'), '7000'],
  ['invalid UTF-8', Buffer.concat([Buffer.from(text.slice(0, -1)), Buffer.from([0xff, 0x7d])]), '7000'],
  ['an overlong NUL', Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xc0, 0x80]), Buffer.from('"}')]), '7000'],
  [
    'half a surrogate pair in an identifier',
    JSON.stringify(makeBody({ destination: [{ userid: ['\uD800'] }] })),
    '7004',
  ],
  ['half a surrogate pair in the text', JSON.stringify(makeBody({}, { message: { text: 'a\uDC00' } })), '7004'],
  ['NUL in an identifier', JSON.stringify(makeBody({ destination: [{ userid: ['a\u0000b'] }] })), '7004'],
  ['a raw NUL', `${text}\u0000`, '7000'],
  ['a trailing comma', text.replace(/\}$/, ',}'), '7000'],
  ['NaN', withMember('"priority":NaN'), '7000'],
  ['Infinity', withMember('"priority":Infinity'), '7000'],
  ['a comment', `/* */${text}`, '7000'],
  ['two documents', text + text, '7000'],
  ['a key twice, the good one last', withMember('"deliverychannel":"sms"'), '1001'],
  ['a key twice, the bad one last', text.replace(/\}$/, ',"deliverychannel":"sms"}'), '7004'],
  ['the service key in the body', withMember('"key":"nobody"'), '1001'],
  ['__proto__ as a key', withMember('"__proto__":{"deliverychannel":"sms"}'), '1001'],
  ['__proto__ alone', '{"__proto__":{"deliverychannel":"appmessaging"}}', '7003'],
  ['constructor and prototype as keys', withMember('"constructor":{"prototype":{"a":1}},"prototype":1'), '1001'],
  ['arrays 100,000 deep', nest(100_000, '[', ']'), '7000'],
  ['objects 100,000 deep', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`, '7000'],
  ['depth 33', withMember(`"x":${nest(32, '[', ']')}`), '7000'],
  ['depth 32', withMember(`"x":${nest(31, '[', ']')}`), '1001'],
  ['brackets in a string', withMember(`"x":"${'['.repeat(1_000)}"`), '1001'],
  ['20,000 keys that collide', withMember(indexKeys), '1001'],
  ['80,000 keys', withMember(Array.from({ length: 80_000 }, (_, i) => `"k${i}":1`).join(',')), '1001'],
  ['a number of 900,000 digits', withMember(`"priority":${'1'.repeat(900_000)}`), '1001'],
  ['1e400', withMember('"priority":1e400'), '1001'],
  ['-0', withMember('"priority":-0'), '1001'],
  ['priority "01"', withMember('"priority":"01"'), '1001'],
  ['priority 1.0', withMember('"priority":1.0'), '1001'],
  ['priority true', withMember('"priority":true'), '1001'],
  ['priority []', withMember('"priority":[]'), '1001'],
  ['priority 4 and -1', withMember('"priority":4,"x":-1'), '1001'],
  ['destination {}', JSON.stringify(makeBody({ destination: {} })), '7004'],
  ['destination []', JSON.stringify(makeBody({ destination: [] })), '7003'],
  [
    'destination of mixed types',
    JSON.stringify(makeBody({ destination: [{ userid: ['a'] }, 1, null, 'x', []] })),
    '7004',
  ],
  [
    '80,000 identifiers',
    JSON.stringify(makeBody({ destination: [{ userid: Array.from({ length: 80_000 }, String) }] })),
    '7009',
  ],
  [
    'the same identifier 1,000 times',
    JSON.stringify(makeBody({ destination: [{ userid: Array.from({ length: 1_000 }, () => 'ann') }] })),
    '1001',
  ],
  [
    'the key msisdn/customerid',
    JSON.stringify(makeBody({ destination: [{ 'msisdn/customerid': ['+4915112345678', 'ann'] }] })),
    '1001',
  ],
  ['correlationid of 50 bytes', JSON.stringify(makeBody({ correlationid: 'é'.repeat(25) })), '1001'],
  ['correlationid of 51 bytes', JSON.stringify(makeBody({ correlationid: `${'é'.repeat(25)}x` })), '7004'],
  [
    'a size that is negative',
    JSON.stringify(
      makeBody({}, { message: { attachment: { contentType: 'file', file: 'https://a.example/', size: -1 } } }),
    ),
    '7004',
  ],
  [
    'a size of 2^53',
    JSON.stringify(
      makeBody({}, { message: { attachment: { contentType: 'file', file: 'https://a.example/', size: 2 ** 53 } } }),
    ),
    '7004',
  ],
  [
    'a preview that is no base64',
    JSON.stringify(
      makeBody({}, { message: { attachment: { contentType: 'image', file: 'https://a.example/', preview: '<svg>' } } }),
    ),
    '7004',
  ],
  [
    'a preview larger than a device takes',
    JSON.stringify(
      makeBody(
        {},
        { message: { attachment: { contentType: 'image', file: 'https://a.example/', preview: 'A'.repeat(100_000) } } },
      ),
    ),
    '7004',
  ],
  ['callbackData of 900,000 characters', JSON.stringify(makeBody({ callbackData: 'x\r\n'.repeat(180_000) })), '7004'],
  ['callbackData with line ends', JSON.stringify(makeBody({ callbackData: 'a\r\nSet-Cookie: b' })), '1001'],
  ['form data', 'deliverychannel=appmessaging', '7000'],
];

describe('bodies', () => {
  it.each(bodies)('%s', async (_name, body, code) => {
    const startedAt = performance.now();
    const answered = await server.send(body);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect(answered.status).toBe(200);
    if (code === '1001') expect(itemsOf(answered)[0]!.code).toBe('1001');
    else expect(refusalOf(answered).code).toBe(code);
    expect(({} as Record<string, unknown>)['deliverychannel']).toBeUndefined();
  });

  it('a packed bomb is not unpacked', async () => {
    const answered = await server.send(gzipSync(Buffer.alloc(10_000_000)), { headers: { 'content-encoding': 'gzip' } });
    expect(answered.status).toBe(415);
  });

  it('packed bytes without saying so are no JSON', async () => {
    expect(refusalOf(await server.send(gzipSync(text))).code).toBe('7000');
  });
});

interface Raw {
  readonly socket: Socket;
  /** Everything received once the other side has ended. */
  readonly received: Promise<string>;
  /** Resolves as soon as the text received matches. */
  until(pattern: RegExp): Promise<string>;
}

function open(): Raw {
  const socket = connect(server.port, '127.0.0.1');
  let seen = '';
  const watchers = new Set<() => void>();
  socket.on('data', (chunk) => {
    seen += chunk.toString('latin1');
    for (const watcher of watchers) watcher();
  });
  socket.on('error', () => undefined);
  const received = new Promise<string>((resolve) => {
    socket.on('close', () => {
      resolve(seen);
      for (const watcher of watchers) watcher();
    });
  });
  const until = (pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      const check = (): void => {
        if (pattern.test(seen)) resolve(seen);
        else if (socket.closed) reject(new Error(`ended with ${seen}`));
      };
      watchers.add(check);
      check();
    });
  return { socket, received, until };
}

const head = (...headers: string[]): string =>
  ['POST /resources/v1/messaging HTTP/1.1', 'Host: x', `key: ${server.tenant.keyText}`, ...headers, '', ''].join(
    '\r\n',
  );

describe('framing', () => {
  const length = `Content-Length: ${Buffer.byteLength(text)}`;

  it.each([
    ['a length and chunks', () => `${head(length, 'Transfer-Encoding: chunked')}0\r\n\r\n`],
    ['two lengths', () => `${head(length, 'Content-Length: 1')}${text}`],
    ['a negative length', () => head('Content-Length: -1')],
    ['a length that is no number', () => head('Content-Length: 0x10')],
    ['a folded header', () => `${head('X-A: 1\r\n b', length)}${text}`],
    ['a line feed alone as line end', () => head(length).replaceAll('\r\n', '\n') + text],
    ['a blank before the colon', () => `${head('X-A : 1', length)}${text}`],
    ['no HTTP at all', () => '\u0016\u0003\u0001\u0000\r\n\r\n'],
    ['an unknown method', () => 'NONSENSE / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['no host', () => `POST /resources/v1/messaging HTTP/1.1\r\n${length}\r\n\r\n${text}`],
    ['a bad chunk size', () => `${head('Transfer-Encoding: chunked')}zz\r\n`],
  ])('400 for %s', async (_name, bytes) => {
    const raw = open();
    raw.socket.write(bytes());
    const received = await raw.received;
    expect(received).toMatch(/^HTTP\/1\.1 400 /);
    expect(received.match(/HTTP\/1\.1/g)).toHaveLength(1);
  });

  it('413 for a chunk extension of 1 MB', async () => {
    const raw = open();
    raw.socket.write(`${head('Transfer-Encoding: chunked')}1;${'x'.repeat(1_000_000)}\r\n`);
    expect(await raw.received).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('431 for headers beyond 16 KiB', async () => {
    const raw = open();
    raw.socket.write(head(`X-A: ${'x'.repeat(20_000)}`));
    expect(await raw.received).toMatch(/^HTTP\/1\.1 431 /);
  });

  it('takes the key from one header; two are a key nobody has', async () => {
    const raw = open();
    raw.socket.write(`${head(`key: ${server.tenant.keyText}`, length, 'Connection: close')}${text}`);
    expect(await raw.received).toContain('"code":"7001"');
  });

  it('takes __proto__ and bytes beyond ASCII as header values', async () => {
    const raw = open();
    raw.socket.write(
      Buffer.from(`${head('__proto__: x', 'X-B: \u00ff', length, 'Connection: close')}${text}`, 'latin1'),
    );
    expect(await raw.received).toContain('"code":"1001"');
  });

  it('takes a body that comes byte by byte, and several requests at once on one connection', async () => {
    const raw = open();
    raw.socket.write(head('Transfer-Encoding: chunked'));
    for (const byte of text) raw.socket.write(`1\r\n${byte}\r\n`);
    raw.socket.write('0\r\n\r\n');
    await raw.until(/"code":"1001"/);
    raw.socket.write(`${head(length)}${text}`.repeat(3));
    const received = await raw.until(/(?:"code":"1001"[\s\S]*){4}/);
    expect(received.match(/HTTP\/1\.1 200/g)).toHaveLength(4);
    raw.socket.destroy();
  });

  it('answers Expect: 100-continue before the body, and refuses without it what is declared too large', async () => {
    const raw = open();
    raw.socket.write(head(length, 'Expect: 100-continue'));
    await raw.until(/100 Continue/);
    raw.socket.write(text);
    await raw.until(/"code":"1001"/);
    raw.socket.destroy();
    const large = open();
    large.socket.write(head('Content-Length: 2000000', 'Expect: 100-continue'));
    const received = await large.received;
    expect(received).toMatch(/^HTTP\/1\.1 413 /);
    expect(received).not.toContain('100 Continue');
  });

  it('answers and cuts a sender who goes on for megabytes', async () => {
    const piece = Buffer.alloc(65_536, 0x20);
    const flood = async (): Promise<boolean> => {
      const raw = open();
      raw.socket.on('error', () => undefined);
      raw.socket.write(head('Content-Length: 1000000000'));
      const pump = (): void => {
        while (!raw.socket.destroyed && raw.socket.write(piece));
      };
      raw.socket.on('drain', pump);
      pump();
      const isAnswered = await raw.until(/^HTTP\/1\.1 413 /).then(
        () => true,
        () => false,
      );
      raw.socket.destroy();
      return isAnswered;
    };
    // Who is cut while still sending may lose the answer on the way (RFC 9112 §9.6): all are cut, and some read it.
    const answered = [await flood(), await flood(), await flood(), await flood(), await flood()];
    expect(answered).toContain(true);
  });

  it('goes on after a sender who leaves in the middle', async () => {
    const raw = open();
    raw.socket.write(head(length) + text.slice(0, 10));
    raw.socket.end();
    await raw.received;
    expect(itemsOf(await server.send(makeBody()))).toHaveLength(1);
  });

  it('passes over an upgrade to HTTP/2, as Java clients ask for with every request', async () => {
    const raw = open();
    const upgrade = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAEAAEAA'];
    raw.socket.write(`${head(...upgrade, length)}${text}`);
    expect(await raw.until(/"code":"1001"/)).toMatch(/^HTTP\/1\.1 200 /);
    raw.socket.destroy();
  });
});
