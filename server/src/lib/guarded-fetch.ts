import type { Socket } from 'node:net';
import { Pool } from 'undici';
import type { buildConnector, Dispatcher } from 'undici';
import { createAddressFilter, EMPTY_ALLOW_LIST } from './address-filter.ts';
import type { AddressFilter, AllowList } from './address-filter.ts';
import {
  ConnectFailure,
  createSystemLookup,
  forbiddenAddress,
  literalAddress,
  openConnection,
} from './guarded-connect.ts';
import type { ConnectFailureReason, ConnectPolicy, Lookup } from './guarded-connect.ts';
import { parseTargetUrl } from './target-url.ts';

export interface GuardedFetchOptions {
  /** Ranges opened by the operator (`--allow-private`); none by default. */
  readonly allowList?: AllowList;
  readonly lookup?: Lookup;
  /** Connections to one origin at once; requests beyond wait, within their deadline. */
  readonly connectionsPerOriginMax?: number;
  /** Origins kept; the one idle longest makes room. */
  readonly originsMax?: number;
  /** Requests under way over all origins, waiting ones too; beyond: `busy`. */
  readonly inFlightMax?: number;
  /** Name resolution, TCP and TLS of one connection. */
  readonly connectTimeoutMs?: number;
  /** How long an unused connection is kept. */
  readonly idleTimeoutMs?: number;
  /** PEM, instead of the runtime's own list. */
  readonly certificateAuthorities?: readonly string[];
  /** Monotonic milliseconds. */
  readonly monotonic?: () => number;
}

export interface GuardedRequest {
  /** As it came from outside. */
  readonly url: string;
  readonly method: 'GET' | 'POST';
  /** Lower-case names; `host`, `content-length` and `connection` are set by the client. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** For everything: waiting for a connection, name, connect, TLS, headers and the last byte of the answer. */
  readonly deadlineMs: number;
  /** Bytes of the answer's body that are read; of a longer one the connection is then cut. */
  readonly answerBytesMax: number;
  readonly signal?: AbortSignal;
}

export type FetchFailureReason = ConnectFailureReason | 'bad-url' | 'protocol' | 'connection-lost' | 'aborted' | 'busy';

export type GuardedResult =
  | {
      readonly ok: true;
      /** Whatever the server said: 3xx (never followed), 4xx and 5xx too. */
      readonly status: number;
      readonly headers: Readonly<Record<string, string | string[] | undefined>>;
      /** As sent: a content encoding is not undone. At most `answerBytesMax`. */
      readonly body: Buffer;
      readonly bodyBytes: number;
      /** The body was longer than what was read. */
      readonly truncated: boolean;
      readonly ms: number;
    }
  | {
      readonly ok: false;
      readonly reason: FetchFailureReason;
      /** For whoever gave the URL: names no resolved address. */
      readonly message: string;
      /** Set where the headers had come and the body did not. */
      readonly status: number | null;
      readonly ms: number;
    };

export interface GuardedFetch {
  /** One try. Never rejects for what the other side does. */
  send(request: GuardedRequest): Promise<GuardedResult>;
  /** Ends what is under way (`closed`) and all connections; `send` then answers `closed`. */
  close(): Promise<void>;
}

/** Header block of an answer; longer: `protocol`. */
const HEADER_BYTES_MAX = 16_384;
/** An origin's connections are renewed so often, so that a moved name is noticed. */
const POOL_AGE_MAX_MS = 300_000;
/** How long a server's keep-alive hint can make us hold an unused connection. */
const IDLE_HINT_MAX_MS = 60_000;
/** Small chunks are joined so that a body dripped byte by byte costs bytes and not objects. */
const CHUNKS_MAX = 64;
const EMPTY_BODY = Buffer.alloc(0);

interface Origin {
  readonly pool: Pool;
  readonly madeAt: number;
  /** Requests the pool still holds, abandoned ones too. */
  inFlight: number;
}

/**
 * Makes the one HTTP client for addresses from outside: notify and inbound URLs, key sets. Contract §3, promise 10.
 *
 * Connections go to checked addresses only (guarded-connect.ts); redirects are not followed, proxies of the
 * environment not used, answers not decompressed, HTTP/1.1 only. Every try ends within its deadline.
 */
