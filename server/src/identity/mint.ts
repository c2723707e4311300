import { createSecretKey } from 'node:crypto';
import { SignJWT } from 'jose';
import type { App } from '../core/model.ts';
import { identityLimits } from './limits.ts';

export interface MintRequest {
  readonly app: App;
  readonly userid: string;
  readonly customerid?: string;
  readonly msisdn?: string;
  readonly deviceid?: string;
  /** 1 to 86,400; more is cut. */
  readonly ttlSeconds?: number;
  /** Wall ms. */
  readonly now: number;
}

export type MintResult =
  /** `expires`: RFC 3339. */
  | { readonly ok: true; readonly token: string; readonly expires: string }
  /** The app has no secret: only its own issuer (JWKS) makes tokens. */
  | { readonly ok: false; readonly message: string };

/**
 * Makes a device token (HS256, the app's newest secret) for backends without a JWT library: contract §4,
 * `POST /resources/v1/device-tokens`. The caller has checked the names (claims.ts, `isName`).
 */
export async function mintDeviceToken(request: MintRequest): Promise<MintResult> {
  const [secret] = request.app.secrets;
  if (secret === undefined || secret === '') {
    return { ok: false, message: 'the app has no secret; its tokens come from its own issuer' };
  }
  const wanted = request.ttlSeconds ?? identityLimits.mintedTtlSecondsDefault;
  const ttlSeconds = Math.min(Math.max(1, Math.floor(wanted)), identityLimits.mintedTtlSecondsMax);
  const issuedAt = Math.floor(request.now / 1_000);
  const expiry = issuedAt + ttlSeconds;
  const { customerid, msisdn, deviceid } = request;
  const claims = {
    sub: request.userid,
    aud: request.app.id,
    iat: issuedAt,
    exp: expiry,
    ...(customerid === undefined ? undefined : { customerid }),
    ...(msisdn === undefined ? undefined : { msisdn }),
    ...(deviceid === undefined ? undefined : { deviceid }),
  };
  const token = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .sign(createSecretKey(secret, 'utf8'));
  return { ok: true, token, expires: new Date(expiry * 1_000).toISOString() };
}
