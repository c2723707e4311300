import { isIPv4 } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import type { PeerCertificate } from 'node:tls';
import { credsAuthenticator, errors, nkeyAuthenticator } from '@nats-io/transport-node';
import type { ConnectionOptions } from '@nats-io/transport-node';

export type NatsLogin =
  | { readonly kind: 'none' }
  | { readonly kind: 'password'; readonly user: string; readonly password: string }
  | { readonly kind: 'token'; readonly token: string }
  /** The seed of a user's key, `SU…`. */
  | { readonly kind: 'nkey'; readonly seed: string }
  /** What a `.creds` file holds: a JWT and the seed of its key. */
  | { readonly kind: 'creds'; readonly text: string };

/** PEM texts; null: the system's authorities, no certificate of our own. */
export interface NatsTls {
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
}

export interface NatsServer {
  /** Name or address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

export interface NatsUrls {
  readonly servers: readonly NatsServer[];
  readonly login: NatsLogin;
  /** `tls://`: nothing is sent in the clear. */
  readonly isEncrypted: boolean;
  /** Every server is this machine: only there is a bus without login and TLS acceptable. */
  readonly isLoopback: boolean;
}

export type NatsUrlsRead =
  | { readonly ok: true; readonly urls: NatsUrls }
  | { readonly ok: false; readonly reason: string };

const PORT = 4222;
const SERVERS_MAX = 32;

/**
 * Reads `nats://user:password@host:4222,nats://other:4222`: one or several servers of one NATS, separated by commas.
 * `tls://` in place of `nats://` insists on TLS; a user without a password is a token. The reason never repeats a URL,
 * which may hold a password.
 */
export function readNatsUrls(text: string): NatsUrlsRead {
  const parts = text.split(',').map((part) => part.trim());
  if (parts.length > SERVERS_MAX) return { ok: false, reason: `at most ${SERVERS_MAX} servers` };
  const servers: NatsServer[] = [];
  const logins: NatsLogin[] = [];
  const schemes = new Set<string>();
  for (const part of parts) {
    const read = readUrl(part);
    if (typeof read === 'string') return { ok: false, reason: read };
    servers.push(read.server);
    schemes.add(read.scheme);
    if (read.login.kind !== 'none') logins.push(read.login);
  }
  if (schemes.size > 1) return { ok: false, reason: 'either all of the servers with tls:// or none' };
  const [login = { kind: 'none' }] = logins;
  if (logins.some((other) => JSON.stringify(other) !== JSON.stringify(login))) {
    return { ok: false, reason: 'all servers take the same login' };
  }
  const isLoopback = servers.every(({ host }) => isLoopbackHost(host));
  return { ok: true, urls: { servers, login, isEncrypted: schemes.has('tls:'), isLoopback } };
}

function readUrl(text: string): { server: NatsServer; login: NatsLogin; scheme: string } | string {
  if (!URL.canParse(text)) return 'not a URL of the form nats://host:4222';
  const url = new URL(text);
  if (url.protocol !== 'nats:' && url.protocol !== 'tls:') return 'a URL begins with nats:// or tls://';
  if (url.hostname === '') return 'a URL names a host';
  if (url.pathname.length > 1 || url.search !== '' || url.hash !== '') return 'nothing follows the port of a URL';
  try {
    const user = decodeURIComponent(url.username);
    const password = decodeURIComponent(url.password);
    const host = url.hostname.replace(/^\[|\]$/gu, '');
    const server = { host, port: url.port === '' ? PORT : Number(url.port) };
    return { server, login: loginOf(user, password), scheme: url.protocol };
  } catch {
    return 'user and password are percent-encoded';
  }
}

function loginOf(user: string, password: string): NatsLogin {
  if (user === '') return { kind: 'none' };
  return password === '' ? { kind: 'token', token: user } : { kind: 'password', user, password };
}

function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

export function formatServer({ host, port }: NatsServer): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The options of one connection to one server. No reconnecting by the library: {@link NatsLink} does that. */
export function connectionOptions(
  server: NatsServer,
  options: { login: NatsLogin; tls: NatsTls | null; name: string; connectMs: number; pingMs: number; pingsMax: number },
): ConnectionOptions {
  return {
    servers: [formatServer(server)],
    name: options.name,
    timeout: options.connectMs,
    pingInterval: options.pingMs,
    maxPingOut: options.pingsMax,
    noEcho: true,
    noAsyncTraces: true,
    reconnect: false,
    maxReconnectAttempts: 0,
    ignoreClusterUpdates: true,
    ...loginOptions(options.login),
    ...(options.tls === null ? {} : { tls: tlsOptions(options.tls, server.host) }),
  };
}

function loginOptions(login: NatsLogin): ConnectionOptions {
  const encoder = new TextEncoder();
  switch (login.kind) {
    case 'none':
      return {};
    case 'password':
      return { user: login.user, pass: login.password };
    case 'token':
      return { token: login.token };
    case 'nkey':
      return { authenticator: nkeyAuthenticator(encoder.encode(login.seed)) };
    case 'creds':
      return { authenticator: credsAuthenticator(encoder.encode(login.text)) };
  }
}

function tlsOptions(tls: NatsTls, host: string): NonNullable<ConnectionOptions['tls']> {
  const options = {
    ...(tls.ca === null ? {} : { ca: tls.ca }),
    ...(tls.cert === null ? {} : { cert: tls.cert }),
    ...(tls.key === null ? {} : { key: tls.key }),
    // The host that was configured: for an address the library would have the certificate compared with "localhost".
    checkServerIdentity: (_name: string, certificate: PeerCertificate) => checkServerIdentity(host, certificate),
  };
  return options;
}

/** Why a connection failed or ended, in words for an operator; never with a secret. */
export function failureText(error: unknown): string {
  if (error instanceof errors.AuthorizationError || error instanceof errors.UserAuthenticationExpiredError) {
    return 'the server refused the login: user and password, token or key are wrong, missing or expired';
  }
  if (error instanceof errors.TimeoutError) return 'no answer in time';
  if (error instanceof Error && error.message !== '') {
    const { cause } = error;
    return cause instanceof Error && !error.message.includes(cause.message)
      ? `${error.message} (${cause.message})`
      : error.message;
  }
  return 'the connection ended';
}
