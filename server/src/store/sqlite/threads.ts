import { uuidv7 } from 'uuidv7';
import type { Thread, ThreadType } from '../../core/model.ts';
import type { ThreadMessage } from '../../core/delivery-status.ts';
import type { LogEntry, ThreadPatch, UserKey } from '../../core/ports.ts';
import { Lru } from '../../lib/lru.ts';
import { replyMessage, sentMessage, threadOf } from '../rows.ts';
import type { ThreadRef } from '../rows.ts';
import type { State } from './state.ts';
import type { UserState } from './users.ts';

const OPEN_CACHED_MAX = 10_000;
/** A change of a thread is told to at most this many linked users; a wider announcement has no such event. */
const TOLD_USERS_MAX = 1000;

interface OwnThread {
  readonly service: string;
  readonly type: ThreadType;
  readonly title: string;
  readonly now: number;
}

/** Threads: those made by the API, and each recipient's own ones by type and title. */
export class Threads {
  private readonly state: State;
  private readonly openByUid = new Lru<string, ThreadRef>(OPEN_CACHED_MAX);
  /** What users remember of their threads holds as long as this does not change. */
  private generation = 0;

  constructor(state: State) {
    this.state = state;
    state.onReset(() => this.reset());
  }

  reset(): void {
    this.openByUid.clear();
    this.generation += 1;
  }

  /** An open thread of this app; null: unknown, closed or another app's. */
  openById(app: string, uid: string): ThreadRef | null {
    const cacheKey = `${app} ${uid}`;
    const known = this.openByUid.get(cacheKey);
    if (known !== undefined) return known;
    const row = this.state.db.get("SELECT id FROM threads WHERE uid = ? AND app = ? AND status = 'Active'", uid, app);
    if (row === undefined) return null;
    const thread = this.state.thread(Number(row['id']));
    this.openByUid.set(cacheKey, thread);
    return thread;
  }

  /** Links a user to a thread: from then on it is in the user's list and the user may reply on it. */
  link(user: UserState, thread: ThreadRef): void {
    if (user.threads?.generation === this.generation && user.threads.linked === thread.key) return;
    if (!this.isLinked(user.id, thread.key)) {
      this.state.db.run(
        'INSERT OR IGNORE INTO user_threads (user, key, thread) VALUES (?, ?, ?)',
        user.id,
        `#${thread.key}`,
        thread.key,
      );
    }
    user.threads = { generation: this.generation, linked: thread.key, own: null };
  }

  /** What another statement read of a user's threads. */
  learn(user: UserState, read: { linked: number; own: ThreadRef | null }): void {
    user.threads = { generation: this.generation, ...read };
  }

  isLinked(user: UserKey, thread: number): boolean {
    const row = this.state.db.get('SELECT 1 AS yes FROM user_threads WHERE thread = ? AND user = ?', thread, user);
    return row !== undefined;
  }

  /** The recipient's own open thread of that type and title, made where there is none. */
  own(user: UserState, wanted: OwnThread): ThreadRef {
    const last = user.threads?.generation === this.generation ? user.threads.own : null;
    if (last !== null && last.title === wanted.title && last.type === wanted.type) return last;
    const key = ownKey(wanted.type, wanted.title);
    const row = this.state.db.get('SELECT thread FROM user_threads WHERE user = ? AND key = ?', user.id, key);
    const thread = row === undefined ? this.makeOwn(user, wanted, key) : this.state.thread(Number(row['thread']));
    user.threads = { generation: this.generation, linked: thread.key, own: thread };
    return thread;
  }

  private makeOwn(user: UserState, wanted: OwnThread, key: string): ThreadRef {
    const { db } = this.state;
    const uid = uuidv7();
    const made = db
      .sql(
        "INSERT INTO threads (uid, app, type, title, status, extras, service, created, updated) VALUES (?, ?, ?, ?, 'Active', '{}', ?, ?, ?)",
      )
      .run(uid, user.app, wanted.type, wanted.title, wanted.service, wanted.now, wanted.now);
    const thread: ThreadRef = {
      key: Number(made.lastInsertRowid),
      id: uid,
      title: wanted.title,
      type: wanted.type,
    };
    db.run('INSERT INTO user_threads (user, key, thread) VALUES (?, ?, ?)', user.id, key, thread.key);
    return thread;
  }

  create(thread: Omit<Thread, 'createdAt' | 'updatedAt'>, now: number): Thread {
    this.state.db.run(
      'INSERT INTO threads (uid, app, type, title, category, externalid, status, extras, service, created, updated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      thread.id,
      thread.appId,
      thread.type,
      thread.title,
      thread.category,
      thread.externalid,
      thread.status,
      JSON.stringify(thread.extras),
      thread.serviceId,
      now,
      now,
    );
    return { ...thread, createdAt: now, updatedAt: now };
  }

  get(app: string, uid: string): Thread | null {
    const row = this.state.db.get('SELECT * FROM threads WHERE uid = ? AND app = ?', uid, app);
    return row === undefined ? null : threadOf(row);
  }

  keyOf(app: string, uid: string): number | null {
    const row = this.state.db.get('SELECT id FROM threads WHERE uid = ? AND app = ?', uid, app);
    return row === undefined ? null : Number(row['id']);
  }

