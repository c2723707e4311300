/** Threads for backends (FACTS of the original, §6.3): create, list, update, messages; with a service key or the app secret. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { describe } from '@carillon/protocol/codes.ts';
import type { RequestCode } from '@carillon/protocol/codes.ts';
import type { FaultDetail } from '@carillon/protocol/messaging.ts';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { uuidv7 } from 'uuidv7';
import { STATE, stateName } from '../core/delivery-state.ts';
import type { App, Thread } from '../core/model.ts';
import type { ThreadMessage } from '../core/delivery-status.ts';
import type { HttpDeps } from './deps.ts';
import { httpLimits } from './limits.ts';
import { findHolder, readJson } from './service-auth.ts';
import { publishEntries } from './status.ts';
import { readThreadCreate, readThreadPatch } from './thread-body.ts';

/** The same API under two paths, as the original has it. */
export const THREAD_BASES = ['/rtmsAPI/api/v1', '/rtmsAPI/api/v2'] as const;

/** The original's answers of this API have their code and words at the top, and `"0"` for success. */
function succeed(reply: FastifyReply, members: object): FastifyReply {
  return reply.send({ code: '0', description: 'success', ...members });
}

function fail(reply: FastifyReply, code: RequestCode | '7312', details: readonly FaultDetail[] = []): FastifyReply {
  const { description } = describe(code);
  return reply.send({ code, description, ...(details.length === 0 ? undefined : { details }) });
}

function isSecretOf(app: App, secret: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const given = digest(secret);
  // Every secret is compared, so that the time does not tell which of them it was.
  return app.secrets.map((known) => known !== '' && timingSafeEqual(digest(known), given)).includes(true);
}

interface Caller {
  readonly app: App;
  /** Null: the app's own backend, with the app secret. */
  readonly serviceId: string | null;
}

type CallerResult =
  | { readonly ok: true; readonly caller: Caller }
  | { readonly ok: false; readonly code: RequestCode; readonly details: readonly FaultDetail[] };

/** An app of another client looks like one that does not exist. */
async function findCaller(deps: HttpDeps, request: FastifyRequest, appId: string): Promise<CallerResult> {
  const secret = String(request.headers['secretkey'] ?? '');
  if (request.headers['key'] === undefined && secret !== '') {
    const app = await deps.directory.app(appId);
    if (app !== null && isSecretOf(app, secret)) return { ok: true, caller: { app, serviceId: null } };
    return { ok: false, code: '7001', details: [{ path: '', message: 'secretKey is no secret of this app' }] };
  }
  const found = await findHolder(deps.directory, request);
  if (!found.ok) return { ok: false, code: found.refusal.code, details: found.refusal.details };
  const { service, client } = found.holder;
  const app = await deps.directory.app(appId);
  if (app !== null && app.clientId === client.id) return { ok: true, caller: { app, serviceId: service.id } };
  return { ok: false, code: '7104', details: [] };
}

function timeText(at: number | null): string {
  return at === null ? '' : new Date(at).toISOString();
}

function threadItem(thread: Thread): object {
  const { id, title, type, category, externalid, status, extras } = thread;
  return {
    id,
    title,
    type,
    category: category ?? '',
    externalid: externalid ?? '',
    status,
    extras,
    created_on: timeText(thread.createdAt),
    updated_on: timeText(thread.updatedAt),
  };
}

interface Content {
  readonly message?: unknown;
  readonly media?: unknown;
  readonly extras?: unknown;
}

function messageItem(
  message: ThreadMessage,
  place: { readonly appId: string; readonly userid: string; readonly threadId: string },
): object {
  const content = JSON.parse(message.content) as Content;
  const { state } = message;
  // "submited" as the original spells it: clients compare with that word.
  const isSubmitted = message.fromUser || state === null || state === STATE.queued || state === STATE.moved;
  return {
    payload_type: message.fromUser ? 'sentByUser' : 'sentToUser',
    created_on: timeText(message.createdAt),
    appid: place.appId,
    extras: content.extras ?? {},
    read_at: timeText(message.readAt),
    delivered_at: timeText(message.deliveredAt),
    media: content.media ?? [],
    thread: { id: place.threadId },
    message: content.message ?? '',
    userId: place.userid,
    tid: message.tid,
    status: isSubmitted ? 'submited' : stateName(state),
  };
}

interface PageQuery {
  readonly start: number;
  readonly limit: number;
}

function readPage(query: unknown): PageQuery | FaultDetail[] {
  const { start = '0', limit = String(httpLimits.threadsPageDefault) } = query as Readonly<Record<string, unknown>>;
  const faults: FaultDetail[] = [];
  const read = (name: string, value: unknown, max: number): number => {
    const isWhole = typeof value === 'string' && /^\d{1,9}$/.test(value);
    if (!isWhole) faults.push({ path: `?${name}`, message: 'must be a whole number' });
    return Math.min(Number(value), max);
  };
  const page = {
    start: read('start', start, Number.MAX_SAFE_INTEGER),
    limit: Math.max(1, read('limit', limit, httpLimits.threadsPageMax)),
  };
  return faults.length === 0 ? page : faults;
}