export function createGuardedFetch(options: GuardedFetchOptions = {}): GuardedFetch {
  const filter = createAddressFilter(options.allowList ?? EMPTY_ALLOW_LIST);
  const monotonic = options.monotonic ?? (() => performance.now());
  const inFlightMax = options.inFlightMax ?? 1_024;
  const closing = new AbortController();
  const origins = createOrigins(options, { filter, signal: closing.signal });
  const exchanges = new Set<Exchange>();
  let inFlight = 0;

  function send(request: GuardedRequest): Promise<GuardedResult> {
    const startedAt = monotonic();
    const refuse = (reason: FetchFailureReason, message: string): Promise<GuardedResult> =>
      Promise.resolve({ ok: false, reason, message, status: null, ms: monotonic() - startedAt });
    if (closing.signal.aborted) return refuse('closed', 'the client was closed');
    if (request.signal?.aborted === true) return refuse('aborted', 'the request was aborted');
    const target = parseTargetUrl(request.url);
    if (!target.ok) return refuse('bad-url', target.message);
    // An origin that is known has passed: a literal's verdict does not change, a name's is made per connection.
    const refusal = origins.has(target.url) ? null : refusedLiteral(target.url.hostname, filter);
    if (refusal !== null) return refuse(refusal.reason, refusal.message);
    const origin = inFlight < inFlightMax ? origins.get(target.url) : null;
    if (origin === null) return refuse('busy', 'too many requests are under way');

    inFlight += 1;
    origin.inFlight += 1;
    return new Promise((resolve) => {
      const exchange = new Exchange({
        request,
        elapsed: () => monotonic() - startedAt,
        settled: (result) => {
          exchanges.delete(exchange);
          resolve(result);
        },
        left: () => {
          inFlight -= 1;
          origin.inFlight -= 1;
        },
      });
      exchanges.add(exchange);
      origin.pool.dispatch(dispatchOptions(request, target.url), exchange);
    });
  }

  async function close(): Promise<void> {
    closing.abort();
    for (const exchange of exchanges) exchange.giveUp('closed', 'the client was closed');
    await origins.close();
  }

  return { send, close };
}

function refusedLiteral(hostname: string, filter: AddressFilter): ConnectFailure | null {
  const literal = literalAddress(hostname);
  if (literal === null) return null;
  const verdict = filter(literal);
  return verdict.allowed ? null : forbiddenAddress(verdict.range);
}

function dispatchOptions(request: GuardedRequest, url: URL): Dispatcher.DispatchOptions {
  return {
    origin: url.origin,
    path: url.pathname + url.search,
    method: request.method,
    headers: { 'accept-encoding': 'identity', ...request.headers },
    body: request.body ?? null,
    // The exchange has one deadline for everything; undici's own coarse timers would only add to it.
    headersTimeout: 0,
    bodyTimeout: 0,
  };
}

/** Pools by origin, the least recently used first. */
function createOrigins(
  options: GuardedFetchOptions,
  guard: Pick<ConnectPolicy, 'filter' | 'signal'>,
): { has(url: URL): boolean; get(url: URL): Origin | null; close(): Promise<void> } {
  const byOrigin = new Map<string, Origin>();
  const retiring = new Set<Pool>();
  const monotonic = options.monotonic ?? (() => performance.now());
  const originsMax = options.originsMax ?? 1_024;
  const policy: ConnectPolicy = {
    ...guard,
    lookup: options.lookup ?? createSystemLookup(),
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    certificateAuthorities: options.certificateAuthorities ?? null,
  };

  function makeRoom(): boolean {
    if (byOrigin.size < originsMax) return true;
    for (const [key, origin] of byOrigin) {
      if (origin.inFlight > 0) continue;
      byOrigin.delete(key);
      void origin.pool.destroy();
      return true;
    }
    return false;
  }

  function get(url: URL): Origin | null {
    const known = byOrigin.get(url.origin);
    if (known !== undefined) byOrigin.delete(url.origin);
    else if (!makeRoom()) return null;
    const now = monotonic();
    const isOld = known !== undefined && now - known.madeAt > POOL_AGE_MAX_MS;
    if (isOld) void retire(known.pool);
    const origin =
      known === undefined || isOld ? { pool: createPool(url, policy, options), madeAt: now, inFlight: 0 } : known;
    byOrigin.set(url.origin, origin);
    return origin;
  }

  /** What is under way there ends by itself, at the latest at its deadline. */
  async function retire(pool: Pool): Promise<void> {
    retiring.add(pool);
    await pool.close();
    retiring.delete(pool);
  }

  async function close(): Promise<void> {
    const pools = [...retiring, ...Array.from(byOrigin.values(), (origin) => origin.pool)];
    byOrigin.clear();
    await Promise.all(pools.map((pool) => pool.destroy()));
  }

  return { has: (url) => byOrigin.has(url.origin), get, close };
}

