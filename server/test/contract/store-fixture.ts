import { afterEach, beforeEach } from 'vitest';
import { STATE } from '../../src/core/delivery-state.ts';
import type {
  AcceptResult,
  AcceptUnit,
  Clock,
  LogEntry,
  Random,
  ReceiptWork,
  SessionOpen,
  SessionOpened,
  Settlement,
  SettleResult,
  Store,
  UserKey,
  WriteBatch,
  WriteResult,
} from '../../src/core/ports.ts';
import { transidOf } from '../../src/core/transid.ts';
import { destinationOf, makeSession, makeUnit, userid } from '../support/builders.ts';
import { FakeClock } from '../support/clock.ts';
import { seededRandom } from '../support/random.ts';
import { type SeedOptions, seedTenant, type Tenant } from '../support/seed.ts';

export interface StoreOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** What was written must be there after `reopen`. Without it the fastest place will do. */
  readonly durable: boolean;
}

/** One empty store of the adapter under test. */
export interface StoreHarness {
  readonly store: Store;
  /** Closes the store and opens another one on the same data, as a restart does. */
  reopen(): Promise<Store>;
  /** Opens a store on what was synced at this moment, as after kill -9: the one before never closes its books. */
  crash(): Promise<Store>;
  /** Closes and removes everything, backups included. */
  close(): Promise<void>;
  /** Where a backup may be written: removed by `close`. */
  backupPath(): string | Promise<string>;
  /** Opens what `backup` wrote, beside the running store. */
  openBackup(path: string): Promise<Store>;
}

export type MakeStore = (options: StoreOptions) => Promise<StoreHarness>;

export const LEASE_MS = 30_000;

/** `Omit` that keeps the members of a union apart. */
type Without<Type, Key extends PropertyKey> = Type extends unknown ? Omit<Type, Key> : never;
/** A settlement of which the fixture knows the time, and the device where none came along. */
export type Fact = Without<Settlement, 'at' | 'device'> & { readonly device?: number | null; readonly at?: number };

/** A store with one tenant, and short words for what the suites do all the time. */
export class StoreFixture {
  readonly clock: FakeClock;
  readonly tenant: Tenant;
  store: Store;
  readonly harness: StoreHarness;

  constructor(parts: { clock: FakeClock; tenant: Tenant; harness: StoreHarness }) {
    this.clock = parts.clock;
    this.tenant = parts.tenant;
    this.harness = parts.harness;
    this.store = parts.harness.store;
  }

  async reopen(): Promise<void> {
    this.store = await this.harness.reopen();
  }

  async crash(): Promise<void> {
    this.store = await this.harness.crash();
  }

  write(batch: Partial<WriteBatch>): Promise<WriteResult> {
    return this.store.write({ opens: [], accepts: [], settlements: [], closes: [], ...batch });
  }

  unit(overrides: Partial<AcceptUnit> = {}): AcceptUnit {
    return makeUnit({ acceptedAt: this.clock.now(), ...overrides });
  }

  async accept(overrides: Partial<AcceptUnit> = {}): Promise<AcceptResult> {
    const result = await this.write({ accepts: [this.unit(overrides)] });
    return result.accepts[0]!;
  }

  /** Accepts and insists that it was. */
  async accepted(overrides: Partial<AcceptUnit> = {}): Promise<readonly LogEntry[]> {
    const result = await this.accept(overrides);
    if (result.kind !== 'accepted') throw new Error(`expected accepted, got ${JSON.stringify(result)}`);
    return result.entries;
  }

  /** A message for one userid; its log entry. */
  async send(name = 'ann', overrides: Partial<AcceptUnit> = {}): Promise<LogEntry> {
    const entries = await this.accepted({ destinations: [destinationOf(userid(name))], ...overrides });
    if (entries.length !== 1) throw new Error(`expected one entry, got ${entries.length}`);
    return entries[0]!;
  }

  async settle(fact: Fact): Promise<SettleResult> {
    const result = await this.write({ settlements: [this.settlement(fact)] });
    return result.settlements[0]!;
  }

  settlement(fact: Fact): Settlement {
    return { at: this.clock.now(), device: null, ...fact };
  }

  async open(overrides: Partial<SessionOpen> = {}): Promise<SessionOpened> {
    const result = await this.write({ opens: [makeSession({ at: this.clock.now(), ...overrides })] });
    return result.opens[0]!;
  }

