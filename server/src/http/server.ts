/** The one HTTP port: the hot route by hand, everything else through fastify, upgrades handed on (contract §1, §2). */
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerOptions, ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { limits } from '@carillon/protocol/limits.ts';
import { fastify } from 'fastify';
import type { FastifyError, FastifyInstance } from 'fastify';
import { Accepter } from '../accept/accepter.ts';
import { within } from '../lib/deadline.ts';
import type { TlsMaterial } from '../lib/tls-files.ts';
import type { HttpDeps } from './deps.ts';
import { registerDeviceTokens } from './device-tokens.ts';
import { answerError, answerNotFound, errorBody, isFaultAtNowhere, refuseOtherMethods } from './errors.ts';
import type { RouteTable } from './errors.ts';
import { registerHealth } from './health.ts';
import { httpLimits } from './limits.ts';
import { registerLinks } from './links.ts';
import { MESSAGING_PATH, messagingQuery, MessagingRoute, refuseByHeaders } from './messages.ts';
import { takeAnyBody } from './service-auth.ts';
import { registerStatus } from './status.ts';
import { registerThreads } from './threads.ts';
import { HSTS, SECURITY_HEADERS, writeRawError } from './wire.ts';

export interface HttpServer {
  readonly server: Server;
  /** For tests. */
  readonly app: FastifyInstance;
  /** What is served, by address as the framework writes it (`/l/:slug`). */
  readonly routes: RouteTable;
  /** Resolves when connections are taken. Port 0: any free one. */
  listen(host: string, port: number): Promise<AddressInfo>;
  /** New connections get this certificate. Only for a server made with TLS. */
  setTls(material: TlsMaterial): void;
  /** Takes no new connection, lets requests in hand end, cuts what is left after `httpLimits.closeGraceMs`. */
  close(): Promise<void>;
}

const SERVER_OPTIONS: ServerOptions = {
  maxHeaderSize: httpLimits.headerBytesMax,
  keepAliveTimeout: httpLimits.keepAliveTimeoutMs,
  noDelay: true,
  // Other upgrades (a Java client asks for HTTP/2 with every request) are passed over, as RFC 9110 §7.8 allows.
  shouldUpgradeCallback: (request) => request.headers.upgrade?.toLowerCase() === 'websocket',
};

/** Statuses of node's parser errors; all others are 400. */
const PARSER_STATUSES: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = PARSER_STATUSES[error.code ?? ''] ?? 400;
  writeRawError(
    socket,
    status,
    status === 408 ? 'the request took too long to arrive' : 'the request cannot be read as HTTP',
  );
}

function makeServer(deps: HttpDeps): Server | TlsServer {
  const { timeouts } = deps;
  const options: ServerOptions = {
    ...SERVER_OPTIONS,
    headersTimeout: timeouts?.headersMs ?? httpLimits.headersTimeoutMs,
    requestTimeout: timeouts?.requestMs ?? httpLimits.requestTimeoutMs,
    connectionsCheckingInterval: timeouts?.checkMs ?? httpLimits.timeoutCheckMs,
  };
  const server =
    deps.tls === undefined
      ? createServer(options)
      : createTlsServer({ ...options, cert: deps.tls.cert, key: deps.tls.key, minVersion: 'TLSv1.2' });
  server.maxHeadersCount = httpLimits.headersMax;
  server.maxConnections = httpLimits.connectionsMax;
  return server;
}

function makeFramework(deps: HttpDeps, server: Server, take: (handler: RequestHandler) => void): FastifyInstance {
  const proxies = deps.trustedProxies ?? [];
  return fastify({
    serverFactory: (handler) => {
      take(handler);
      return server;
    },
    clientErrorHandler: answerBrokenRequest,
    bodyLimit: limits.bodyBytesMax,
    trustProxy: proxies.length === 0 ? false : [...proxies],
    routerOptions: { maxParamLength: httpLimits.pathParameterLengthMax },
    // Nothing is mended quietly: what a client sent is what is judged, and every fault is told.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, allErrors: true } },
    frameworkErrors: (error, _request, reply) => answerError(deps.observer, error, reply),
    return503OnClosing: false,
  });
}

type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

