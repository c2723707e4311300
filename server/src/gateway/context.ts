import type { AppSource, TokenVerifier } from '../core/identity.ts';
import type { Observer } from '../core/observer.ts';
import type { Bus, Clock, Random, Store, Writer } from '../core/ports.ts';
import type { GatewayLimits } from './limits.ts';

/** What the gateway reads of the store. */
export type GatewayStore = Pick<
  Store,
  | 'epoch'
  | 'countMessages'
  | 'head'
  | 'heads'
  | 'readLog'
  | 'readOwed'
  | 'subscribe'
  | 'unsubscribe'
  | 'getThread'
  | 'superseded'
>;

/** What all parts of the gateway share. */
export interface GatewayContext {
  readonly store: GatewayStore;
  readonly writer: Writer;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  readonly tokens: TokenVerifier;
  readonly apps: AppSource;
  readonly limits: GatewayLimits;
  /** Other nodes work on the same store and may open the same sessions. Default false. */
  readonly isShared?: boolean;
  /** Public address that short links begin with; known only once the server listens. */
  readonly linkBase: () => string;
}
