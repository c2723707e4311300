import { createHash } from 'node:crypto';
import type { App, Client, Service } from '../../src/core/model.ts';
import type { Store, StoredObject } from '../../src/core/ports.ts';
import { START_MS, tenantIds } from './builders.ts';

export interface Tenant {
  readonly clientId: string;
  readonly serviceId: string;
  readonly appId: string;
  /** What goes into the header `key`. The store holds its hash alone. */
  readonly keyText: string;
  /** HS256 secret of the app. */
  readonly appSecret: string;
  /** `whsec_…` of the service. */
  readonly receiptSecret: string;
}

export interface SeedOptions {
  /** Prefix of every id and of the key: two tenants of one store have different names. */
  readonly name?: string;
  readonly client?: Partial<Client>;
  readonly service?: Partial<Service>;
  readonly app?: Partial<App>;
}

/** Makes a client, a live service, its key and its app (customerid `same`) in one commit. Throws where an id is taken. */
export async function seedTenant(store: Pick<Store, 'putObjects'>, options: SeedOptions = {}): Promise<Tenant> {
  const name = options.name ?? 'acme';
  const ids = tenantIds(name);
  const tenant: Tenant = {
    ...ids,
    keyText: `${name}-service-key-0001`,
    appSecret: `${name}-app-secret-of-32-bytes-and-more`,
    receiptSecret: `whsec_${Buffer.from(`${name}-receipt-secret-of-32-bytes`).toString('base64')}`,
  };
  if (!(await store.putObjects(objectsOf(tenant, name, options), 'create'))) {
    throw new Error(`tenant ${name} is there already`);
  }
  return tenant;
}

function objectsOf(tenant: Tenant, name: string, options: SeedOptions): StoredObject[] {
  const { clientId, serviceId, appId } = tenant;
  const createdAt = START_MS;
  const client: Client = { id: clientId, name, priority: 2, retentionDays: 30, createdAt, ...options.client };
  const service: Service = {
    id: serviceId,
    clientId,
    name: `${name} orders`,
    state: 'live',
    appId,
    notifyUrl: null,
    inboundUrl: null,
    expiryMs: null,
    ratePerSecond: null,
    statuses: ['Submitted', 'Delivered', 'Read', 'Clicked', 'Failed'],
    receiptSecrets: [tenant.receiptSecret],
    createdAt,
    ...options.service,
  };
  const app: App = {
    id: appId,
    clientId,
    name: `${name} app`,
    secrets: [tenant.appSecret],
    jwksUrl: null,
    issuer: null,
    customerid: 'same',
    origins: [],
    createdAt,
    ...options.app,
  };
  const keyHash = createHash('sha256').update(tenant.keyText).digest('hex');
  return [
    { kind: 'client', value: client },
    { kind: 'service', value: service },
    { kind: 'app', value: app },
    {
      kind: 'key',
      value: { id: keyHash, clientId, serviceId, hint: tenant.keyText.slice(-4), state: 'active', createdAt },
    },
  ];
}
