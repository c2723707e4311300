import { systemScheduler } from '../../src/lib/timers.ts';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { MemoryBus } from '../../src/bus/memory.ts';
import type { AcceptUnit, LogEntry } from '../../src/core/ports.ts';
import { transidOf } from '../../src/core/transid.ts';
import { Gateway } from '../../src/gateway/gateway.ts';
import type { GatewayLimits } from '../../src/gateway/limits.ts';
import { mintDeviceToken } from '../../src/identity/mint.ts';
import { JwtVerifier } from '../../src/identity/verifier.ts';
import { GroupWriter } from '../../src/queue/writer.ts';
import { SqliteStore } from '../../src/store/sqlite/store.ts';
import type { App } from '../../src/core/model.ts';
import type { Observer } from '../../src/core/observer.ts';
import { destinationOf, makeUnit, userid as asUserid } from './builders.ts';
import { FakeClock } from './clock.ts';
import { RawDevice } from './raw-device.ts';
import type { RawConnect } from './raw-device.ts';
import { systemRandom } from './random.ts';
import { seedTenant } from './seed.ts';
import type { Tenant } from './seed.ts';
import { silentObserver } from './silent-observer.ts';

export interface Sent {
  readonly tid: string;
  readonly entry: LogEntry;
}

export interface WorldOptions {
  readonly limits?: Partial<GatewayLimits>;
  readonly app?: Partial<App>;
}

/** A gateway on free ports over a store in memory, with one tenant (`acme`) and a clock that the test holds. */
export class GatewayWorld {
  readonly clock = new FakeClock();
  readonly bus = new MemoryBus();
  readonly store: SqliteStore;
  readonly writer: GroupWriter;
  readonly gateway: Gateway;
  readonly http: Server;
  /** What was refused, in order. */
  readonly refusals: string[] = [];
  readonly tenant: Tenant;
  readonly app: App;
  mqttPort = 0;
  httpPort = 0;
  private readonly devices: RawDevice[] = [];
  private isStoreClosed = false;

  private constructor(parts: {
    store: SqliteStore;
    clock: FakeClock;
    tenant: Tenant;
    app: App;
    options: WorldOptions;
  }) {
    this.store = parts.store;
    this.clock = parts.clock;
    this.tenant = parts.tenant;
    this.app = parts.app;
    const observer: Observer = {
      ...silentObserver,
      deviceRefused: ({ reason }) => void this.refusals.push(reason),
    };
    const { store, bus, clock } = this;
    this.writer = new GroupWriter({ store, bus, clock, observer, scheduler: systemScheduler });
    // Held, as the directory of the server holds it: logins do not depend on a read.
    const apps = { app: (id: string) => Promise.resolve(id === parts.app.id ? parts.app : null) };
    const fetchJson = () => Promise.resolve({ ok: false, message: 'no network in this test' } as const);
    this.gateway = new Gateway({
      store,
      writer: this.writer,
      bus,
      clock,
      random: systemRandom,
      observer,
      apps,
      tokens: new JwtVerifier({ apps, fetchJson, clock }),
      linkBase: () => 'https://carillon.example',
      ticks: false,
      ...(parts.options.limits === undefined ? {} : { limits: parts.options.limits }),
    });
    this.http = createServer((_request, response) => response.writeHead(404).end());
    this.http.on('upgrade', this.gateway.handleUpgrade);
  }

  static async open(options: WorldOptions = {}): Promise<GatewayWorld> {
    const clock = new FakeClock();
    const store = new SqliteStore({ path: ':memory:', clock, random: systemRandom });
    const tenant = await seedTenant(store, options.app === undefined ? {} : { app: options.app });
    const app = await store.getObject('app', tenant.appId);
    if (app === null) throw new Error('the app was seeded');
    const world = new GatewayWorld({ store, clock, tenant, app, options });
    world.mqttPort = (await world.gateway.listen({ host: '127.0.0.1', port: 0 })).port;
    await new Promise<void>((resolve) => world.http.listen(0, '127.0.0.1', resolve));
    world.httpPort = (world.http.address() as AddressInfo).port;
    return world;
  }

  get wsUrl(): string {
    return `ws://127.0.0.1:${this.httpPort}/mqtt`;
  }

  get tcpUrl(): string {
    return `mqtt://127.0.0.1:${this.mqttPort}`;
  }

  async token(
    user = 'ann',
    claims: { deviceid?: string; ttlSeconds?: number; customerid?: string } = {},
  ): Promise<string> {
    const made = await mintDeviceToken({ app: this.app, userid: user, now: this.clock.now(), ...claims });
    if (!made.ok) throw new Error(made.message);
    return made.token;
  }

  /** Accepts one message for `user` (ann) and waits for its commit. */
  async send(text: string, overrides: Partial<AcceptUnit> & { user?: string } = {}): Promise<Sent> {
    const { user = 'ann', ...rest } = overrides;
    const unit = makeUnit({
      acceptedAt: this.clock.now(),
      content: JSON.stringify({ message: text, media: [] }),
      destinations: [destinationOf(asUserid(user))],
      ...rest,
    });
    const result = await this.writer.accept(unit);
    if (result.kind !== 'accepted') throw new Error(`not accepted: ${result.kind}`);
    return { tid: transidOf(unit.uid, 0), entry: result.entries[0] as LogEntry };
  }

  /** Accepts one message for ann past the writer, so that nobody is told of it. */
  async writeSilently(text: string): Promise<Sent> {
    const unit = makeUnit({ acceptedAt: this.clock.now(), content: JSON.stringify({ message: text, media: [] }) });
    const { accepts } = await this.store.write({ opens: [], accepts: [unit], settlements: [], closes: [] });
    const [result] = accepts;
    if (result?.kind !== 'accepted') throw new Error('not accepted');
    return { tid: transidOf(unit.uid, 0), entry: result.entries[0] as LogEntry };
  }

  /** A socket that has connected and does nothing by itself. */
  async raw(): Promise<RawDevice> {
    const device = await RawDevice.open(this.mqttPort);
    this.devices.push(device);
    return device;
  }

  /** A raw device that has sent CONNECT for `user` (ann) and got its CONNACK. */
  async device(connect: RawConnect & { user?: string; ttlSeconds?: number } = {}): Promise<RawDevice> {
    const { user = 'ann', ttlSeconds, ...rest } = connect;
    const device = await this.raw();
    const password = rest.password ?? (await this.token(user, ttlSeconds === undefined ? {} : { ttlSeconds }));
    await device.connect({ username: `${this.tenant.appId}/${user}`, password, ...rest });
    return device;
  }

  topic(user = 'ann'): string {
    return `${this.tenant.appId}/${user}`;
  }

  async statusOf(tid: string): Promise<number | undefined> {
    const status = await this.store.requestStatus(this.tenant.serviceId, tid);
    return status?.deliveries[0]?.state;
  }

  /** Moves the clock on, in steps, and lets the gateway look at its deadlines. */
  pass(ms: number): void {
    this.clock.advance(ms);
    this.gateway.tick();
  }

  /** From now on the store takes no writes. */
  async failWrites(): Promise<void> {
    await this.writer.drained();
    this.isStoreClosed = true;
    await this.store.close();
  }

  async close(): Promise<void> {
    for (const device of this.devices) device.destroy();
    await this.gateway.drain(2_000);
    this.http.closeAllConnections();
    await new Promise((resolve) => this.http.close(resolve));
    await this.writer.drained();
    await this.bus.close();
    if (!this.isStoreClosed) await this.store.close();
  }
}
