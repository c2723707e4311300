import { STATE } from '../../core/delivery-state.ts';
import type { UserKey } from '../../core/ports.ts';
import { recordOf } from '../request-record.ts';
import type { RequestRecord } from '../request-record.ts';
import { Columns, unnest } from './columns.ts';
import type { Database, Transaction } from './database.ts';
import { Overtaken } from './database.ts';
import { flush } from './flush.ts';
import { Ledger, placeKey } from './ledger.ts';
import { follow, loadEntries, lockUsers } from './loading.ts';
import type { Place } from './loading.ts';
import { RECORD_COLUMNS } from './requests.ts';
import { Settle } from './settle.ts';

const DAY_MS = 86_400_000;
const RETENTION_DAYS = 30;
/** Requests looked at in one step, whatever the limit of entries. */
const REQUESTS_STEP_MAX = 200;
/** A device that keeps nothing is forgotten after this time; its name may stand in receipts until then. */
const DEVICE_FORGOTTEN_MS = 60 * DAY_MS;
const DEVICES_STEP_MAX = 10_000;
/** Ids that make device events idempotent. */
const ONCE_KEPT_MS = 7 * DAY_MS;
const NEXT_EXPIRY = 'SELECT min(expiry) AS next FROM requests WHERE purge_at IS NULL';

/** What time does: expiry and purging, each in small steps. Several nodes may do it at once, each what no other is at. */
export class Chores {
  private readonly database: Database;
  /** The last device that was looked at: user and number. */
  private lookedTo: [number, number] = [0, 0];

  constructor(database: Database) {
    this.database = database;
  }

  /** Ends what reached its expiry. A request is visited once: then its purge time is known and never changes. */
  async expire(now: number, limit: number): Promise<{ expired: number; more: boolean; nextAt: number | null }> {
    const next = await this.nextExpiry();
    if (next === null || next > now) return { expired: 0, more: false, nextAt: next };
    const step = await this.database.transaction(async (transaction) => {
      const rows = await transaction.all(
        `SELECT ${RECORD_COLUMNS} FROM requests r WHERE r.purge_at IS NULL AND r.expiry <= $1 ORDER BY r.expiry LIMIT $2
         FOR NO KEY UPDATE SKIP LOCKED`,
        [now, REQUESTS_STEP_MAX],
      );
      const records = upTo(rows.map(recordOf), limit);
      const expired = await this.expireRequests(transaction, records, now);
      return { expired, more: records.length < rows.length || rows.length === REQUESTS_STEP_MAX };
    });
    return { ...step, nextAt: await this.nextExpiry() };
  }

  private async nextExpiry(): Promise<number | null> {
    const row = await this.database.one(NEXT_EXPIRY);
    const next = row?.['next'] ?? null;
    return next === null ? null : Number(next);
  }

  private async expireRequests(
    transaction: Transaction,
    records: readonly RequestRecord[],
    now: number,
  ): Promise<number> {
    if (records.length === 0) return 0;
    const places = await follow(
      transaction,
      records.flatMap(({ members }) => members),
    );
    const ledger = new Ledger();
    const [retention] = await Promise.all([
      retentions(transaction, records),
      lockUsers(
        transaction,
        ledger,
        [...places.values()].map(({ user }) => user),
      ),
    ]);
    await loadEntries(transaction, ledger, places.values());
    const settle = new Settle(ledger, { places: new Map(), contents: new Map(), threads: new Map() });
    let expired = 0;
    const ends = new Columns(2);
    for (const { uid, accepted, client, members } of records) {
      let endedAt = accepted;
      for (const { user, n } of members) {
        const place = places.get(placeKey(user ?? 0, n ?? 0));
        const entry = place === undefined ? undefined : ledger.entry(place.user, place.n);
        if (entry === undefined) continue;
        // Moved after it was looked for.
        if (entry.state === STATE.moved) throw new Overtaken();
        if (settle.end(now, entry, { kind: 'expired', code: null }).outcome === 'done') expired += 1;
        endedAt = Math.max(endedAt, entry.at ?? 0, entry.read ?? 0);
      }
      ends.add(uid, endedAt + retentionMs(retention, client));
    }
    await flush(transaction, ledger);
    void transaction.run(
      `UPDATE requests r SET purge_at = q.at FROM ${unnest('uuid', 'bigint')} q(uid, at) WHERE r.uid = q.uid`,
      ends.values,
    );
    return expired;
  }

