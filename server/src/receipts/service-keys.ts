import type { Service } from '../core/model.ts';
import { receiptKeysOf } from '../core/signature.ts';
import type { ReceiptKeys } from '../core/signature.ts';

/** The keys that a service's receipts are signed with, made once for as long as the directory keeps the service. */
export class ServiceKeys {
  private readonly known = new WeakMap<Service, ReceiptKeys | 'none'>();

  /** Null: the service has no usable secret. */
  of(service: Service): ReceiptKeys | null {
    let keys = this.known.get(service);
    if (keys === undefined) {
      keys = receiptKeysOf(service.receiptSecrets) ?? 'none';
      this.known.set(service, keys);
    }
    return keys === 'none' ? null : keys;
  }
}
