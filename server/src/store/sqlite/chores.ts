import { STATE } from '../../core/delivery-state.ts';
import type { Client } from '../../core/model.ts';
import type { Member } from '../request-record.ts';
import type { Settle } from './settle.ts';
import type { RequestRecord } from './requests.ts';
import type { EntryDetail, State } from './state.ts';

const DAY_MS = 86_400_000;
const RETENTION_DAYS = 30;
/** Requests looked at in one step, whatever the limit of entries. */
const REQUESTS_STEP_MAX = 200;
/** A device that keeps nothing is forgotten after this time; its name may stand in receipts until then. */
const DEVICE_FORGOTTEN_MS = 60 * DAY_MS;
/** Ids that make device events idempotent. */
const ONCE_KEPT_MS = 7 * DAY_MS;

/** What time does: expiry and purging, each in small steps so that nobody waits behind them. */
export class Chores {
  private readonly state: State;
  private readonly settle: Settle;

  constructor(state: State, settle: Settle) {
    this.state = state;
    this.settle = settle;
  }

  nextExpiry(): number | null {
    const row = this.state.db.get('SELECT min(expiry) AS next FROM requests WHERE purge_at IS NULL');
    return row === undefined || row['next'] === null ? null : Number(row['next']);
  }

  /** Ends what reached its expiry. A request is visited once: then its purge time is known and never changes. */
  expire(now: number, limit: number): { expired: number; more: boolean } {
    const rows = this.state.db.all(
      'SELECT id FROM requests WHERE purge_at IS NULL AND expiry <= ? ORDER BY expiry LIMIT ?',
      now,
      REQUESTS_STEP_MAX,
    );
    let expired = 0;
    let looked = 0;
    let visited = 0;
    for (const row of rows) {
      if (looked >= limit) break;
      const record = this.state.requests.record(Number(row['id']));
      if (record === null) continue;
      expired += this.expireRequest(record, now);
      looked += record.members.length;
      visited += 1;
    }
    return { expired, more: visited < rows.length || rows.length === REQUESTS_STEP_MAX };
  }

  private expireRequest(record: RequestRecord, now: number): number {
    let expired = 0;
    let endedAt = record.accepted;
    for (const member of record.members) {
      const place = this.follow(member);
      if (place === null) continue;
      if (this.settle.end(now, place, { kind: 'expired', code: null }).outcome === 'done') expired += 1;
      const at = this.state.db.get(
        'SELECT max(coalesce(at, 0), coalesce(read, 0)) AS at FROM log WHERE user = ? AND n = ?',
        place.user,
        place.n,
      );
      endedAt = Math.max(endedAt, Number(at?.['at'] ?? 0));
    }
    this.state.db.run(
      'UPDATE requests SET purge_at = ? WHERE id = ?',
      endedAt + this.retentionMs(record.client),
      record.key,
    );
    return expired;
  }

  private retentionMs(client: string): number {
    const row = this.state.db.get("SELECT body FROM objects WHERE kind = 'client' AND id = ?", client);
    const days = row === undefined ? RETENTION_DAYS : (JSON.parse(String(row['body'])) as Client).retentionDays;
    return days * DAY_MS;
  }

  private follow(member: Member): { user: number; n: number } | null {
    if (member.user === null || member.n === null) return null;
    let place = { user: member.user, n: member.n };
    for (;;) {
      this.state.ripen(place.user);
      const row = this.state.db.get('SELECT state, detail FROM log WHERE user = ? AND n = ?', place.user, place.n);
      if (row === undefined) return null;
      if (Number(row['state']) !== STATE.moved) return place;
      const moved = (JSON.parse(String(row['detail'])) as EntryDetail).moved;
      if (moved === undefined) return null;
      place = moved;
    }
  }

