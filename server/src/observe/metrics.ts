import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { StoreCounts } from '../core/ports.ts';

/** Label values of one metric; further ones count as `other`, since each is a series for ever. */
const LABEL_VALUES_MAX = 64;

/** Seconds. From a fraction of a disk sync to the timeouts of callers. */
const REQUEST_BUCKETS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];
/** Seconds. A live device answers in milliseconds, one that was away in days. */
const DELIVERY_BUCKETS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30, 300, 3_600, 86_400];
const RECEIPT_BUCKETS = [0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10];
const GATHERED_BUCKETS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000];

/** A counter by one label whose values are bounded in number. */
class LabelledCounter {
  readonly #counter: Counter;
  readonly #label: string;
  readonly #known = new Set<string>();

  constructor(registry: Registry, options: { name: string; help: string; label: string }) {
    const { name, help, label } = options;
    this.#label = label;
    this.#counter = new Counter({ name, help, labelNames: [label], registers: [registry] });
  }

  add(value: string, count = 1): void {
    if (!this.#known.has(value)) {
      if (this.#known.size >= LABEL_VALUES_MAX) return this.#counter.inc({ [this.#label]: 'other' }, count);
      this.#known.add(value);
    }
    this.#counter.inc({ [this.#label]: value }, count);
  }
}

const MS_PER_SECOND = 1_000;

/** Milliseconds in, seconds out, as Prometheus wants them. */
class Timing {
  readonly #histogram: Histogram;

  constructor(registry: Registry, options: { name: string; help: string; buckets: number[] }) {
    this.#histogram = new Histogram({ ...options, registers: [registry] });
  }

  observe(ms: number): void {
    this.#histogram.observe(ms / MS_PER_SECOND);
  }
}

/** Gauges asked of the store at each scrape; a store that does not answer leaves them out. */
function registerStoreCounts(registry: Registry, read: () => Promise<StoreCounts>): void {
  let latest: Promise<StoreCounts | null> | null = null;
  // One question per scrape, whatever the number of gauges.
  const ask = (): Promise<StoreCounts | null> => {
    latest ??= read()
      .catch(() => null)
      .finally(() => queueMicrotask(() => (latest = null)));
    return latest;
  };
  const gauges: readonly [string, string, (counts: StoreCounts) => number][] = [
    ['carillon_messages_waiting', 'Messages that no device has acknowledged and nothing has ended.', (c) => c.waiting],
    ['carillon_users', 'Users with a log.', (c) => c.users],
    ['carillon_receipts_pending', 'Receipts not taken yet.', (c) => c.receiptsPending],
    ['carillon_receipts_dead', 'Receipts given up; they can be replayed.', (c) => c.receiptsDead],
    [
      'carillon_receipts_oldest_seconds',
      'Age of the oldest receipt not taken yet.',
      (c) => c.receiptsOldestMs / MS_PER_SECOND,
    ],
  ];
  for (const [name, help, pick] of gauges) {
    const gauge: Gauge = new Gauge({
      name,
      help,
      registers: [registry],
      async collect() {
        const counts = await ask();
        if (counts === null) gauge.remove();
        else gauge.set(pick(counts));
      },
    });
  }
}

/** Every figure of `GET /metrics`. One registry per server, so that two servers in one process do not mix. */
export class Metrics {
  readonly registry = new Registry();

  readonly requestsAccepted = this.#counter('carillon_requests_accepted_total', 'Requests answered 1001.');
  readonly destinationsAccepted = this.#counter(
    'carillon_destinations_accepted_total',
    'Destinations of these requests.',
  );
  readonly requestsRefused = this.#labelled('carillon_requests_refused_total', 'Requests refused, by code.', 'code');
  readonly acceptTime = this.#timing('carillon_accept_seconds', 'From the request to its answer.', REQUEST_BUCKETS);
  readonly commitTime = this.#timing('carillon_commit_seconds', 'One commit with its sync to disk.', REQUEST_BUCKETS);
  readonly commitSize = new Histogram({
    name: 'carillon_commit_units',
    help: 'Requests and settlements gathered into one commit.',
    buckets: GATHERED_BUCKETS,
    registers: [this.registry],
  });
  readonly deliveriesStored = this.#counter('carillon_deliveries_total', 'Messages put into a log: one per recipient.');
  readonly storeFailures = this.#labelled(
    'carillon_store_failures_total',
    'Store operations that failed.',
    'operation',
  );
  readonly delivered = this.#counter('carillon_delivered_total', 'Messages a device has acknowledged.');
  readonly deliveryTime = this.#timing(
    'carillon_delivery_seconds',
    'From acceptance to the acknowledgement of the first device.',
    DELIVERY_BUCKETS,
  );
  readonly settled = this.#labelled('carillon_settled_total', 'What happened to messages, by kind.', 'kind');
  readonly sessions = new Gauge({
    name: 'carillon_sessions',
    help: 'Devices connected.',
    registers: [this.registry],
  });
  readonly sessionsOpened = this.#labelled('carillon_sessions_opened_total', 'Sessions opened.', 'protocol');
  readonly sessionsClosed = this.#labelled('carillon_sessions_closed_total', 'Connections ended, by reason.', 'reason');
  readonly devicesRefused = this.#labelled('carillon_devices_refused_total', 'Packets and connects refused.', 'reason');
  readonly receipts = this.#labelled('carillon_receipts_total', 'Tries to deliver a receipt, by result.', 'result');
  readonly receiptTime = this.#timing('carillon_receipt_seconds', 'One try to deliver a receipt.', RECEIPT_BUCKETS);
  readonly receiptsSkipped = this.#labelled(
    'carillon_receipts_skipped_total',
    'Receipts not sent; a request nobody wants to hear of counts once.',
    'reason',
  );
  readonly linkVisits = this.#labelled('carillon_link_visits_total', 'Visits of short links.', 'outcome');
  readonly adminChanges = this.#labelled('carillon_admin_changes_total', 'Changes through the admin API.', 'kind');
  readonly warnings = this.#labelled('carillon_warnings_total', 'Things an operator should look at.', 'what');

  /** `counts`: asked of the store once a scrape. */
  constructor(options: { counts?: () => Promise<StoreCounts> } = {}) {
    // Event-loop lag, garbage collection, memory, file handles.
    collectDefaultMetrics({ register: this.registry });
    if (options.counts !== undefined) registerStoreCounts(this.registry, options.counts);
  }

  /** A gauge that is read at each scrape: the depth of a queue, the size of a cache. */
  addGauge(name: string, help: string, read: () => number): void {
    const gauge: Gauge = new Gauge({ name, help, registers: [this.registry], collect: () => gauge.set(read()) });
  }

  /** The answer to `GET /metrics`. */
  async render(): Promise<{ readonly contentType: string; readonly body: string }> {
    return { contentType: this.registry.contentType, body: await this.registry.metrics() };
  }

  #counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.registry] });
  }

  #labelled(name: string, help: string, label: string): LabelledCounter {
    return new LabelledCounter(this.registry, { name, help, label });
  }

  #timing(name: string, help: string, buckets: number[]): Timing {
    return new Timing(this.registry, { name, help, buckets });
  }
}
