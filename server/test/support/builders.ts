import type { AcceptDestination, AcceptUnit, Identifier, SessionOpen } from '../../src/core/ports.ts';
import { newUid } from '../../src/core/transid.ts';

/** Where {@link FakeClock} starts: a test that builds by hand and one that goes through a clock agree. */
export const START_MS = Date.UTC(2026, 0, 1);
export const DAY_MS = 86_400_000;
export const HOUR_MS = 3_600_000;
export const MINUTE_MS = 60_000;

/** The ids {@link seedTenant} gives to a tenant of this name; the builders' defaults are those of `acme`. */
export function tenantIds(name = 'acme'): { clientId: string; serviceId: string; appId: string } {
  return { clientId: `${name}-client`, serviceId: `${name}-service`, appId: `${name}-app` };
}

export function userid(value: string): Identifier {
  return { type: 'userid', value };
}
export function customerid(value: string): Identifier {
  return { type: 'customerid', value };
}
export function msisdn(value: string): Identifier {
  return { type: 'msisdn', value };
}

/** One object of `destination` without a correlationid. */
export function destinationOf(...identifiers: Identifier[]): AcceptDestination {
  return { correlationid: null, identifiers };
}

/** An accept unit of tenant `acme` to userid `ann` on the conversation "Orders", valid for a day. */
export function makeUnit(overrides: Partial<AcceptUnit> = {}): AcceptUnit {
  const acceptedAt = overrides.acceptedAt ?? START_MS;
  return {
    uid: newUid(),
    ...tenantIds(),
    acceptedAt,
    expiry: acceptedAt + DAY_MS,
    priority: 2,
    channelWord: 'appmessaging',
    notifyUrl: null,
    callbackData: null,
    content: JSON.stringify({ message: 'Hello', media: [] }),
    thread: { type: 'Conversation', title: 'Orders' },
    links: [],
    destinations: [destinationOf(userid('ann'))],
    idempotency: null,
    waitingPerUserMax: 1_000,
    waitingTotalMax: 100_000,
    ...overrides,
  };
}

/** A session of `ann` on device `phone` of app `acme-app`, kept for an hour. */
export function makeSession(overrides: Partial<SessionOpen> = {}): SessionOpen {
  return {
    appId: tenantIds().appId,
    userid: 'ann',
    customerid: null,
    msisdn: null,
    deviceid: 'phone',
    clean: false,
    keepMs: HOUR_MS,
    at: START_MS,
    ...overrides,
  };
}
