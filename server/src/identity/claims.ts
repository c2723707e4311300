import type { DeviceIdentity, TokenVerdict } from '../core/identity.ts';
import { identityLimits } from './limits.ts';

export type Claims = Readonly<Record<string, unknown>>;

/** NUL and the other control characters: they belong into no key, topic or row. */
function hasControlCharacter(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit < 0x20 || (unit >= 0x7f && unit < 0xa0)) return true;
  }
  return false;
}

/** Whether a text can be a userid, customerid, msisdn or deviceid: 1 to 256 bytes, well-formed, no control characters. */
export function isName(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value !== '' &&
    Buffer.byteLength(value) <= identityLimits.claimBytesMax &&
    value.isWellFormed() &&
    !hasControlCharacter(value)
  );
}

/**
 * The appids a token names, in the order in which they are tried: `appId`, else `aud`, which may be a list.
 * Read before the signature is checked, and used for nothing but to look the app up.
 */
export function audiencesOf(claims: Claims): readonly string[] {
  const appId = claims['appId'];
  const audience = claims['aud'];
  const list = isName(appId) ? [appId] : Array.isArray(audience) ? audience : [audience];
  return list.filter(isName).slice(0, identityLimits.audiencesMax);
}

function refused(message: string): TokenVerdict {
  return { ok: false, reason: 'bad-claims', message };
}

/**
 * The identity in the claims of a token whose signature is good and which has not ended (contract §4): `sub` or
 * `userId`, `exp`, optional `customerid`, `msisdn`, `deviceid`. Where both names of a claim are there they must agree.
 */
export function identityOf(claims: Claims, appId: string): TokenVerdict {
  const names: Record<'customerid' | 'msisdn' | 'deviceid', string | null> = {
    customerid: null,
    msisdn: null,
    deviceid: null,
  };
  const userid = claims['sub'] ?? claims['userId'];
  if (!isName(userid)) return refused('the token needs "sub" (or "userId"): the userid, 1 to 256 bytes');
  if (claims['userId'] !== undefined && claims['userId'] !== userid) {
    return refused('"sub" and "userId" of the token differ');
  }
  if (!audienceAgrees(claims['aud'], appId)) return refused('"aud" and "appId" of the token differ');
  for (const name of ['customerid', 'msisdn', 'deviceid'] as const) {
    const value = claims[name];
    if (value === undefined || value === null || value === '') continue;
    if (!isName(value)) return refused(`"${name}" of the token must be a text of 1 to 256 bytes`);
    names[name] = value;
  }
  const expiry = claims['exp'];
  if (typeof expiry !== 'number' || !Number.isFinite(expiry)) return refused('the token needs "exp"');
  const identity: DeviceIdentity = { appId, userid, ...names, expiresAt: endOf(expiry) };
  return { ok: true, identity };
}

/** Wall ms from which a token with this `exp` (seconds) is not taken. */
export function endOf(expirySeconds: number): number {
  return (expirySeconds + identityLimits.leewaySeconds) * 1_000;
}

function audienceAgrees(audience: unknown, appId: string): boolean {
  if (audience === undefined) return true;
  return Array.isArray(audience) ? audience.includes(appId) : audience === appId;
}
