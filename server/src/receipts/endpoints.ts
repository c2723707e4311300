import { hash } from 'node:crypto';
import type { DisabledEndpoint, Service } from '../core/model.ts';
import type { Bus, Clock, Store } from '../core/ports.ts';
import { Lru } from '../lib/lru.ts';
import type { ReceiptLimits } from './limits.ts';

/** The id of the note that a URL is disabled for a service (contract §3, 410). */
export function endpointIdOf(serviceId: string, url: string): string {
  return hash('sha256', `${serviceId} ${url}`, 'hex');
}

/** The note itself, to be put into the store. */
export function disabledEndpoint(service: Service, url: string, now: number): DisabledEndpoint {
  const id = endpointIdOf(service.id, url);
  return { id, clientId: service.clientId, serviceId: service.id, url, createdAt: now };
}

interface Standing {
  readonly disabled: boolean;
  readonly askedAt: number;
}

export interface EndpointsOptions {
  readonly store: Pick<Store, 'getObject'>;
  readonly bus: Pick<Bus, 'subscribe'>;
  readonly clock: Clock;
  readonly limits: ReceiptLimits;
}

/** Which URLs answered 410: asked of the store at most once a second per URL, and at once after a hint. */
export class Endpoints {
  private readonly store: EndpointsOptions['store'];
  private readonly clock: Clock;
  private readonly limits: ReceiptLimits;
  private readonly standings: Lru<string, Standing>;
  private readonly unsubscribe: () => void;

  constructor(options: EndpointsOptions) {
    this.store = options.store;
    this.clock = options.clock;
    this.limits = options.limits;
    this.standings = new Lru(options.limits.endpointsMax);
    this.unsubscribe = options.bus.subscribe('objects', () => this.standings.clear());
  }

  /** Undefined: not known now, ask {@link isDisabled}. */
  peekDisabled(serviceId: string, url: string): boolean | undefined {
    const standing = this.standings.get(`${serviceId} ${url}`);
    if (standing === undefined) return undefined;
    return this.clock.monotonic() - standing.askedAt < this.limits.endpointFreshMs ? standing.disabled : undefined;
  }

  async isDisabled(serviceId: string, url: string): Promise<boolean> {
    const known = this.peekDisabled(serviceId, url);
    if (known !== undefined) return known;
    const askedAt = this.clock.monotonic();
    const disabled = (await this.store.getObject('endpoint', endpointIdOf(serviceId, url))) !== null;
    this.standings.set(`${serviceId} ${url}`, { disabled, askedAt });
    return disabled;
  }

  /** Known before the store has it: what is waiting for this URL must not be sent in the meantime. */
  noteDisabled(serviceId: string, url: string): void {
    this.standings.set(`${serviceId} ${url}`, { disabled: true, askedAt: this.clock.monotonic() });
  }

  close(): void {
    this.unsubscribe();
    this.standings.clear();
  }
}
