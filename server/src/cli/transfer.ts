/** Moves all rows of one store into another, and compares them (core/transfer.ts). */
import { hash } from 'node:crypto';
import { TRANSFER_TABLE_NAMES, TransferRefused } from '../core/transfer.ts';
import type { TransferPlace, TransferSource, TransferTable, TransferTarget } from '../core/transfer.ts';

/** A row takes some hundred bytes; … */
const ROWS_AT_ONCE = 2_000;
/** … a request up to some hundred kilobytes, with its content and its recipients. */
const REQUESTS_AT_ONCE = 100;
/** Copying a row costs more than reading it on both sides to compare it. */
const COPY_SHARE = 0.6;
const START: TransferPlace = { after: null, rows: 0 };

export interface TransferTotals {
  readonly rows: number;
  /** Of each table, both sides: sum of its rows' hashes, in hex. */
  readonly tables: Readonly<Record<string, { readonly rows: number; readonly checksum: string }>>;
}

export interface TransferOptions {
  readonly onProgress: (share: number) => void;
  /** For tests. */
  readonly rowsAtOnce?: number;
}

interface Progress {
  readonly expected: number;
  done: number;
}

/**
 * Copies what an earlier try did not, then compares both sides row by row. Throws {@link TransferRefused} where they
 * differ: the source was changed between two tries.
 */
export async function transfer(
  source: TransferSource,
  target: TransferTarget,
  { onProgress, rowsAtOnce = ROWS_AT_ONCE }: TransferOptions,
): Promise<TransferTotals> {
  const marks = await source.marks();
  const places = await target.begin(marks.epoch);
  let expected = 1;
  for (const table of TRANSFER_TABLE_NAMES) expected += await source.count(table);
  const limitOf = (table: TransferTable): number =>
    table === 'requests' ? Math.min(rowsAtOnce, REQUESTS_AT_ONCE) : rowsAtOnce;
  const copied: Progress = { expected, done: 0 };
  for (const table of TRANSFER_TABLE_NAMES) {
    let place = places.get(table) ?? START;
    copied.done += place.rows;
    for (;;) {
      const next = await source.read(table, place, limitOf(table));
      if (next.rows.length === 0) break;
      await target.write(table, next.rows, next.place);
      ({ place } = next);
      copied.done += next.rows.length;
      onProgress((COPY_SHARE * copied.done) / copied.expected);
    }
  }
  await target.settle(marks);
  const compared: Progress = { expected: expected * 2, done: 0 };
  const told = (rows: number): void => {
    compared.done += rows;
    onProgress(COPY_SHARE + ((1 - COPY_SHARE) * compared.done) / compared.expected);
  };
  const tables: Record<string, { rows: number; checksum: string }> = {};
  for (const table of TRANSFER_TABLE_NAMES) {
    const [here, there] = [
      await sumOf(source, table, limitOf(table), told),
      await sumOf(target, table, limitOf(table), told),
    ];
    if (here.rows !== there.rows || here.checksum !== there.checksum)
      throw new TransferRefused(difference(table, here, there));
    tables[table] = here;
  }
  await target.finish();
  return { rows: Object.values(tables).reduce((sum, { rows }) => sum + rows, 0), tables };
}

interface Sum {
  readonly rows: number;
  readonly checksum: string;
}

/** The order is not the same on both sides, so the hashes of the rows are added up. */
async function sumOf(
  side: TransferSource,
  table: TransferTable,
  limit: number,
  onRows: (rows: number) => void,
): Promise<Sum> {
  let place = START;
  let sum = 0n;
  for (;;) {
    const next = await side.read(table, place, limit);
    if (next.rows.length === 0) return { rows: place.rows, checksum: sum.toString(16).padStart(16, '0') };
    for (const row of next.rows) {
      sum = BigInt.asUintN(64, sum + hash('sha256', JSON.stringify(row), 'buffer').readBigUInt64BE());
    }
    ({ place } = next);
    onRows(next.rows.length);
  }
}

function difference(table: TransferTable, here: Sum, there: Sum): string {
  return (
    `The table ${table} is not the same on both sides (${here.rows} rows here, ${there.rows} there; checksums ` +
    `${here.checksum} and ${there.checksum}): the source was changed since the migration began. Begin anew with an empty target.`
  );
}