  async purge(now: number, limit: number): Promise<{ purged: number; more: boolean }> {
    return this.database.transaction(async (transaction) => {
      const rows = await transaction.all(
        `SELECT ${RECORD_COLUMNS} FROM requests r WHERE r.purge_at <= $1 ORDER BY r.purge_at LIMIT $2
         FOR UPDATE SKIP LOCKED`,
        [now, REQUESTS_STEP_MAX],
      );
      const records = upTo(rows.map(recordOf), limit);
      await this.purgeRequests(transaction, records, now);
      const small = await purgeSmall(transaction, now, limit);
      const purged = records.reduce((sum, { members }) => sum + members.length, 0);
      return {
        purged: purged + small,
        more: records.length < rows.length || rows.length === REQUESTS_STEP_MAX || small >= limit,
      };
    });
  }

  private async purgeRequests(transaction: Transaction, records: readonly RequestRecord[], now: number): Promise<void> {
    if (records.length === 0) return;
    const places = await follow(
      transaction,
      records.flatMap(({ members }) => members),
    );
    const ledger = new Ledger();
    const entries = new Map<string, Place>();
    const eventsBefore = new Map<UserKey, number>();
    const retention = await retentions(transaction, records);
    for (const { client, members } of records) {
      for (const { user, n } of members) {
        if (user === null || n === null) continue;
        entries.set(placeKey(user, n), { user, n });
        const place = places.get(placeKey(user, n)) ?? { user, n };
        entries.set(placeKey(place.user, place.n), place);
        const before = now - retentionMs(retention, client);
        eventsBefore.set(place.user, Math.max(before, eventsBefore.get(place.user) ?? 0));
      }
    }
    await lockUsers(
      transaction,
      ledger,
      [...entries.values()].map(({ user }) => user),
    );
    const purged = await deleteEntries(transaction, [...entries.values()], eventsBefore);
    for (const [id, n] of purged) {
      // The head must never fall, and a position below is known to be none.
      const user = ledger.users.get(id);
      if (user === undefined || user.purged >= n) continue;
      user.purged = n;
      user.isChanged = true;
    }
    const uids = records.map(({ uid }) => uid);
    for (const table of ['links', 'correlations']) {
      void transaction.run(`DELETE FROM ${table} WHERE request = ANY($1::uuid[])`, [uids]);
    }
    void transaction.run('DELETE FROM requests WHERE uid = ANY($1::uuid[])', [uids]);
    await flush(transaction, ledger);
  }

  /**
   * Forgets devices not seen for long. There is no index for it (every open would write it), so each call looks at the
   * next ones in the order of the key, and after the last begins again with the first.
   */
  async purgeDevices(now: number): Promise<void> {
    const looked = await this.database.all(
      `SELECT user_id, id, seen <= $3 AND (keep_ms = 0 OR (until IS NOT NULL AND until <= $4)) AS gone FROM devices
       WHERE (user_id, id) > ($1, $2) ORDER BY user_id, id LIMIT $5`,
      [...this.lookedTo, now - DEVICE_FORGOTTEN_MS, now, DEVICES_STEP_MAX],
    );
    const last = looked.length < DEVICES_STEP_MAX ? undefined : looked.at(-1);
    this.lookedTo = last === undefined ? [0, 0] : [Number(last['user_id']), Number(last['id'])];
    const rows = looked.filter((row) => row['gone'] === true);
    if (rows.length === 0) return;
    await this.database.transaction(async (transaction) => {
      const ledger = new Ledger();
      await lockUsers(
        transaction,
        ledger,
        rows.map((row) => Number(row['user_id'])),
      );
      const columns = new Columns(2);
      for (const row of rows) columns.add(row['user_id'], row['id']);
      const gone = await transaction.all(
        `DELETE FROM devices d USING ${unnest('bigint', 'bigint')} q(u, id)
         WHERE d.user_id = q.u AND d.id = q.id AND seen <= $3 AND (keep_ms = 0 OR (until IS NOT NULL AND until <= $4))
         RETURNING d.user_id, d.id`,
        [...columns.values, now - DEVICE_FORGOTTEN_MS, now],
      );
      const acks = new Columns(2);
      for (const row of gone) acks.add(row['user_id'], row['id']);
      void transaction.run(
        `DELETE FROM device_acks a USING ${unnest('bigint', 'bigint')} q(u, id) WHERE a.user_id = q.u AND a.device = q.id`,
        acks.values,
      );
    });
  }
}

