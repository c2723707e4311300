import type { Clock } from '../../core/ports.ts';
import type { Database, Transaction } from './database.ts';

/** A node that was not heard of for so long holds no connections any more: those are kept for their time from then on. */
const LOST_MS = 30_000;
/** One that was not heard of for so long is forgotten; its share of the counts goes to a row that is nobody's. */
const FORGOTTEN_MS = 86_400_000;
const DEVICES_STEP_MAX = 10_000;

/** The nodes of the installation, by what each says of itself. */
export class Nodes {
  private readonly database: Database;
  private readonly clock: Clock;
  private started = 0;

  constructor(database: Database, clock: Clock) {
    this.database = database;
    this.clock = clock;
  }

  /** Says that this node is there, and ends what the process of this name before it left open. */
  async enter(): Promise<void> {
    const now = this.clock.now();
    const { node } = this.database;
    await this.database.transaction(async (transaction) => {
      const row = await transaction.one(
        `INSERT INTO nodes AS n (name, started, seen) VALUES ($1, 1, $2)
         ON CONFLICT (name) DO UPDATE SET started = n.started + 1, seen = excluded.seen RETURNING started`,
        [node, now],
      );
      this.started = Number(row?.['started'] ?? 0);
    });
    while (await this.database.transaction((transaction) => closeSessions(transaction, node, now))) {
      // In steps, each short enough for the limit of a statement.
    }
  }

  /** False: another process has entered under this name since. */
  async beat(): Promise<boolean> {
    const rows = await this.database.all('UPDATE nodes SET seen = $2 WHERE name = $1 AND started = $3 RETURNING name', [
      this.database.node,
      this.clock.now(),
      this.started,
    ]);
    return rows.length === 1;
  }

  /** Ends the sessions of nodes that are gone, and forgets those gone long ago. True: there is more. */
  async tidy(now: number): Promise<boolean> {
    const rows = await this.database.all('SELECT name, seen FROM nodes WHERE seen <= $1 AND name <> $2', [
      now - LOST_MS,
      this.database.node,
    ]);
    let more = false;
    for (const row of rows) {
      const name = String(row['name']);
      const seen = Number(row['seen']);
      more ||= await this.database.transaction((transaction) => closeSessions(transaction, name, seen));
      if (seen <= now - FORGOTTEN_MS && !more) await this.forget(name, seen);
    }
    return more;
  }

  private async forget(name: string, seen: number): Promise<void> {
    await this.database.transaction(async (transaction) => {
      const gone = await transaction.run('DELETE FROM nodes WHERE name = $1 AND seen = $2', [name, seen]);
      if (gone === 0) return;
      void transaction.run(
        `WITH gone AS (DELETE FROM slots WHERE node = $1 RETURNING waiting, users)
         INSERT INTO slots AS s (node, slot, waiting, users)
         SELECT '', 0, coalesce(sum(waiting), 0), coalesce(sum(users), 0) FROM gone
         ON CONFLICT (node, slot) DO UPDATE SET waiting = s.waiting + excluded.waiting, users = s.users + excluded.users`,
        [name],
      );
    });
  }
}

/** True: there are more. A session opened on another node meanwhile is left alone, as it is that node's now. */
async function closeSessions(transaction: Transaction, node: string, at: number): Promise<boolean> {
  const count = await transaction.run(
    `UPDATE devices d SET until = $2 + d.keep_ms FROM (
       SELECT user_id, id FROM devices WHERE node = $1 AND until IS NULL AND keep_ms > 0 LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED) q
     WHERE d.user_id = q.user_id AND d.id = q.id`,
    [node, at, DEVICES_STEP_MAX],
  );
  return count === DEVICES_STEP_MAX;
}
