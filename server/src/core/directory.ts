import { hash } from 'node:crypto';
import type { App, Client, ObjectKind, Objects, Service, Smartlink, Template } from './model.ts';
import type { Bus, Clock, Store } from './ports.ts';

/** What a service key opens. The service may be suspended: that is for the caller to say. */
export interface KeyHolder {
  readonly service: Service;
  readonly client: Client;
}

export interface DirectoryOptions {
  readonly store: Pick<Store, 'getObject' | 'objectsRevision'>;
  readonly bus: Pick<Bus, 'subscribe'>;
  readonly clock: Clock;
}

export const directoryLimits = {
  /** Objects kept per kind; beyond, what was used longest ago goes. */
  objectsPerKindMax: 10_000,
  /** Keys kept. */
  keysMax: 10_000,
  /** For so long the cache answers without asking the store whether something changed: a revoked key works no longer. */
  freshMs: 1_000,
  /** A longer text is no key and is not looked up. */
  keyLengthMax: 256,
} as const;

/**
 * A map of at most so many entries that forgets, roughly, what was used longest ago: two generations, and what the older
 * one still gives is moved to the younger.
 */
class BoundedMap<Value> {
  private young = new Map<string, Value>();
  private old = new Map<string, Value>();
  private readonly generationMax: number;

  constructor(entriesMax: number) {
    this.generationMax = Math.max(1, Math.floor(entriesMax / 2));
  }

  get(key: string): Value | undefined {
    const value = this.young.get(key);
    if (value !== undefined) return value;
    const older = this.old.get(key);
    if (older !== undefined) this.set(key, older);
    return older;
  }

  set(key: string, value: Value): void {
    if (this.young.size >= this.generationMax && !this.young.has(key)) {
      this.old = this.young;
      this.young = new Map();
    }
    this.young.set(key, value);
  }

  clear(): void {
    this.young.clear();
    this.old.clear();
  }
}

/**
 * The SHA-256 of a service key in hex: its id in the store. A plain hash is enough, since keys are random
 * (at least 128 bits), and looking a hash up tells nothing about keys that are nearly right.
 */
export function keyIdOf(keyText: string): string {
  return hash('sha256', keyText, 'hex');
}

/**
 * What is provisioned, as the hot paths ask for it: from memory, without a promise, while it is known to be fresh.
 * The cache is dropped when the bus tells of a change and when the store's revision, compared at most once a second,
 * has grown; so a change counts within a second even where the hint was lost. What is unknown is not remembered.
 * Key texts are never kept, only their hashes.
 */
export class Directory {
  private readonly store: DirectoryOptions['store'];
  private readonly clock: Clock;
  private readonly keys = new BoundedMap<KeyHolder>(directoryLimits.keysMax);
  private readonly objects = new Map<ObjectKind, BoundedMap<unknown>>();
  private readonly unsubscribe: () => void;
  private revision = -1;
  private freshUntil = Number.NEGATIVE_INFINITY;
  /** Counts the drops: what was asked of the store before one is not kept after it. */
  private generation = 0;
  private checking: Promise<void> | null = null;

  constructor(options: DirectoryOptions) {
    this.store = options.store;
    this.clock = options.clock;
    this.unsubscribe = options.bus.subscribe('objects', () => this.drop());
  }

  /** The holder of a key where it is in memory and fresh; undefined: ask {@link serviceByKey}. */
  peekServiceByKey(keyText: string): KeyHolder | undefined {
    if (!this.isFresh() || keyText.length > directoryLimits.keyLengthMax) return undefined;
    return this.keys.get(keyIdOf(keyText));
  }

  /** Whom a key belongs to; null: to nobody, or it is revoked. */
  async serviceByKey(keyText: string): Promise<KeyHolder | null> {
    if (keyText === '' || keyText.length > directoryLimits.keyLengthMax) return null;
    await this.refresh();
    const id = keyIdOf(keyText);
    const known = this.keys.get(id);
    if (known !== undefined) return known;
    const { generation } = this;
    const key = await this.store.getObject('key', id);
    if (key === null || key.state !== 'active') return null;
    const service = await this.store.getObject('service', key.serviceId);
    const client = service === null ? null : await this.store.getObject('client', service.clientId);
    if (service === null || client === null) return null;
    const holder: KeyHolder = { service, client };
    if (generation === this.generation) this.keys.set(id, holder);
    return holder;
  }

  /** An object where it is in memory and fresh; undefined: ask for it with a promise. */
  peek<Kind extends ObjectKind>(kind: Kind, id: string): Objects[Kind] | undefined {
    if (!this.isFresh()) return undefined;
    return this.objects.get(kind)?.get(id) as Objects[Kind] | undefined;
  }

  service(id: string): Promise<Service | null> {
    return this.find('service', id);
  }

  client(id: string): Promise<Client | null> {
    return this.find('client', id);
  }

  app(id: string): Promise<App | null> {
    return this.find('app', id);
  }

  template(id: string): Promise<Template | null> {
    return this.find('template', id);
  }

  smartlink(id: string): Promise<Smartlink | null> {
    return this.find('smartlink', id);
  }

  close(): void {
    this.unsubscribe();
    this.drop();
  }

  private async find<Kind extends ObjectKind>(kind: Kind, id: string): Promise<Objects[Kind] | null> {
    await this.refresh();
    let map = this.objects.get(kind);
    if (map === undefined) {
      map = new BoundedMap(directoryLimits.objectsPerKindMax);
      this.objects.set(kind, map);
    }
    const known = map.get(id);
    if (known !== undefined) return known as Objects[Kind];
    const { generation } = this;
    const object = await this.store.getObject(kind, id);
    if (object !== null && generation === this.generation) map.set(id, object);
    return object;
  }

  private isFresh(): boolean {
    return this.clock.monotonic() < this.freshUntil;
  }

  /** Compares the store's revision where that was not done within the last second; one question for all who wait. */
  private refresh(): Promise<void> | undefined {
    if (this.isFresh()) return undefined;
    this.checking ??= this.checkRevision().finally(() => {
      this.checking = null;
    });
    return this.checking;
  }

  private async checkRevision(): Promise<void> {
    // From before the question: a change after the answer may be missed for that long, not longer.
    const askedAt = this.clock.monotonic();
    const revision = await this.store.objectsRevision();
    if (revision !== this.revision) this.drop();
    this.revision = revision;
    this.freshUntil = askedAt + directoryLimits.freshMs;
  }

  private drop(): void {
    this.generation += 1;
    this.keys.clear();
    for (const map of this.objects.values()) map.clear();
  }
}
