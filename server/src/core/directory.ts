import { hash } from 'node:crypto';
import type { App, Client, ObjectKind, Objects, Service, Smartlink, Template } from './model.ts';
import type { Bus, Clock, Store } from './ports.ts';

/** What a service key opens. The service may be suspended: that is for the caller to say. */
export interface KeyHolder {
  readonly service: Service;
  readonly client: Client;
}

/** A map of a bounded number of entries that forgets what was used longest ago. */
export interface Cache<Key, Value> {
  get(key: Key): Value | undefined;
  set(key: Key, value: Value): void;
  clear(): void;
}

export interface DirectoryOptions {
  readonly store: Pick<Store, 'getObject' | 'objectsRevision'>;
  readonly bus: Pick<Bus, 'subscribe'>;
  readonly clock: Clock;
  /** Handed in, as the domain imports nothing but the protocol. */
  readonly makeCache: <Key, Value>(entriesMax: number) => Cache<Key, Value>;
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
  private readonly makeCache: DirectoryOptions['makeCache'];
  private readonly keys: Cache<string, KeyHolder>;
  private readonly objects = new Map<ObjectKind, Cache<string, unknown>>();
  private readonly unsubscribe: () => void;
  private revision = -1;
  private freshUntil = Number.NEGATIVE_INFINITY;
  /** Counts the drops: what was asked of the store before one is not kept after it. */
  private generation = 0;
  private checking: Promise<void> | null = null;

  constructor(options: DirectoryOptions) {
    this.store = options.store;
    this.clock = options.clock;
    this.makeCache = options.makeCache;
    this.keys = options.makeCache(directoryLimits.keysMax);
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
      map = this.makeCache(directoryLimits.objectsPerKindMax);
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
