/**
 * Any bytes get a documented answer, at once, and hurt nothing: generated requests, near misses of them, and bytes with
 * faults, through a real socket. 2,000 cases; `FUZZ_CASES=100000` for the long run. A failing case names its seed.
 */
import { Agent, request as httpRequest } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { codes } from '@carillon/protocol/codes.ts';
import { makeBody, startTestServer } from '../support/http-server.ts';
import type { TestServer } from '../support/http-server.ts';

const CASES = Number(process.env['FUZZ_CASES'] ?? 2_000);
const PROPERTIES = 5;
const RUNS = Math.ceil(CASES / PROPERTIES);
const TIMEOUT_MS = 20_000 + RUNS * 20;
const CASE_MS_MAX = 1_000;

let server: TestServer;
let agent: Agent;
beforeAll(async () => {
  server = await startTestServer({ deps: { limits: { waitingPerUserMax: 1e9, waitingTotalMax: 1e9 } } });
  agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const { clientId } = server.tenant;
  const createdAt = 0;
  await server.store.putObjects(
    [
      { kind: 'template', value: { id: 't1', clientId, name: 't', text: 'Hi ${name}', createdAt } },
      {
        kind: 'smartlink',
        value: { id: '5', clientId, name: 'l', url: 'https://a.example/', validityMinutes: 5, createdAt },
      },
    ],
    'create',
  );
});
afterAll(async () => {
  agent.destroy();
  await server.close();
});

interface Seen {
  readonly status: number;
  readonly text: string;
  readonly ms: number;
}

interface Sent {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string>;
  readonly body?: Uint8Array;
}

function send({ method = 'POST', path = '/resources/v1/messaging', headers = {}, body }: Sent): Promise<Seen> {
  return new Promise((resolve, reject) => {
    const startedAt = performance.now();
    const length: Record<string, string> = body === undefined ? {} : { 'content-length': String(body.length) };
    const request = httpRequest(
      {
        host: '127.0.0.1',
        port: server.port,
        method,
        path,
        agent,
        headers: { key: server.tenant.keyText, ...length, ...headers },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const ms = performance.now() - startedAt;
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString(), ms });
        });
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

const known = new Set(codes.filter((entry) => entry.used && entry.kind === 'request').map((entry) => entry.code));
const strict = new TextDecoder('utf-8', { fatal: true });

/** What JSON itself says of the bytes: `object`, another value, or nothing. */
function kindOfBytes(bytes: Uint8Array): 'object' | 'other' | 'none' {
  try {
    const value: unknown = JSON.parse(strict.decode(bytes));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? 'object' : 'other';
  } catch {
    return 'none';
  }
}

interface ResponseItem {
  readonly code: string;
  readonly description: string;
  readonly transid: string;
}

/** The code of a documented answer; throws on anything else. */
function codeOf(seen: Seen): string {
  expect(seen.status).toBeLessThan(500);
  expect(seen.ms).toBeLessThan(CASE_MS_MAX);
  const { response } = JSON.parse(seen.text) as { response: ResponseItem | ResponseItem[] };
  const items = Array.isArray(response) ? response : [response];
  expect(items.length).toBeGreaterThan(0);
  for (const item of items) {
    expect(known).toContain(item.code);
    expect(item.transid).toHaveLength(36);
    expect(item.description).not.toBe('');
    expect(item.code === '1001').toBe(Array.isArray(response));
  }
  return items[0]!.code;
}

async function check(bytes: Uint8Array, headers: Record<string, string> = {}): Promise<string> {
  const code = codeOf(await send({ body: bytes, headers }));
  if (kindOfBytes(bytes) !== 'object') expect(code).toBe('7000');
  return code;
}

const encode = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value) ?? '');

/** A value where one of a kind belongs: often right, sometimes absent, sometimes anything. */
const maybe = (right: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 8, arbitrary: right },
    { weight: 1, arbitrary: fc.constantFrom(undefined, null, '') },
    { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  );
