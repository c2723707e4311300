import type { Service } from '../../core/model.ts';
import type { ReceiptKind, UnwantedReceipts } from '../../core/ports.ts';
import { statusOf } from '../../core/receipt.ts';
import type { Transaction } from './database.ts';

export type Reason = UnwantedReceipts['reason'];

/** Whom the receipts of a request go to. */
export interface ReceiptRoute {
  readonly serviceId: string;
  /** The request's own; null: the service's. */
  readonly notifyUrl: string | null;
}

/** Who wants to be told of what, by what the services are in this transaction. */
export class Audiences {
  private readonly services = new Map<string, Service | null>();

  async load(transaction: Transaction, ids: Iterable<string>): Promise<void> {
    const missing = [...new Set(ids)].filter((id) => !this.services.has(id));
    if (missing.length === 0) return;
    for (const id of missing) this.services.set(id, null);
    const rows = await transaction.all("SELECT id, body FROM objects WHERE kind = 'service' AND id = ANY($1::text[])", [
      missing,
    ]);
    for (const row of rows) this.services.set(String(row['id']), JSON.parse(String(row['body'])) as Service);
  }

  service(id: string): Service | null {
    return this.services.get(id) ?? null;
  }

  /** Why nobody is to be told; null: somebody is. */
  refusal(kind: ReceiptKind, { serviceId, notifyUrl }: ReceiptRoute): Reason | null {
    const service = this.service(serviceId);
    if (service === null) return 'no-url';
    const status = statusOf(kind);
    if (status === null) return service.inboundUrl === null ? 'no-url' : null;
    if (notifyUrl === null && service.notifyUrl === null) return 'no-url';
    return service.statuses.includes(status) ? null : 'not-wanted';
  }
}

/** What nobody wants to be told of, counted by service and reason until it is told. */
export class UnwantedTally {
  private readonly counts = new Map<string, UnwantedReceipts>();

  add(serviceId: string, reason: Reason): void {
    const key = `${reason} ${serviceId}`;
    const count = (this.counts.get(key)?.count ?? 0) + 1;
    this.counts.set(key, { serviceId, reason, count });
  }

  tell(onUnwanted: (unwanted: UnwantedReceipts) => void): void {
    for (const unwanted of this.counts.values()) onUnwanted(unwanted);
  }
}
