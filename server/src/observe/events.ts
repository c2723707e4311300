import type { Observer } from '../core/observer.ts';
import type { Clock } from '../core/ports.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import { Spans } from './spans.ts';

type Event<Method extends keyof Observer> = Parameters<Observer[Method]>[0];

const SERVER_FAULT_STATUS = 500;

/**
 * One method per business event: its log line, its counter, its histogram, all in one place. What happens thousands of times
 * a second (`committed`, `delivered`, `settled`) is only counted; the other lines are bounded in rate by the log.
 */
export class Events implements Observer {
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #spans: Spans;

  constructor(options: { log: Log; metrics: Metrics; clock: Pick<Clock, 'now'> }) {
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#spans = new Spans(options.clock);
  }

  requestAccepted(event: Event<'requestAccepted'>): void {
    this.#metrics.requestsAccepted.inc();
    this.#metrics.destinationsAccepted.inc(event.destinations);
    this.#metrics.acceptTime.observe(event.ms);
    this.#log.info('request accepted', event);
    this.#spans.record('carillon.accept', 'server', event.ms, () => ({
      'carillon.service': event.serviceId,
      'carillon.transid': event.transid,
      'carillon.destinations': event.destinations,
    }));
  }

  requestRefused(event: Event<'requestRefused'>): void {
    this.#metrics.requestsRefused.add(event.code);
    this.#metrics.acceptTime.observe(event.ms);
    if (event.status >= SERVER_FAULT_STATUS) this.#log.warn('request refused', event);
    else this.#log.info('request refused', event);
  }

  committed(event: Event<'committed'>): void {
    this.#metrics.commitTime.observe(event.ms);
    this.#metrics.commitSize.observe(event.accepts + event.settlements);
    this.#metrics.deliveriesStored.inc(event.deliveries);
    this.#spans.record('carillon.commit', 'internal', event.ms, () => ({
      'carillon.accepts': event.accepts,
      'carillon.deliveries': event.deliveries,
      'carillon.settlements': event.settlements,
    }));
  }

  storeFailed(event: Event<'storeFailed'>): void {
    this.#metrics.storeFailures.add(event.operation);
    this.#log.error('store failed', event);
  }

  delivered(event: Event<'delivered'>): void {
    this.#metrics.delivered.inc();
    this.#metrics.deliveryTime.observe(event.latencyMs);
  }

  settled(event: Event<'settled'>): void {
    this.#metrics.settled.add(event.kind, event.count);
  }

  sessionOpened(event: Event<'sessionOpened'>): void {
    this.#metrics.sessions.inc();
    this.#metrics.sessionsOpened.add(`${event.protocol}/${event.transport}`);
    this.#log.info('session opened', event);
  }

  sessionClosed(event: Event<'sessionClosed'>): void {
    // Without an app it was a connection that never became a session.
    if (event.appId !== null) this.#metrics.sessions.dec();
    this.#metrics.sessionsClosed.add(event.reason);
    this.#log.info('session closed', event);
  }

  deviceRefused(event: Event<'deviceRefused'>): void {
    this.#metrics.devicesRefused.add(event.reason);
    this.#log.info('device refused', event);
  }

  receiptTried(event: Event<'receiptTried'>): void {
    this.#metrics.receipts.add(event.result);
    this.#metrics.receiptTime.observe(event.ms);
    if (event.result === 'dead' || event.result === 'disabled') this.#log.warn('receipt tried', event);
    else this.#log.info('receipt tried', event);
    this.#spans.record('carillon.receipt', 'client', event.ms, () => ({
      'carillon.service': event.serviceId,
      'carillon.receipt': event.id,
      'carillon.result': event.result,
      'server.address': event.origin,
    }));
  }

  receiptSkipped(event: Event<'receiptSkipped'>): void {
    this.#metrics.receiptsSkipped.add(event.reason, event.count);
  }

  linkVisited(event: Event<'linkVisited'>): void {
    this.#metrics.linkVisits.add(event.outcome);
    this.#log.info('link visited', event);
  }

  adminChanged(event: Event<'adminChanged'>): void {
    this.#metrics.adminChanges.add(event.kind);
    this.#log.info('admin changed', event);
  }

  warning(event: Event<'warning'>): void {
    this.#metrics.warnings.add(event.what);
    this.#log.warn('warning', event);
  }
}
