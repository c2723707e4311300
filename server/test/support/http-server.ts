import { systemScheduler } from '../../src/lib/timers.ts';
import { request as httpRequest } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { MemoryBus } from '../../src/bus/memory.ts';
import { Directory } from '../../src/core/directory.ts';
import type { Observer } from '../../src/core/observer.ts';
import type { Clock, Writer } from '../../src/core/ports.ts';
import type { HttpDeps } from '../../src/http/deps.ts';
import { createHttpServer } from '../../src/http/server.ts';
import type { HttpServer } from '../../src/http/server.ts';
import { GroupWriter } from '../../src/queue/writer.ts';
import { SqliteStore } from '../../src/store/sqlite/store.ts';
import { FakeClock } from './clock.ts';
import { systemRandom } from './random.ts';
import { seedTenant } from './seed.ts';
import type { SeedOptions, Tenant } from './seed.ts';
import { silentObserver } from './silent-observer.ts';
import { makeLru } from '../../src/lib/lru.ts';

export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The text as JSON; undefined where it is none. */
  readonly json: unknown;
}

export interface Call {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Uint8Array;
}

export interface TestServer {
  readonly http: HttpServer;
  readonly port: number;
  readonly store: SqliteStore;
  readonly bus: MemoryBus;
  readonly clock: Clock;
  readonly directory: Directory;
  readonly tenant: Tenant;
  /** Over a connection of its own. */
  readonly call: (call: Call) => Promise<Answered>;
  /** `POST /resources/v1/messaging` with the tenant's key; a body that is no text is made JSON. */
  readonly send: (body: unknown, options?: { headers?: Record<string, string>; query?: string }) => Promise<Answered>;
  close(): Promise<void>;
}

/** The smallest request: one message to userid `ann` on the conversation "Orders". */
export function makeBody(
  overrides: Record<string, unknown> = {},
  block: Record<string, unknown> = {},
): Record<string, unknown> {
  return {
    deliverychannel: 'appmessaging',
    destination: [{ userid: ['ann'] }],
    channels: {
      appmessaging: { message: { text: 'Hello' }, thread_type: 'conversation', thread_title: 'Orders', ...block },
    },
    ...overrides,
  };
}

interface Response {
  readonly code: string;
  readonly transid: string;
  readonly details?: readonly { readonly path: string; readonly message: string }[];
}

/** The items of an accepted answer; throws where it is a refusal. */
export function itemsOf(answered: Answered): readonly (Response & Record<string, unknown>)[] {
  const { response } = answered.json as { response: unknown };
  if (!Array.isArray(response)) throw new Error(`not accepted: ${answered.text}`);
  return response as (Response & Record<string, unknown>)[];
}

/** The refusal of an answer; throws where it was accepted. */
export function refusalOf(answered: Answered): Response {
  const { response } = answered.json as { response: unknown };
  if (Array.isArray(response)) throw new Error(`accepted: ${answered.text}`);
  return response as Response;
}

export interface TestServerOptions {
  readonly seed?: SeedOptions;
  readonly clock?: Clock;
  readonly observer?: Observer;
  /** Over the parts a test replaces. */
  readonly deps?: Partial<HttpDeps>;
  /** Around the writer, to make it fail or wait. */
  readonly writer?: (writer: Pick<Writer, 'accept'>) => Pick<Writer, 'accept'>;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** One HTTP exchange. Rejects where the connection ends without an answer. */
export function exchange(port: number, call: Call): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const headers: Record<string, string | string[]> = {};
    for (const [name, value] of Object.entries(call.headers ?? {})) {
      headers[name] = typeof value === 'string' ? value : [...value];
    }
    if (call.body !== undefined && !('transfer-encoding' in headers) && !('content-length' in headers)) {
      headers['content-length'] = String(Buffer.byteLength(call.body));
    }
    const request = httpRequest(
      { host: '127.0.0.1', port, method: call.method ?? 'GET', path: call.path ?? '/', headers, agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: parse(text) });
        });
      },
    );
    request.on('error', reject);
    request.end(call.body);
  });
}

/** The HTTP port over a store in memory, with one tenant, on a free port. Closing it closes everything. */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const clock = options.clock ?? new FakeClock();
  const store = new SqliteStore({ path: ':memory:', clock, random: systemRandom });
  const tenant = await seedTenant(store, options.seed);
  const bus = new MemoryBus();
  const directory = new Directory({ store, bus, clock, makeCache: makeLru });
  const observer = options.observer ?? silentObserver;
  const writer = new GroupWriter({ store, bus, clock, observer, scheduler: systemScheduler });
  const http = await createHttpServer({
    store,
    writer: options.writer?.(writer) ?? writer,
    bus,
    directory,
    clock,
    observer,
    limits: { waitingPerUserMax: 1_000, waitingTotalMax: 100_000 },
    publicUrl: () => 'https://msg.example',
    ...options.deps,
  });
  const { port } = await http.listen('127.0.0.1', 0);
  return {
    http,
    port,
    store,
    bus,
    clock,
    directory,
    tenant,
    call: (call) => exchange(port, call),
    send: (body, { headers, query } = {}) =>
      exchange(port, {
        method: 'POST',
        path: `/resources/v1/messaging${query ?? ''}`,
        headers: { key: tenant.keyText, 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
      }),
    async close() {
      await http.close();
      await writer.drained();
      directory.close();
      await bus.close();
      await store.close();
    },
  };
}
