import type { Service } from '../../core/model.ts';
import type { ReceiptKind, UnwantedReceipts } from '../../core/ports.ts';
import { statusOf } from '../../core/receipt.ts';
import { Lru } from '../../lib/lru.ts';
import { FEED_KINDS } from '../feed-work.ts';
import type { ReceiptRoute } from './requests.ts';
import type { State } from './state.ts';

const SERVICES_CACHED_MAX = 10_000;

type Reason = UnwantedReceipts['reason'];
/** Why nobody is told, by kind; null: somebody is. */
type Verdicts = Readonly<Record<ReceiptKind, Reason | null>>;

interface Audience {
  /** Of requests without a URL of their own. */
  readonly inherited: Verdicts;
  /** Of those with one. */
  readonly own: Verdicts;
}

/** Who wants to be told of what, by what the services are now. Services are kept until an object changes. */
export class Audiences {
  private readonly state: State;
  private readonly services = new Lru<string, Audience>(SERVICES_CACHED_MAX);

  constructor(state: State) {
    this.state = state;
    state.onObjects(() => this.services.clear());
    state.onReset(() => this.services.clear());
  }

  /** Why nobody is to be told; null: somebody is. */
  refusal(kind: ReceiptKind, { serviceId, notifyUrl }: ReceiptRoute): Reason | null {
    const audience = this.audience(serviceId);
    return (notifyUrl === null ? audience.inherited : audience.own)[kind];
  }

  private audience(serviceId: string): Audience {
    const known = this.services.get(serviceId);
    if (known !== undefined) return known;
    const row = this.state.db.get("SELECT body FROM objects WHERE kind = 'service' AND id = ?", serviceId);
    const service = row === undefined ? null : (JSON.parse(String(row['body'])) as Service);
    const audience = { inherited: verdictsOf(service, false), own: verdictsOf(service, true) };
    this.services.set(serviceId, audience);
    return audience;
  }
}

function verdictsOf(service: Service | null, hasOwnUrl: boolean): Verdicts {
  return Object.fromEntries(FEED_KINDS.map((kind) => [kind, verdictOf(service, kind, hasOwnUrl)])) as Verdicts;
}

function verdictOf(service: Service | null, kind: ReceiptKind, hasOwnUrl: boolean): Reason | null {
  if (service === null) return 'no-url';
  const status = statusOf(kind);
  if (status === null) return service.inboundUrl === null ? 'no-url' : null;
  if (!hasOwnUrl && service.notifyUrl === null) return 'no-url';
  return service.statuses.includes(status) ? null : 'not-wanted';
}

/** What nobody wants to be told of, counted by service and reason until it is told. */
export class UnwantedTally {
  private readonly counts = new Map<string, Record<Reason, number>>();

  add(serviceId: string, reason: Reason): void {
    const known = this.counts.get(serviceId);
    if (known !== undefined) known[reason] += 1;
    else this.counts.set(serviceId, { 'no-url': 0, 'not-wanted': 0, [reason]: 1 });
  }

  tell(onUnwanted: (unwanted: UnwantedReceipts) => void): void {
    for (const [serviceId, counts] of this.counts) {
      for (const reason of ['no-url', 'not-wanted'] as const) {
        if (counts[reason] > 0) onUnwanted({ serviceId, reason, count: counts[reason] });
      }
    }
    this.counts.clear();
  }
}
