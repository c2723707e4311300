import type { Bus, UserHint } from '../../src/core/ports.ts';
import { NatsBus } from '../../src/bus/nats.ts';
import type { NatsBusOptions } from '../../src/bus/nats.ts';
import { readNatsUrls } from '../../src/bus/nats-options.ts';
import { systemScheduler } from '../../src/lib/timers.ts';
import { ForeignClient, NatsServer } from './nats.ts';
import type { NatsOptions } from './nats.ts';
import { systemRandom } from './random.ts';

export interface OpenedBus {
  readonly bus: NatsBus;
  /** Each as `what: reason`. */
  readonly warnings: string[];
  /** Resolves when the connection is, or stops being, there. */
  readonly became: (isConnected: boolean) => Promise<void>;
  /** Resolves when a warning contains the text. */
  readonly warned: (text: string) => Promise<string>;
}

/** Waits as short as tests like them. */
const limits = { retryFirstMs: 20, retryLastMs: 100, pingMs: 200 };

/** A bus on `url`, which may hold the login. */
export function openNatsBus(url: string, options: Partial<NatsBusOptions> = {}): OpenedBus {
  const read = readNatsUrls(url);
  if (!read.ok) throw new Error(read.reason);
  const warnings: string[] = [];
  const listeners = new Set<() => void>();
  const bus = NatsBus.open({
    servers: read.urls.servers,
    login: read.urls.login,
    tls: read.urls.isEncrypted ? { ca: null, cert: null, key: null } : null,
    prefix: 'test',
    node: 'a',
    random: systemRandom,
    scheduler: systemScheduler,
    onWarning: (warning) => {
      warnings.push(Object.values(warning).map(String).join(': '));
      for (const listener of listeners) listener();
    },
    ...options,
    limits: { ...limits, ...options.limits },
  });
  const became = (isConnected: boolean): Promise<void> =>
    new Promise((resolve) => {
      const stop = bus.onConnection((is) => {
        if (is !== isConnected) return;
        stop();
        resolve();
      });
      if (bus.isConnected === isConnected) resolve();
    });
  const warned = (text: string): Promise<string> =>
    new Promise((resolve) => {
      const look = (): void => {
        const found = warnings.find((warning) => warning.includes(text));
        if (found === undefined) return;
        listeners.delete(look);
        resolve(found);
      };
      listeners.add(look);
      look();
    });
  return { bus, warnings, became, warned };
}

/** Resolves when what either side published has reached the other, and every watch of both is in force. */
export async function settled(here: NatsBus, there: NatsBus): Promise<void> {
  // Each side's watches and messages are at the server; then what the server passed on has been read.
  for (const bus of [here, there, here, there]) await bus.flushed();
}

export function hint(user: number, head: number): UserHint {
  return { user, head, entry: null };
}

/** What a watch hears, and a promise that a head, or one above it, was heard. */
export function listen(opened: { readonly bus: Bus }, user: number) {
  const heads: number[] = [];
  let onHead: (() => void) | null = null;
  opened.bus.watch(user, ({ head }) => {
    heads.push(head);
    onHead?.();
  });
  const reached = (head: number): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (heads.some((one) => one >= head)) resolve();
      };
      onHead = look;
      look();
    });
  return { heads, reached };
}

/** Servers, buses and strangers of one test; {@link NatsScene.end} ends them, the newest first. */
export class NatsScene {
  private readonly ends: (() => Promise<void> | void)[] = [];

  add(end: () => Promise<void> | void): void {
    this.ends.push(end);
  }

  async nats(options?: NatsOptions): Promise<NatsServer> {
    const server = await NatsServer.start(options);
    this.add(() => server.kill());
    return server;
  }

  open(url: string, options?: Partial<NatsBusOptions>): OpenedBus {
    const opened = openNatsBus(url, options);
    this.add(() => opened.bus.close());
    return opened;
  }

  async foreign(port: number): Promise<ForeignClient> {
    const client = await ForeignClient.connect(port);
    this.add(() => client.close());
    return client;
  }

  async end(): Promise<void> {
    for (const end of this.ends.splice(0).toReversed()) await end();
  }
}
