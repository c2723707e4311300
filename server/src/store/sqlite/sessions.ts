import type {
  DeviceKey,
  HeldSession,
  LogEntry,
  OwedQuery,
  SessionClose,
  SessionOpen,
  SessionOpened,
  UserKey,
} from '../../core/ports.ts';
import { STATE } from '../../core/delivery-state.ts';
import type { Row } from './connection.ts';
import type { People } from './people.ts';
import { LOG_COLUMNS } from './state.ts';
import type { State } from './state.ts';
import type { UserState } from './users.ts';
import type { YoungEntry } from './young.ts';

const NOTHING_KEPT =
  'INSERT INTO devices (user, deviceid, keep_ms, until, subscribed, base, floor, seen) VALUES (?, ?, ?, NULL, 0, NULL, ?, ?)';

/** Devices and what each is owed. */
export class Sessions {
  private readonly state: State;
  private readonly people: People;

  constructor(state: State, people: People) {
    this.state = state;
    this.people = people;
  }

  open(session: SessionOpen): SessionOpened {
    const { db, users } = this.state;
    const made = users.findOrMake(session.appId, { type: 'userid', value: session.userid }, session.at);
    if (made === null) throw new Error('a userid always finds or makes a user');
    const entries = this.people.claim(made.id, session.appId, session);
    // Claims may have dropped what was cached of the user.
    const user = users.byKey(made.id, session.appId);
    const row = db.get('SELECT * FROM devices WHERE user = ? AND deviceid = ?', user.id, session.deviceid);
    const head = users.head(user);
    if (row !== undefined && !session.clean && isKept(row, session.at)) return this.resume(session, user, row, entries);
    const floor = this.firstWaiting(user, head) - 1;
    const device = row === undefined ? this.insert(session, user.id, floor) : this.restart(session, row, floor);
    const incarnation = this.incarnation(device);
    return { user: user.id, device, incarnation, present: false, subscribed: false, floor, base: head, head, entries };
  }

  /** Sessions that the last process did not close (it was killed) are kept from now on for their time, not for ever. */
  closeLeftOpen(now: number): void {
    const { db } = this.state;
    const left = 'FROM devices WHERE until IS NULL AND keep_ms > 0';
    if (db.get(`SELECT 1 AS yes ${left} LIMIT 1`) === undefined) return;
    this.state.transaction(() =>
      db.run('UPDATE devices SET until = ? + keep_ms WHERE until IS NULL AND keep_ms > 0', now),
    );
  }

  private resume(session: SessionOpen, user: UserState, row: Row, entries: LogEntry[]): SessionOpened {
    const device = Number(row['id']);
    this.state.db.run(
      'UPDATE devices SET keep_ms = ?, until = NULL, seen = ?, incarnation = incarnation + 1 WHERE id = ?',
      session.keepMs,
      session.at,
      device,
    );
    const head = this.state.users.head(user);
    const base = row['base'] === null ? head : Number(row['base']);
    return {
      user: user.id,
      device,
      incarnation: Number(row['incarnation']) + 1,
      present: true,
      subscribed: row['subscribed'] === 1,
      floor: Number(row['floor']),
      base,
      head,
      entries,
    };
  }

  private incarnation(device: DeviceKey): number {
    return Number(this.state.db.get('SELECT incarnation FROM devices WHERE id = ?', device)?.['incarnation'] ?? 0);
  }

  superseded(sessions: readonly HeldSession[]): Set<DeviceKey> {
    return new Set(
      sessions.filter((held) => this.incarnation(held.device) > held.incarnation).map(({ device }) => device),
    );
  }

  private insert(session: SessionOpen, user: UserKey, floor: number): DeviceKey {
    const made = this.state.db.sql(NOTHING_KEPT).run(user, session.deviceid, session.keepMs, floor, session.at);
    return Number(made.lastInsertRowid);
  }

  private restart(session: SessionOpen, row: Row, floor: number): DeviceKey {
    const { db } = this.state;
    const device = Number(row['id']);
    const isEmpty = row['keep_ms'] === 0 && session.keepMs === 0 && row['base'] === null;
    // A device that keeps nothing, coming back: nothing to write.
    if (isEmpty) return device;
    db.run('DELETE FROM device_acks WHERE device = ?', device);
    db.run(
      'UPDATE devices SET keep_ms = ?, until = NULL, subscribed = 0, base = NULL, floor = ?, seen = ?, incarnation = incarnation + 1 WHERE id = ?',
      session.keepMs,
      floor,
      session.at,
      device,
    );
    return device;
  }

  private firstWaiting(user: UserState, head: number): number {
    if (user.waiting === 0 || user.low >= head) return head + 1;
    const row = this.state.db.get(
      'SELECT min(n) AS first FROM log WHERE user = ? AND n > ? AND state < 2 AND request IS NOT NULL',
      user.id,
      user.low,
    );
    const young = this.state.young.of(user.id).find((entry) => entry.state <= STATE.sent);
    const first = Math.min(Number(row?.['first'] ?? head + 1), young?.n ?? head + 1);
    user.low = first - 1;
    return first;
  }