/** The first ones, of which the last passes the limit of members. */
function upTo(records: readonly RequestRecord[], limit: number): RequestRecord[] {
  let looked = 0;
  const taken: RequestRecord[] = [];
  for (const record of records) {
    if (looked >= limit) break;
    looked += record.members.length;
    taken.push(record);
  }
  return taken;
}

async function retentions(transaction: Transaction, records: readonly RequestRecord[]): Promise<Map<string, number>> {
  const rows = await transaction.all(
    "SELECT id, (body::json ->> 'retentionDays')::float8 AS days FROM objects WHERE kind = 'client' AND id = ANY($1::text[])",
    [[...new Set(records.map(({ client }) => client))]],
  );
  return new Map(rows.map((row) => [String(row['id']), Number(row['days'] ?? RETENTION_DAYS)]));
}

function retentionMs(days: ReadonlyMap<string, number>, client: string): number {
  return (days.get(client) ?? RETENTION_DAYS) * DAY_MS;
}

/**
 * Deletes entries with their steps; and, of the same users, state events as old as they are that stand before the first
 * message left: what they told of is no longer there. Returns the highest number deleted of each user.
 */
async function deleteEntries(
  transaction: Transaction,
  places: readonly Place[],
  eventsBefore: ReadonlyMap<UserKey, number>,
): Promise<Map<UserKey, number>> {
  const highest = new Map<UserKey, number>();
  const note = (user: UserKey, n: number): void => {
    highest.set(user, Math.max(n, highest.get(user) ?? 0));
  };
  const columns = new Columns(2);
  for (const { user, n } of places) {
    columns.add(user, n);
    note(user, n);
  }
  void transaction.run(
    `DELETE FROM log l USING ${unnest('bigint', 'bigint')} q(u, n) WHERE l.user_id = q.u AND l.n = q.n`,
    columns.values,
  );
  void transaction.run(
    `DELETE FROM steps s USING ${unnest('bigint', 'bigint')} q(u, n) WHERE s.user_id = q.u AND s.n = q.n`,
    columns.values,
  );
  const users = new Columns(2);
  for (const [user, before] of eventsBefore) users.add(user, before);
  const events = await transaction.all(
    `DELETE FROM log l USING (
       SELECT q.u, q.before, (SELECT m.n FROM log m WHERE m.user_id = q.u AND m.request IS NOT NULL ORDER BY m.n LIMIT 1) AS first
       FROM ${unnest('bigint', 'bigint')} q(u, before)) q
     WHERE l.user_id = q.u AND l.request IS NULL AND l.at <= q.before AND (q.first IS NULL OR l.n < q.first)
     RETURNING l.user_id, l.n`,
    users.values,
  );
  for (const row of events) note(Number(row['user_id']), Number(row['n']));
  return highest;
}

/** What is kept for a time of its own. */
async function purgeSmall(transaction: Transaction, now: number, limit: number): Promise<number> {
  const before = now - RETENTION_DAYS * DAY_MS;
  const counts = await Promise.all([
    transaction.run(
      'DELETE FROM idempotency WHERE (service, key) IN (SELECT service, key FROM idempotency WHERE expires <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)',
      [now, limit],
    ),
    transaction.run(
      'DELETE FROM once WHERE (user_id, id) IN (SELECT user_id, id FROM once WHERE at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)',
      [now - ONCE_KEPT_MS, limit],
    ),
    transaction.run(
      'DELETE FROM receipts WHERE id IN (SELECT id FROM receipts WHERE shown AND created <= $1 AND state > 0 LIMIT $2 FOR UPDATE SKIP LOCKED)',
      [before, limit],
    ),
    transaction.run(
      'DELETE FROM replies WHERE (user_id, id) IN (SELECT user_id, id FROM replies WHERE at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)',
      [before, limit],
    ),
  ]);
  return counts.reduce((sum, count) => sum + count, 0);
}