function addHooks(app: FastifyInstance, deps: HttpDeps): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    if (isFaultAtNowhere(error, request)) answerNotFound(request, reply);
    else answerError(deps.observer, error, reply);
  });
  app.setNotFoundHandler(answerNotFound);
  app.addHook('onRequest', async (request, reply) => {
    const encoding = (request.headers['content-encoding'] ?? '').trim().toLowerCase();
    if (encoding === '' || encoding === 'identity') return;
    await reply.code(415).send(errorBody('unsupported-media-type', 'send the body without a content encoding'));
  });
  app.addHook('onSend', async (_request, reply) => {
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) if (!reply.hasHeader(name)) reply.header(name, value);
    if (deps.tls !== undefined) reply.header('Strict-Transport-Security', HSTS);
  });
}

/** Plugins load in order, each to its end, before the last one looks at all routes. */
function addRoutes(app: FastifyInstance, deps: HttpDeps, isClosing: () => boolean): RouteTable {
  const takesCalls = deps.takesCalls ?? true;
  const { routes, finish } = refuseOtherMethods(app, new Map(takesCalls ? [[MESSAGING_PATH, ['POST']]] : []));
  if (takesCalls) addCalls(app, deps);
  app.register(async (scope) => registerHealth(scope, deps, isClosing));
  app.register(async () => finish());
  return routes;
}

/** What the role `api` answers. */
function addCalls(app: FastifyInstance, deps: HttpDeps): void {
  app.register(async (scope) => {
    takeAnyBody(scope);
    registerStatus(scope, deps);
    registerThreads(scope, deps);
    if (deps.mintDeviceToken !== undefined) registerDeviceTokens(scope, deps, deps.mintDeviceToken);
  });
  app.register(async (scope) => registerLinks(scope, deps));
  const { registerAdmin } = deps;
  if (registerAdmin !== undefined) app.register(async (scope) => registerAdmin(scope));
}

function handleRequests(server: Server, route: MessagingRoute, others: RequestHandler): void {
  server.on('request', (request, response) => {
    const query = messagingQuery(request);
    if (query === null) others(request, response);
    else route.handle(request, response, query);
  });
  server.on('checkContinue', (request, response) => {
    const query = messagingQuery(request);
    const refusal = query === null ? null : refuseByHeaders(request);
    if (refusal !== null) {
      route.refuse(response, refusal, true);
      return;
    }
    response.writeContinue();
    server.emit('request', request, response);
  });
}

function handleUpgrades(server: Server, deps: HttpDeps): void {
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    if (deps.onUpgrade === undefined) writeRawError(socket, 404, 'there is nothing at this address');
    else deps.onUpgrade(request, socket, head);
  });
}

function listenOn(server: Server, host: string, port: number): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, backlog: 4_096 }, () => {
      server.off('error', reject);
      server.on('error', () => undefined);
      resolve(server.address() as AddressInfo);
    });
  });
}

/** Makes the port; nothing listens yet. Rejects on a mistake in the routes. */
export async function createHttpServer(deps: HttpDeps): Promise<HttpServer> {
  const { observer } = deps;
  const server = makeServer(deps);
  let closing: Promise<void> | null = null;
  let others: RequestHandler = () => undefined;
  const app = makeFramework(deps, server, (handler) => {
    others = handler;
  });
  addHooks(app, deps);
  const routes = addRoutes(app, deps, () => closing !== null);
  const rest: RequestHandler = (request, response) => others(request, response);
  if (deps.takesCalls ?? true) {
    handleRequests(server, new MessagingRoute({ accepter: new Accepter(deps), observer }), rest);
  } else {
    server.on('request', rest);
  }
  handleUpgrades(server, deps);
  await app.ready();

  async function shut(): Promise<void> {
    // Or a client that sends one request after the other on its connection would be served until it is cut.
    server.prependListener('request', (_request: IncomingMessage, response: ServerResponse) => {
      response.setHeader('connection', 'close');
    });
    const closed = new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
    const ended = await within(closed, httpLimits.closeGraceMs);
    if (!ended.done) server.closeAllConnections();
    await app.close();
  }

  return {
    server,
    app,
    routes,
    listen: (host, port) => listenOn(server, host, port),
    setTls(material) {
      if (!('setSecureContext' in server)) throw new Error('this port was made without TLS');
      server.setSecureContext({ cert: material.cert, key: material.key, minVersion: 'TLSv1.2' });
    },
    close() {
      closing ??= shut();
      return closing;
    },
  };
}
