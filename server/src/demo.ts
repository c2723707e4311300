/**
 * `--demo`: on an empty data folder, everything that a first message needs, and `demo.json` that says how. Contract §1.
 *
 * Every start checks each of them and makes what is missing; of what can only be known when it is made (the service key, the
 * admin token) a new one is made where the file does not have it any more, and the old one is revoked.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { App, Client, ObjectKind, Objects, Service, Smartlink, Template, Thread } from './core/model.ts';
import {
  createAdminToken,
  createApp,
  createClient,
  createService,
  createServiceKey,
  createSmartlink,
  createTemplate,
  eachObject,
  hashOf,
  keysOf,
  newReceiptSecret,
  removeObject,
  replaceObjects,
} from './http/admin/provision.ts';
import type { Provisioning } from './http/admin/provision.ts';
import { writeFileWhole } from './lib/write-file.ts';

export const DEMO_FILE = 'demo.json';
export const DEMO_TEMPLATE = 'Hello ${name}, your code is ${code}';

/** What `demo.json` holds. */
export interface Demo {
  readonly http: string;
  /** null: MQTT over TCP is off. */
  readonly mqtt: string | null;
  readonly ws: string;
  readonly serviceKey: string;
  readonly serviceId: string;
  readonly receiptSecret: string;
  readonly appid: string;
  readonly adminToken: string;
  readonly consoleUrl: string;
  readonly templateId: string;
  readonly linkid: string;
  readonly threadId: string;
}

export interface DemoPlace {
  readonly folder: string;
  readonly httpUrl: string;
  readonly mqttUrl: string | null;
  readonly wsUrl: string;
}

const NAME = 'Demo';
const THREAD_TITLE = 'Demo';
const LINK_URL = 'https://www.example.com/';

type Kept = Partial<Record<keyof Demo, string>>;

/** What a `demo.json` of before still says; a torn, foreign or missing one says nothing. */
async function readKept(file: string): Promise<Kept> {
  try {
    const parsed: unknown = JSON.parse(await readFile(file, 'utf8'));
    if (typeof parsed !== 'object' || parsed === null) return {};
    const texts = Object.entries(parsed).filter(([, value]) => typeof value === 'string' && value !== '');
    return Object.fromEntries(texts) as Kept;
  } catch {
    return {};
  }
}

/** Null: `demo.json` is missing or does not have everything. */
export async function readDemo(folder: string): Promise<Demo | null> {
  const kept = await readKept(path.join(folder, DEMO_FILE));
  const names = ['http', 'ws', 'serviceKey', 'serviceId', 'appid', 'adminToken'] as const;
  return names.every((name) => kept[name] !== undefined) ? ({ mqtt: null, ...kept } as Demo) : null;
}

type Owned = 'service' | 'app' | 'template' | 'smartlink';

/** The object the file names, or else one of the demo's client that serves: a file may be gone when the data is not. */
async function findKept<Kind extends Owned>(
  at: Provisioning,
  kind: Kind,
  kept: { id: string | undefined; clientId: string; serves: (object: Objects[Kind]) => boolean },
): Promise<Objects[Kind] | null> {
  const named = kept.id === undefined ? null : await at.store.getObject(kind, kept.id);
  if (named !== null && named.clientId === kept.clientId && kept.serves(named)) return named;
  for await (const object of eachObject<Kind>(at.store, kind, kept.clientId)) if (kept.serves(object)) return object;
  return null;
}

/** The client of the service that the file names, else one that carries the demo's name. */
async function findClient(at: Provisioning, kept: Kept): Promise<Client> {
  const service = kept.serviceId === undefined ? null : await at.store.getObject('service', kept.serviceId);
  const named = service === null ? null : await at.store.getObject('client', service.clientId);
  if (named !== null) return named;
  for await (const client of eachObject(at.store, 'client', null)) if (client.name === NAME) return client;
  return createClient(at, { name: NAME });
}

interface Sender {
  readonly service: Service;
  readonly key: string;
}

/** A live service with a receipt secret, and a key that works and is known. */
async function prepareService(at: Provisioning, kept: Kept, owner: { clientId: string; app: App }): Promise<Sender> {
  const { clientId, app } = owner;
  const serves = (service: Service): boolean => service.name === NAME;
  const known = await findKept(at, 'service', { id: kept.serviceId, clientId, serves });
  if (known === null) return createService(at, { clientId, name: NAME, appId: app.id });
  const receiptSecrets = known.receiptSecrets.length > 0 ? known.receiptSecrets : [newReceiptSecret(at.random)];
  const service: Service = { ...known, state: 'live', appId: app.id, receiptSecrets };
  await replaceObjects(at, { kind: 'service', value: service });
  const keys = await keysOf(at.store, service);
  const current = keys.find((key) => kept.serviceKey !== undefined && key.id === hashOf(kept.serviceKey));
  if (current?.state === 'active' && kept.serviceKey !== undefined) return { service, key: kept.serviceKey };
  for (const key of keys) await removeObject(at, 'key', key.id);
  const made = await createServiceKey(at, service);
  if (!made.ok) throw new Error(made.message);
  return { service, key: made.key };
}

