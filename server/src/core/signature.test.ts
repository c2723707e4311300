import { createHmac, createSecretKey } from 'node:crypto';
import * as fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../test/support/random.ts';
import {
  newReceiptSecret,
  readReceiptSecret,
  receiptHeaders,
  receiptKeysOf,
  signHub,
  signStandard,
} from './signature.ts';
import type { ReceiptKeys } from './signature.ts';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

function keysOf(...secrets: string[]): ReceiptKeys {
  const keys = receiptKeysOf(secrets);
  if (keys === null) throw new Error('no secret is usable');
  return keys;
}

describe('receipt secrets', () => {
  it('are whsec_ and 32 random bytes', () => {
    const random = seededRandom(1);
    const [first, second] = [newReceiptSecret(random), newReceiptSecret(random)];
    expect(first).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(second).not.toBe(first);
    expect(readReceiptSecret(first)?.length).toBe(32);
  });

  it.each([
    '',
    'whsec_',
    'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa',
    'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!',
    `whsec_${Buffer.alloc(23).toString('base64')}`,
    `whsec_${Buffer.alloc(65).toString('base64')}`,
    `whsec_${Buffer.alloc(32).toString('base64').slice(0, -1)}`,
  ])('are not %j', (text) => {
    expect(readReceiptSecret(text)).toBeNull();
    expect(receiptKeysOf([text])).toBeNull();
    const usable = newReceiptSecret(seededRandom(1));
    const options = { id: 'a', timestampSeconds: 1, body: encode('') };
    expect(receiptHeaders({ ...options, keys: keysOf(text, usable) })).toEqual(
      receiptHeaders({ ...options, keys: keysOf(usable) }),
    );
  });
});

describe('webhook-signature', () => {
  it('gives the value of the specification’s example', () => {
    const signature = signStandard({
      id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      timestampSeconds: 1_614_265_330,
      body: encode('{"test": 2432232314}'),
      keys: keysOf('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'),
    });
    expect(signature).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
  });

  it('is verified by the public library with either secret while rotating, and with no other', () => {
    const property = fc.property(fc.uuid(), fc.json(), fc.integer(), (id, text, seed) => {
      const random = seededRandom(seed);
      const [newest, older, foreign] = [newReceiptSecret(random), newReceiptSecret(random), newReceiptSecret(random)];
      const timestampSeconds = Math.floor(Date.now() / 1_000);
      const headers = receiptHeaders({ id, timestampSeconds, body: encode(text), keys: keysOf(newest, older) });
      for (const secret of [newest, older]) {
        expect(new Webhook(secret).verify(text, headers)).toEqual(JSON.parse(text));
      }
      expect(() => new Webhook(foreign).verify(text, headers)).toThrow('No matching signature');
      expect(() => new Webhook(newest).verify(`${text} `, headers)).toThrow('No matching signature');
      expect(() => new Webhook(newest).verify(text, { ...headers, 'webhook-id': `${id}x` })).toThrow();
    });
    fc.assert(property, { numRuns: 50 });
  });

  it('has one part per secret, newest first', () => {
    const secrets = [newReceiptSecret(seededRandom(1)), newReceiptSecret(seededRandom(2))];
    const options = { id: 'a', timestampSeconds: 1, body: encode('{}') };
    const alone = secrets.map((secret) => signStandard({ ...options, keys: keysOf(secret) }));
    expect(signStandard({ ...options, keys: keysOf(...secrets) })).toBe(alone.join(' '));
  });

  it('needs a secret', () => {
    expect(receiptKeysOf([])).toBeNull();
  });
});

describe('x-hub-signature', () => {
  it('is keyed with the secret as shown, the newest of them', () => {
    const secrets = [newReceiptSecret(seededRandom(1)), newReceiptSecret(seededRandom(2))];
    const body = encode('{"text":"grüße"}');
    const expected = `sha256=${createHmac('sha256', secrets[0] ?? '')
      .update('{"text":"grüße"}')
      .digest('hex')}`;
    expect(signHub(body, keysOf(...secrets).hub)).toBe(expected);
    expect(receiptHeaders({ id: 'a', timestampSeconds: 7, body, keys: keysOf(...secrets) })).toMatchObject({
      'content-type': 'application/json',
      'webhook-id': 'a',
      'webhook-timestamp': '7',
      'x-hub-signature': expected,
    });
  });

  it('gives the value of an independent calculation', () => {
    // printf '{}' | openssl dgst -sha256 -hmac whsec_AAAA
    expect(signHub(encode('{}'), createSecretKey('whsec_AAAA', 'utf8'))).toBe(
      'sha256=be82b4032f683bd9abd5e7d6e03c84fff89c5d2219dad97a6c3130bcab2a28d1',
    );
  });
});
