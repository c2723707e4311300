import { createServer } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { MemoryBus } from '../../src/bus/memory.ts';
import { Directory } from '../../src/core/directory.ts';
import type { Service } from '../../src/core/model.ts';
import type { Observer } from '../../src/core/observer.ts';
import type { AcceptUnit, Clock, LogEntry, ReceiptRecord, SettleResult } from '../../src/core/ports.ts';
import { transidOf } from '../../src/core/transid.ts';
import { parseAllowList } from '../../src/lib/address-filter.ts';
import { createGuardedFetch } from '../../src/lib/guarded-fetch.ts';
import type { GuardedFetchOptions } from '../../src/lib/guarded-fetch.ts';
import { systemScheduler } from '../../src/lib/timers.ts';
import { GroupWriter } from '../../src/queue/writer.ts';
import { receiptFetchLimits } from '../../src/receipts/limits.ts';
import type { ReceiptLimits } from '../../src/receipts/limits.ts';
import { ReceiptWorker } from '../../src/receipts/worker.ts';
import { SqliteStore } from '../../src/store/sqlite/store.ts';
import type { Fact } from '../contract/store-fixture.ts';
import { DAY_MS, destinationOf, makeUnit, userid } from './builders.ts';
import { systemClock } from './clock.ts';
import type { FakeClock } from './clock.ts';
import { seededRandom } from './random.ts';
import { FakeScheduler } from './scheduler.ts';
import { seedTenant } from './seed.ts';
import type { Tenant } from './seed.ts';
import { silentObserver } from './silent-observer.ts';
import { makeLru } from '../../src/lib/lru.ts';

/** One POST as it arrived. */
export interface Arrival {
  readonly path: string;
  readonly host: string;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly at: number;
}

export type Answer = (arrival: Arrival, response: ServerResponse) => void;

export const answerWith =
  (status: number, headers: Record<string, string> = {}): Answer =>
  (_arrival, response) =>
    response.writeHead(status, headers).end();

/** A receiver of receipts: a plain HTTP server on loopback that remembers what it got. */
export class Sink {
  readonly arrivals: Arrival[] = [];
  answer: Answer = answerWith(200);
  private readonly server: Server;
  private readonly listeners = new Set<() => void>();
  clock: Clock = systemClock;

  constructor() {
    this.server = createServer((request, response) => void this.take(request, response));
  }

  private async take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { url = '', headers } = request;
    const text = Buffer.concat(chunks).toString();
    const arrival = { path: url, host: headers.host ?? '', headers, text, at: this.clock.now() };
    this.arrivals.push(arrival);
    this.answer(arrival, response);
    for (const listener of [...this.listeners]) listener();
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  url(path = '/notify'): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  bodies(): unknown[] {
    return this.arrivals.map((arrival) => JSON.parse(arrival.text) as unknown);
  }

  ids(): string[] {
    return this.arrivals.map((arrival) => String(arrival.headers['webhook-id']));
  }

  /** Resolves when that many have arrived. */
  async got(count: number): Promise<void> {
    while (this.arrivals.length < count) {
      await new Promise<void>((resolve) => {
        const listener = (): void => {
          this.listeners.delete(listener);
          resolve();
        };
        this.listeners.add(listener);
      });
    }
  }
}

export async function openSink(): Promise<Sink> {
  const sink = new Sink();
  await sink.listen();
  onTestFinished(() => sink.close());
  return sink;
}

type Tried = Parameters<Observer['receiptTried']>[0];
type Skipped = Parameters<Observer['receiptSkipped']>[0];

export interface WorldOptions {
  readonly service?: Partial<Service>;
  readonly limits?: Partial<ReceiptLimits>;
  /** A file, to be reopened; else memory. */
  readonly path?: string;
  /** The tenant is there already. */
  readonly seeded?: boolean;
  /** Ranges opened; loopback unless told otherwise. */
  readonly allow?: readonly string[];
  readonly fetch?: GuardedFetchOptions;
}

/** Tests send much to one user. */
const WAITING_MAX = 100_000;

const NOBODY: Tenant = { clientId: '', serviceId: '', appId: '', keyText: '', appSecret: '', receiptSecret: '' };

/** A store, a writer and a receipt worker, wired as the server does it. */
export class ReceiptWorld {
  readonly clock: Clock;
  readonly store: SqliteStore;
  readonly bus = new MemoryBus();
  readonly writer: GroupWriter;
  readonly worker: ReceiptWorker;
  readonly tried: Tried[] = [];
  readonly skipped: Skipped[] = [];
  readonly warnings: unknown[] = [];
  readonly fake: { readonly clock: FakeClock; readonly scheduler: FakeScheduler } | null;
  tenant: Tenant = NOBODY;
  private readonly directory: Directory;
  private readonly fetch: ReturnType<typeof createGuardedFetch>;