const TOKEN_NAME = 'demo';

async function prepareAdminToken(at: Provisioning, kept: Kept): Promise<string> {
  const known = kept.adminToken === undefined ? null : await at.store.getObject('token', hashOf(kept.adminToken));
  if (known?.clientId === '*' && kept.adminToken !== undefined) return kept.adminToken;
  for await (const token of eachObject(at.store, 'token', '*')) {
    if (token.name === TOKEN_NAME) await removeObject(at, 'token', token.id);
  }
  return (await createAdminToken(at, { clientId: '*', name: TOKEN_NAME })).text;
}

/** Known without a file: one demo has one thread, however often it is prepared. */
const threadIdOf = (appId: string): string => `demo-${appId}`;

/** The thread the file names, or else the one that an earlier start made: a file may be gone when the data is not. */
async function findThread(at: Provisioning, appId: string, id: string | undefined): Promise<Thread | null> {
  const named = id === undefined ? null : await at.store.getThread(appId, id);
  return named ?? at.store.getThread(appId, threadIdOf(appId));
}

async function prepareThread(
  at: Provisioning,
  kept: Kept,
  sender: { appId: string; serviceId: string },
): Promise<string> {
  const known = await findThread(at, sender.appId, kept.threadId);
  if (known?.status === 'Closed')
    await at.store.updateThread(sender.appId, known.id, { status: 'Active' }, at.clock.now());
  if (known !== null) return known.id;
  const thread = await at.store.createThread(
    {
      id: threadIdOf(sender.appId),
      appId: sender.appId,
      type: 'Conversation',
      title: THREAD_TITLE,
      category: null,
      externalid: null,
      status: 'Active',
      extras: {},
      serviceId: sender.serviceId,
    },
    at.clock.now(),
  );
  return thread.id;
}

/** Makes what is missing of the demo, and writes `demo.json`, which is on disk when this resolves. */
export async function prepareDemo(at: Provisioning, place: DemoPlace): Promise<Demo> {
  const file = path.join(place.folder, DEMO_FILE);
  const kept = await readKept(file);
  const { id: clientId } = await findClient(at, kept);
  const keep = <Kind extends ObjectKind & Owned>(
    kind: Kind,
    id: string | undefined,
    serves: (object: Objects[Kind]) => boolean,
  ) => findKept(at, kind, { id, clientId, serves });

  const app =
    (await keep('app', kept.appid, ({ secrets }: App) => secrets.length > 0)) ??
    (await createApp(at, { clientId, name: NAME })).app;
  const { service, key } = await prepareService(at, kept, { clientId, app });
  const template =
    (await keep('template', kept.templateId, ({ text }: Template) => text === DEMO_TEMPLATE)) ??
    (await createTemplate(at, { clientId, name: NAME, text: DEMO_TEMPLATE }));
  const smartlink =
    (await keep('smartlink', kept.linkid, ({ url }: Smartlink) => url === LINK_URL)) ??
    (await createSmartlink(at, { clientId, name: NAME, url: LINK_URL }));
  const demo: Demo = {
    http: place.httpUrl,
    mqtt: place.mqttUrl,
    ws: place.wsUrl,
    serviceKey: key,
    serviceId: service.id,
    receiptSecret: service.receiptSecrets[0] ?? '',
    appid: app.id,
    adminToken: await prepareAdminToken(at, kept),
    consoleUrl: `${place.httpUrl}/console`,
    templateId: template.id,
    linkid: smartlink.id,
    threadId: await prepareThread(at, kept, { appId: app.id, serviceId: service.id }),
  };
  await writeFileWhole(file, `${JSON.stringify(demo, null, 2)}\n`);
  return demo;
}

/** The lines that tell a newcomer where to look; the `curl` line can be pasted as it is. */
export function describeDemo(demo: Demo, folder: string): string {
  const body = {
    deliverychannel: 'appmessaging',
    destination: [{ userid: ['ann'] }],
    channels: { appmessaging: { message: { text: 'Hello from Carillon' }, thread_id: demo.threadId } },
  };
  const url = `${demo.http}/resources/v1/messaging`;
  return [
    `Demo: everything needed is in ${path.join(folder, DEMO_FILE)}`,
    `API:  ${demo.http}/docs`,
    'A device:      npx carillon listen ann',
    'A message:',
    `  curl -s ${url} -H 'key: ${demo.serviceKey}' -d '${JSON.stringify(body)}'`,
  ].join('\n');
}
