/** For those who keep the process running: alive, ready, and its figures (contract §1, §5). */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { within } from '../lib/deadline.ts';
import type { HttpDeps, MetricsSource } from './deps.ts';
import { errorBody } from './errors.ts';
import { httpLimits } from './limits.ts';

/** One probe for all who ask at the same time and shortly after. */
class Probe {
  private readonly deps: HttpDeps;
  private last: { readonly at: number; readonly outcome: Promise<boolean> } | null = null;

  constructor(deps: HttpDeps) {
    this.deps = deps;
  }

  isWriting(): Promise<boolean> {
    const at = this.deps.clock.monotonic();
    if (this.last === null || at - this.last.at >= httpLimits.probeFreshMs) this.last = { at, outcome: this.ask() };
    return this.last.outcome;
  }

  private async ask(): Promise<boolean> {
    try {
      const probed = await within(this.deps.store.probe(), httpLimits.probeTimeoutMs);
      return probed.done;
    } catch (error) {
      this.deps.observer.storeFailed({ operation: 'probe', error });
      return false;
    }
  }
}

/** On this machine and not passed on by a proxy on it: then the one who asks may be anywhere. */
function isLocal(request: FastifyRequest): boolean {
  const { headers } = request;
  if (headers['x-forwarded-for'] !== undefined || headers['forwarded'] !== undefined) return false;
  const address = request.socket.remoteAddress ?? '';
  return address === '::1' || /^(?:::ffff:)?127\./.test(address);
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function mayReadMetrics(request: FastifyRequest, metrics: MetricsSource): boolean {
  if (isLocal(request)) return true;
  const given = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  // Digests have one length, so that the comparison takes one time.
  return metrics.token !== null && given !== undefined && timingSafeEqual(digest(given), digest(metrics.token));
}

/** `/health/live`, `/health/ready` and, where there is a source, `/metrics`. They tell no version and no reason. */
export function registerHealth(app: FastifyInstance, deps: HttpDeps, isClosing: () => boolean): void {
  const probe = new Probe(deps);
  app.get('/health/live', () => ({ status: 'ok' }));
  app.get('/health/ready', async (_request, reply) => {
    const isReady = !isClosing() && (deps.isReady?.() ?? true) && (await probe.isWriting());
    return isReady ? { status: 'ok' } : reply.code(503).send({ status: 'unavailable' });
  });
  const { metrics } = deps;
  if (metrics === undefined) return;
  app.get('/metrics', async (request, reply) => {
    if (!mayReadMetrics(request, metrics)) {
      // As if there were nothing: who may not read it need not know of it.
      return reply.code(404).send(errorBody('not-found', 'there is nothing at this address'));
    }
    const { contentType, body } = await metrics.render();
    return reply.type(contentType).send(body);
  });
}
