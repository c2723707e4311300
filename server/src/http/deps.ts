import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import type { AcceptLimits } from '../accept/prepare.ts';
import type { Directory } from '../core/directory.ts';
import type { App } from '../core/model.ts';
import type { Observer } from '../core/observer.ts';
import type { Bus, Clock, Store, Writer } from '../core/ports.ts';
import type { TlsMaterial } from '../lib/tls-files.ts';

/** Makes a device token; the names are checked (identity/mint.ts is one). `expires`: RFC 3339. */
export type MintDeviceToken = (request: {
  readonly app: App;
  readonly userid: string;
  readonly customerid?: string;
  readonly msisdn?: string;
  readonly deviceid?: string;
  readonly ttlSeconds?: number;
  /** Wall ms. */
  readonly now: number;
}) => Promise<
  | { readonly ok: true; readonly token: string; readonly expires: string }
  | { readonly ok: false; readonly message: string }
>;

export interface MetricsSource {
  /** Bearer token for those who are not on this machine; null: nobody else. */
  readonly token: string | null;
  /** The text and its content type. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>;
}

/** A request that asks for another protocol (WebSocket): the socket is the handler's from then on. */
export type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

export interface HttpDeps {
  readonly store: Store;
  readonly writer: Pick<Writer, 'accept'>;
  readonly bus: Bus;
  readonly directory: Directory;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly limits: AcceptLimits;
  /** Base of short links, without a slash at its end. */
  readonly publicUrl: () => string;
  /** Addresses and ranges whose `X-Forwarded-For` is believed. */
  readonly trustedProxies?: readonly string[];
  readonly mintDeviceToken?: MintDeviceToken;
  readonly metrics?: MetricsSource;
  readonly onUpgrade?: UpgradeHandler;
  /** False: the role `api` is another process'; here are only health and metrics. Default true. */
  readonly takesCalls?: boolean;
  /** Whether the process takes work; false: the readiness check fails (starting, stopping). */
  readonly isReady?: () => boolean;
  /** More routes: the operators' API, the console, the device API. */
  readonly registerAdmin?: (app: FastifyInstance) => void | Promise<void>;
  readonly tls?: TlsMaterial;
  /** In place of those of `httpLimits`, for tests that must see them run out. */
  readonly timeouts?: { readonly headersMs: number; readonly requestMs: number; readonly checkMs: number };
}
