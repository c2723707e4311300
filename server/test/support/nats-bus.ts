import { NatsBus } from '../../src/bus/nats.ts';
import type { NatsBusOptions } from '../../src/bus/nats.ts';
import { readNatsUrls } from '../../src/bus/nats-options.ts';
import { systemScheduler } from '../../src/lib/timers.ts';
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
