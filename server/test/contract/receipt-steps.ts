import type { ReceiptAttempt, ReceiptWork } from '../../src/core/ports.ts';
import { type StoreFixture, tidOf } from './store-fixture.ts';

/** A try that the endpoint answered. */
export function attempt(f: StoreFixture, status = 500): ReceiptAttempt {
  return { at: f.clock.now(), status, error: null, ms: 12 };
}

/** A message that was delivered: two receipts of one order key. Its tid. */
export async function deliver(f: StoreFixture, name = 'ann'): Promise<string> {
  const entry = await f.send(name);
  await f.settle({ kind: 'delivered', user: entry.user, ref: { n: entry.n }, sentAt: null });
  return tidOf(entry);
}

export async function retry(f: StoreFixture, work: ReceiptWork, afterMs: number): Promise<void> {
  await f.store.settleReceipts([{ kind: 'retry', work, at: f.clock.now() + afterMs, attempt: attempt(f) }]);
}

export async function done(f: StoreFixture, works: readonly ReceiptWork[]): Promise<void> {
  await f.store.settleReceipts(works.map((work) => ({ kind: 'done', work, attempt: attempt(f, 200) })));
}
