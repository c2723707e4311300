/**
 * Who a device is: the port through which the gateway and the device API check tokens (contract §4).
 * A page or app holds the appid and a token, never a secret.
 */
import type { App } from './model.ts';

/** What a token says about its bearer. Texts are as the token has them, checked for length and control characters. */
export interface DeviceIdentity {
  readonly appId: string;
  readonly userid: string;
  /** Present: this token links it to the user, where the app links customerids. */
  readonly customerid: string | null;
  readonly msisdn: string | null;
  /** Present: the token is good for this device alone. */
  readonly deviceid: string | null;
  /** Wall ms; from then on the token is not taken. The leeway of 60 s is in it. */
  readonly expiresAt: number;
}

export type TokenRefusal =
  | 'malformed'
  | 'unknown-app'
  | 'bad-signature'
  | 'expired'
  | 'not-yet-valid'
  | 'bad-claims'
  | 'unavailable';

export type TokenVerdict =
  | { readonly ok: true; readonly identity: DeviceIdentity }
  /** `unavailable`: the key set cannot be fetched now, try again; `message` is for the developer of the app. */
  | { readonly ok: false; readonly reason: TokenRefusal; readonly message: string };

export interface TokenVerifier {
  /** `now`: wall ms. Rejects only where the app cannot be looked up. */
  verify(token: string, now: number): Promise<TokenVerdict>;
}

/** Where apps are looked up; core/directory.ts is one. */
export interface AppSource {
  app(id: string): Promise<App | null>;
}
