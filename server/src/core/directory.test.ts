import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/clock.ts';
import { MemoryBus } from '../bus/memory.ts';
import { Directory, directoryLimits, keyIdOf } from './directory.ts';
import type { ObjectKind, Objects, ServiceKey } from './model.ts';
import { makeLru } from '../lib/lru.ts';

const client = { id: 'c1', name: 'Client', priority: 2, retentionDays: 30, createdAt: 0 } as const;
const service = {
  id: 's1',
  clientId: 'c1',
  name: 'Service',
  state: 'live',
  appId: 'a1',
  notifyUrl: null,
  inboundUrl: null,
  expiryMs: null,
  ratePerSecond: null,
  statuses: [],
  receiptSecrets: [],
  createdAt: 0,
} as const;
const key: ServiceKey = {
  id: keyIdOf('secret-key'),
  clientId: 'c1',
  serviceId: 's1',
  hint: '-key',
  state: 'active',
  createdAt: 0,
};

/** Two methods of the store with a count of questions; SqliteStore itself is held by the end-to-end tests. */
class Shelf {
  readonly objects = new Map<string, unknown>([
    ['client c1', client],
    ['service s1', service],
    [`key ${key.id}`, key],
  ]);
  reads = 0;
  revisionReads = 0;
  revision = 1;
  beforeAnswer: (() => void) | null = null;

  getObject<Kind extends ObjectKind>(kind: Kind, id: string): Promise<Objects[Kind] | null> {
    this.reads += 1;
    const found = (this.objects.get(`${kind} ${id}`) ?? null) as Objects[Kind] | null;
    this.beforeAnswer?.();
    return Promise.resolve(found);
  }

  objectsRevision(): Promise<number> {
    this.revisionReads += 1;
    return Promise.resolve(this.revision);
  }

  put(name: string, value: unknown): void {
    this.objects.set(name, value);
    this.revision += 1;
  }
}

function setUp() {
  const store = new Shelf();
  const bus = new MemoryBus();
  const clock = new FakeClock();
  return { store, bus, clock, directory: new Directory({ store, bus, clock, makeCache: makeLru }) };
}

describe('Directory', () => {
  it('finds service and client by the key, the second time without a promise', async () => {
    const { store, directory } = setUp();
    expect(directory.peekServiceByKey('secret-key')).toBeUndefined();
    expect(await directory.serviceByKey('secret-key')).toEqual({ service, client });
    const reads = store.reads;
    expect(directory.peekServiceByKey('secret-key')).toEqual({ service, client });
    expect(store.reads).toBe(reads);
  });

  it('knows no other key, and does not ask for what is too long to be one', async () => {
    const { store, directory } = setUp();
    expect(await directory.serviceByKey('another')).toBeNull();
    expect(await directory.serviceByKey('')).toBeNull();
    const reads = store.reads;
    expect(await directory.serviceByKey('k'.repeat(directoryLimits.keyLengthMax + 1))).toBeNull();
    expect(store.reads).toBe(reads);
  });

  it('drops everything at once when the bus tells of a change', async () => {
    const { store, bus, directory } = setUp();
    await directory.serviceByKey('secret-key');
    store.put(`key ${key.id}`, { ...key, state: 'revoked' });
    bus.publish('objects');
    expect(directory.peekServiceByKey('secret-key')).toBeUndefined();
    expect(await directory.serviceByKey('secret-key')).toBeNull();
  });

  it('sees a change within a second without a hint', async () => {
    const { store, clock, directory } = setUp();
    await directory.serviceByKey('secret-key');
    store.put(`key ${key.id}`, { ...key, state: 'revoked' });
    clock.advance(directoryLimits.freshMs);
    expect(directory.peekServiceByKey('secret-key')).toBeUndefined();
    expect(await directory.serviceByKey('secret-key')).toBeNull();
  });

  it('asks for the revision at most once a second and keeps what did not change', async () => {
    const { store, clock, directory } = setUp();
    await Promise.all([directory.client('c1'), directory.client('c1'), directory.service('s1')]);
    expect(store.revisionReads).toBe(1);
    const reads = store.reads;
    clock.advance(directoryLimits.freshMs);
    expect(await directory.client('c1')).toEqual(client);
    expect(store.revisionReads).toBe(2);
    expect(store.reads).toBe(reads);
    expect(directory.peek('client', 'c1')).toEqual(client);
  });

  it('keeps nothing that was read before a change and arrives after it', async () => {
    const { store, bus, directory } = setUp();
    store.beforeAnswer = () => {
      store.beforeAnswer = null;
      store.put('client c1', { ...client, name: 'Renamed' });
      bus.publish('objects');
    };
    expect(await directory.client('c1')).toEqual(client);
    expect(await directory.client('c1')).toMatchObject({ name: 'Renamed' });
  });

  it('stays within its bound', async () => {
    const { store, directory } = setUp();
    const count = directoryLimits.objectsPerKindMax * 2;
    for (let index = 0; index < count; index += 1) store.put(`app a${index}`, { id: `a${index}` });
    for (let index = 0; index < count; index += 1) await directory.app(`a${index}`);
    const kept = Array.from({ length: count }, (_, index) => directory.peek('app', `a${index}`)).filter(Boolean);
    expect(kept.length).toBeLessThanOrEqual(directoryLimits.objectsPerKindMax);
    expect(directory.peek('app', `a${count - 1}`)).toBeDefined();
  });

  it('passes on that the store does not answer', async () => {
    const { store, clock, directory } = setUp();
    await directory.serviceByKey('secret-key');
    clock.advance(directoryLimits.freshMs);
    store.objectsRevision = () => Promise.reject(new Error('gone'));
    await expect(directory.serviceByKey('secret-key')).rejects.toThrow('gone');
  });
});
