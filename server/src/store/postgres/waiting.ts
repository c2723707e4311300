import type { AcceptUnit } from '../../core/ports.ts';
import type { Transaction } from './database.ts';

/** Any number that nothing else in the database locks by: the letters "wait". */
const NEAR_LOCK = 0x77_61_69_74;
/** Commits that are under way on all nodes together bring at most so many messages, by this measure. */
const MARGIN_SHARE = 0.1;
const MARGIN_MIN = 2000;
const MARGIN_MAX = 100_000;

export const WAITING_TOTAL = 'SELECT coalesce(sum(waiting), 0)::bigint AS waiting FROM slots';

/**
 * Messages that wait, over all users. Each connection counts its own share, so that no row is every commit's; near the
 * bound of a request, commits go one after the other, and then the count is exact.
 */
export async function waitingTotal(transaction: Transaction, units: readonly AcceptUnit[]): Promise<number> {
  if (units.length === 0) return 0;
  const added = units.reduce(
    (sum, { destinations }) => sum + destinations.reduce((all, { identifiers }) => all + identifiers.length, 0),
    0,
  );
  const max = Math.min(...units.map((unit) => unit.waitingTotalMax));
  const margin = Math.min(Math.max(max * MARGIN_SHARE, MARGIN_MIN), MARGIN_MAX);
  const rows = await transaction.all(WAITING_TOTAL);
  const total = Number(rows[0]?.['waiting'] ?? 0);
  if (total + added + margin <= max) return total;
  await transaction.all('SELECT pg_advisory_xact_lock($1)', [NEAR_LOCK]);
  const again = await transaction.all(WAITING_TOTAL);
  return Number(again[0]?.['waiting'] ?? 0);
}
