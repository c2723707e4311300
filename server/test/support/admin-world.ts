import Fastify from 'fastify';
import type { FastifyInstance } from 'fastify';
import { MemoryBus } from '../../src/bus/memory.ts';
import { createAdmin } from '../../src/http/admin/admin.ts';
import {
  createAdminToken,
  createApp,
  createClient,
  createService,
  createSmartlink,
  createTemplate,
  replaceObjects,
} from '../../src/http/admin/provision.ts';
import type { Provisioning } from '../../src/http/admin/provision.ts';
import { registerOpenapi } from '../../src/http/openapi.ts';
import { SqliteStore } from '../../src/store/sqlite/store.ts';
import { destinationOf, makeUnit, userid } from './builders.ts';
import { FakeClock } from './clock.ts';
import { seededRandom } from './random.ts';
import { silentObserver } from './silent-observer.ts';

export interface AdminAnswer {
  readonly status: number;
  readonly text: string;
  readonly body: unknown;
  readonly headers: Readonly<Record<string, unknown>>;
}

export interface AdminRequest {
  readonly token?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What one tenant owns, one of each kind. */
export interface Belongings {
  readonly token: string;
  readonly clientId: string;
  readonly serviceId: string;
  readonly key: string;
  readonly keyId: string;
  readonly appId: string;
  readonly templateId: string;
  readonly smartlinkId: string;
  readonly userid: string;
  readonly threadId: string;
  readonly transid: string;
  readonly receiptId: string;
  readonly endpointId: string;
  readonly tokenId: string;
}

/** The admin API over SQLite in memory, with one token for the whole installation. */
export interface AdminWorld {
  readonly fastify: FastifyInstance;
  readonly at: Provisioning;
  readonly store: SqliteStore;
  readonly bus: MemoryBus;
  readonly clock: FakeClock;
  readonly rootToken: string;
  call(method: string, path: string, request?: AdminRequest): Promise<AdminAnswer>;
  /** A new tenant with one of each kind of object. */
  tenant(name: string): Promise<Belongings>;
  close(): Promise<void>;
}

/** A userid of 256 bytes, percent-encoded. */
const PARAM_LENGTH_MAX = 768;
const RECEIPTS_MAX = 100;

export async function openAdminWorld(): Promise<AdminWorld> {
  const clock = new FakeClock();
  const random = seededRandom(1);
  const store = new SqliteStore({ path: ':memory:', clock, random });
  const bus = new MemoryBus();
  const at: Provisioning = { store, bus, clock, random };
  const fastify = Fastify({ routerOptions: { maxParamLength: PARAM_LENGTH_MAX } });
  await registerOpenapi(fastify);
  await fastify.register(createAdmin({ ...at, bus, observer: silentObserver }));
  await fastify.ready();
  const root = await createAdminToken(at, { clientId: '*', name: 'root' });

  async function call(method: string, path: string, request: AdminRequest = {}): Promise<AdminAnswer> {
    const response = await fastify.inject({
      method: method as 'GET',
      url: path,
      headers: {
        ...(request.token === undefined ? undefined : { authorization: `Bearer ${request.token}` }),
        ...request.headers,
      },
      ...(request.body === undefined ? undefined : { payload: request.body as object }),
    });
    const isJson = String(response.headers['content-type']).startsWith('application/json');
    const body: unknown = isJson ? JSON.parse(response.body) : null;
    return { status: response.statusCode, text: response.body, body, headers: response.headers };
  }

  const world: AdminWorld = {
    fastify,
    at,
    store,
    bus,
    clock,
    rootToken: root.text,
    call,
    tenant: (name) => makeTenant(world, name),
    close: async () => {
      await fastify.close();
      await bus.close();
      await store.close();
    },
  };
  return world;
}

async function makeTenant(world: AdminWorld, name: string): Promise<Belongings> {
  const { at } = world;
  const client = await createClient(at, { name });
  const clientId = client.id;
  const { app } = await createApp(at, { clientId, name: `${name} app`, jwksUrl: 'https://keys.example/jwks' });
  const service = await createService(at, { clientId, name: `${name} service`, appId: app.id });
  const template = await createTemplate(at, { clientId, name: 'greeting', text: 'Hello ${name}' });
  const smartlink = await createSmartlink(at, { clientId, name: 'offer', url: 'https://shop.example/' });
  const own = await createAdminToken(at, { clientId, name: 'own' });
  const other = await createAdminToken(at, { clientId, name: 'another' });
  const ids = { clientId, serviceId: service.service.id, appId: app.id };
  const message = await sendMessage(world, ids);
  const endpointId = `${name}-endpoint`;
  const endpoint = { id: endpointId, clientId, serviceId: ids.serviceId, url: 'https://gone.example/', createdAt: 0 };
  await replaceObjects(at, { kind: 'endpoint', value: endpoint });
  return {
    ...ids,
    ...message,
    token: own.text,
    tokenId: other.token.id,
    key: service.key,
    keyId: service.keyId,
    templateId: template.id,
    smartlinkId: smartlink.id,
    endpointId,
  };
}

/** A message to `ann` whose first receipt was given up, so that it can be seen and replayed. */
async function sendMessage(
  world: AdminWorld,
  ids: Pick<Belongings, 'clientId' | 'serviceId' | 'appId'>,
): Promise<Pick<Belongings, 'userid' | 'threadId' | 'transid' | 'receiptId'>> {
  const { clock, store } = world;
  const destinations = [{ ...destinationOf(userid('ann')), correlationid: 'order-1' }];
  const unit = makeUnit({ ...ids, acceptedAt: clock.now(), destinations });
  const { accepts } = await store.write({ opens: [], accepts: [unit], settlements: [], closes: [] });
  const [result] = accepts;
  const message = result?.kind === 'accepted' ? result.entries[0]?.message : null;
  if (message === null || message === undefined) throw new Error('the message was not accepted');
  const works = await store.claimReceipts({ limit: RECEIPTS_MAX, leaseMs: 1_000, now: clock.now() });
  const [work] = works;
  if (work === undefined) throw new Error('there is no receipt');
  const attempt = { at: clock.now(), status: 500, error: null, ms: 3 };
  await store.settleReceipts([{ kind: 'dead', work, attempt }]);
  return { userid: 'ann', threadId: message.thread.id, transid: unit.uid, receiptId: work.id };
}
