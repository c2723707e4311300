/** The uniform error of everything outside the original's API: `{"error":{"code","message","details"?}}`. */
import { STATUS_CODES } from 'node:http';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Observer } from '../core/observer.ts';
import { StoreUnavailable } from '../core/ports.ts';

export interface ErrorDetail {
  readonly path: string;
  readonly message: string;
}

/** The body of an error. `code`: words with hyphens, stable; `message`: for people. */
export function errorBody(code: string, message: string, details?: readonly ErrorDetail[]): object {
  return { error: details === undefined ? { code, message } : { code, message, details } };
}

/** `Not Found` → `not-found`. */
function codeOfStatus(status: number): string {
  return (STATUS_CODES[status] ?? 'error').toLowerCase().replaceAll(/[^a-z]+/g, '-');
}

/** What this server says of faults of the request that the framework finds. */
const MESSAGES: Readonly<Record<string, string>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'the body is too large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'the content type is not supported; send application/json',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'the body is empty; it must be JSON',
  FST_ERR_CTP_INVALID_JSON_BODY: 'the body is not JSON',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'the body is not as long as Content-Length says',
  FST_ERR_BAD_URL: 'the path is not well-formed',
  FST_ERR_MAX_PARAM_LENGTH: 'a part of the path is too long',
};

function detailsOf(error: FastifyError): ErrorDetail[] | undefined {
  return error.validation?.map((fault) => ({ path: fault.instancePath, message: fault.message ?? 'is wrong' }));
}

/** Answers a failure of a handler or of the framework. What is a fault of ours is told to the observer, not outside. */
export function answerError(observer: Observer, error: FastifyError, reply: FastifyReply): void {
  if (error instanceof StoreUnavailable) {
    const seconds = String(Math.max(1, Math.ceil(error.retryAfterSeconds)));
    void reply
      .code(503)
      .header('Retry-After', seconds)
      .send(errorBody('service-unavailable', 'the store cannot answer now'));
    return;
  }
  const status = error.statusCode ?? 500;
  if (status >= 400 && status < 500) {
    const message =
      MESSAGES[error.code] ?? (error.validation === undefined ? codeOfStatus(status) : 'the request is not valid');
    void reply.code(status).send(errorBody(codeOfStatus(status), message, detailsOf(error)));
    return;
  }
  observer.warning({ what: 'a request failed', error });
  void reply.code(500).send(errorBody('internal-server-error', 'a fault of the server'));
}

/** Whether the framework found a fault in the body of a request to nowhere: the answer is still that there is nothing. */
export function isFaultAtNowhere(error: FastifyError, request: FastifyRequest): boolean {
  const status = error.statusCode ?? 500;
  return request.is404 && status >= 400 && status < 500;
}

export function answerNotFound(_request: FastifyRequest, reply: FastifyReply): void {
  void reply.code(404).send(errorBody('not-found', 'there is nothing at this address'));
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;

/** Every address and its methods. */
export type RouteTable = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * Answers 405 with `Allow` to the methods that a known address does not have. To be called before any route is made; the
 * answers are made by `finish`, after all others, so that every plugin's addresses are known. `given`: addresses served
 * elsewhere.
 */
export function refuseOtherMethods(
  app: FastifyInstance,
  given: ReadonlyMap<string, readonly string[]>,
): { readonly routes: RouteTable; readonly finish: () => void } {
  const known = new Map<string, Set<string>>();
  const add = (url: string, methods: readonly string[]): void => {
    const present = known.get(url) ?? new Set();
    for (const method of methods) present.add(method);
    known.set(url, present);
  };
  for (const [url, methods] of given) add(url, methods);
  let isDone = false;
  app.addHook('onRoute', (route) => {
    if (!isDone && route.url !== '*') add(route.url, [route.method].flat());
  });
  const finish = (): void => {
    isDone = true;
    for (const [url, methods] of known) {
      const others = METHODS.filter((method) => !methods.has(method));
      if (others.length === 0) continue;
      const allow = [...methods].toSorted().join(', ');
      app.route({
        method: others,
        url,
        schema: { hide: true },
        // Before the body is looked at: what is in it, and of which type, changes nothing.
        onRequest: async (_request, reply) => {
          await reply
            .code(405)
            .header('Allow', allow)
            .send(errorBody('method-not-allowed', `allowed here: ${allow}`));
        },
        handler: () => undefined,
      });
    }
  };
  return { routes: known, finish };
}