  list(query: { appId: string; user: UserKey | null; start: number; limit: number }): {
    total: number;
    threads: Thread[];
  } {
    const { db } = this.state;
    if (query.user === null) {
      const total = Number(db.get('SELECT count(*) AS total FROM threads WHERE app = ?', query.appId)?.['total'] ?? 0);
      const rows = db.all(
        'SELECT * FROM threads WHERE app = ? ORDER BY id DESC LIMIT ? OFFSET ?',
        query.appId,
        query.limit,
        query.start,
      );
      return { total, threads: rows.map(threadOf) };
    }
    const mine = 'FROM threads WHERE id IN (SELECT thread FROM user_threads WHERE user = ?) AND app = ?';
    const total = Number(db.get(`SELECT count(*) AS total ${mine}`, query.user, query.appId)?.['total'] ?? 0);
    const rows = db.all(
      `SELECT * ${mine} ORDER BY updated DESC, id DESC LIMIT ? OFFSET ?`,
      query.user,
      query.appId,
      query.limit,
      query.start,
    );
    return { total, threads: rows.map(threadOf) };
  }

  update(change: {
    appId: string;
    id: string;
    patch: ThreadPatch;
    now: number;
  }): { thread: Thread; entries: LogEntry[] } | null {
    const before = this.get(change.appId, change.id);
    const key = this.keyOf(change.appId, change.id);
    if (before === null || key === null) return null;
    const after: Thread = { ...before, ...change.patch, updatedAt: change.now };
    this.state.db.run(
      'UPDATE threads SET title = ?, category = ?, externalid = ?, status = ?, extras = ?, updated = ? WHERE id = ?',
      after.title,
      after.category,
      after.externalid,
      after.status,
      JSON.stringify(after.extras),
      change.now,
      key,
    );
    this.rekey(key, after);
    this.state.forgetThread(key);
    this.reset();
    return { thread: after, entries: this.tell(key, after, change.now) };
  }

  /** The user's key for an own thread follows its title; a closed one gives its key free, a reopened one takes it back. */
  private rekey(thread: number, after: Thread): void {
    const { db } = this.state;
    const rows = db.all(
      "SELECT user, key FROM user_threads WHERE thread = ? AND (key LIKE 'C:%' OR key LIKE 'A:%' OR key LIKE '~%')",
      thread,
    );
    for (const row of rows) {
      const user = Number(row['user']);
      const taken = db.get(
        'SELECT 1 AS yes FROM user_threads WHERE user = ? AND key = ? AND thread <> ?',
        user,
        ownKey(after.type, after.title),
        thread,
      );
      // ~ marks an own thread whose key is not in force: closed, or another one has the title.
      const key = after.status === 'Active' && taken === undefined ? ownKey(after.type, after.title) : `~${thread}`;
      db.run('UPDATE user_threads SET key = ? WHERE user = ? AND key = ?', key, user, String(row['key']));
    }
  }

  private tell(key: number, thread: Thread, now: number): LogEntry[] {
    const rows = this.state.db.all('SELECT user FROM user_threads WHERE thread = ? LIMIT ?', key, TOLD_USERS_MAX + 1);
    if (rows.length > TOLD_USERS_MAX) return [];
    const event = {
      type: 'thread',
      thread: { id: thread.id, title: thread.title, type: thread.type, status: thread.status },
      at: new Date(now).toISOString(),
    };
    return rows.map((row) => this.state.appendEvent(Number(row['user']), event, now));
  }

  messages(query: { user: UserKey; threadId: string; start: number; limit: number }): {
    total: number;
    messages: ThreadMessage[];
  } {
    const { db } = this.state;
    const thread = db.get('SELECT id FROM threads WHERE uid = ?', query.threadId);
    if (thread === undefined) return { total: 0, messages: [] };
    const key = Number(thread['id']);
    this.state.ripen(query.user);
    const sent = db.all(
      'SELECT l.n, l.destination, l.state, l.at, l.read, r.uid, r.accepted, r.content FROM log l JOIN requests r ON r.id = l.request WHERE l.user = ? AND l.thread = ? AND l.state <> 7 ORDER BY l.n DESC LIMIT ?',
      query.user,
      key,
      query.start + query.limit,
    );
    const replies = db.all(
      'SELECT tid, content, at FROM replies WHERE user = ? AND thread = ? ORDER BY at DESC LIMIT ?',
      query.user,
      key,
      query.start + query.limit,
    );
    const counted = db.get(
      'SELECT (SELECT count(*) FROM log WHERE user = ? AND thread = ? AND request IS NOT NULL AND state <> 7) + (SELECT count(*) FROM replies WHERE user = ? AND thread = ?) AS total',
      query.user,
      key,
      query.user,
      key,
    );
    const messages = [...sent.map(sentMessage), ...replies.map(replyMessage)].toSorted(
      (a, b) => b.createdAt - a.createdAt,
    );
    return { total: Number(counted?.['total'] ?? 0), messages: messages.slice(query.start, query.start + query.limit) };
  }
}

/** The name of a user's own open thread in `user_threads`. */
export function ownKey(type: ThreadType, title: string): string {
  return `${type === 'Conversation' ? 'C' : 'A'}:${title}`;
}
