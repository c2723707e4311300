import { createHash } from 'node:crypto';
import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import { DOCS_STYLE, renderDocsPage } from './docs-page.ts';
import type { OpenapiDocument } from './docs-page.ts';
import { messagingPaths } from './openapi-messaging.ts';
import { otherPaths } from './openapi-others.ts';
import { threadPaths } from './openapi-threads.ts';
import { THREAD_BASES } from './threads.ts';

const VERSION = '0.1.0';

const DESCRIPTION =
  'Outbound messaging: one call in, messages on devices, signed receipts out. ' +
  'The messaging API is called with a service key, the admin API with an admin token.';

const styleHash = createHash('sha256').update(DOCS_STYLE).digest('base64');
/** The page loads nothing and runs nothing; its one style sheet is known by its hash. */
const CONTENT_SECURITY_POLICY = `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/**
 * `GET /openapi.json` and `GET /docs`. To be called before the routes it shall describe; those without a tag are left out
 * and have a path written by hand, but for the two of this function (test/e2e/openapi.test.ts holds the rest to it).
 * The document is made once, at the first request.
 */
export async function registerOpenapi(fastify: FastifyInstance): Promise<void> {
  await fastify.register(swagger, {
    hideUntagged: true,
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Carillon', version: VERSION, description: DESCRIPTION },
      components: {
        securitySchemes: {
          serviceKey: { type: 'apiKey', in: 'header', name: 'key', description: 'A key of a service.' },
          appSecret: { type: 'apiKey', in: 'header', name: 'secretKey', description: 'The secret of an app.' },
          adminToken: { type: 'http', scheme: 'bearer', description: 'An admin token; it begins with `cat_`.' },
          metricsToken: { type: 'http', scheme: 'bearer', description: 'The one given by `--metrics-token`.' },
        },
      },
      paths: structuredClone({ ...messagingPaths, ...threadPaths(THREAD_BASES), ...otherPaths }),
    },
  });

  let page: string | null = null;
  fastify.get('/openapi.json', (_request, reply) => {
    void reply.header('cache-control', 'no-cache');
    return reply.send(fastify.swagger());
  });
  fastify.get('/docs', (_request, reply) => {
    page ??= renderDocsPage(fastify.swagger() as OpenapiDocument);
    return reply
      .header('content-type', 'text/html; charset=utf-8')
      .header('content-security-policy', CONTENT_SECURITY_POLICY)
      .header('x-content-type-options', 'nosniff')
      .header('referrer-policy', 'no-referrer')
      .header('cache-control', 'no-cache')
      .send(page);
  });
}
