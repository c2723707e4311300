/**
 * What is made once and used for long: clients, services, keys, apps, templates, smartlinks, admin tokens. Plain functions, so
 * that the admin API, the demo and the command line make the same things in the same way.
 */
import { createHash } from 'node:crypto';
import { uuidv7 } from 'uuidv7';
import type {
  AdminToken,
  App,
  Client,
  ObjectKind,
  Objects,
  Priority,
  ReceiptStatus,
  Service,
  ServiceKey,
  Smartlink,
  Template,
} from '../../core/model.ts';
import type { Bus, Clock, Random, Store, StoredObject } from '../../core/ports.ts';

export interface Provisioning {
  readonly store: Store;
  readonly bus: Pick<Bus, 'publish'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly random: Pick<Random, 'bytes'>;
}

export const RECEIPT_STATUSES: readonly ReceiptStatus[] = ['Submitted', 'Delivered', 'Read', 'Clicked', 'Failed'];

export const provisionLimits = {
  /** Two while rotating. */
  keysActiveMax: 2,
  secretsMax: 2,
  /** Keys of one service, revoked ones too. */
  keysMax: 100,
} as const;

const PRIORITY_DEFAULT: Priority = 2;
const RETENTION_DAYS_DEFAULT = 30;
const SECRET_BYTES = 32;
const HINT_LENGTH = 4;
/** Random ids of ten characters collide once in thousands of years; the loop is for the proof. */
const ID_TRIES_MAX = 100;
const LIST_LIMIT = 100;

/** The id under which a service key or an admin token is stored: SHA-256 in hex. Contract §5: stored hashed. */
export function hashOf(secret: string): string {
  return createHash('sha256').update(secret, 'utf8').digest('hex');
}

const hintOf = (secret: string): string => secret.slice(-HINT_LENGTH);

/** Every object of a kind that belongs to a client (null: to any), page by page. */
export async function* eachObject<Kind extends ObjectKind>(
  store: Store,
  kind: Kind,
  clientId: string | null,
): AsyncGenerator<Objects[Kind]> {
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<typeof store.listObjects<Kind>>> = await store.listObjects(kind, {
      clientId,
      cursor,
      limit: LIST_LIMIT,
    });
    yield* page.items;
    cursor = page.next;
  } while (cursor !== null);
}

/** Stores objects whose ids are free, and tells the caches. False: an id was taken, nothing was written. */
async function make(at: Provisioning, ...objects: StoredObject[]): Promise<boolean> {
  const made = await at.store.putObjects(objects, 'create');
  if (made) at.bus.publish('objects');
  return made;
}

/** Replaces objects, and tells the caches. */
export async function replaceObjects(at: Provisioning, ...objects: StoredObject[]): Promise<void> {
  await at.store.putObjects(objects, 'replace');
  at.bus.publish('objects');
}

/** False: there was none. */
export async function removeObject(at: Provisioning, kind: ObjectKind, id: string): Promise<boolean> {
  const removed = await at.store.deleteObject(kind, id);
  if (removed) at.bus.publish('objects');
  return removed;
}

async function makeWithRandomId<Value>(attempt: () => Promise<Value | null>): Promise<Value> {
  for (let tries = 0; tries < ID_TRIES_MAX; tries += 1) {
    const value = await attempt();
    if (value !== null) return value;
  }
  throw new Error(`no free id after ${ID_TRIES_MAX} tries`);
}

/** `count` characters of `alphabet`, each equally likely: bytes beyond the last full round are thrown away. */
function pick(random: Pick<Random, 'bytes'>, alphabet: string, count: number): string {
  const fair = 256 - (256 % alphabet.length);
  let text = '';
  while (text.length < count) {
    for (const byte of random.bytes(count)) {
      if (byte < fair && text.length < count) text += alphabet[byte % alphabet.length];
    }
  }
  return text;
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
const DIGITS = '0123456789';

/** Version 4, the form of a service key (FACTS §5.2). */
function uuidv4(random: Pick<Random, 'bytes'>): string {
  const bytes = Buffer.from(random.bytes(16));
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x40, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/u, '$1-$2-$3-$4-$5');
}

/** A secret for receipts: `whsec_` and base64 of 32 bytes (contract §3). */
export function newReceiptSecret(random: Pick<Random, 'bytes'>): string {
  return `whsec_${Buffer.from(random.bytes(SECRET_BYTES)).toString('base64')}`;
}

/** A secret for HS256 tokens; its UTF-8 bytes are the key. */
export function newAppSecret(random: Pick<Random, 'bytes'>): string {
  return Buffer.from(random.bytes(SECRET_BYTES)).toString('base64url');
}

export interface ClientInput {
  readonly name: string;
  readonly priority?: Priority;
  readonly retentionDays?: number;
}

export async function createClient(at: Provisioning, input: ClientInput): Promise<Client> {
  const client: Client = {
    id: uuidv7(),
    name: input.name,
    priority: input.priority ?? PRIORITY_DEFAULT,
    retentionDays: input.retentionDays ?? RETENTION_DAYS_DEFAULT,
    createdAt: at.clock.now(),
  };
  await make(at, { kind: 'client', value: client });
  return client;
}

export interface ServiceInput {
  readonly clientId: string;
  readonly name: string;
  readonly appId: string;
  readonly state?: 'live' | 'suspended';
  readonly notifyUrl?: string | null;
  readonly inboundUrl?: string | null;
  readonly expiryMs?: number | null;
  readonly ratePerSecond?: number | null;
  readonly statuses?: readonly ReceiptStatus[];
}