  subscribe(user: UserKey, device: DeviceKey, isKept: boolean): { base: number; head: number; purgedTo: number } {
    const { db, users } = this.state;
    const head = users.head(users.byKey(user));
    const row = db.get('SELECT keep_ms, base, subscribed FROM devices WHERE id = ? AND user = ?', device, user);
    const base = row === undefined || row['base'] === null ? head : Number(row['base']);
    const subscribed = isKept ? 1 : 0;
    if (row !== undefined && row['keep_ms'] !== 0 && (row['base'] === null || row['subscribed'] !== subscribed)) {
      this.state.transaction(() =>
        db.run('UPDATE devices SET base = ?, subscribed = ? WHERE id = ?', base, subscribed, device),
      );
    }
    const purged = db.get('SELECT purged FROM users WHERE id = ?', user);
    return { base, head, purgedTo: Number(purged?.['purged'] ?? 0) };
  }

  countMessages(user: UserKey): { head: number; unread: number; total: number } {
    const { db, users } = this.state;
    this.state.ripen(user);
    const row = db.get(
      'SELECT count(*) AS total, coalesce(sum(state <> ?2), 0) AS unread FROM log WHERE user = ?1 AND request IS NOT NULL AND state IN (?3, ?4, ?5, ?2)',
      user,
      STATE.read,
      STATE.queued,
      STATE.sent,
      STATE.delivered,
    );
    return { head: users.head(users.byKey(user)), unread: Number(row?.['unread']), total: Number(row?.['total']) };
  }

  unsubscribe(user: UserKey, device: DeviceKey): void {
    const { db } = this.state;
    const row = db.get('SELECT subscribed FROM devices WHERE id = ? AND user = ?', device, user);
    if (row?.['subscribed'] !== 1) return;
    this.state.transaction(() => db.run('UPDATE devices SET subscribed = 0 WHERE id = ?', device));
  }

  close(session: SessionClose): void {
    const { db } = this.state;
    const changed = db.run(
      'UPDATE devices SET keep_ms = ?, until = ?, subscribed = ?, floor = max(floor, ?), seen = ? WHERE id = ? AND user = ? AND (keep_ms > 0 OR ? > 0) AND incarnation = coalesce(?, incarnation)',
      session.keepMs,
      session.at + session.keepMs,
      session.subscribed ? 1 : 0,
      session.floor,
      session.at,
      session.device,
      session.user,
      session.keepMs,
      session.incarnation ?? null,
    );
    if (changed === 0) return;
    db.run(
      'DELETE FROM device_acks WHERE device = ? AND n <= ?',
      session.device,
      session.keepMs === 0 ? Number.MAX_SAFE_INTEGER : session.floor,
    );
    if (session.keepMs === 0) db.run('UPDATE devices SET base = NULL, subscribed = 0 WHERE id = ?', session.device);
  }

  /**
   * Up to its base a device is owed only what nobody has acknowledged; after it everything that this device itself has
   * not, and the state events.
   */
  owed(query: OwedQuery): LogEntry[] {
    const rows = this.state.db.all(
      `SELECT ${LOG_COLUMNS} FROM log WHERE user = ? AND n > ? AND priority = ? AND (
         (request IS NOT NULL AND (state < 2 OR (state < 4 AND n > ? AND device IS NOT ?
           AND NOT EXISTS (SELECT 1 FROM device_acks a WHERE a.device = ? AND a.n = log.n))))
         OR (request IS NULL AND n > ? AND NOT EXISTS (SELECT 1 FROM device_acks a WHERE a.device = ? AND a.n = log.n))
       ) ORDER BY n LIMIT ?`,
      query.user,
      query.after,
      query.priority,
      query.base,
      query.device,
      query.device,
      query.base,
      query.device,
      query.limit,
    );
    const young = this.state.young.of(query.user).filter((entry) => isOwed(entry, query));
    return this.merged(rows, young, query.limit);
  }

  /** Rows and young entries in number order. What is young is read where it is: a device that connects writes nothing. */
  private merged(rows: readonly Row[], young: readonly YoungEntry[], limit: number): LogEntry[] {
    const entries = rows.map((row) => this.state.entry(row));
    if (young.length === 0) return entries;
    // Only what may be among the first is made into an entry.
    for (const entry of young.slice(0, limit)) entries.push(this.state.youngEntry(entry));
    return entries.toSorted((a, b) => a.n - b.n).slice(0, limit);
  }

  read(user: UserKey, after: number, limit: number): LogEntry[] {
    const rows = this.state.db.all(
      `SELECT ${LOG_COLUMNS} FROM log WHERE user = ? AND n > ? AND state <> 7 ORDER BY n LIMIT ?`,
      user,
      after,
      limit,
    );
    const young = this.state.young.of(user).filter((entry) => entry.n > after);
    return this.merged(rows, young, limit);
  }
}

/** The rule of {@link Sessions.owed} for an entry without a row: none of these has acknowledgements of its own devices. */
function isOwed(entry: YoungEntry, query: OwedQuery): boolean {
  if (entry.n <= query.after || entry.priority !== query.priority) return false;
  if (entry.state <= STATE.sent) return true;
  return entry.state === STATE.delivered && entry.n > query.base && entry.device !== query.device;
}

function isKept(row: Row, at: number): boolean {
  return Number(row['keep_ms']) > 0 && (row['until'] === null || Number(row['until']) > at);
}
