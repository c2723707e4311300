/** `/admin/v1`: what operators and the console work with. Contract §5. */
import { Ajv } from 'ajv';
import type { FastifyError, FastifyInstance, FastifyPluginAsync, FastifySchemaCompiler } from 'fastify';
import { StoreUnavailable } from '../../core/ports.ts';
import { isFaultAtNowhere } from '../errors.ts';
import { addApps } from './apps.ts';
import { addClients } from './clients.ts';
import { guard, notFound, Routes, send } from './context.ts';
import type { AdminDeps, Answer, FaultDetail } from './context.ts';
import { addEndpoints, addMessages, addReceipts } from './deliveries.ts';
import { addPeople } from './people.ts';
import { addServiceSecrets } from './service-secrets.ts';
import { addServices } from './services.ts';
import { addSmartlinks, addTemplates } from './templates.ts';
import { addTokens } from './tokens.ts';

export const ADMIN_PREFIX = '/admin/v1';

/** Bodies are taken as they are, an unknown field is a fault; texts of a query become the numbers they stand for. */
function createValidation(): FastifySchemaCompiler<object> {
  const bodies = new Ajv({ allErrors: true, strict: true, allowUnionTypes: true });
  const queries = new Ajv({ allErrors: true, strict: true, allowUnionTypes: true, coerceTypes: true });
  return ({ schema, httpPart }) => (httpPart === 'body' ? bodies : queries).compile(schema);
}

const SERVER_FAULT_STATUS = 500;

function detailsOf(error: FastifyError): FaultDetail[] {
  return (error.validation ?? []).map((fault) => {
    const { additionalProperty, missingProperty, allowedValues } = fault.params;
    const unknownField = typeof additionalProperty === 'string' ? additionalProperty : null;
    const name = unknownField ?? (typeof missingProperty === 'string' ? missingProperty : null);
    const path = name === null ? fault.instancePath : `${fault.instancePath}/${name}`;
    if (unknownField !== null) return { path, message: 'there is no such field' };
    if (name !== null) return { path, message: 'is needed' };
    const words = Array.isArray(allowedValues) ? `: ${allowedValues.join(', ')}` : '';
    return { path, message: `${fault.message ?? 'is not valid'}${words}` };
  });
}

/** What fastify or a handler threw, as an answer that tells nothing of the inside. */
function answerFor(error: FastifyError | Error): Answer & { readonly isOurs: boolean } {
  const status = 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : SERVER_FAULT_STATUS;
  const refusal = (code: string, message: string, details?: FaultDetail[]): Answer['body'] => ({
    error: { code, message, ...(details === undefined ? undefined : { details }) },
  });
  if (error instanceof StoreUnavailable) {
    return { status: 503, body: refusal('unavailable', 'The store cannot take it now: try again.'), isOurs: true };
  }
  if (status >= SERVER_FAULT_STATUS) {
    return { status: 500, body: refusal('internal', 'An internal error occurred.'), isOurs: true };
  }
  if ('validation' in error && error.validation !== undefined) {
    return { status, body: refusal('invalid', 'The request is not valid.', detailsOf(error)), isOurs: false };
  }
  return { status, body: refusal('invalid', error.message), isOurs: false };
}

/**
 * The admin API as a fastify plugin. It brings its own validation, its own answers for errors and unknown paths, and lets
 * nobody in without a token. The server's `maxParamLength` must be at least 768: a userid of 256 bytes, percent-encoded.
 */
export function createAdmin(deps: AdminDeps): FastifyPluginAsync {
  return async (root: FastifyInstance) => {
    await root.register(
      (fastify, _options, done) => {
        fastify.setValidatorCompiler(createValidation());
        guard(fastify, deps);
        fastify.setNotFoundHandler((_request, reply) => send(reply, notFound));
        fastify.setErrorHandler((error: FastifyError, request, reply) => {
          if (isFaultAtNowhere(error, request)) return send(reply, notFound);
          const { isOurs, ...answer } = answerFor(error);
          if (isOurs) deps.observer.warning({ what: 'admin-request-failed', error });
          if (answer.status === 503) void reply.header('retry-after', '1');
          return send(reply, answer);
        });
        const routes = new Routes(fastify);
        addClients(routes, deps);
        addServices(routes, deps);
        addServiceSecrets(routes, deps);
        addApps(routes, deps);
        addTemplates(routes, deps);
        addSmartlinks(routes, deps);
        addPeople(routes, deps);
        addMessages(routes, deps);
        addReceipts(routes, deps);
        addEndpoints(routes, deps);
        addTokens(routes, deps);
        done();
      },
      { prefix: ADMIN_PREFIX },
    );
  };
}
