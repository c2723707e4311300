import type { Directory } from '../core/directory.ts';
import type { Service } from '../core/model.ts';
import type { ReceiptWork } from '../core/ports.ts';
import { statusOf } from '../core/receipt.ts';
import { parseTargetUrl } from '../lib/target-url.ts';
import type { Endpoints } from './endpoints.ts';

/** Where a receipt goes. */
export interface Target {
  readonly service: Service;
  readonly url: string;
  /** Scheme, host and port: what shares a lane. */
  readonly origin: string;
}

export type Route =
  | { readonly kind: 'send'; readonly target: Target }
  | { readonly kind: 'skip'; readonly reason: 'no-url' | 'not-wanted' }
  /** Nothing can be sent there: at once dead, with the reason. */
  | { readonly kind: 'dead'; readonly reason: 'disabled' | 'bad-url'; readonly url: string; readonly message: string };

export interface Router {
  readonly directory: Pick<Directory, 'peek' | 'service'>;
  readonly endpoints: Endpoints;
}

/**
 * Resolves a work by what its service is now: the request's own URL before the service's, the inbound URL for inbound
 * events. A promise only where something has to be asked of the store. Rejects with what the store rejects with.
 */
export function routeOf(work: ReceiptWork, router: Router): Route | Promise<Route> {
  const service = router.directory.peek('service', work.serviceId);
  if (service === undefined)
    return router.directory.service(work.serviceId).then((found) => standing(work, found, router));
  return standing(work, service, router);
}

function standing(work: ReceiptWork, service: Service | null, router: Router): Route | Promise<Route> {
  if (service === null) return { kind: 'skip', reason: 'no-url' };
  const status = statusOf(work.kind);
  const url = work.url ?? (status === null ? service.inboundUrl : service.notifyUrl);
  if (url === null) return { kind: 'skip', reason: 'no-url' };
  if (status !== null && !service.statuses.includes(status)) return { kind: 'skip', reason: 'not-wanted' };
  const parsed = parseTargetUrl(url);
  if (!parsed.ok) return { kind: 'dead', reason: 'bad-url', url, message: parsed.message };
  const target = { service, url, origin: parsed.url.origin };
  const disabled = router.endpoints.peekDisabled(service.id, url);
  if (disabled !== undefined) return verdict(target, disabled);
  return router.endpoints.isDisabled(service.id, url).then((found) => verdict(target, found));
}

function verdict(target: Target, disabled: boolean): Route {
  if (!disabled) return { kind: 'send', target };
  const message = 'the URL answered 410 earlier and is disabled for this service; enable it, then replay';
  return { kind: 'dead', reason: 'disabled', url: target.url, message };
}
