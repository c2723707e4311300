import { createHmac, createSecretKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { Random } from './ports.ts';

const SECRET_PREFIX = 'whsec_';
/** Standard Webhooks 1.0: a symmetric secret is 24 to 64 bytes. */
const SECRET_BYTES_MIN = 24;
const SECRET_BYTES_MAX = 64;
const SECRET_BYTES_NEW = 32;

/** Makes a secret for signing receipts: `whsec_` and 32 random bytes in base64. */
export function newReceiptSecret(random: Random): string {
  return SECRET_PREFIX + Buffer.from(random.bytes(SECRET_BYTES_NEW)).toString('base64');
}

/** The bytes behind `whsec_…`; null where the text is no such secret (prefix, base64 or length). */
export function readReceiptSecret(text: string): Uint8Array | null {
  if (!text.startsWith(SECRET_PREFIX)) return null;
  const encoded = text.slice(SECRET_PREFIX.length);
  const key = Buffer.from(encoded, 'base64');
  // Node skips what is no base64; a secret that lost a character must not become another secret.
  if (key.toString('base64') !== encoded) return null;
  return key.length >= SECRET_BYTES_MIN && key.length <= SECRET_BYTES_MAX ? key : null;
}

/** The usable ones of a service's secrets, ready to sign with. */
export interface ReceiptKeys {
  /** Newest first. */
  readonly standard: readonly KeyObject[];
  /** Of the newest one, keyed with its text. */
  readonly hub: KeyObject;
}

/** Reads the secrets of a service, newest first; null: none of them is usable. */
export function receiptKeysOf(secrets: readonly string[]): ReceiptKeys | null {
  const standard: KeyObject[] = [];
  let newest: string | null = null;
  for (const secret of secrets) {
    const key = readReceiptSecret(secret);
    if (key === null) continue;
    newest ??= secret;
    standard.push(createSecretKey(key));
  }
  return newest === null ? null : { standard, hub: createSecretKey(newest, 'utf8') };
}

export interface StandardSignature {
  /** `webhook-id`: stable over the retries of one receipt. */
  readonly id: string;
  /** `webhook-timestamp`: of this try, Unix seconds. */
  readonly timestampSeconds: number;
  readonly body: Uint8Array;
  readonly keys: ReceiptKeys;
}

/**
 * The value of `webhook-signature` (Standard Webhooks 1.0): `v1,` and the HMAC-SHA256 of `id.timestamp.body` in
 * base64, one part for each secret, so that a receiver may hold either of them while they are being rotated.
 */
export function signStandard({ id, timestampSeconds, body, keys }: StandardSignature): string {
  const head = `${id}.${timestampSeconds}.`;
  let parts = '';
  for (const key of keys.standard) {
    const signature = createHmac('sha256', key).update(head).update(body).digest('base64');
    parts += parts === '' ? `v1,${signature}` : ` v1,${signature}`;
  }
  return parts;
}

/** The value of `x-hub-signature` (contract §3): the hex HMAC of the body, keyed with the secret's text as shown. */
export function signHub(body: Uint8Array, key: KeyObject): string {
  return `sha256=${createHmac('sha256', key).update(body).digest('hex')}`;
}

/** The headers of one try of a receipt; `x-hub-signature` has room for one secret, the newest. */
export function receiptHeaders(signature: StandardSignature): Record<string, string> {
  return {
    'content-type': 'application/json',
    'webhook-id': signature.id,
    'webhook-timestamp': String(signature.timestampSeconds),
    'webhook-signature': signStandard(signature),
    'x-hub-signature': signHub(signature.body, signature.keys.hub),
  };
}