  constructor(options: WorldOptions, fake: FakeClock | null) {
    this.clock = fake ?? systemClock;
    this.fake = fake === null ? null : { clock: fake, scheduler: new FakeScheduler(fake) };
    const { clock, bus } = this;
    const random = seededRandom(7);
    this.store = new SqliteStore({ path: options.path ?? ':memory:', clock, random });
    const observer: Observer = {
      ...silentObserver,
      receiptTried: (event) => this.tried.push(event),
      receiptSkipped: (event) => this.skipped.push(event),
      storeFailed: (event) => this.warnings.push(event),
      warning: (event) => this.warnings.push(event),
    };
    this.writer = new GroupWriter({ store: this.store, bus, clock, observer, scheduler: systemScheduler });
    this.directory = new Directory({ store: this.store, bus, clock, makeCache: makeLru });
    const allowed = parseAllowList(options.allow ?? ['127.0.0.0/8']);
    if (!allowed.ok) throw new Error('the allow list is wrong');
    this.fetch = createGuardedFetch({ allowList: allowed.allowList, ...receiptFetchLimits, ...options.fetch });
    this.worker = new ReceiptWorker({
      store: this.store,
      bus,
      clock,
      random,
      observer,
      directory: this.directory,
      scheduler: this.fake?.scheduler ?? systemScheduler,
      fetch: this.fetch,
      ...(options.limits === undefined ? undefined : { limits: options.limits }),
    });
  }

  async close(): Promise<void> {
    await this.worker.stop(0);
    await this.fetch.close();
    await this.writer.drained();
    this.directory.close();
    await this.bus.close();
    await this.store.close();
  }

  unit(overrides: Partial<AcceptUnit> = {}): AcceptUnit {
    const acceptedAt = this.clock.now();
    return makeUnit({ acceptedAt, expiry: acceptedAt + 10 * DAY_MS, waitingPerUserMax: WAITING_MAX, ...overrides });
  }

  /** Commits a request; its entries. */
  async accept(overrides: Partial<AcceptUnit> = {}): Promise<readonly LogEntry[]> {
    const result = await this.writer.accept(this.unit(overrides));
    if (result.kind !== 'accepted') throw new Error(`not accepted: ${result.kind}`);
    return result.entries;
  }

  /** A message for one user. */
  async send(overrides: Partial<AcceptUnit> = {}): Promise<{ user: number; n: number; tid: string }> {
    const [entry] = await this.accept({ destinations: [destinationOf(userid('ann'))], ...overrides });
    if (entry === undefined || entry.message === null) throw new Error('there is no message');
    return { user: entry.user, n: entry.n, tid: transidOf(entry.message.content.uid, entry.message.destination) };
  }

  settle(fact: Fact): Promise<SettleResult> {
    return this.writer.settle({ at: this.clock.now(), device: null, ...fact });
  }

  async changeService(change: Partial<Service>): Promise<void> {
    const service = await this.store.getObject('service', this.tenant.serviceId);
    if (service === null) throw new Error('there is no service');
    await this.store.putObjects([{ kind: 'service', value: { ...service, ...change } }], 'replace');
    this.bus.publish('objects');
  }

  async records(): Promise<readonly ReceiptRecord[]> {
    return (await this.store.listReceipts({ clientId: null, cursor: null, limit: 1_000 })).items;
  }

  /** Turns the event loop, and on a fake clock moves it on, until the condition holds. */
  async until(condition: () => boolean | Promise<boolean>, stepMs = 1): Promise<void> {
    while (!(await condition())) {
      this.fake?.scheduler.advance(stepMs);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Nothing is left to be sent. */
  async idle(stepMs = 1): Promise<void> {
    // The position in the feed is written a little later: what counts is that nothing is held and nothing has a row.
    await this.until(async () => (await this.store.counts(this.clock.now())).receiptsPending === 0, stepMs);
  }
}

export async function openWorld(options: WorldOptions = {}, fake: FakeClock | null = null): Promise<ReceiptWorld> {
  const world = new ReceiptWorld(options, fake);
  onTestFinished(() => world.close());
  if (options.seeded !== true) {
    world.tenant = await seedTenant(world.store, { service: options.service ?? {} });
  }
  world.worker.start();
  return world;
}
