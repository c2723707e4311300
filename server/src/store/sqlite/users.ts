import type { Identifier, UserKey } from '../../core/ports.ts';
import { Lru } from '../../lib/lru.ts';
import type { ThreadRef } from '../rows.ts';
import type { Connection, Row } from './connection.ts';

/** Users kept in memory, about 200 bytes each. */
const USERS_CACHED_MAX = 400_000;

/** What is known of a user without reading. */
export interface UserState {
  readonly id: UserKey;
  readonly app: string;
  /** Last number given; -1: not read yet. */
  head: number;
  /** Known once the head was read: erasing forgets what is in memory, and found by an identifier is not erased. */
  isErased: boolean;
  /** Every entry that waits has a number above it. */
  low: number;
  /** Entries that wait; -1: not counted, it is at most head - low. */
  waiting: number;
  /** The thread used last, and whether it is the user's own: most messages go on the same one. */
  threads: { readonly generation: number; readonly linked: number; readonly own: ThreadRef | null } | null;
}

export type CustomeridMode = 'same' | 'linked';

/**
 * Users by identifier, and the heads of their logs. A head is read once (MAX is one descent of the clustered table)
 * and then counted in memory: returning it from a table would cost 3.7 µs a delivery.
 */
export class UserIndex {
  private readonly db: Connection;
  /** Column and app → value → user number; the state itself stands in one place only. Two steps, since joining them to one text costs more than both look-ups. */
  private readonly byIdentifier = new Map<string, Map<string, UserKey>>();
  private identifierCount = 0;
  private readonly byId = new Lru<UserKey, UserState>(USERS_CACHED_MAX);
  private readonly modes = new Map<string, CustomeridMode>();

  private readonly youngLast: (user: UserKey) => number;

  /** `youngLast`: the last number of a user whose row is not written yet; 0: none. */
  constructor(db: Connection, youngLast: (user: UserKey) => number) {
    this.db = db;
    this.youngLast = youngLast;
  }

  reset(): void {
    this.forgetUsers();
    this.modes.clear();
  }

  /** An app was changed. */
  forgetModes(): void {
    this.modes.clear();
  }

  /** Identifiers of a user changed, or the user went. */
  forgetUsers(): void {
    this.byIdentifier.clear();
    this.identifierCount = 0;
    this.byId.clear();
  }

  mode(app: string): CustomeridMode {
    const known = this.modes.get(app);
    if (known !== undefined) return known;
    const row = this.db.get("SELECT body FROM objects WHERE kind = 'app' AND id = ?", app);
    const body = row === undefined ? null : (JSON.parse(String(row['body'])) as { customerid?: string });
    const mode = body?.customerid === 'linked' ? 'linked' : 'same';
    this.modes.set(app, mode);
    return mode;
  }

  /** The user an identifier means, if there is one. A customerid of a `same` app is the userid. */
  find(app: string, identifier: Identifier): UserState | null {
    const column = this.column(app, identifier.type);
    const known = this.known(column, app).get(identifier.value);
    if (known !== undefined) return this.byKey(known, app);
    const row = this.db.get(FIND[column], app, identifier.value);
    if (row === undefined) return null;
    const state = this.byKey(Number(row['id']), app);
    this.remember(column, identifier.value, state);
    return state;
  }

  /** The same, made where it can be: an msisdn names nobody by itself. */
  findOrMake(app: string, identifier: Identifier, now: number): UserState | null {
    const found = this.find(app, identifier);
    if (found !== null || identifier.type === 'msisdn') return found;
    const column = this.column(app, identifier.type);
    const made = this.db.sql(MAKE[column === 'customerid' ? 'customerid' : 'userid']).run(app, identifier.value, now);
    const state: UserState = {
      id: Number(made.lastInsertRowid),
      app,
      head: 0,
      isErased: false,
      low: 0,
      waiting: 0,
      threads: null,
    };
    this.byId.set(state.id, state);
    this.remember(column, identifier.value, state);
    return state;
  }

  private known(column: string, app: string): Map<string, UserKey> {
    const name = column === 'userid' ? app : `${column} ${app}`;
    let users = this.byIdentifier.get(name);
    if (users === undefined) {
      users = new Map();
      this.byIdentifier.set(name, users);
    }
    return users;
  }

