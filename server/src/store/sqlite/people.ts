import { STATE } from '../../core/delivery-state.ts';
import type { Profile } from '../../core/model.ts';
import type { LogEntry, Page, UserKey } from '../../core/ports.ts';
import { profileOf } from '../rows.ts';
import { LOG_COLUMNS } from './state.ts';
import type { State } from './state.ts';
import type { Threads } from './threads.ts';

export type PutProfile =
  | { readonly kind: 'ok'; readonly entries: readonly LogEntry[] }
  | { readonly kind: 'taken'; readonly field: 'customerid' | 'msisdn' };

interface Claims {
  readonly customerid: string | null;
  readonly msisdn: string | null;
}

/** Who the users are: profiles, and what happens when a customerid becomes known. */
export class People {
  private readonly state: State;
  private readonly threads: Threads;

  constructor(state: State, threads: Threads) {
    this.state = state;
    this.threads = threads;
  }

  /**
   * A token's claims: signed by the tenant, so they win over what was known. Returns the messages that waited for the
   * customerid and are now in this user's log.
   */
  claim(user: UserKey, app: string, claims: Claims): LogEntry[] {
    const { db, users } = this.state;
    if (claims.msisdn !== null) this.takeOver(user, app, 'msisdn', claims.msisdn);
    if (claims.customerid === null || users.mode(app) === 'same') return [];
    const holder = db.get('SELECT id, userid FROM users WHERE app = ? AND customerid = ?', app, claims.customerid);
    if (holder !== undefined && Number(holder['id']) === user) return [];
    const waited = holder !== undefined && holder['userid'] === null ? Number(holder['id']) : null;
    this.takeOver(user, app, 'customerid', claims.customerid);
    return waited === null ? [] : this.move(waited, user);
  }

  private takeOver(user: UserKey, app: string, column: 'customerid' | 'msisdn', value: string): void {
    const { db, users } = this.state;
    const holder = db.get(`SELECT id FROM users WHERE app = ? AND ${column} = ?`, app, value);
    if (holder !== undefined && Number(holder['id']) === user) return;
    if (holder !== undefined) db.run(`UPDATE users SET ${column} = NULL WHERE id = ?`, Number(holder['id']));
    db.run(`UPDATE users SET ${column} = ? WHERE id = ?`, value, user);
    users.forgetUsers();
  }

  /** What waits in one log goes to the end of another, in order. The old entries say where theirs went. */
  private move(from: UserKey, to: UserKey): LogEntry[] {
    const { db, users } = this.state;
    this.state.ripen(from);
    this.state.ripen(to);
    const rows = db.all(
      'SELECT n, request, destination, member, priority, thread, detail FROM log WHERE user = ? AND state < 2 AND request IS NOT NULL ORDER BY n',
      from,
    );
    const target = users.byKey(to);
    for (const row of rows) {
      const n = users.head(target) + 1;
      target.head = n;
      db.run(
        'INSERT INTO log (user, n, request, destination, member, priority, state, thread, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
        to,
        n,
        Number(row['request']),
        Number(row['destination']),
        Number(row['member']),
        Number(row['priority']),
        STATE.queued,
        Number(row['thread']),
        row['detail'] ?? null,
      );
      db.run(
        'UPDATE log SET state = ?, detail = ? WHERE user = ? AND n = ?',
        STATE.moved,
        JSON.stringify({ moved: { user: to, n } }),
        from,
        Number(row['n']),
      );
      db.run(
        'UPDATE links SET user = ?, n = ? WHERE request = ? AND user = ? AND n = ?',
        to,
        n,
        Number(row['request']),
        from,
        Number(row['n']),
      );
      users.countWaiting(from, -1);
      users.countWaiting(to, 1);
    }
    db.run(
      'INSERT OR IGNORE INTO user_threads (user, key, thread) SELECT ?, key, thread FROM user_threads WHERE user = ?',
      to,
      from,
    );
    // An own thread whose title the user has already keeps being linked, under its number.
    db.run(
      "INSERT OR IGNORE INTO user_threads (user, key, thread) SELECT ?, '#' || thread, thread FROM user_threads f WHERE user = ? AND NOT EXISTS (SELECT 1 FROM user_threads t WHERE t.user = ? AND t.thread = f.thread)",
      to,
      from,
      to,
    );
    this.threads.reset();
    return db
      .all(`SELECT ${LOG_COLUMNS} FROM log WHERE user = ? ORDER BY n DESC LIMIT ?`, to, rows.length)
      .toReversed()
      .map((row) => this.state.entry(row));
  }

