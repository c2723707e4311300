import { lookup as systemLookup } from 'node:dns/promises';
import { connect as connectPlain, isIP } from 'node:net';
import type { LookupFunction, Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { AddressFilter } from './address-filter.ts';

/** Resolves a name to its addresses, IPv4 and IPv6, in the order to try; rejects where there is none. */
export type Lookup = (hostname: string) => Promise<readonly string[]>;

export type ConnectFailureReason = 'forbidden-address' | 'dns' | 'connect' | 'tls' | 'timeout' | 'closed';

/** Why no connection came about. The message names no resolved address: it is shown to whoever gave the URL. */
export class ConnectFailure extends Error {
  readonly reason: ConnectFailureReason;

  constructor(reason: ConnectFailureReason, message: string) {
    super(message);
    this.name = 'ConnectFailure';
    this.reason = reason;
  }
}

export interface ConnectTarget {
  /** Host of a WHATWG URL: lower case, an IPv6 literal in brackets. */
  readonly hostname: string;
  readonly port: number;
  readonly secure: boolean;
}

export interface ConnectPolicy {
  readonly filter: AddressFilter;
  readonly lookup: Lookup;
  /** Name resolution, TCP and TLS together. */
  readonly connectTimeoutMs: number;
  /** PEM; null: the runtime's own list. */
  readonly certificateAuthorities: readonly string[] | null;
  /** Ends attempts under way. */
  readonly signal: AbortSignal;
}

/** A name with hundreds of records is checked whole, but only its first addresses are tried. */
const ADDRESSES_TRIED_MAX = 8;
/** Names being resolved at once in one process; the system resolver works on a few threads, the rest would only queue. */
const LOOKUPS_MAX = 256;
const LOOPBACK_ADDRESSES = ['127.0.0.1', '::1'];

/**
 * A lookup over the system's resolver (hosts file, search domains and all). Lookups of one name under way are shared,
 * so that a name whose server hangs holds one resolver thread and not all of them.
 */
export function createSystemLookup(): Lookup {
  const underWay = new Map<string, Promise<readonly string[]>>();
  return (hostname) => {
    const shared = underWay.get(hostname);
    if (shared !== undefined) return shared;
    if (underWay.size >= LOOKUPS_MAX) return Promise.reject(new Error('too many names are being resolved'));
    const started = systemLookup(hostname, { all: true, order: 'verbatim' })
      .then((records) => records.map((record) => record.address))
      .finally(() => underWay.delete(hostname));
    underWay.set(hostname, started);
    return started;
  };
}

/** The address an URL names literally, without brackets; null for a name. */
export function literalAddress(hostname: string): string | null {
  const bare = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return isIP(bare) === 0 ? null : bare;
}

/**
 * Opens a connection to an address that has passed the filter, and to no other: a literal is checked as it stands, of
 * a name every address is checked and one that is refused refuses the name. The addresses checked are the ones
 * connected to; nothing is resolved a second time, so a name that changes its answer in between gains nothing.
 *
 * @throws ConnectFailure
 */
export async function openConnection(target: ConnectTarget, policy: ConnectPolicy): Promise<Socket> {
  const ended = Promise.withResolvers<never>();
  const onClose = (): void => ended.reject(new ConnectFailure('closed', 'the client was closed'));
  const timer = setTimeout(
    () => ended.reject(new ConnectFailure('timeout', 'connecting took too long')),
    policy.connectTimeoutMs,
  );
  let socket: Socket | null = null;
  ended.promise.catch(() => socket?.destroy());
  policy.signal.addEventListener('abort', onClose);
  if (policy.signal.aborted) onClose();
  try {
    const addresses = await Promise.race([checkedAddresses(target.hostname, policy), ended.promise]);
    socket = dial(target, addresses, policy);
    return await Promise.race([connected(socket, target.secure), ended.promise]);
  } finally {
    clearTimeout(timer);
    policy.signal.removeEventListener('abort', onClose);
  }
}

/** The checked addresses of a host, in the order to try, at least one. */
async function checkedAddresses(hostname: string, policy: ConnectPolicy): Promise<readonly string[]> {
  const literal = literalAddress(hostname);
  if (literal !== null) return onlyAllowed([literal], policy.filter);
  if (isLocalhost(hostname)) {
    // RFC 6761 §6.3: loopback by definition, so there is nothing to ask and nobody who could answer otherwise.
    // An operator who opened one of the two families means that one.
    const opened = LOOPBACK_ADDRESSES.filter((address) => policy.filter(address).allowed);
    return opened.length > 0 ? opened : onlyAllowed(LOOPBACK_ADDRESSES, policy.filter);
  }
  const addresses = await policy.lookup(hostname).catch((error: unknown) => {
    throw new ConnectFailure('dns', `the name could not be resolved (${errorCode(error)})`);
  });
  if (addresses.length === 0) throw new ConnectFailure('dns', 'the name has no address');
  return onlyAllowed(addresses, policy.filter).slice(0, ADDRESSES_TRIED_MAX);
}

function onlyAllowed(addresses: readonly string[], filter: AddressFilter): readonly string[] {
  for (const address of addresses) {
    const verdict = filter(address);
    if (!verdict.allowed) throw forbiddenAddress(verdict.range);
  }
  return addresses;
}

export function forbiddenAddress(range: string): ConnectFailure {
  return new ConnectFailure('forbidden-address', `the host's address is not allowed (${range})`);
}

function isLocalhost(hostname: string): boolean {
  return /^(?:.+\.)?localhost\.?$/.test(hostname);
}

function dial(target: ConnectTarget, addresses: readonly string[], policy: ConnectPolicy): Socket {
  const literal = literalAddress(target.hostname);
  const options = {
    host: literal ?? target.hostname,
    port: target.port,
    lookup: fixedLookup(addresses),
    autoSelectFamily: addresses.length > 1,
  };
  if (!target.secure) return connectPlain(options);
  return connectTls({
    ...options,
    // An address has no server name (RFC 6066 §3); the certificate is then checked against the address.
    servername: literal === null ? target.hostname.replace(/\.$/, '') : '',
    ALPNProtocols: ['http/1.1'],
    // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED=0 left in an environment does not switch it off.
    rejectUnauthorized: true,
    ...(policy.certificateAuthorities === null ? {} : { ca: [...policy.certificateAuthorities] }),
  });
}

/** Answers with what was checked, whoever asks and for whatever name. */
function fixedLookup(addresses: readonly string[]): LookupFunction {
  const records = addresses.map((address) => ({ address, family: isIP(address) }));
  return (_hostname, options, callback) => {
    const first = records[0];
    if (options.all === true) callback(null, records);
    else if (first === undefined) callback(new Error('no address'), '', 0);
    else callback(null, first.address, first.family);
  };
}

function connected(socket: Socket, secure: boolean): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  let phase: 'connect' | 'tls' = 'connect';
  const onError = (error: Error): void => {
    socket.destroy();
    reject(new ConnectFailure(phase, `${phase === 'tls' ? 'TLS failed' : 'no connection'} (${errorCode(error)})`));
  };
  socket.on('error', onError);
  socket.once('connect', () => (phase = 'tls'));
  socket.once(secure ? 'secureConnect' : 'connect', () => {
    // From here on the HTTP client listens; an error in between must still find a listener.
    socket.on('error', () => {});
    socket.off('error', onError);
    socket.setNoDelay(true);
    resolve(socket);
  });
  return promise;
}

/** `ECONNREFUSED` and the like, without the address Node's message would tell. */
function errorCode(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return errorCode(error.errors[0]);
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return error instanceof Error ? error.name : 'unknown';
}
