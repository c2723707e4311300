import type { AcceptUnit } from '../../core/ports.ts';
import { idempotencyKey } from './accept.ts';
import type { IdempotencyEntry } from './accept.ts';
import { Columns, unnest } from './columns.ts';
import type { Transaction } from './database.ts';

interface Reserved extends IdempotencyEntry {
  readonly service: string;
  readonly key: string;
}

/**
 * Idempotency-Keys across nodes. A transaction puts its keys in first of all, in order; who comes second with the same
 * key waits there for the first one to end, and then finds its answer, or nothing if it came to nothing.
 */
export class Idempotency {
  private readonly transaction: Transaction;
  private readonly reserved = new Map<string, Reserved>();
  /** Put in by this transaction; the others were there. */
  private readonly own = new Set<string>();
  private readonly others = new Map<string, IdempotencyEntry>();

  constructor(transaction: Transaction) {
    this.transaction = transaction;
  }

  /** What was kept under the keys of these requests before. */
  async claim(units: readonly AcceptUnit[]): Promise<Map<string, IdempotencyEntry>> {
    for (const { serviceId: service, idempotency } of units) {
      if (idempotency === null) continue;
      const { key, bodyHash: hash, answer, expiresAt: expires } = idempotency;
      const name = idempotencyKey(service, key);
      if (!this.reserved.has(name)) this.reserved.set(name, { service, key, hash, answer, expires });
    }
    const kept = new Map<string, IdempotencyEntry>();
    if (this.reserved.size === 0) return kept;
    const columns = new Columns(5);
    for (const [, one] of [...this.reserved].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      columns.add(one.service, one.key, one.hash, one.answer, one.expires);
    }
    const made = await this.transaction.all(
      `INSERT INTO idempotency (service, key, hash, answer, expires)
       SELECT * FROM ${unnest('text', 'text', 'text', 'text', 'bigint')} ON CONFLICT DO NOTHING RETURNING service, key`,
      columns.values,
    );
    for (const row of made) this.own.add(idempotencyKey(String(row['service']), String(row['key'])));
    if (this.own.size < this.reserved.size) await this.readOthers(kept);
    return kept;
  }

  private async readOthers(kept: Map<string, IdempotencyEntry>): Promise<void> {
    const columns = new Columns(2);
    for (const [name, { service, key }] of [...this.reserved].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      if (!this.own.has(name)) columns.add(service, key);
    }
    const rows = await this.transaction.all(
      `SELECT i.service, i.key, i.hash, i.answer, i.expires FROM ${unnest('text', 'text')} q(service, key)
       JOIN idempotency i ON i.service = q.service AND i.key = q.key ORDER BY i.service, i.key FOR UPDATE OF i`,
      columns.values,
    );
    for (const row of rows) {
      this.others.set(idempotencyKey(String(row['service']), String(row['key'])), {
        hash: String(row['hash']),
        answer: String(row['answer']),
        expires: Number(row['expires']),
      });
    }
    for (const [name, entry] of this.others) kept.set(name, entry);
  }

  /** Corrects what was put in ahead by what became of the requests. */
  write(kept: ReadonlyMap<string, IdempotencyEntry>): void {
    const changed = new Columns(5);
    const refused = new Columns(2);
    for (const [name, reserved] of this.reserved) {
      const now = kept.get(name);
      if (now === undefined) {
        if (this.own.has(name)) refused.add(reserved.service, reserved.key);
      } else if (now !== this.others.get(name) && !(this.own.has(name) && isAlike(now, reserved))) {
        changed.add(reserved.service, reserved.key, now.hash, now.answer, now.expires);
      }
    }
    if (!refused.isEmpty) {
      void this.transaction.run(
        `DELETE FROM idempotency i USING ${unnest('text', 'text')} q(service, key) WHERE i.service = q.service AND i.key = q.key`,
        refused.values,
      );
    }
    if (changed.isEmpty) return;
    void this.transaction.run(
      `INSERT INTO idempotency (service, key, hash, answer, expires) SELECT * FROM ${unnest('text', 'text', 'text', 'text', 'bigint')}
       ON CONFLICT (service, key) DO UPDATE SET hash = excluded.hash, answer = excluded.answer, expires = excluded.expires`,
      changed.values,
    );
  }
}

function isAlike(a: IdempotencyEntry, b: IdempotencyEntry): boolean {
  return a.hash === b.hash && a.answer === b.answer && a.expires === b.expires;
}
