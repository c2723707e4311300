import { openAdapters } from './adapters.ts';
import { allowListOf, describeConfig } from './config.ts';
import type { Config, ListenAddress } from './config.ts';
import { Directory } from './core/directory.ts';
import type { Bus, Clock, Random, Store } from './core/ports.ts';
import { Gateway } from './gateway/gateway.ts';
import { createAdmin } from './http/admin/admin.ts';
import { registerOpenapi } from './http/openapi.ts';
import { createHttpServer } from './http/server.ts';
import type { HttpServer } from './http/server.ts';
import { jsonFetchOver } from './identity/fetch-json.ts';
import { mintDeviceToken } from './identity/mint.ts';
import { JwtVerifier } from './identity/verifier.ts';
import { createGuardedFetch } from './lib/guarded-fetch.ts';
import { makeLru } from './lib/lru.ts';
import { systemClock, systemRandom } from './lib/system.ts';
import { systemScheduler } from './lib/timers.ts';
import { TlsFiles } from './lib/tls-files.ts';
import { Events } from './observe/events.ts';
import { Log } from './observe/log.ts';
import { Metrics } from './observe/metrics.ts';
import { Chores } from './queue/chores.ts';
import { GroupWriter } from './queue/writer.ts';
import { receiptFetchLimits } from './receipts/limits.ts';
import { ReceiptWorker } from './receipts/worker.ts';

/** Devices get this long to take their leave, receipts under way to be answered. */
const DRAIN_MS = 3000;
/** How soon a session that was opened on another node ends here. */
const SHARED_POLL_MS = 2000;

export interface Urls {
  readonly httpUrl: string;
  /** null: MQTT over TCP is off. */
  readonly mqttUrl: string | null;
  readonly wsUrl: string;
}

export interface RunningApp extends Urls {
  readonly store: Store;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Drains and ends within 10 s; the same promise when called again. */
  stop(): Promise<void>;
}

/** What was started, ended in the reverse order: front doors first, the store last. */
class Started {
  private readonly ends: { readonly name: string; readonly end: () => Promise<void> | void }[] = [];
  private readonly log: Log;

  constructor(log: Log) {
    this.log = log;
  }

  add(name: string, end: () => Promise<void> | void): void {
    this.ends.push({ name, end });
  }

  async end(): Promise<void> {
    for (;;) {
      const last = this.ends.pop();
      if (last === undefined) return;
      try {
        await last.end();
      } catch (error) {
        this.log.error('stopping failed', { part: last.name, error });
      }
    }
  }
}

/** Starts every part in the order of its needs. Rejects with all of it ended again where one cannot start. */
export async function startApp(config: Config): Promise<RunningApp> {
  const clock = systemClock;
  const log = new Log({ level: config.logLevel, clock });
  const started = new Started(log);
  try {
    return await start({ config, clock, random: systemRandom, log, started });
  } catch (error) {
    await started.end();
    throw error;
  }
}

interface Base {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly started: Started;
}

/** What every part stands on. */
async function startHouse(base: Base) {
  const { config, log, started } = base;
  const adapters = await openAdapters({
    ...base,
    scheduler: systemScheduler,
    warn: (what, details) => log.warn(what, details),
    onEnd: (name, end) => started.add(name, end),
  });
  const { store, bus, clock } = adapters;
  const metrics = new Metrics({ counts: () => store.counts(clock.now()) });
  const observer = new Events({ log, metrics, clock });
  const writer = new GroupWriter({ store, bus, clock, observer, scheduler: systemScheduler });
  started.add('writer', () => writer.drained());
  metrics.addGauge('carillon_writer_depth', 'Work that waits for the next commit.', () => writer.depth);
  const { isBusConnected } = adapters;
  if (isBusConnected !== null) {
    const help = 'Whether the other nodes are heard over NATS: 1, or 0 while they are only looked after every second.';
    metrics.addGauge('carillon_nats_connected', help, () => Number(isBusConnected()));
  }
  const directory = new Directory({ store, bus, clock, makeCache: makeLru });
  const fetch = createGuardedFetch({ allowList: allowListOf(config), ...receiptFetchLimits });
  started.add('outgoing requests', () => fetch.close());
  return { ...base, ...adapters, metrics, observer, writer, directory, fetch };
}

