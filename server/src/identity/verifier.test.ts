import { createHmac, createSecretKey } from 'node:crypto';
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import type { CryptoKey, JWTPayload } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { FakeClock } from '../../test/support/clock.ts';
import type { App } from '../core/model.ts';
import type { JsonFetchResult } from './key-sets.ts';
import { mintDeviceToken } from './mint.ts';
import { JwtVerifier } from './verifier.ts';

const SECRET = 'a secret of the app, 32 bytes or more';
const URL_A = 'https://issuer-a.example/jwks.json';

let clock: FakeClock;
let apps: Map<string, App>;
/** What each address answers; a missing one fails. */
let answers: Map<string, unknown>;
let fetched: string[];
let verifier: JwtVerifier;

function app(overrides: Partial<App> = {}): App {
  const made: App = {
    id: 'app-a',
    clientId: 'c',
    name: 'A',
    secrets: [SECRET],
    jwksUrl: null,
    issuer: null,
    customerid: 'same',
    origins: [],
    createdAt: 0,
    ...overrides,
  };
  apps.set(made.id, made);
  return made;
}

beforeEach(() => {
  clock = new FakeClock();
  apps = new Map();
  answers = new Map();
  fetched = [];
  verifier = new JwtVerifier({
    apps: { app: (id) => Promise.resolve(apps.get(id) ?? null) },
    clock,
    fetchJson: (url): Promise<JsonFetchResult> => {
      fetched.push(url);
      const json = answers.get(url);
      return Promise.resolve(json === undefined ? { ok: false, message: 'it is down' } : { ok: true, json });
    },
  });
});

function claims(overrides: JWTPayload = {}): JWTPayload {
  return { sub: 'ann', aud: 'app-a', exp: Math.floor(clock.now() / 1_000) + 600, ...overrides };
}

function sign(
  payload: JWTPayload,
  options: { secret?: string; alg?: string; key?: CryptoKey; kid?: string } = {},
): Promise<string> {
  const { alg = 'HS256', kid } = options;
  const key = options.key ?? createSecretKey(options.secret ?? SECRET, 'utf8');
  return new SignJWT(payload).setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }) }).sign(key);
}

async function reason(token: string): Promise<string> {
  const verdict = await verifier.verify(token, clock.now());
  return verdict.ok ? 'ok' : verdict.reason;
}