  private remember(column: string, value: string, state: UserState): void {
    if (this.identifierCount >= USERS_CACHED_MAX) {
      this.byIdentifier.clear();
      this.identifierCount = 0;
    }
    this.known(column, state.app).set(value, state.id);
    this.identifierCount += 1;
  }

  isKnown(app: string, column: IdentifierColumn, value: string): boolean {
    return this.known(column, app).has(value);
  }

  /** A user read by another statement: `id`, `value` of the column, `head`. */
  learn(app: string, column: IdentifierColumn, row: Row): UserState {
    const state = this.byKey(Number(row['id']), app);
    if (state.head < 0) state.head = Math.max(Number(row['head']), this.youngLast(state.id));
    this.remember(column, String(row['value']), state);
    return state;
  }

  /** Where an identifier of this type is looked for: a customerid of a `same` app is the userid. */
  column(app: string, type: Identifier['type']): IdentifierColumn {
    if (type === 'customerid' && this.mode(app) === 'same') return 'userid';
    return type;
  }

  byKey(id: UserKey, app?: string): UserState {
    const known = this.byId.get(id);
    if (known !== undefined) return known;
    const appId = app ?? String(this.db.get('SELECT app FROM users WHERE id = ?', id)?.['app'] ?? '');
    const state: UserState = { id, app: appId, head: -1, isErased: false, low: 0, waiting: -1, threads: null };
    this.byId.set(id, state);
    return state;
  }

  /** The last number given to this user's log. */
  head(state: UserState): number {
    if (state.head < 0) {
      const row = this.db.get(
        'SELECT max(coalesce((SELECT max(n) FROM log WHERE user = id), 0), purged) AS head, coalesce(userid, customerid, msisdn) IS NULL AS erased FROM users WHERE id = ?',
        state.id,
      );
      state.isErased = row === undefined || Number(row['erased']) === 1;
      state.head = Math.max(Number(row?.['head'] ?? 0), this.youngLast(state.id));
    }
    return state.head;
  }

  /** The heads of those who are not erased. */
  heads(users: readonly UserKey[]): Map<UserKey, number> {
    const heads = new Map<UserKey, number>();
    for (const user of users) {
      const state = this.byKey(user);
      const head = this.head(state);
      if (!state.isErased) heads.set(user, head);
    }
    return heads;
  }

  /** Whether the cheap bound alone says that at most `room` wait. */
  isFarBelow(state: UserState, room: number): boolean {
    return (state.waiting < 0 ? this.head(state) - state.low : state.waiting) <= room;
  }

  /**
   * Whether `added` more would pass `max` waiting entries. Counts rows only where the cheap bound (numbers since the
   * oldest that may wait) does not settle it; `beforeCount` writes what a commit still gathers.
   */
  wouldExceed(state: UserState, bound: { added: number; max: number; beforeCount: (user: UserKey) => void }): boolean {
    const { added, max } = bound;
    const head = this.head(state);
    if (state.waiting < 0 && head - state.low + added <= max) return false;
    if (state.waiting < 0) {
      bound.beforeCount(state.id);
      const row = this.db.get(
        'SELECT count(*) AS waiting, min(n) AS first FROM log WHERE user = ? AND n > ? AND state < 2 AND request IS NOT NULL',
        state.id,
        state.low,
      );
      state.waiting = Number(row?.['waiting'] ?? 0);
      state.low = row?.['first'] === null ? head : Number(row?.['first']) - 1;
    }
    return state.waiting + added > max;
  }

  /** A waiting entry ended (-1) or was added (+1). */
  countWaiting(id: UserKey, change: number): void {
    const state = this.byId.get(id);
    if (state !== undefined && state.waiting >= 0) state.waiting += change;
  }
}

export type IdentifierColumn = keyof typeof FIND;

const FIND = {
  userid: 'SELECT id FROM users WHERE app = ? AND userid = ?',
  customerid: 'SELECT id FROM users WHERE app = ? AND customerid = ?',
  msisdn: 'SELECT id FROM users WHERE app = ? AND msisdn = ?',
} as const;

const MAKE = {
  userid: 'INSERT INTO users (app, userid, created) VALUES (?, ?, ?)',
  customerid: 'INSERT INTO users (app, customerid, created) VALUES (?, ?, ?)',
} as const;