type House = Awaited<ReturnType<typeof startHouse>>;

/** What works by itself: timers and receipts. */
function startWork(house: House): void {
  if (!house.config.roles.includes('worker')) return;
  const scheduler = systemScheduler;
  const chores = new Chores({ ...house, scheduler });
  chores.start();
  house.started.add('chores', () => chores.stop());
  const receipts = new ReceiptWorker({ ...house, scheduler });
  receipts.start();
  house.started.add('receipts', () => receipts.stop(DRAIN_MS));
}

/** What the outside calls: the gateway, then the HTTP port, which also takes its WebSockets. */
async function startDoors(house: House): Promise<Urls> {
  const { config, directory, metrics, started } = house;
  const tls = await openTls(config, house.log);
  if (tls !== null) started.add('certificate', () => tls.close());
  let publicUrl = config.publicUrl ?? '';
  const linkBase = (): string => publicUrl;
  const tokens = new JwtVerifier({ apps: directory, fetchJson: jsonFetchOver(house.fetch), clock: house.clock });
  const isGateway = config.roles.includes('gateway');
  const gateway = new Gateway({
    ...house,
    tokens,
    apps: directory,
    linkBase,
    ...(house.isShared ? { limits: { pollMs: SHARED_POLL_MS } } : {}),
  });
  started.add('devices', () => gateway.drain(DRAIN_MS));
  const http = await createHttpServer({
    ...house,
    limits: { waitingPerUserMax: config.waitingPerUserMax, waitingTotalMax: config.waitingTotalMax },
    publicUrl: linkBase,
    trustedProxies: config.trustedProxy,
    mintDeviceToken,
    metrics: { token: config.metricsToken, render: () => metrics.render() },
    ...(isGateway ? { onUpgrade: gateway.handleUpgrade } : {}),
    takesCalls: config.roles.includes('api'),
    registerAdmin: async (fastify) => {
      await registerOpenapi(fastify);
      await fastify.register(createAdmin({ ...house, retentionDays: config.retentionDays }));
    },
    ...(tls === null ? {} : { tls: tls.current }),
  });
  started.add('http', () => http.close());
  tls?.onChange((material) => {
    http.setTls(material);
    gateway.useCertificate(material);
  });
  const urls = await listen(config, { http, gateway, tls });
  publicUrl = config.publicUrl ?? urls.httpUrl;
  return urls;
}

async function start(base: Base): Promise<RunningApp> {
  base.log.info('starting', describeConfig(base.config));
  const house = await startHouse(base);
  startWork(house);
  const urls = await startDoors(house);
  base.log.info('ready', { ...urls });
  let stopping: Promise<void> | null = null;
  const stop = (): Promise<void> => {
    stopping ??= base.started.end();
    return stopping;
  };
  const { store, bus, clock, random, log } = house;
  return { ...urls, store, bus, clock, random, log, stop };
}

async function openTls(config: Config, log: Log): Promise<TlsFiles | null> {
  if (config.tlsCert === null || config.tlsKey === null) return null;
  const onError = (error: unknown): void => log.error('certificate not taken', { error });
  return TlsFiles.open({ certPath: config.tlsCert, keyPath: config.tlsKey, onError });
}

async function listen(
  config: Config,
  doors: { http: HttpServer; gateway: Gateway; tls: TlsFiles | null },
): Promise<Urls> {
  const secure = doors.tls === null ? '' : 's';
  const tls = doors.tls === null ? {} : { tls: doors.tls.current };
  const isMqttOn = config.mqtt !== null && config.roles.includes('gateway');
  const mqtt = !isMqttOn || config.mqtt === null ? null : await doors.gateway.listen({ ...config.mqtt, ...tls });
  const address = await doors.http.listen(config.http.host, config.http.port);
  const authority = authorityOf(config.http, address.port);
  return {
    httpUrl: `http${secure}://${authority}`,
    mqttUrl: mqtt === null || config.mqtt === null ? null : `mqtt${secure}://${authorityOf(config.mqtt, mqtt.port)}`,
    wsUrl: `ws${secure}://${authority}/mqtt`,
  };
}

/** An address that listens everywhere is told by one that can be called. */
function authorityOf(address: ListenAddress, port: number): string {
  const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[address.host] ?? address.host;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
