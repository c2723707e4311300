import { createLocalJWKSet } from 'jose';
import type { JSONWebKeySet, LocalJWKSet } from 'jose';
import type { Clock } from '../core/ports.ts';
import { Lru } from '../lib/lru.ts';
import { identityLimits } from './limits.ts';

export type JsonFetchResult =
  | { readonly ok: true; readonly json: unknown }
  | { readonly ok: false; readonly message: string };

/** Gets a JSON document from an address of an app's settings; never rejects for what the other side does. */
export type JsonFetch = (url: string) => Promise<JsonFetchResult>;

export type KeySetResult =
  /** `keys`: resolves the key of a token header; null: the set has no key of that kid, or none could be read. */
  { readonly ok: true; readonly keys: LocalJWKSet | null } | { readonly ok: false; readonly message: string };

interface HeldSet {
  keys: LocalJWKSet | null;
  /** kids of the set; a key without one counts as ''. */
  kids: ReadonlySet<string>;
  fetchedAt: number;
  triedAt: number;
  failure: string;
  pending: Promise<void> | null;
}

const EMPTY: ReadonlySet<string> = new Set();

/**
 * Key sets of apps (JWKS, RFC 7517), one per app *and* address, so that no app can be served another's keys. The
 * address comes from the app's settings, never from a token. Fetched at most once per 10 s whatever kids are asked
 * for, which also makes an unknown kid cheap; while the address fails, what is held is used for an hour.
 */
export class KeySets {
  readonly #fetchJson: JsonFetch;
  readonly #clock: Clock;
  readonly #sets = new Lru<string, HeldSet>(identityLimits.keySetsMax);

  constructor(options: { fetchJson: JsonFetch; clock: Clock }) {
    this.#fetchJson = options.fetchJson;
    this.#clock = options.clock;
  }

  /** The set that should hold `kid` (null: the token names none). */
  async find(appId: string, url: string, kid: string | null): Promise<KeySetResult> {
    const set = this.#held(appId, url);
    const unknown = kid !== null && !set.kids.has(kid);
    if (unknown || this.#ageOf(set) > identityLimits.keySetFreshMs) await this.#refresh(set, url);
    if (set.keys === null || this.#ageOf(set) > identityLimits.keySetStaleMs) {
      return { ok: false, message: set.failure };
    }
    return { ok: true, keys: kid === null || set.kids.has(kid) ? set.keys : null };
  }

  #held(appId: string, url: string): HeldSet {
    const name = `${appId}\n${url}`;
    const known = this.#sets.get(name);
    if (known !== undefined) return known;
    const never = Number.NEGATIVE_INFINITY;
    const set: HeldSet = { keys: null, kids: EMPTY, fetchedAt: never, triedAt: never, failure: '', pending: null };
    this.#sets.set(name, set);
    return set;
  }

  #ageOf(set: HeldSet): number {
    return this.#clock.monotonic() - set.fetchedAt;
  }

  async #refresh(set: HeldSet, url: string): Promise<void> {
    if (set.pending === null) {
      if (this.#clock.monotonic() - set.triedAt < identityLimits.keySetFetchEveryMs) return;
      set.triedAt = this.#clock.monotonic();
      set.pending = this.#fetch(set, url).finally(() => {
        set.pending = null;
      });
    }
    await set.pending;
  }

  async #fetch(set: HeldSet, url: string): Promise<void> {
    const answer = await this.#fetchJson(url);
    if (!answer.ok) {
      set.failure = `the key set of the app cannot be fetched: ${answer.message}`;
      return;
    }
    const keySet = readKeySet(answer.json);
    if (keySet === null) {
      set.failure = `the key set of the app is no JWKS with 1 to ${identityLimits.keysPerSetMax} keys`;
      return;
    }
    set.keys = createLocalJWKSet(keySet);
    set.kids = new Set(keySet.keys.map((key) => key.kid ?? ''));
    set.fetchedAt = this.#clock.monotonic();
  }
}

/** Only public keys are kept: a symmetric or private key in a public document is nothing to trust. */
function readKeySet(json: unknown): JSONWebKeySet | null {
  if (typeof json !== 'object' || json === null || !('keys' in json) || !Array.isArray(json.keys)) return null;
  const all: unknown[] = json.keys;
  if (all.length > identityLimits.keysPerSetMax) return null;
  const keys = all.filter(isPublicKey);
  return keys.length === 0 ? null : { keys };
}

const PUBLIC_TYPES: ReadonlySet<unknown> = new Set(['RSA', 'EC', 'OKP']);

function isPublicKey(key: unknown): key is JSONWebKeySet['keys'][number] {
  if (typeof key !== 'object' || key === null || !('kty' in key) || 'd' in key) return false;
  return PUBLIC_TYPES.has(key.kty) && (!('kid' in key) || typeof key.kid === 'string');
}
