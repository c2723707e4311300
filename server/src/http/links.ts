/** `GET /l/<slug>`: a recipient's own short link (contract §2.7; docs/api.md, smartlinks). */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { HttpDeps } from './deps.ts';
import { errorBody } from './errors.ts';
import { GuessLimiter } from './link-guard.ts';

/** What fetches a link without a person tapping it: previews of messengers and search engines, by their own names. */
const BOTS =
  /bot\b|bot\/|crawl|spider|slurp|preview|facebookexternalhit|facebot|whatsapp|telegram|skypeuripreview|embedly|quora link|pinterest|vkshare|w3c_validator|google-safety|googleimageproxy|urlscan|headlesschrome/i;

function isPrefetch(request: FastifyRequest): boolean {
  const { purpose, 'sec-purpose': secPurpose, 'x-moz': xMoz } = request.headers;
  return [purpose, secPurpose, xMoz].some((value) => /prefetch|prerender|preview/i.test(String(value ?? '')));
}

/** Only a person's visit is a click. */
function isClick(request: FastifyRequest): boolean {
  if (request.method !== 'GET' || isPrefetch(request)) return false;
  return !BOTS.test(request.headers['user-agent'] ?? '');
}

/** The address as a header may carry it; null: it is none that a browser should be sent to. */
function locationOf(url: string): string | null {
  const parsed = URL.parse(url);
  return parsed !== null && (parsed.protocol === 'https:' || parsed.protocol === 'http:') ? parsed.href : null;
}

interface SlugParams {
  readonly Params: { readonly slug: string };
}

/** The route of short links. Unknown and expired ones take the same way through the store. */
export function registerLinks(app: FastifyInstance, deps: HttpDeps): void {
  const guesses = new GuessLimiter(deps.clock);

  async function visit(request: FastifyRequest<SlugParams>, reply: FastifyReply): Promise<unknown> {
    reply.header('X-Robots-Tag', 'noindex');
    if (guesses.isExhausted(request.ip)) {
      return reply.code(429).header('Retry-After', '1').send(errorBody('too-many-requests', 'too many unknown links'));
    }
    const count = isClick(request);
    const visited = await deps.store.visitLink(request.params.slug, { now: deps.clock.now(), count });
    deps.observer.linkVisited({ outcome: visited.kind, counted: count && visited.kind === 'open' });
    if (visited.kind === 'expired') return reply.code(410).send(errorBody('gone', 'this link has expired'));
    const location = visited.kind === 'open' ? locationOf(visited.url) : null;
    if (location === null) {
      guesses.guessed(request.ip);
      return reply.code(404).send(errorBody('not-found', 'there is no such link'));
    }
    if (count) deps.bus.publish('receipts');
    return reply.code(302).header('Location', location).send();
  }

  // HEAD comes with GET.
  app.get<SlugParams>('/l/:slug', (request, reply) => visit(request, reply));
}