interface Params {
  readonly Params: { readonly appId: string; readonly userid: string; readonly threadId: string };
}
type ThreadRequest = FastifyRequest<Params>;

/** The handlers of one app's threads; each checks the caller first. */
class ThreadRoutes {
  private readonly deps: HttpDeps;

  constructor(deps: HttpDeps) {
    this.deps = deps;
  }

  async create(request: ThreadRequest, reply: FastifyReply): Promise<FastifyReply> {
    const found = await findCaller(this.deps, request, request.params.appId);
    if (!found.ok) return fail(reply, found.code, found.details);
    const json = readJson(request);
    if (!json.ok) return fail(reply, json.refusal.code, json.refusal.details);
    const read = readThreadCreate(json.value);
    if (!read.ok) return fail(reply, read.code, read.details);
    const { app, serviceId } = found.caller;
    const thread = await this.deps.store.createThread(
      { ...read.value, id: uuidv7(), appId: app.id, status: 'Active', serviceId },
      this.deps.clock.now(),
    );
    return succeed(reply, { thread: { created_on: timeText(thread.createdAt), id: thread.id } });
  }

  async list(request: ThreadRequest, reply: FastifyReply): Promise<FastifyReply> {
    const found = await findCaller(this.deps, request, request.params.appId);
    if (!found.ok) return fail(reply, found.code, found.details);
    const page = readPage(request.query);
    if (!('start' in page)) return fail(reply, '7004', page);
    const { store } = this.deps;
    const { app } = found.caller;
    const { userid } = request.params;
    const user = userid === undefined ? null : await store.findUser(app.id, userid);
    if (userid !== undefined && user === null) return succeed(reply, { total: 0, count: 0, threads: [] });
    const { total, threads } = await store.listThreads({ appId: app.id, user, ...page });
    return succeed(reply, { total, count: threads.length, threads: threads.map(threadItem) });
  }

  async update(request: ThreadRequest, reply: FastifyReply): Promise<FastifyReply> {
    const found = await findCaller(this.deps, request, request.params.appId);
    if (!found.ok) return fail(reply, found.code, found.details);
    const json = readJson(request);
    if (!json.ok) return fail(reply, json.refusal.code, json.refusal.details);
    const read = readThreadPatch(json.value);
    if (!read.ok) return fail(reply, read.code, read.details);
    const { store, clock, bus } = this.deps;
    const updated = await store.updateThread(found.caller.app.id, request.params.threadId, read.value, clock.now());
    if (updated === null) return fail(reply, '7312');
    publishEntries(bus, updated.entries);
    const { thread } = updated;
    return succeed(reply, { thread: { updated_on: timeText(thread.updatedAt), id: thread.id } });
  }

  async messages(request: ThreadRequest, reply: FastifyReply): Promise<FastifyReply> {
    const found = await findCaller(this.deps, request, request.params.appId);
    if (!found.ok) return fail(reply, found.code, found.details);
    const page = readPage(request.query);
    if (!('start' in page)) return fail(reply, '7004', page);
    const { store } = this.deps;
    const { app } = found.caller;
    const { userid, threadId } = request.params;
    if ((await store.getThread(app.id, threadId)) === null) return fail(reply, '7312');
    const user = await store.findUser(app.id, userid);
    if (user === null) return succeed(reply, { total: 0, count: 0, messages: [] });
    const { total, messages } = await store.threadMessages({ user, threadId, ...page });
    const items = messages.map((message) => messageItem(message, { appId: app.id, userid, threadId }));
    return succeed(reply, { total, count: items.length, messages: items });
  }
}

/** Routes of the thread API, under both of its base paths. */
export function registerThreads(app: FastifyInstance, deps: HttpDeps): void {
  const routes = new ThreadRoutes(deps);
  for (const base of THREAD_BASES) {
    const threads = `${base}/apps/:appId/threads`;
    const userThreads = `${base}/apps/:appId/user/:userid/threads`;
    app.post<Params>(threads, (request, reply) => routes.create(request, reply));
    app.get<Params>(threads, (request, reply) => routes.list(request, reply));
    app.put<Params>(`${threads}/:threadId`, (request, reply) => routes.update(request, reply));
    app.get<Params>(userThreads, (request, reply) => routes.list(request, reply));
    app.put<Params>(`${userThreads}/:threadId`, (request, reply) => routes.update(request, reply));
    app.get<Params>(`${userThreads}/:threadId/messages`, (request, reply) => routes.messages(request, reply));
  }
}