  /** A device that is connected and subscribed. */
  async connect(overrides: Partial<SessionOpen> = {}): Promise<SessionOpened> {
    const opened = await this.open(overrides);
    const { base, head } = await this.store.subscribe(opened.user, opened.device);
    return { ...opened, base, head };
  }

  async disconnect(session: SessionOpened, overrides: { keepMs?: number; floor?: number; subscribed?: boolean } = {}) {
    const { user, device, floor } = session;
    const closed = { user, device, floor, subscribed: true, keepMs: 3_600_000, at: this.clock.now(), ...overrides };
    await this.write({ closes: [closed] });
  }

  /** Numbers after its floor that this device is owed, highest priority first, as a session drains them. */
  async owed(session: SessionOpened, after = session.floor): Promise<number[]> {
    const numbers: number[] = [];
    for (const priority of [3, 2, 1] as const) {
      const { user, device, base } = session;
      const entries = await this.store.readOwed({ user, device, base, priority, after, limit: 1_000 });
      numbers.push(...entries.map((entry) => entry.n));
    }
    return numbers;
  }

  async userOf(name: string, appId = this.tenant.appId): Promise<UserKey> {
    const user = await this.store.findUser(appId, name);
    if (user === null) throw new Error(`no user ${name}`);
    return user;
  }

  /** What the receipt workers would get now, under a lease. */
  claim(limit = 1_000): Promise<readonly ReceiptWork[]> {
    return this.store.claimReceipts({ limit, leaseMs: LEASE_MS, now: this.clock.now() });
  }

  /** Claims and takes everything that is due, in order; what follows a taken one included. */
  async takeReceipts(): Promise<ReceiptWork[]> {
    const taken: ReceiptWork[] = [];
    for (;;) {
      const works = await this.claim();
      if (works.length === 0) return taken;
      await this.store.settleReceipts(works.map((work) => ({ kind: 'done', work, attempt: null })));
      taken.push(...works);
    }
  }

  async expireAll(): Promise<number> {
    let expired = 0;
    for (let rounds = 0; rounds < 1_000; rounds += 1) {
      const step = await this.store.expireDue(this.clock.now(), 100);
      expired += step.expired;
      if (!step.more) return expired;
    }
    throw new Error('expireDue asks for more for ever');
  }

  async purgeAll(): Promise<number> {
    let purged = 0;
    for (let rounds = 0; rounds < 1_000; rounds += 1) {
      const step = await this.store.purge(this.clock.now(), 100);
      purged += step.purged;
      if (!step.more) return purged;
    }
    throw new Error('purge asks for more for ever');
  }

  /** The kept state of a message's first identifier. */
  async stateOf(entry: LogEntry): Promise<number> {
    const status = await this.store.requestStatus(this.tenant.serviceId, tidOf(entry));
    if (status === null) throw new Error('no such request');
    return status.deliveries[0]!.state;
  }
}

/** The transid of a message's entry; an event's is a mistake of the test. */
export function tidOf(entry: LogEntry): string {
  if (entry.message === null) throw new Error('an event has no transid of its own');
  return transidOf(entry.message.content.uid, entry.message.destination);
}

export function ascending(left: number, right: number): number {
  return left - right;
}

export function kindsOf(works: readonly ReceiptWork[]): string[] {
  return works.map((work) => work.kind);
}

export async function makeFixture(
  makeStore: MakeStore,
  options: SeedOptions & { durable?: boolean } = {},
): Promise<StoreFixture> {
  const clock = new FakeClock();
  const harness = await makeStore({ clock, random: seededRandom(1), durable: options.durable ?? false });
  const tenant = await seedTenant(harness.store, options);
  return new StoreFixture({ clock, tenant, harness });
}

/** A fresh store for every test of the enclosing `describe`. Call the result inside a test. */
export function useStore(makeStore: MakeStore, options: SeedOptions & { durable?: boolean } = {}): () => StoreFixture {
  let fixture: StoreFixture | null = null;
  beforeEach(async () => {
    fixture = await makeFixture(makeStore, options);
  });
  afterEach(async () => {
    await fixture?.harness.close();
    fixture = null;
  });
  return () => {
    if (fixture === null) throw new Error('the store is there inside a test only');
    return fixture;
  };
}

export { STATE };
