import { Columns, unnest } from './columns.ts';
import type { Transaction } from './database.ts';

/** How long a receipt waits for the one before it (contract §3). */
export const ORDER_WAIT_MS = 35 * 60_000;
/** What waits for one that is being tried looks again after this time, should nobody have told it that the way is free. */
const LOOK_AGAIN_MS = 1000;
/** Earlier ones looked at per order key; what has more before it waits. */
const EARLIER_MAX = 64;

export interface Ranked {
  readonly id: string;
  readonly orderKey: string;
  readonly rank: number;
}

/** Until when a receipt waits for one before it, and whether people are told of that one. */
export interface Wait {
  readonly due: number;
  readonly shown: boolean;
}

interface Earlier {
  readonly id: string;
  readonly rank: number;
  readonly due: number;
  readonly created: number;
  readonly shown: boolean;
}

/**
 * The order of receipts within one claim: one may go if everything before it of its order key was told, is too old to
 * wait for, or goes in the same claim, to the same claimer, before it.
 */
export class ReceiptOrder {
  private readonly transaction: Transaction;
  private readonly now: number;
  private readonly earlier = new Map<string, Earlier[]>();
  /** Leased by this claim. */
  private readonly held = new Set<string>();

  constructor(transaction: Transaction, now: number) {
    this.transaction = transaction;
    this.now = now;
  }

  /** Reads what is pending before these. */
  async load(candidates: readonly Ranked[]): Promise<void> {
    const ranks = new Map<string, number>();
    for (const { orderKey, rank } of candidates) ranks.set(orderKey, Math.max(rank, ranks.get(orderKey) ?? 0));
    if (ranks.size === 0) return;
    const columns = new Columns(2);
    for (const [orderKey, rank] of ranks) columns.add(orderKey, rank);
    const rows = await this.transaction.all(
      `SELECT e.id, e.order_key, e.rank, e.due, e.created, e.shown, e.leased FROM ${unnest('text', 'bigint')} q(order_key, rank)
       CROSS JOIN LATERAL (SELECT * FROM receipts r WHERE r.order_key = q.order_key AND r.state = 0 AND r.rank < q.rank
         AND r.created > $3 ORDER BY r.rank LIMIT ${EARLIER_MAX}) e`,
      [...columns.values, this.now - ORDER_WAIT_MS],
    );
    for (const key of ranks.keys()) this.earlier.set(key, []);
    for (const row of rows) {
      this.earlier.get(String(row['order_key']))?.push({
        id: String(row['id']),
        rank: Number(row['rank']),
        due: row['leased'] === true ? Math.min(Number(row['due']), this.now + LOOK_AGAIN_MS) : Number(row['due']),
        created: Number(row['created']),
        shown: row['shown'] === true,
      });
    }
  }

  /** Null: it may go now. Asked in the order of the ranks. */
  wait({ orderKey, rank }: Ranked): Wait | null {
    const before = (this.earlier.get(orderKey) ?? []).filter((one) => one.rank < rank);
    const open = before.filter(({ id }) => !this.held.has(id));
    if (open.length === 0) {
      // What was not looked at stands in the way, too.
      return before.length < EARLIER_MAX ? null : { due: this.now + 1, shown: false };
    }
    const due = Math.min(...open.map((one) => one.due));
    const created = Math.max(...open.map((one) => one.created));
    return {
      due: Math.max(this.now + 1, Math.min(due + 1, created + ORDER_WAIT_MS)),
      shown: open.some(({ shown }) => shown),
    };
  }

  /** It is leased by this claim: what comes after it may go along. */
  hold(id: string): void {
    this.held.add(id);
  }

  /** A receipt that stands in no row yet, and is not leased by this claim: what comes after it waits. */
  block({ id, orderKey, rank }: Ranked, wait: Wait): void {
    const made = { id, rank, due: wait.due, created: this.now, shown: wait.shown };
    const known = this.earlier.get(orderKey);
    if (known === undefined) this.earlier.set(orderKey, [made]);
    else known.push(made);
  }
}