describe('secrets', () => {
  test('the identity is what the token says', async () => {
    app();
    const token = await sign(claims({ customerid: 'c1', msisdn: '+4912', deviceid: 'd1' }));
    const identity = {
      appId: 'app-a',
      userid: 'ann',
      customerid: 'c1',
      msisdn: '+4912',
      deviceid: 'd1',
      expiresAt: clock.now() + 660_000,
    };
    expect(await verifier.verify(token, clock.now())).toEqual({ ok: true, identity });
    // The second time from memory.
    expect(await verifier.verify(token, clock.now())).toEqual({ ok: true, identity });
  });

  test('the names of the claims, either way; a list of audiences', async () => {
    app();
    const { exp } = claims();
    expect(await reason(await sign({ userId: 'ann', appId: 'app-a', exp: exp! }))).toBe('ok');
    expect(await reason(await sign({ sub: 'ann', aud: ['https://api.example', 'app-a'], exp: exp! }))).toBe('ok');
    expect(await reason(await sign(claims({ userId: 'bob' })))).toBe('bad-claims');
    expect(await reason(await sign(claims({ appId: 'app-a', aud: 'app-b' })))).toBe('bad-claims');
    expect(await reason(await sign({ sub: 'ann', exp: exp! }))).toBe('unknown-app');
    expect(await reason(await sign(claims({ aud: 'app-z' })))).toBe('unknown-app');
  });

  test('what a token must have', async () => {
    app();
    const { exp, ...endless } = claims();
    expect(exp).toBeGreaterThan(0);
    expect(await reason(await sign(endless))).toBe('bad-claims');
    for (const sub of ['', 'x'.repeat(257), 'a\0b', 'a\nb'])
      expect(await reason(await sign(claims({ sub })))).toBe('bad-claims');
    expect(await reason(await sign(claims({ customerid: 5 })))).toBe('bad-claims');
    expect(await reason(await sign(claims({ sub: 5 as never })))).toBe('bad-claims');
  });

  test('times, with 60 s of leeway', async () => {
    app();
    const token = await sign(claims());
    const early = await sign(claims({ nbf: Math.floor(clock.now() / 1_000) + 100 }));
    expect(await reason(early)).toBe('not-yet-valid');
    clock.advance(41_000);
    expect(await reason(early)).toBe('ok');
    clock.advance(618_000);
    expect(await reason(token)).toBe('ok');
    clock.advance(1_000);
    expect(await reason(token)).toBe('expired');
    expect(await reason(await sign(claims({ exp: 1 })))).toBe('expired');
  });

  test('two secrets while rotating; a removed one ends its tokens at once, remembered or not', async () => {
    app({ secrets: ['new secret, which is also long enough', SECRET] });
    const token = await sign(claims());
    expect(await reason(token)).toBe('ok');
    app({ secrets: ['new secret, which is also long enough'] });
    expect(await reason(token)).toBe('bad-signature');
  });

  test('garbage', async () => {
    app();
    const token = await sign(claims());
    const [header, payload, signature] = token.split('.');
    for (const text of ['', 'a.b', 'a.b.c', '..', `${header}.${payload}`, '{}', `${token}.x`, 'x'.repeat(9_000)]) {
      expect(await reason(text), text).toBe('malformed');
    }
    expect(await reason(`${header}.${payload}.`)).toBe('bad-signature');
    expect(await reason(`${header}.${payload}.${signature!.slice(0, 20)}`)).toBe('bad-signature');
    const other = Buffer.from(JSON.stringify(claims({ sub: 'bob' }))).toString('base64url');
    expect(await reason(`${header}.${other}.${signature}`)).toBe('bad-signature');
    expect(await reason(await sign(claims(), { secret: 'another one' }))).toBe('bad-signature');
    expect(await reason(`${token}=`)).toBe('bad-signature');
    const critical = Buffer.from(JSON.stringify({ alg: 'HS256', crit: ['b64'], b64: false })).toString('base64url');
    expect(await reason(`${critical}.${payload}.${signature}`)).toBe('malformed');
    expect(await reason(await sign(claims({ nbf: 'x' as never })))).toBe('bad-claims');
    expect(await reason(new UnsecuredJWT(claims()).encode())).toBe('bad-signature');
  });

  test('an empty secret verifies nothing', async () => {
    app({ secrets: [''] });
    const [header, payload] = (await sign(claims())).split('.');
    const forged = createHmac('sha256', '').update(`${header}.${payload}`).digest('base64url');
    expect(await reason(`${header}.${payload}.${forged}`)).toBe('bad-signature');
  });
});

