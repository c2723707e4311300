/** A row of the feed. */
export interface FeedRow {
  readonly seq: number;
  /** Index in FEED_KINDS. */
  readonly kind: number;
  readonly request: number | null;
  readonly user: number | null;
  readonly n: number | null;
  readonly device: number | null;
  readonly at: number;
  readonly detail: string | null;
}

/** Rows kept (about 100 bytes each); beyond it the older half is left to the file. */
const ROWS_MAX = 32_768;
/** A longer detail is read from the file. */
const DETAIL_LENGTH_MAX = 64;

/** The newest rows of the feed in memory, so that what is read soon after it was written costs no query. */
export class FeedTail {
  private rows: FeedRow[] = [];
  private start = 0;

  /** Rows come in the order of their numbers, without gaps. */
  add(row: FeedRow): void {
    if (this.rows.length - this.start >= ROWS_MAX) this.dropTo(this.start + ROWS_MAX / 2);
    if (row.detail === null || row.detail.length <= DETAIL_LENGTH_MAX) this.rows.push(row);
    // What is behind it alone stays here: up to it, the file is asked.
    else this.clear();
  }

  clear(): void {
    this.rows = [];
    this.start = 0;
  }

  /** The rows after a number, which are then let go of; null: the first of them is not here. */
  takeAfter(seq: number, limit: number): readonly FeedRow[] | null {
    const first = this.rows[this.start];
    if (first === undefined) return null;
    // Without gaps its place is known.
    const from = this.start + seq + 1 - first.seq;
    if (from < this.start || from >= this.rows.length) return null;
    const taken = this.rows.slice(from, from + limit);
    this.dropTo(from + taken.length);
    return taken;
  }

  private dropTo(start: number): void {
    this.start = start;
    // Every row is moved at most once for each one taken.
    if (start * 2 < this.rows.length) return;
    this.rows = this.rows.slice(start);
    this.start = 0;
  }
}