function createPool(url: URL, policy: ConnectPolicy, options: GuardedFetchOptions): Pool {
  const secure = url.protocol === 'https:';
  const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port);
  const target = { hostname: url.hostname, port, secure };
  const idleTimeoutMs = options.idleTimeoutMs ?? 4_000;
  return new Pool(url.origin, {
    connections: options.connectionsPerOriginMax ?? 16,
    pipelining: 1,
    allowH2: false,
    maxHeaderSize: HEADER_BYTES_MAX,
    keepAliveTimeout: idleTimeoutMs,
    keepAliveMaxTimeout: Math.max(idleTimeoutMs, IDLE_HINT_MAX_MS),
    connect: (_options, callback) => {
      void connectInto(callback, openConnection(target, policy));
    },
  });
}

async function connectInto(callback: buildConnector.Callback, opening: Promise<Socket>): Promise<void> {
  let socket: Socket;
  try {
    socket = await opening;
  } catch (error) {
    callback(error instanceof Error ? error : new Error(String(error)), null);
    return;
  }
  callback(null, socket);
}

interface ExchangeOptions {
  readonly request: GuardedRequest;
  readonly elapsed: () => number;
  /** The caller has its result. */
  readonly settled: (result: GuardedResult) => void;
  /** The pool has let go of the request, which may be later. */
  readonly left: () => void;
}

/** One request on its way through a pool; settles exactly once, at the latest at its deadline. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #options: ExchangeOptions;
  readonly #deadline: NodeJS.Timeout;
  #controller: Dispatcher.DispatchController | null = null;
  #settled = false;
  #status: number | null = null;
  #headers: Readonly<Record<string, string | string[] | undefined>> = {};
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    const { deadlineMs, signal } = options.request;
    this.#deadline = setTimeout(this.#onDeadline, deadlineMs);
    if (signal !== undefined) exchangesOf(signal).add(this);
  }

  readonly #onDeadline = (): void => {
    this.giveUp('timeout', `no complete answer within ${this.#options.request.deadlineMs} ms`);
  };

  /** Settles as a failure and cuts the connection, or keeps the request from being written where it still waits. */
  giveUp(reason: FetchFailureReason, message: string): void {
    this.#settle({ ok: false, reason, message, status: this.#status, ms: this.#options.elapsed() });
    this.#controller?.abort(new Error(message));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#settled) controller.abort(new Error('given up before it was written'));
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    if (status < 200) return;
    this.#status = status;
    this.#headers = headers;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const room = this.#options.request.answerBytesMax - this.#bytes;
    const kept = chunk.length > room ? chunk.subarray(0, room) : chunk;
    this.#bytes += kept.length;
    this.#chunks.push(kept);
    if (this.#chunks.length > CHUNKS_MAX) this.#chunks = [Buffer.concat(this.#chunks)];
    if (kept.length === chunk.length) return;
    this.#succeed(true);
    controller.abort(new Error('more of an answer than is read'));
  }

  onResponseEnd(): void {
    this.#succeed(false);
    this.#options.left();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const { reason, message } = describeError(error);
    this.#settle({ ok: false, reason, message, status: this.#status, ms: this.#options.elapsed() });
    this.#options.left();
  }

  #succeed(truncated: boolean): void {
    const [first = EMPTY_BODY] = this.#chunks;
    const body = this.#chunks.length > 1 ? Buffer.concat(this.#chunks) : first;
    const [status, headers, ms] = [this.#status ?? 0, this.#headers, this.#options.elapsed()];
    this.#settle({ ok: true, status, headers, body, bodyBytes: this.#bytes, truncated, ms });
  }

  #settle(result: GuardedResult): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#chunks = [];
    clearTimeout(this.#deadline);
    const { signal } = this.#options.request;
    if (signal !== undefined) exchangesOf(signal).delete(this);
    this.#options.settled(result);
  }
}

const exchangesBySignal = new WeakMap<AbortSignal, Set<Exchange>>();

/** One listener for all requests with the same signal: adding one costs a look at all that are there. */
function exchangesOf(signal: AbortSignal): Set<Exchange> {
  const known = exchangesBySignal.get(signal);
  if (known !== undefined) return known;
  const exchanges = new Set<Exchange>();
  exchangesBySignal.set(signal, exchanges);
  const abort = (): void => {
    for (const exchange of exchanges) exchange.giveUp('aborted', 'the request was aborted');
  };
  signal.addEventListener('abort', abort, { once: true });
  return exchanges;
}

function describeError(error: Error): { reason: FetchFailureReason; message: string } {
  if (error instanceof ConnectFailure) return { reason: error.reason, message: error.message };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
  if (LOST_CODES.has(code)) return { reason: 'connection-lost', message: `the connection ended early (${code})` };
  return { reason: 'protocol', message: `not a valid HTTP answer (${code})` };
}

const LOST_CODES = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ECONNABORTED', 'EHOSTUNREACH']);
