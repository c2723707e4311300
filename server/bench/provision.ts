import { createHash, createHmac } from 'node:crypto';
import type { StoredObject } from '../src/core/ports.ts';
import { systemClock, systemRandom } from '../src/lib/system.ts';
import { lockFolder } from '../src/store/sqlite/folder.ts';
import { SqliteStore } from '../src/store/sqlite/store.ts';
import type { DeviceLogin } from './generator/devices.ts';
import { useridOf } from './generator/requests.ts';

/** Written into a folder that the bench removes again: no secrets. */
export const KEY = 'bench-service-key-000001';
const APP_SECRET = 'bench-app-secret-of-32-bytes-or-more';
const APP_ID = 'bench-app';
const TOKEN_SECONDS = 86_400;

/**
 * Puts a client, a live service with its key, and an app into a data folder no server works on. `notifyUrl` null: the
 * service has nowhere to be told, so that receipts are due and skipped.
 */
export async function provision(data: string, notifyUrl: string | null): Promise<void> {
  const folder = lockFolder(data);
  const store = new SqliteStore({ path: folder.databasePath, clock: systemClock, random: systemRandom });
  try {
    if (!(await store.putObjects(objects(notifyUrl), 'create'))) throw new Error('the data folder is not empty');
  } finally {
    await store.close();
    folder.release();
  }
}

function objects(notifyUrl: string | null): StoredObject[] {
  const createdAt = Date.now();
  const clientId = 'bench-client';
  const serviceId = 'bench-service';
  const id = createHash('sha256').update(KEY).digest('hex');
  const receiptSecrets = [`whsec_${Buffer.from('bench-receipt-secret-of-32-bytes').toString('base64')}`];
  return [
    { kind: 'client', value: { id: clientId, name: 'bench', priority: 2, retentionDays: 30, createdAt } },
    {
      kind: 'service',
      value: {
        id: serviceId,
        clientId,
        name: 'bench',
        state: 'live',
        appId: APP_ID,
        notifyUrl,
        inboundUrl: null,
        expiryMs: null,
        ratePerSecond: null,
        statuses: ['Submitted', 'Delivered', 'Read', 'Clicked', 'Failed'],
        receiptSecrets,
        createdAt,
      },
    },
    { kind: 'key', value: { id, clientId, serviceId, hint: KEY.slice(-4), state: 'active', createdAt } },
    {
      kind: 'app',
      value: {
        id: APP_ID,
        clientId,
        name: 'bench',
        secrets: [APP_SECRET],
        jwksUrl: null,
        issuer: null,
        customerid: 'same',
        origins: [],
        createdAt,
      },
    },
  ];
}

function base64url(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** How the one device of a user logs in (contract §4): an HS256 token of the app. */
export function loginOf(user: number, receiveMaximum: number | null): DeviceLogin {
  const userid = useridOf(user);
  const seconds = Math.floor(Date.now() / 1000);
  const claims = { sub: userid, aud: APP_ID, iat: seconds, exp: seconds + TOKEN_SECONDS };
  const signed = `${base64url({ alg: 'HS256', typ: 'JWT' })}.${base64url(claims)}`;
  const token = `${signed}.${createHmac('sha256', APP_SECRET).update(signed).digest('base64url')}`;
  return { topic: `${APP_ID}/${userid}`, clientId: `device-${user}`, token, receiveMaximum };
}