const record = (model: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<unknown> =>
  fc.record(Object.fromEntries(Object.entries(model).map(([key, value]) => [key, maybe(value)])), { requiredKeys: [] });

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.constantFrom('Hello', '{{link_5}}', '${name}', '{{link_6}}', '\u0000', '\uD800', 'x'.repeat(5_000)),
);
const url = fc.oneof(
  fc.webUrl(),
  fc.constantFrom('https://a.example/', 'javascript:alert(1)', 'www.bbc.com', 'app://open', '//x', 'http:/x'),
);
const number = fc.oneof(
  fc.double(),
  fc.integer(),
  fc.integer().map(String),
  fc.constantFrom('01', '1e3', '9'.repeat(30)),
);
const time = fc.oneof(
  fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
  fc.constantFrom('2030-04-12T13:00:19.456+5:30', '2030-04-12', '2030-13-45T99:00:00Z', 'soon'),
);
const identifiers = fc.array(fc.oneof(fc.string({ maxLength: 10 }), fc.constantFrom('ann', '+4915112345678')), {
  maxLength: 4,
});
const action = record({
  pos: fc.constantFrom(1, 2, '1', '2', 3),
  action: fc.constantFrom('DISMISS', 'OPEN_URL', 'open_app', 'OPENWEBVIEW', 'SHARE', 'INLINE_REPLY', 'DANCE'),
  value: url,
  identifier: text,
});
const platform = record({
  sound: text,
  badge: text,
  collapse_key: text,
  customtags: fc.dictionary(text, text, { maxKeys: 3 }),
  notificationaction: record({ action: fc.constantFrom('OPEN_URL', 'DEEPLINK', 'OPEN_HTML'), value: url }),
});
const notification = record({
  title: text,
  text,
  android_extras: platform,
  ios_extras: platform,
  windows_extras: platform,
  web_extras: record({ action: text, url }),
  interactive: record({
    category: fc.constantFrom('SINGLE_OK', 'DOUBLE_YES_NO', 'double_reply_dismiss', 'TRIPLE_X'),
    pushref: text,
    actions: fc.array(action, { maxLength: 3 }),
  }),
});
const message = record({
  text,
  template: fc.constantFrom('t1', 't2'),
  parameters: fc.dictionary(fc.constantFrom('name', '__proto__', 'constructor'), text, { maxKeys: 3 }),
  attachment: record({
    contentType: fc.constantFrom('image', 'video', 'audio', 'file', 'location', 'image/png', 'x'),
    file: url,
    preview: fc.base64String({ maxLength: 40 }),
    size: number,
    duration: number,
    latitude: number,
    longitude: number,
  }),
  extras: fc.dictionary(text, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 2 }),
});
const smartlinks = fc.array(record({ linkid: fc.constantFrom(5, '5', 6), validity: number }), { maxLength: 3 });
const layer = {
  expiry: time,
  priority: fc.constantFrom(1, '2', 3, 9, 'x'),
  notifyurl: url,
  callbackData: text,
  smartlinks,
};
const block = record({
  ...layer,
  message,
  notification,
  thread_type: fc.constantFrom('conversation', 'ANNOUNCEMENT', 'chat'),
  thread_title: text,
  thread_id: text,
  extras: fc.dictionary(text, text, { maxKeys: 2 }),
});
const request = record({
  ...layer,
  appid: fc.constantFrom('acme-app', 'nix'),
  correlationid: text,
  deliverychannel: fc.constantFrom('appmessaging', 'rt', 'sms'),
  destination: fc.array(
    record({ userid: identifiers, customerid: identifiers, msisdn: identifiers, correlationid: text }),
    { maxLength: 4 },
  ),
  message,
  channels: fc.oneof(
    record({ appmessaging: block, rt: block, smartlinks }),
    fc.array(record({ appmessaging: block }), { maxLength: 2 }),
  ),
});

/** A right request with one or two members replaced: what passes the first checks and, often, fails a late one. */
const nearMiss = fc
  .tuple(request, block, fc.array(fc.nat({ max: 1_000 }), { maxLength: 2 }))
  .map(([base, inner, picks]) => {
    const outer: [string, unknown][] = Object.entries(base ?? {}).filter(([key]) => key !== 'channels');
    const all: [string, unknown][] = [
      ...outer,
      ...Object.entries(inner ?? {}).map(([k, v]): [string, unknown] => [`#${k}`, v]),
    ];
    const picked = picks.flatMap((pick) => (all.length === 0 ? [] : [all[pick % all.length] as [string, unknown]]));
    const isInner = ([key]: [string, unknown]): boolean => key.startsWith('#');
    return makeBody(
      Object.fromEntries(picked.filter((member) => !isInner(member))),
      Object.fromEntries(picked.filter(isInner).map(([key, value]) => [key.slice(1), value])),
    );
  });

/** Changes to bytes as a broken line, a broken client or someone hostile would make them. */
const mutation = fc.record({
  kind: fc.constantFrom('flip', 'insert', 'remove', 'repeat', 'cut'),
  at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }),
});
interface Mutation {
  readonly kind: 'flip' | 'insert' | 'remove' | 'repeat' | 'cut';
  readonly at: number;
  readonly bytes: Uint8Array;
}

function mutate(source: Uint8Array, { kind, at, bytes }: Mutation): Uint8Array {
  const place = Math.floor(at * source.length);
  const before = source.subarray(0, place);
  const after = source.subarray(place);
  switch (kind) {
    case 'flip':
      return Buffer.concat([before, bytes.subarray(0, after.length), after.subarray(bytes.length)]);
    case 'insert':
      return Buffer.concat([before, bytes, after]);
    case 'remove':
      return Buffer.concat([before, after.subarray(bytes.length)]);
    case 'repeat':
      return Buffer.concat([source, source.subarray(place, place + 64), source]);
    case 'cut':
      return before;
  }
}