  put(profile: Omit<Profile, 'createdAt'>, now: number): PutProfile {
    const { db, users } = this.state;
    for (const field of ['customerid', 'msisdn'] as const) {
      const value = profile[field];
      if (value === null) continue;
      const holder = db.get(`SELECT id, userid FROM users WHERE app = ? AND ${field} = ?`, profile.appId, value);
      const holderId = holder?.['userid'] ?? null;
      if (holderId !== null && holderId !== profile.userid) return { kind: 'taken', field };
    }
    // After the checks: a refusal must not leave a user behind.
    const user = users.findOrMake(profile.appId, { type: 'userid', value: profile.userid }, now);
    if (user === null) throw new Error('a userid always finds or makes a user');
    if (profile.msisdn === null) db.run('UPDATE users SET msisdn = NULL WHERE id = ?', user.id);
    if (profile.customerid === null) db.run('UPDATE users SET customerid = NULL WHERE id = ?', user.id);
    users.forgetUsers();
    const isLinked = users.mode(profile.appId) === 'linked';
    const entries = this.claim(user.id, profile.appId, profile);
    // In a `same` app the customerid is the userid and the field only a note.
    if (!isLinked && profile.customerid !== null)
      this.takeOver(user.id, profile.appId, 'customerid', profile.customerid);
    return { kind: 'ok', entries };
  }

  get(app: string, userid: string): Profile | null {
    const row = this.state.db.get('SELECT * FROM users WHERE app = ? AND userid = ?', app, userid);
    return row === undefined ? null : profileOf(row);
  }

  list(app: string, cursor: string | null, limit: number): Page<Profile> {
    const rows = this.state.db.all(
      'SELECT * FROM users WHERE app = ? AND userid > ? ORDER BY userid LIMIT ?',
      app,
      cursor ?? '',
      limit + 1,
    );
    const items = rows.slice(0, limit).map(profileOf);
    return { items, next: rows.length > limit ? (items.at(-1)?.userid ?? null) : null };
  }

  /** Erases the log and the devices; the requests keep the identifier until they are purged with their receipts. */
  delete(app: string, userid: string): boolean {
    const { db, users } = this.state;
    const row = db.get('SELECT id FROM users WHERE app = ? AND userid = ?', app, userid);
    if (row === undefined) return false;
    const user = Number(row['id']);
    this.state.ripen(user);
    const head = users.head(users.byKey(user, app));
    const waiting = db.get(
      'SELECT count(*) AS waiting FROM log WHERE user = ? AND state < 2 AND request IS NOT NULL',
      user,
    );
    this.state.countWaiting(user, -Number(waiting?.['waiting'] ?? 0));
    for (const table of ['log', 'steps', 'replies', 'user_threads', 'once'])
      db.run(`DELETE FROM ${table} WHERE user = ?`, user);
    db.run('DELETE FROM links WHERE user = ?', user);
    db.run('DELETE FROM device_acks WHERE device IN (SELECT id FROM devices WHERE user = ?)', user);
    db.run('DELETE FROM devices WHERE user = ?', user);
    // The row stays without a name, so that its number and head are never given again.
    db.run('UPDATE users SET userid = NULL, customerid = NULL, msisdn = NULL, purged = ? WHERE id = ?', head, user);
    users.forgetUsers();
    this.threads.reset();
    return true;
  }
}
