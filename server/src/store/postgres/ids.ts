import type { Session } from './database.ts';

/** What one value of the sequence stands for: its increment (migrations.ts). */
const BLOCK = 1000;
/** Leftovers kept. */
const RANGES_MAX = 64;

interface Range {
  next: number;
  readonly end: number;
}

/** Numbers that one transaction may give to new rows. */
export interface Numbers {
  take(): number;
  /** What is left goes to others. */
  giveBack(): void;
}

/** Numbers for new rows, taken from the database in blocks: no two nodes have the same. */
export class Ids {
  private ranges: Range[] = [];

  /** So many numbers, for this caller alone. */
  async reserve(session: Pick<Session, 'all'>, count: number): Promise<Numbers> {
    const taken = this.cut(count);
    const missing = Math.ceil((count - taken.reduce((sum, { next, end }) => sum + end - next, 0)) / BLOCK);
    if (missing > 0) {
      const rows = await session.all("SELECT nextval('ids') AS first FROM generate_series(1, $1::integer)", [missing]);
      for (const row of rows) taken.push({ next: Number(row['first']), end: Number(row['first']) + BLOCK });
    }
    return {
      take: () => {
        const first = taken[0];
        if (first === undefined) throw new Error('more numbers were taken than reserved');
        const id = first.next;
        first.next += 1;
        if (first.next === first.end) taken.shift();
        return id;
      },
      giveBack: () => {
        // Of what is left over many times only the newest is worth keeping.
        this.ranges = [...taken.splice(0), ...this.ranges].slice(0, RANGES_MAX);
      },
    };
  }

  private cut(count: number): Range[] {
    const taken: Range[] = [];
    let missing = count;
    while (missing > 0) {
      const range = this.ranges.shift();
      if (range === undefined) break;
      const size = Math.min(missing, range.end - range.next);
      taken.push({ next: range.next, end: range.next + size });
      if (range.next + size < range.end) this.ranges.unshift({ next: range.next + size, end: range.end });
      missing -= size;
    }
    return taken;
  }
}
