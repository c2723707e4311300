/**
 * What every route of `/admin/v1` shares: who calls, what an answer looks like, how a refusal is said.
 *
 * A refusal is a value like any other answer. What another tenant owns is answered exactly like what does not exist: there
 * is one text for both, and one place that looks objects up ({@link findOwned}).
 */
import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { TSchema } from 'typebox';
import type { ObjectKind, Objects } from '../../core/model.ts';
import type { Observer } from '../../core/observer.ts';
import type { Bus } from '../../core/ports.ts';
import { hashOf } from './provision.ts';
import type { Provisioning } from './provision.ts';
import { ErrorView } from './schemas.ts';

export interface AdminDeps extends Provisioning {
  readonly bus: Bus;
  readonly observer: Pick<Observer, 'adminChanged' | 'warning'>;
  /** `--retention-days`: for clients that are made without a time of their own. */
  readonly retentionDays?: number;
  /** Who calls; default: whose bearer token it is. The command line on the data folder itself needs none. */
  readonly authenticate?: (request: FastifyRequest) => Scope | null;
}

/** What a token may see: one client, or `*`. */
export interface Scope {
  readonly tokenId: string;
  readonly clientId: string;
}

export interface FaultDetail {
  /** JSON pointer into the body. */
  readonly path: string;
  readonly message: string;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly etag?: string;
}

export interface Call<Body = unknown> {
  readonly scope: Scope;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string | number | undefined>>;
  readonly body: Body;
  readonly ifMatch: string | null;
}

/** Either what was looked for, or the answer that says why not. */
export type Found<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly answer: Answer };

export const found = <Value>(value: Value): Found<Value> => ({ ok: true, value });
export const refused = (answer: Answer): { readonly ok: false; readonly answer: Answer } => ({ ok: false, answer });

export const ok = (body: unknown): Answer => ({ status: 200, body });
export const created = (body: unknown): Answer => ({ status: 201, body });
export const nothing: Answer = { status: 204, body: null };

function fault(status: number, code: string, message: string, details?: readonly FaultDetail[]): Answer {
  return { status, body: { error: { code, message, ...(details === undefined ? undefined : { details }) } } };
}

/** The one answer for what does not exist and for what belongs to another client. */
export const notFound: Answer = fault(404, 'not_found', 'There is no such object.');

/** A body that names an object which does not exist or belongs to another client. */
export const notFoundAt = (path: string, noun: string): Answer =>
  fault(404, 'not_found', 'There is no such object.', [{ path, message: `there is no such ${noun}` }]);

export const conflict = (message: string): Answer => fault(409, 'conflict', message);
export const forbidden = (message: string): Answer => fault(403, 'forbidden', message);
export const invalid = (details: readonly FaultDetail[]): Answer =>
  fault(400, 'invalid', 'The request is not valid.', details);

const unauthorized = fault(401, 'unauthorized', 'A valid admin token is needed: Authorization: Bearer cat_…');
const changedMeanwhile = fault(412, 'changed', 'The object was changed meanwhile: read it again.');

const ETAG_LENGTH = 22;

/** The revision of an object as an entity tag. */
export function etagOf(object: unknown): string {
  return `"${createHash('sha256').update(JSON.stringify(object)).digest('base64url').slice(0, ETAG_LENGTH)}"`;
}

/** Null: the caller holds the object as it is now, or did not ask (RFC 9110 §13.1.1). */
export function staleAnswer(call: Call, object: unknown): Answer | null {
  if (call.ifMatch === null || call.ifMatch === '*') return null;
  const tags = call.ifMatch.split(',').map((tag) => tag.trim());
  return tags.includes(etagOf(object)) ? null : changedMeanwhile;
}

const ownerOf = (kind: ObjectKind, object: Objects[ObjectKind]): string =>
  kind === 'client' ? object.id : (object as { clientId: string }).clientId;

/** The object, if it exists and the token may see it; the only way a route looks up an object by an id from outside. */
export async function findOwned<Kind extends ObjectKind>(
  deps: AdminDeps,
  call: Pick<Call, 'scope'>,
  kind: Kind,
  id: string,
): Promise<Objects[Kind] | null> {
  const object = await deps.store.getObject(kind, id);
  if (object === null) return null;
  const { clientId } = call.scope;
  return clientId === '*' || ownerOf(kind, object) === clientId ? object : null;
}

/**
 * The client that a new object will belong to: the token's own, or the one named by a token for the whole installation.
 * `path`: where the name came from, for the answer.
 */