  purge(now: number, limit: number): { purged: number; more: boolean } {
    const { db } = this.state;
    const rows = db.all(
      'SELECT id FROM requests WHERE purge_at <= ? ORDER BY purge_at LIMIT ?',
      now,
      REQUESTS_STEP_MAX,
    );
    let purged = 0;
    let visited = 0;
    for (const row of rows) {
      if (purged >= limit) break;
      const record = this.state.requests.record(Number(row['id']));
      if (record !== null) purged += this.purgeRequest(record, now);
      visited += 1;
    }
    const small = this.purgeSmall(now, limit);
    return {
      purged: purged + small,
      more: visited < rows.length || rows.length === REQUESTS_STEP_MAX || small >= limit,
    };
  }

  private purgeRequest(record: RequestRecord, now: number): number {
    const { db } = this.state;
    for (const member of record.members) {
      const place = this.follow(member);
      if (place !== null) this.purgeEntry(place, now - this.retentionMs(record.client));
      if (member.user !== null && member.n !== null) this.purgeEntry({ user: member.user, n: member.n }, 0);
    }
    db.run('DELETE FROM links WHERE request = ?', record.key);
    db.run('DELETE FROM correlations WHERE request = ?', record.key);
    db.run('DELETE FROM requests WHERE id = ?', record.key);
    this.state.setMeta('request', Math.max(record.key, Number(this.state.meta('request') ?? 0)));
    this.state.requests.forget(record.key);
    return record.members.length;
  }

  private purgeEntry(place: { user: number; n: number }, eventsBefore: number): void {
    const { db } = this.state;
    db.run('DELETE FROM log WHERE user = ? AND n = ?', place.user, place.n);
    db.run('DELETE FROM steps WHERE user = ? AND n = ?', place.user, place.n);
    // State events as old as it, before the first message left: what they told of is no longer there.
    const events = db.all(
      `DELETE FROM log WHERE user = ? AND request IS NULL AND at <= ?
         AND n < coalesce((SELECT min(n) FROM log WHERE user = ? AND request IS NOT NULL), ?) RETURNING n`,
      place.user,
      eventsBefore,
      place.user,
      Number.MAX_SAFE_INTEGER,
    );
    // The head is read from what is left, and must never fall.
    const purged = events.reduce((highest, row) => Math.max(highest, Number(row['n'])), place.n);
    db.run('UPDATE users SET purged = ? WHERE id = ? AND purged < ?', purged, place.user, purged);
  }

  /** What is kept for a time of its own. */
  private purgeSmall(now: number, limit: number): number {
    const { db } = this.state;
    const receiptsBefore = now - RETENTION_DAYS * DAY_MS;
    return (
      db.run(
        'DELETE FROM idempotency WHERE (service, key) IN (SELECT service, key FROM idempotency WHERE expires <= ? LIMIT ?)',
        now,
        limit,
      ) +
      db.run(
        'DELETE FROM once WHERE (user, id) IN (SELECT user, id FROM once WHERE at <= ? LIMIT ?)',
        now - ONCE_KEPT_MS,
        limit,
      ) +
      this.purgeReceipts(receiptsBefore, limit) +
      db.run('DELETE FROM replies WHERE id IN (SELECT id FROM replies WHERE at <= ? LIMIT ?)', receiptsBefore, limit)
    );
  }

  private purgeReceipts(before: number, limit: number): number {
    const purged = this.state.db.run(
      'DELETE FROM receipts WHERE id IN (SELECT id FROM receipts WHERE created <= ? AND state > 0 LIMIT ?)',
      before,
      limit,
    );
    if (purged > 0) this.state.receiptsPurged();
    return purged;
  }

  /** Devices not seen for long; scanned rarely, there is no index for it. */
  purgeDevices(now: number): number {
    const { db } = this.state;
    const gone = 'SELECT id FROM devices WHERE seen <= ? AND (keep_ms = 0 OR (until IS NOT NULL AND until <= ?))';
    db.run(`DELETE FROM device_acks WHERE device IN (${gone})`, now - DEVICE_FORGOTTEN_MS, now);
    return db.run(`DELETE FROM devices WHERE id IN (${gone})`, now - DEVICE_FORGOTTEN_MS, now);
  }
}
