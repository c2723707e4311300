import { createHash, createHmac, createSecretKey, timingSafeEqual } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader, errors, jwtVerify } from 'jose';
import type { CryptoKey, LocalJWKSet } from 'jose';
import type { AppSource, DeviceIdentity, TokenRefusal, TokenVerdict, TokenVerifier } from '../core/identity.ts';
import type { App } from '../core/model.ts';
import type { Clock } from '../core/ports.ts';
import { Lru } from '../lib/lru.ts';
import { audiencesOf, endOf, identityOf } from './claims.ts';
import type { Claims } from './claims.ts';
import { KeySets } from './key-sets.ts';
import type { JsonFetch } from './key-sets.ts';
import { identityLimits } from './limits.ts';

/** What a key set may sign with. HS256 is not among them: a public key is no secret (RFC 8725 §3.1). */
const PUBLIC_ALGORITHMS = ['RS256', 'ES256', 'EdDSA'];
/** Keys of a set without kids that are tried for one token. */
const CANDIDATES_MAX = 4;

interface Verified {
  /** Which app and secret vouched; both are looked at again, so that a removed secret ends its tokens at once. */
  readonly appId: string;
  readonly secret: string;
  readonly identity: DeviceIdentity;
}

type Check = { readonly ok: true; readonly claims: Claims } | Extract<TokenVerdict, { ok: false }>;
type Key = CryptoKey | KeyObject;

/**
 * Checks device tokens (JWT, RFC 7519) against the settings of the app they name: HS256 by the app's secrets, RS256,
 * ES256 and EdDSA by its key set. Contract §4. What the token says is used before the signature is checked for one
 * thing only: to look the app up.
 */
export class JwtVerifier implements TokenVerifier {
  readonly #apps: AppSource;
  readonly #keySets: KeySets;
  readonly #verified = new Lru<string, Verified>(identityLimits.verifiedTokensMax);
  /** Importing a secret costs more than using it. */
  readonly #secretKeys = new Lru<string, KeyObject>(identityLimits.keySetsMax);

  constructor(options: { apps: AppSource; fetchJson: JsonFetch; clock: Clock }) {
    this.#apps = options.apps;
    this.#keySets = new KeySets(options);
  }

  /** Whether the token is good at `now` (wall ms), and whose it is. Never rejects for what a token holds. */
  async verify(token: string, now: number): Promise<TokenVerdict> {
    if (token.length > identityLimits.tokenBytesMax) {
      return refused('malformed', `the token is longer than ${identityLimits.tokenBytesMax} bytes`);
    }
    const opened = open(token);
    if (opened === null) return refused('malformed', 'the token is not a JWT of three parts');
    const { header, claims } = opened;
    const app = await this.#findApp(audiencesOf(claims));
    if (app === null) return refused('unknown-app', 'the token needs "aud" (or "appId"): the appid of an app');
    if (header.alg === 'HS256') return this.#verifyBySecret(token, app, now);
    if (!PUBLIC_ALGORITHMS.includes(header.alg)) {
      return refused('bad-signature', 'tokens are signed with HS256, RS256, ES256 or EdDSA');
    }
    const checked = await this.#checkByKeySet({ token, kid: header.kid, app, now });
    if (!checked.ok) return checked;
    if (app.issuer !== null && checked.claims['iss'] !== app.issuer) {
      return refused('bad-claims', '"iss" of the token is not the issuer of the app');
    }
    return identityOf(checked.claims, app.id);
  }