describe('key sets', () => {
  test.each(['RS256', 'ES256', 'EdDSA'])('%s', async (alg) => {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
    app({ secrets: [], jwksUrl: URL_A });
    answers.set(URL_A, { keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg, use: 'sig' }] });
    const token = await sign(claims(), { alg, key: privateKey, kid: 'k1' });
    expect(await reason(token)).toBe('ok');
    expect(await reason(token)).toBe('ok');
    expect(await reason(await sign(claims(), { alg, key: privateKey }))).toBe('ok');
    expect(fetched).toEqual([URL_A]);
  });

  test('a token without a kid is tried with the keys that fit', async () => {
    const [first, second, third] = await Promise.all(
      [0, 1, 2].map(() => generateKeyPair('ES256', { extractable: true })),
    );
    app({ secrets: [], jwksUrl: URL_A });
    answers.set(URL_A, { keys: [await exportJWK(first!.publicKey), await exportJWK(second!.publicKey)] });
    expect(await reason(await sign(claims(), { alg: 'ES256', key: second!.privateKey }))).toBe('ok');
    expect(await reason(await sign(claims(), { alg: 'ES256', key: third!.privateKey }))).toBe('bad-signature');
  });

  async function keys(count: number): Promise<{
    jwks: object[];
    sign: (index: number, payload: JWTPayload, kid?: string) => Promise<string>;
    spki: string;
  }> {
    const pairs = await Promise.all(
      Array.from({ length: count }, () => generateKeyPair('ES256', { extractable: true })),
    );
    const jwks = await Promise.all(
      pairs.map(async ({ publicKey }, index) => ({ ...(await exportJWK(publicKey)), kid: `k${index}` })),
    );
    return {
      jwks,
      sign: (index, payload, kid = `k${index}`) => sign(payload, { alg: 'ES256', key: pairs[index]!.privateKey, kid }),
      spki: await exportSPKI(pairs[0]!.publicKey),
    };
  }

  test('HS256 with the public key for a secret is refused, and so is a symmetric key in the set', async () => {
    const made = await keys(1);
    app({ secrets: [], jwksUrl: URL_A });
    answers.set(URL_A, {
      keys: [...made.jwks, { kty: 'oct', k: Buffer.from('x'.repeat(32)).toString('base64url'), kid: 'sym' }],
    });
    for (const secret of [made.spki, JSON.stringify(made.jwks[0]), 'x'.repeat(32)]) {
      expect(await reason(await sign(claims(), { secret, kid: 'sym' }))).toBe('bad-signature');
    }
  });

  test('one app is never served the keys of another, of the same kid', async () => {
    const made = await keys(2);
    const url = 'https://issuer-b.example/jwks.json';
    app({ secrets: [], jwksUrl: URL_A });
    app({ id: 'app-b', secrets: [], jwksUrl: url });
    answers.set(URL_A, { keys: [{ ...made.jwks[0], kid: 'k' }] });
    answers.set(url, { keys: [{ ...made.jwks[1], kid: 'k' }] });
    expect(await reason(await made.sign(0, claims(), 'k'))).toBe('ok');
    expect(await reason(await made.sign(1, claims({ aud: 'app-b' }), 'k'))).toBe('ok');
    expect(await reason(await made.sign(0, claims({ aud: 'app-b' }), 'k'))).toBe('bad-signature');
  });

  test('an unknown kid: one fetch in 10 s, whatever comes; the rotated key is then there', async () => {
    const made = await keys(2);
    app({ secrets: [], jwksUrl: URL_A });
    answers.set(URL_A, { keys: [made.jwks[0]] });
    expect(await reason(await made.sign(0, claims()))).toBe('ok');
    answers.set(URL_A, { keys: made.jwks });
    const token = await made.sign(1, claims());
    for (let count = 0; count < 20; count += 1) expect(await reason(token)).toBe('bad-signature');
    expect(fetched).toHaveLength(1);
    clock.advance(10_000);
    expect(await reason(token)).toBe('ok');
    expect(fetched).toHaveLength(2);
  });

  test('many at once share one fetch', async () => {
    const made = await keys(1);
    app({ secrets: [], jwksUrl: URL_A });
    answers.set(URL_A, { keys: made.jwks });
    const token = await made.sign(0, claims());
    expect(new Set(await Promise.all(Array.from({ length: 50 }, () => reason(token))))).toEqual(new Set(['ok']));
    expect(fetched).toHaveLength(1);
  });

  test('while the address fails, what is held is used for an hour', async () => {
    const made = await keys(1);
    app({ secrets: [], jwksUrl: URL_A });
    const token = await made.sign(0, claims({ exp: Math.floor(clock.now() / 1_000) + 99_999 }));
    expect(await reason(token)).toBe('unavailable');
    answers.set(URL_A, { keys: made.jwks });
    expect(await reason(token)).toBe('unavailable');
    clock.advance(10_000);
    expect(await reason(token)).toBe('ok');
    answers.delete(URL_A);
    clock.advance(3_500_000);
    expect(await reason(token)).toBe('ok');
    clock.advance(200_000);
    expect(await reason(token)).toBe('unavailable');
  });

  test('keys without a kid are tried, a removed key ends its tokens when the set is fetched anew', async () => {
    const made = await keys(2);
    app({ secrets: [], jwksUrl: URL_A });
    const bare = made.jwks.map((key) => ({ ...key, kid: undefined }));
    answers.set(URL_A, { keys: JSON.parse(JSON.stringify(bare)) });
    const exp = Math.floor(clock.now() / 1_000) + 99_999;
    const pair = await made.sign(1, claims({ exp }));
    // The token names a kid that the set does not have.
    expect(await reason(pair)).toBe('bad-signature');
    answers.set(URL_A, { keys: made.jwks });
    clock.advance(10_000);
    expect(await reason(pair)).toBe('ok');
    answers.set(URL_A, { keys: [made.jwks[0]] });
    clock.advance(600_001);
    expect(await reason(pair)).toBe('bad-signature');
  });

  test.each([
    [null],
    ['x'],
    [{}],
    [{ keys: [] }],
    [{ keys: 'x' }],
    [{ keys: [{ kty: 'EC' }] }],
    [{ keys: Array.from({ length: 101 }, () => ({ kty: 'EC' })) }],
  ])('a set that is none: %#', async (json) => {
    app({ secrets: [], jwksUrl: URL_A });
    answers.set(URL_A, json);
    const made = await keys(1);
    expect(['unavailable', 'bad-signature']).toContain(await reason(await made.sign(0, claims())));
  });

  test('the issuer is checked, after the signature', async () => {
    const made = await keys(2);
    app({ secrets: [], jwksUrl: URL_A, issuer: 'https://issuer-a.example' });
    answers.set(URL_A, { keys: [made.jwks[0]] });
    expect(await reason(await made.sign(0, claims({ iss: 'https://issuer-a.example' })))).toBe('ok');
    expect(await reason(await made.sign(0, claims({ iss: 'https://evil.example' })))).toBe('bad-claims');
    expect(await reason(await made.sign(0, claims()))).toBe('bad-claims');
    expect(await reason(await made.sign(1, claims({ iss: 'https://evil.example' }), 'k0'))).toBe('bad-signature');
  });

  test('an address in the token is not followed', async () => {
    const made = await keys(1);
    app({ secrets: [], jwksUrl: null });
    const key = createSecretKey(SECRET, 'utf8');
    const header = { alg: 'HS256', jku: 'https://evil.example/jwks', x5u: 'https://evil.example/x' };
    await verifier.verify(
      await new SignJWT(claims({ iss: 'https://evil.example' })).setProtectedHeader(header).sign(key),
      clock.now(),
    );
    await verifier.verify(await made.sign(0, claims()), clock.now());
    expect(fetched).toEqual([]);
  });
});

describe('mintDeviceToken', () => {
  test('makes what the verifier takes, for at most a day', async () => {
    const made = app();
    const minted = await mintDeviceToken({
      app: made,
      userid: 'ann',
      customerid: 'c1',
      ttlSeconds: 1_000_000,
      now: clock.now(),
    });
    if (!minted.ok) throw new Error(minted.message);
    expect(minted.expires).toBe('2026-01-02T00:00:00.000Z');
    expect(await verifier.verify(minted.token, clock.now())).toMatchObject({
      ok: true,
      identity: { userid: 'ann', customerid: 'c1', deviceid: null },
    });
    expect(await mintDeviceToken({ app: app({ secrets: [] }), userid: 'ann', now: clock.now() })).toMatchObject({
      ok: false,
    });
  });
});