function run<Values>(property: fc.IAsyncProperty<Values>): Promise<void> {
  return fc.assert(property, { numRuns: RUNS });
}

describe(`${CASES} requests to the messaging API`, () => {
  it(
    'in the shape of the schema, right and wrong, get a documented answer',
    () => run(fc.asyncProperty(request, async (value) => void (await check(encode(value))))),
    TIMEOUT_MS,
  );

  it(
    'that are nearly right get one too, and some of them are accepted',
    async () => {
      const seen = new Set<string>();
      await run(fc.asyncProperty(nearMiss, async (value) => void seen.add(await check(encode(value)))));
      // A generator that only ever made refusals would test a tenth of the way.
      expect(seen).toContain('1001');
      expect(seen).toContain('7004');
    },
    TIMEOUT_MS,
  );

  it(
    'whose bytes were changed get 7000 exactly where they are no JSON object any more',
    () =>
      run(
        fc.asyncProperty(nearMiss, fc.array(mutation, { minLength: 1, maxLength: 4 }), async (value, mutations) => {
          let bytes = encode(value);
          for (const change of mutations) bytes = mutate(bytes, change);
          await check(bytes);
        }),
      ),
    TIMEOUT_MS,
  );

  it(
    'of any bytes, with any headers a client can send',
    () => {
      const printable = fc.string({
        unit: fc.constantFrom(...'abcXYZ019-_=,;/ "\'{}[]%&\u00e9\u00ff'.split('')),
        maxLength: 40,
      });
      const headers = fc.record(
        {
          key: fc.oneof(printable, fc.constant('acme-service-key-0001')),
          'idempotency-key': printable,
          prefer: fc.oneof(printable, fc.constant('warnings')),
          'content-type': printable,
          'content-encoding': fc.constantFrom('identity', 'gzip', 'x', ''),
        },
        { requiredKeys: [] },
      );
      const body = fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        fc.json().map((json) => Buffer.from(json)),
        nearMiss.map(encode),
      );
      return run(
        fc.asyncProperty(body, headers, async (bytes, given) => {
          codeOf(await send({ body: bytes, headers: given }));
        }),
      );
    },
    TIMEOUT_MS,
  );

  it(
    'and to every other address: never a 5xx, never late',
    () => {
      const part = fc.oneof(
        fc.string({ maxLength: 12 }).map(encodeURIComponentSafely),
        fc.constantFrom('acme-app', 'ann', '%00', '%zz', '..', '%2e%2e%2f', 'x'.repeat(2_000), '', '%E0%A4%A'),
      );
      const path = fc.oneof(
        part.map((id) => `/resources/v1/messaging/status/${id}`),
        part.map((id) => `/resources/v1/messaging/status?correlationid=${id}`),
        part.map((query) => `/resources/v1/messaging?dryRun=true&${query}`),
        fc.tuple(part, part).map(([app, query]) => `/rtmsAPI/api/v1/apps/${app}/threads?start=${query}`),
        fc
          .tuple(part, part, part)
          .map((parts) => `/rtmsAPI/api/v2/apps/${parts[0]}/user/${parts[1]}/threads/${parts[2]}`),
        fc.tuple(part, part).map(([user, id]) => `/rtmsAPI/api/v1/apps/acme-app/user/${user}/threads/${id}/messages`),
        part.map((slug) => `/l/${slug}`),
        fc.array(part, { maxLength: 4 }).map((parts) => `/${parts.join('/')}`),
      );
      const method = fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'PATCH', 'OPTIONS', 'PROPFIND');
      const body = fc.option(
        fc.oneof(
          nearMiss.map(encode),
          fc.json().map((json) => Buffer.from(json)),
        ),
        { nil: undefined },
      );
      return run(
        fc.asyncProperty(method, path, body, async (verb, target, bytes) => {
          const seen = await send({
            method: verb,
            path: target,
            ...(bytes === undefined ? undefined : { body: bytes }),
          });
          expect(seen.status).toBeLessThan(500);
          expect(seen.ms).toBeLessThan(CASE_MS_MAX);
          if (verb !== 'HEAD' && seen.status !== 204) JSON.parse(seen.text);
        }),
      );
    },
    TIMEOUT_MS,
  );

  it('leave the server as it was', async () => {
    expect(await check(encode(makeBody()))).toBe('1001');
    expect(Object.keys(Object.prototype)).toEqual([]);
    const fresh: Record<string, unknown> = {};
    for (const name of ['polluted', 'code', 'text', 'deliverychannel', 'name']) expect(fresh[name]).toBeUndefined();
  });
});

/** Half a surrogate pair has no encoding. */
function encodeURIComponentSafely(value: string): string {
  return encodeURIComponent(value.toWellFormed());
}