/** A service with its first key and its receipt secret. `key` is told here and never again. */
export async function createService(
  at: Provisioning,
  input: ServiceInput,
): Promise<{ service: Service; key: string; keyId: string }> {
  const service: Service = {
    id: uuidv7(),
    clientId: input.clientId,
    name: input.name,
    state: input.state ?? 'live',
    appId: input.appId,
    notifyUrl: input.notifyUrl ?? null,
    inboundUrl: input.inboundUrl ?? null,
    expiryMs: input.expiryMs ?? null,
    ratePerSecond: input.ratePerSecond ?? null,
    statuses: input.statuses ?? RECEIPT_STATUSES,
    receiptSecrets: [newReceiptSecret(at.random)],
    createdAt: at.clock.now(),
  };
  const { key, value } = newKey(at, service);
  await make(at, { kind: 'service', value: service }, { kind: 'key', value });
  return { service, key, keyId: value.id };
}

function newKey(at: Provisioning, service: Service): { key: string; value: ServiceKey } {
  const key = uuidv4(at.random);
  const value: ServiceKey = {
    id: hashOf(key),
    clientId: service.clientId,
    serviceId: service.id,
    hint: hintOf(key),
    state: 'active',
    createdAt: at.clock.now(),
  };
  return { key, value };
}

/** Keys of a service, revoked ones too, in order of id. */
export async function keysOf(store: Store, service: Service): Promise<ServiceKey[]> {
  const keys: ServiceKey[] = [];
  for await (const key of eachObject(store, 'key', service.clientId)) {
    if (key.serviceId === service.id) keys.push(key);
  }
  return keys;
}

export type KeyResult =
  | { readonly ok: true; readonly key: string; readonly value: ServiceKey }
  | { readonly ok: false; readonly message: string };

/** One more key for a service, told here and never again; two can be active at a time. */
export async function createServiceKey(at: Provisioning, service: Service): Promise<KeyResult> {
  const keys = await keysOf(at.store, service);
  if (keys.filter((key) => key.state === 'active').length >= provisionLimits.keysActiveMax) {
    return { ok: false, message: 'The service has two active keys already: revoke one first.' };
  }
  if (keys.length >= provisionLimits.keysMax) {
    return {
      ok: false,
      message: `The service has ${provisionLimits.keysMax} keys already: remove revoked ones first.`,
    };
  }
  const { key, value } = newKey(at, service);
  await make(at, { kind: 'key', value });
  return { ok: true, key, value };
}

export interface AppInput {
  readonly clientId: string;
  readonly name: string;
  readonly jwksUrl?: string | null;
  readonly issuer?: string | null;
  readonly customerid?: 'same' | 'linked';
  readonly origins?: readonly string[];
  /** False: only tokens of the JWKS address are taken. */
  readonly hasSecret?: boolean;
}

/** `secret` is told here and never again; null: none was wanted. */
export function createApp(at: Provisioning, input: AppInput): Promise<{ app: App; secret: string | null }> {
  const secret = input.hasSecret === false ? null : newAppSecret(at.random);
  return makeWithRandomId(async () => {
    const app: App = {
      id: pick(at.random, LETTERS, 2) + pick(at.random, DIGITS, 8),
      clientId: input.clientId,
      name: input.name,
      secrets: secret === null ? [] : [secret],
      jwksUrl: input.jwksUrl ?? null,
      issuer: input.issuer ?? null,
      customerid: input.customerid ?? 'same',
      origins: input.origins ?? [],
      createdAt: at.clock.now(),
    };
    return (await make(at, { kind: 'app', value: app })) ? { app, secret } : null;
  });
}

export interface TemplateInput {
  readonly clientId: string;
  readonly name: string;
  readonly text: string;
}

export function createTemplate(at: Provisioning, input: TemplateInput): Promise<Template> {
  const { clientId, name, text } = input;
  return makeWithRandomId(async () => {
    const id = pick(at.random, DIGITS + LETTERS, 10);
    const template: Template = { id, clientId, name, text, createdAt: at.clock.now() };
    return (await make(at, { kind: 'template', value: template })) ? template : null;
  });
}

export interface SmartlinkInput {
  readonly clientId: string;
  readonly name: string;
  readonly url: string;
  readonly validityMinutes?: number | null;
}

export async function createSmartlink(at: Provisioning, input: SmartlinkInput): Promise<Smartlink> {
  const { clientId, name, url, validityMinutes = null } = input;
  const id = String(await at.store.nextNumber('smartlink'));
  const smartlink: Smartlink = { id, clientId, name, url, validityMinutes, createdAt: at.clock.now() };
  await make(at, { kind: 'smartlink', value: smartlink });
  return smartlink;
}

export interface TokenInput {
  /** `*`: the whole installation. */
  readonly clientId: string;
  readonly name: string;
}

/** A bearer token of the admin API; `text` is told here and never again. */
export async function createAdminToken(
  at: Provisioning,
  input: TokenInput,
): Promise<{ token: AdminToken; text: string }> {
  const text = `cat_${Buffer.from(at.random.bytes(SECRET_BYTES)).toString('base64url')}`;
  const { clientId, name } = input;
  const token: AdminToken = { id: hashOf(text), clientId, name, hint: hintOf(text), createdAt: at.clock.now() };
  await make(at, { kind: 'token', value: token });
  return { token, text };
}
