/** The store and the bus of a process among others: PostgreSQL, and NATS where it is named. Loaded only there. */
import { hostname } from 'node:os';
import type { Adapters, AdapterOptions } from './adapters.ts';
import { MemoryBus } from './bus/memory.ts';
import { NatsBus } from './bus/nats.ts';
import { readNatsUrls } from './bus/nats-options.ts';
import type { NatsUrls } from './bus/nats-options.ts';
import { PolledBus } from './bus/polled.ts';
import type { RemoteBus } from './bus/polled.ts';
import { StoreUnavailable } from './core/ports.ts';
import { PostgresStore } from './store/postgres/store.ts';

/** A database that starts together with this process is waited for, and asked so often. */
const DATABASE_WAIT_MS = 30_000;
const DATABASE_RETRY_MS = 500;

/** The name of a process that was given none: what tells it from the others on its machine is its address. */
function nodeName({ config, random }: AdapterOptions): string {
  if (config.node !== null) return config.node;
  const { port } = config.http;
  const place = port === 0 ? Buffer.from(random.bytes(4)).toString('hex') : String(port);
  return `${hostname()
    .replaceAll(/[^\w.-]/gu, '-')
    .slice(0, 48)}-${place}`;
}

/** Rejects where the database cannot be used or NATS is named wrongly; what was opened is ended by `onEnd`. */
export async function openShared(options: AdapterOptions, url: string): Promise<Adapters> {
  const { random, scheduler, warn, onEnd } = options;
  const node = nodeName(options);
  const urls = remoteOf(options);
  const store = await openPostgres(options, { url, node });
  onEnd('store', () => store.close());
  for (const warning of store.warnings) warn('the database may lose what it acknowledged', { warning });
  const inner = openRemote(options, { node, installation: store.epoch(), urls });
  onEnd('bus to other nodes', () => inner.close());
  const { clock } = store;
  const onWarning = ({ what, ...details }: { readonly what: string }): void => warn(what, details);
  const bus = new PolledBus({ inner, store, clock, random, scheduler, onWarning });
  onEnd('bus', () => bus.close());
  const isBusConnected = urls === null ? null : (): boolean => inner.isConnected;
  return { store, bus, clock, isShared: true, isBusConnected };
}

async function openPostgres(
  options: AdapterOptions,
  { url, node }: { url: string; node: string },
): Promise<PostgresStore> {
  const { clock: local, random, scheduler, warn } = options;
  const until = local.monotonic() + DATABASE_WAIT_MS;
  for (;;) {
    try {
      const onWarning = ({ what, ...details }: { readonly what: string }): void => warn(what, details);
      return await PostgresStore.open({ url, node, local, random, scheduler, onWarning });
    } catch (error) {
      if (!(error instanceof StoreUnavailable) || local.monotonic() >= until) throw error;
      warn('the database is not there yet', { error });
      await new Promise<void>((resolve) => void scheduler.after(DATABASE_RETRY_MS, resolve));
    }
  }
}

/** Nobody to tell: the poll finds what other nodes do. */
class NoRemoteBus extends MemoryBus implements RemoteBus {
  readonly isConnected = false;

  onConnection(): () => void {
    return () => undefined;
  }
}

/** What `--nats` names, and what an operator may not have meant by it; or why it cannot be meant so. Never with a secret. */
export function readNats(
  text: string,
):
  | { readonly ok: true; readonly urls: NatsUrls; readonly warning: string | null }
  | { readonly ok: false; readonly reason: string } {
  const read = readNatsUrls(text);
  if (!read.ok) return read;
  const { login, isEncrypted, isLoopback } = read.urls;
  if (!isLoopback && login.kind === 'none') {
    const reason =
      'names no login, and whoever reaches NATS could wake every node: write nats://user:password@host:4222';
    return { ok: false, reason };
  }
  const isBare = !isLoopback && !isEncrypted;
  const warning = isBare ? 'NATS is reached without TLS: its network sees which users get messages' : null;
  return { ok: true, urls: read.urls, warning };
}

/** Null: no NATS. Throws before anything is opened. */
function remoteOf({ config, warn }: AdapterOptions): NatsUrls | null {
  if (config.nats === null) return null;
  const read = readNats(config.nats);
  if (!read.ok) throw new Error(`--nats ${read.reason}`);
  if (read.warning !== null) warn(read.warning, {});
  return read.urls;
}

function openRemote(
  { random, scheduler, warn }: AdapterOptions,
  { node, installation, urls }: { node: string; installation: string; urls: NatsUrls | null },
): RemoteBus {
  if (urls === null) return new NoRemoteBus();
  const { servers, login, isEncrypted } = urls;
  const tls = isEncrypted ? { ca: null, cert: null, key: null } : null;
  const onWarning = ({ what, ...details }: { readonly what: string }): void => warn(what, details);
  return NatsBus.open({ servers, login, tls, prefix: installation, node, random, scheduler, onWarning });
}
