import type { DisabledEndpoint } from '../core/model.ts';
import type { Bus, Clock, ReceiptAttempt, ReceiptSettlement, ReceiptWork, Store } from '../core/ports.ts';
import type { ReceiptLimits } from './limits.ts';

/** What becomes of a receipt; `disables`: its URL answered 410. */
export type Verdict =
  | { readonly kind: 'done'; readonly attempt: ReceiptAttempt | null }
  | { readonly kind: 'retry'; readonly at: number; readonly attempt: ReceiptAttempt }
  | { readonly kind: 'defer'; readonly at: number }
  | { readonly kind: 'dead'; readonly attempt: ReceiptAttempt | null; readonly disables: DisabledEndpoint | null };

/** What is to be settled. Its work is read when it is written: a claim renewed in the meantime has another lease. */
export interface Settled {
  work: ReceiptWork;
}

interface Pending {
  readonly task: Settled;
  readonly verdict: Verdict;
}

export interface SettlerOptions {
  readonly store: Pick<Store, 'settleReceipts' | 'putObjects'>;
  readonly bus: Pick<Bus, 'publish'>;
  readonly clock: Clock;
  readonly limits: ReceiptLimits;
  /** Written: the store knows, and memory may forget. */
  readonly release: (task: Settled) => void;
}

/** Gathers outcomes and writes them in batches. What the store refuses stays here and is written later. */
export class Settler {
  private readonly options: SettlerOptions;
  private readonly pending: Pending[] = [];
  /** Order keys with something to come back that the store does not know of yet. */
  private readonly blocked = new Map<string, number>();
  private flushedAt = Number.NEGATIVE_INFINITY;
  private dirty = false;

  constructor(options: SettlerOptions) {
    this.options = options;
  }

  get size(): number {
    return this.pending.length;
  }

  /** Something of this key will come back, and the store may not know: what is behind it must not go yet. */
  blocks(orderKey: string): boolean {
    return this.blocked.has(orderKey);
  }

  add(task: Settled, verdict: Verdict): void {
    this.pending.push({ task, verdict });
    if (!comesBack(verdict)) return;
    const key = task.work.orderKey;
    this.blocked.set(key, (this.blocked.get(key) ?? 0) + 1);
  }

  /** Writes all that is there. Rejects as the store does; what was not written is kept. Not to be called twice at once. */
  async flush(): Promise<void> {
    const { store, clock, limits } = this.options;
    if (this.pending.length === 0) {
      // The store may hold back how far it got; now is time to write it.
      if (!this.dirty || clock.monotonic() - this.flushedAt < limits.pollMs) return;
      await store.settleReceipts([]);
      this.dirty = false;
      return;
    }
    while (this.pending.length > 0) {
      const batch = this.pending.slice(0, limits.settleMax);
      await this.disable(batch);
      await store.settleReceipts(batch.map(settlementOf));
      this.pending.splice(0, batch.length);
      this.flushedAt = clock.monotonic();
      this.dirty = true;
      for (const one of batch) this.written(one);
    }
  }

  private async disable(batch: readonly Pending[]): Promise<void> {
    const endpoints = new Map<string, DisabledEndpoint>();
    for (const { verdict } of batch) {
      if (verdict.kind === 'dead' && verdict.disables !== null) endpoints.set(verdict.disables.id, verdict.disables);
    }
    if (endpoints.size === 0) return;
    const objects = [...endpoints.values()].map((value) => ({ kind: 'endpoint', value }) as const);
    await this.options.store.putObjects(objects, 'replace');
    this.options.bus.publish('objects');
  }

  private written({ task, verdict }: Pending): void {
    if (comesBack(verdict)) {
      const key = task.work.orderKey;
      const left = (this.blocked.get(key) ?? 1) - 1;
      if (left === 0) this.blocked.delete(key);
      else this.blocked.set(key, left);
    }
    this.options.release(task);
  }
}

function comesBack(verdict: Verdict): boolean {
  return verdict.kind === 'retry' || verdict.kind === 'defer';
}

function settlementOf({ task, verdict }: Pending): ReceiptSettlement {
  const { work } = task;
  if (verdict.kind !== 'dead') return { work, ...verdict };
  return { work, kind: 'dead', attempt: verdict.attempt };
}
