/** Short links, health and figures for the OpenAPI document. */
import { answer, inPath, object, text } from './openapi-words.ts';
import type { Json } from './openapi-words.ts';

/** An empty requirement: whoever asks. */
const ANYONE = [{}];

const visit = (summary: string): Json => ({
  tags: ['links'],
  summary,
  description: 'Whoever has the address may open it.',
  security: ANYONE,
  parameters: [inPath('slug', 'the last part of the short link')],
  responses: {
    302: { ...answer('On to the address.'), headers: { Location: { schema: { type: 'string' } } } },
    404: answer('There is no such link.'),
    410: answer('The link has expired.'),
    429: answer('Too many unknown links were asked for from this address; see Retry-After.'),
    503: answer('The store cannot answer now; see Retry-After.'),
  },
});

const health = (summary: string, responses: Json): Json => ({ tags: ['health'], summary, security: ANYONE, responses });
const standing = object({ status: text('ok or unavailable') });

/** Paths that bring no schema along and belong to no larger part. */
export const otherPaths: Record<string, Json> = {
  '/l/{slug}': {
    get: visit('Opens a recipient’s own short link; a person’s visit is a click.'),
    head: visit('Where a short link leads; never a click.'),
  },
  '/health/live': { get: health('Whether the process runs.', { 200: answer('It does.', standing) }) },
  '/health/ready': {
    get: health('Whether it takes work: started, not stopping, and its store writes.', {
      200: answer('It does.', standing),
      503: answer('It does not.', standing),
    }),
  },
  '/metrics': {
    get: {
      tags: ['health'],
      summary: 'Figures for Prometheus.',
      description: 'From this machine without a token, from elsewhere with the one of `--metrics-token`.',
      security: [{ metricsToken: [] }, ...ANYONE],
      responses: {
        200: { ...answer('The figures.'), content: { 'text/plain': { schema: { type: 'string' } } } },
        404: answer('The token is missing or wrong.'),
      },
    },
  },
};