export async function findOwner(
  deps: AdminDeps,
  call: Pick<Call, 'scope'>,
  named: string | undefined,
  path = '/clientId',
): Promise<Found<string>> {
  const id = named ?? call.scope.clientId;
  if (id === '*') return refused(invalid([{ path, message: 'is needed with a token for the whole installation' }]));
  const client = await findOwned(deps, call, 'client', id);
  return client === null ? refused(notFoundAt(path, 'client')) : found(client.id);
}

/** Whose objects a list shows; null: everybody's. */
export async function listScope(deps: AdminDeps, call: Call): Promise<Found<string | null>> {
  const named = call.query['clientId'];
  if (named === undefined) return found(call.scope.clientId === '*' ? null : call.scope.clientId);
  const client = await findOwned(deps, call, 'client', String(named));
  return client === null ? refused(notFound) : found(client.id);
}

export const LIST_LIMIT_DEFAULT = 50;

/** Cursor and size of a page, from the query. */
export function pageOf(call: Call): { cursor: string | null; limit: number } {
  const { cursor, limit } = call.query;
  return {
    cursor: cursor === undefined || cursor === '' ? null : String(cursor),
    limit: limit === undefined ? LIST_LIMIT_DEFAULT : Number(limit),
  };
}

const BEARER = /^Bearer +(?<token>[\x21-\x7e]{1,256})$/iu;

async function authenticate(deps: AdminDeps, request: FastifyRequest): Promise<Scope | null> {
  const token = BEARER.exec(request.headers.authorization ?? '')?.groups?.['token'];
  if (token === undefined) return null;
  const known = await deps.store.getObject('token', hashOf(token));
  return known === null ? null : { tokenId: known.id, clientId: known.clientId };
}

const SCOPE = 'adminScope';

/** Lets only valid tokens in, to unknown paths too: who has none learns nothing. */
export function guard(fastify: FastifyInstance, deps: AdminDeps): void {
  fastify.decorateRequest(SCOPE, null);
  fastify.addHook('onRequest', async (request, reply) => {
    const scope = await (deps.authenticate?.(request) ?? authenticate(deps, request));
    if (scope === null) return send(reply.header('www-authenticate', 'Bearer realm="admin"'), unauthorized);
    request.setDecorator(SCOPE, scope);
    return undefined;
  });
}

export function send(reply: FastifyReply, answer: Answer): FastifyReply {
  void reply.code(answer.status).header('cache-control', 'no-store');
  if (answer.etag !== undefined) void reply.header('etag', answer.etag);
  return answer.body === null ? reply.send() : reply.send(answer.body);
}

export interface RouteOptions {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: string;
  readonly summary: string;
  readonly tag: string;
  readonly body?: TSchema;
  readonly query?: TSchema;
  /** Of the good answer; null: 204. Fields that are not in it do not leave the server. */
  readonly answer: TSchema | null;
  readonly status?: 200 | 201;
}

/** Registers routes whose handlers are functions from a call to an answer. Changes run one after another. */
export class Routes {
  readonly #fastify: FastifyInstance;
  #last: Promise<unknown> = Promise.resolve();

  constructor(fastify: FastifyInstance) {
    this.#fastify = fastify;
  }

  add<Body = unknown>(options: RouteOptions, handle: (call: Call<Body>) => Promise<Answer>): void {
    const good = options.answer === null ? 204 : (options.status ?? 200);
    this.#fastify.route({
      method: options.method,
      url: options.url,
      schema: {
        summary: options.summary,
        tags: [options.tag],
        security: [{ adminToken: [] }],
        ...(options.body === undefined ? undefined : { body: options.body }),
        ...(options.query === undefined ? undefined : { querystring: options.query }),
        response: { [good]: options.answer ?? { type: 'null', description: 'Done.' }, '4xx': ErrorView },
      },
      handler: async (request, reply) => {
        const call = callOf<Body>(request);
        const isRead = options.method === 'GET';
        return send(reply, await (isRead ? handle(call) : this.#serially(() => handle(call))));
      },
    });
  }

  /** "Two active keys at most" and its like are read, then written: no other change may come between. */
  #serially<Value>(work: () => Promise<Value>): Promise<Value> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

function callOf<Body>(request: FastifyRequest): Call<Body> {
  const ifMatch = request.headers['if-match'];
  return {
    scope: request.getDecorator<Scope>(SCOPE),
    params: request.params as Record<string, string>,
    query: request.query as Record<string, string | number | undefined>,
    body: request.body as Body,
    ifMatch: ifMatch ?? null,
  };
}

/** Tells the log and the counters that somebody changed something. */
export function noteChange(
  deps: AdminDeps,
  call: Pick<Call, 'scope'>,
  change: { readonly action: string; readonly kind: string; readonly id: string },
): void {
  deps.observer.adminChanged({ tokenId: call.scope.tokenId, ...change });
}