  async #findApp(ids: readonly string[]): Promise<App | null> {
    for (const id of ids) {
      const app = await this.#apps.app(id);
      if (app !== null) return app;
    }
    return null;
  }

  #verifyBySecret(token: string, app: App, now: number): TokenVerdict {
    const name = createHash('sha256').update(token).digest('base64');
    const known = this.#verified.get(name);
    if (known !== undefined && known.appId === app.id && app.secrets.includes(known.secret)) {
      if (now < known.identity.expiresAt) return { ok: true, identity: known.identity };
      return refused('expired', 'the token has ended');
    }
    for (const secret of app.secrets) {
      if (secret === '' || !isSignedBy(token, this.#secretKey(secret))) continue;
      const claims: Claims = decodeJwt(token);
      const verdict = checkTimes(claims, now) ?? identityOf(claims, app.id);
      if (verdict.ok) this.#verified.set(name, { appId: app.id, secret, identity: verdict.identity });
      return verdict;
    }
    return refused('bad-signature', 'the signature of the token is not good');
  }

  #secretKey(secret: string): KeyObject {
    const known = this.#secretKeys.get(secret);
    if (known !== undefined) return known;
    const key = createSecretKey(secret, 'utf8');
    this.#secretKeys.set(secret, key);
    return key;
  }

  async #checkByKeySet(request: { token: string; kid: string | null; app: App; now: number }): Promise<Check> {
    const { token, kid, app, now } = request;
    if (app.jwksUrl === null) return refused('bad-signature', 'the app has no key set: its tokens are HS256');
    const found = await this.#keySets.find(app.id, app.jwksUrl, kid);
    if (!found.ok) return refused('unavailable', found.message);
    if (found.keys === null) return refused('bad-signature', 'the key set of the app has no key of that kid');
    const keys = await candidates(found.keys, token);
    let last: Check = refused('bad-signature', 'no key of the key set fits the token');
    for (const key of keys) {
      last = await check({ token, key, algorithms: PUBLIC_ALGORITHMS, now });
      if (last.ok || last.reason !== 'bad-signature') return last;
    }
    return last;
  }
}

function refused(reason: TokenRefusal, message: string): Extract<TokenVerdict, { ok: false }> {
  return { ok: false, reason, message };
}

function open(token: string): { header: { alg: string; kid: string | null }; claims: Claims } | null {
  try {
    const header = decodeProtectedHeader(token);
    // No extension is known here, and one that must be understood is thereby refused (RFC 7515 §4.1.11).
    if (typeof header.alg !== 'string' || header.crit !== undefined) return null;
    return { header: { alg: header.alg, kid: header.kid ?? null }, claims: decodeJwt(token) };
  } catch {
    return null;
  }
}

/**
 * HS256 by hand: through the promise of WebCrypto it took 0.3 ms, and a storm of reconnects verifies nothing else.
 * The texts are compared, not the bytes, so that one signature has one spelling.
 */
function isSignedBy(token: string, key: KeyObject): boolean {
  const end = token.lastIndexOf('.');
  const wanted = Buffer.from(createHmac('sha256', key).update(token.slice(0, end)).digest('base64url'));
  const given = Buffer.from(token.slice(end + 1));
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

/** Null: neither too early nor too late (RFC 7519 §4.1.4, §4.1.5). */
function checkTimes(claims: Claims, now: number): Extract<TokenVerdict, { ok: false }> | null {
  const { leewaySeconds } = identityLimits;
  const [expiry, notBefore] = [claims['exp'], claims['nbf']];
  if (typeof expiry !== 'number') return refused('bad-claims', '"exp" of the token is missing or wrong');
  if (now >= endOf(expiry)) return refused('expired', 'the token has ended');
  if (notBefore === undefined) return null;
  if (typeof notBefore !== 'number') return refused('bad-claims', '"nbf" of the token is wrong');
  if (notBefore - leewaySeconds > now / 1_000) return refused('not-yet-valid', 'the token is not valid yet');
  return null;
}

/** The keys that fit the header of a token: one as a rule, several where a set has no kids. */
async function candidates(keys: LocalJWKSet, token: string): Promise<readonly Key[]> {
  try {
    return [await keys(decodeProtectedHeader(token))];
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) return [];
    const several: Key[] = [];
    for await (const key of error) {
      several.push(key);
      if (several.length === CANDIDATES_MAX) break;
    }
    return several;
  }
}

async function check(request: { token: string; key: Key; algorithms: string[]; now: number }): Promise<Check> {
  try {
    const { payload } = await jwtVerify(request.token, request.key, {
      algorithms: request.algorithms,
      clockTolerance: identityLimits.leewaySeconds,
      currentDate: new Date(request.now),
      requiredClaims: ['exp'],
    });
    return { ok: true, claims: payload };
  } catch (error) {
    if (error instanceof errors.JWTExpired) return refused('expired', 'the token has ended');
    if (error instanceof errors.JWTClaimValidationFailed) {
      if (error.claim === 'nbf') return refused('not-yet-valid', 'the token is not valid yet');
      return refused('bad-claims', `"${error.claim}" of the token is missing or wrong`);
    }
    if (error instanceof errors.JOSEError || error instanceof TypeError) {
      return refused('bad-signature', 'the signature of the token is not good');
    }
    throw error;
  }
}
