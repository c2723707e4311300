import type { ThreadMessage } from '../../core/delivery-status.ts';
import type { Thread } from '../../core/model.ts';
import type { LogEntry, ThreadPatch, UserKey } from '../../core/ports.ts';
import { replyMessage, sentMessage, threadOf } from '../rows.ts';
import { Columns, unnest } from './columns.ts';
import type { Database, Row, Transaction } from './database.ts';
import { Overtaken } from './database.ts';
import { flush } from './flush.ts';
import type { Ids } from './ids.ts';
import { Ledger } from './ledger.ts';
import { lockUsers } from './loading.ts';
import { ownKey } from './thread-book.ts';

/** A change of a thread is told to at most this many linked users; a wider announcement has no such event. */
const TOLD_USERS_MAX = 1000;
const LINKED = 'SELECT user_id, key FROM user_threads WHERE thread = $1';
/** Keys of own threads: in force, or (~) not. */
const OWN = "(key LIKE 'C:%' OR key LIKE 'A:%' OR key LIKE '~%')";

/** Threads as the API makes, changes and tells them. */
export class Threads {
  private readonly database: Database;
  private readonly ids: Ids;

  constructor(database: Database, ids: Ids) {
    this.database = database;
    this.ids = ids;
  }

  create(thread: Omit<Thread, 'createdAt' | 'updatedAt'>, now: number): Promise<Thread> {
    return this.database.transaction(async (transaction) => {
      const numbers = await this.ids.reserve(transaction, 1);
      const { id, appId, type, title, category, externalid, status, extras, serviceId } = thread;
      await transaction.run(
        `INSERT INTO threads (id, uid, app, type, title, category, externalid, status, extras, service, created, updated)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)`,
        [numbers.take(), id, appId, type, title, category, externalid, status, JSON.stringify(extras), serviceId, now],
      );
      return { ...thread, createdAt: now, updatedAt: now };
    });
  }

  async get(app: string, uid: string): Promise<Thread | null> {
    const row = await this.database.one('SELECT * FROM threads WHERE uid = $1 AND app = $2', [uid, app]);
    return row === undefined ? null : threadOf(row);
  }

  async list(query: { appId: string; user: UserKey | null; start: number; limit: number }): Promise<{
    total: number;
    threads: Thread[];
  }> {
    const { appId, user, start, limit } = query;
    const from =
      user === null
        ? 'FROM threads WHERE app = $1'
        : 'FROM threads WHERE app = $1 AND id IN (SELECT thread FROM user_threads WHERE user_id = $2)';
    const order = user === null ? 'created DESC, id DESC' : 'updated DESC, id DESC';
    const values = user === null ? [appId] : [appId, user];
    const counted = await this.database.one(`SELECT count(*) AS total ${from}`, values);
    const rows = await this.database.all(
      `SELECT * ${from} ORDER BY ${order} LIMIT $${values.length + 1} OFFSET $${values.length + 2}`,
      [...values, limit, start],
    );
    return { total: Number(counted?.['total'] ?? 0), threads: rows.map(threadOf) };
  }

  update(change: {
    appId: string;
    id: string;
    patch: ThreadPatch;
    now: number;
  }): Promise<{ thread: Thread; entries: LogEntry[] } | null> {
    return this.database.transaction((transaction) => this.updateOne(transaction, change));
  }

  private async updateOne(
    transaction: Transaction,
    { appId, id, patch, now }: { appId: string; id: string; patch: ThreadPatch; now: number },
  ): Promise<{ thread: Thread; entries: LogEntry[] } | null> {
    const row = await transaction.one('SELECT * FROM threads WHERE uid = $1 AND app = $2', [id, appId]);
    if (row === undefined) return null;
    const key = Number(row['id']);
    const ledger = new Ledger();
    const told = await transaction.all(`${LINKED} LIMIT $2`, [key, TOLD_USERS_MAX + 1]);
    const own = await transaction.all(`${LINKED} AND ${OWN}`, [key]);
    await lockUsers(
      transaction,
      ledger,
      [...told, ...own].map((one) => Number(one['user_id'])),
    );
    // Users before threads, as everywhere; then nobody else changes this thread.
    const [locked, ownNow] = await Promise.all([
      transaction.one('SELECT * FROM threads WHERE id = $1 FOR NO KEY UPDATE', [key]),
      transaction.all(`${LINKED} AND ${OWN}`, [key]),
    ]);
    if (locked === undefined || ownNow.some((one) => !ledger.users.has(Number(one['user_id'])))) throw new Overtaken();
    const after: Thread = { ...threadOf(locked), ...patch, updatedAt: now };
    const { title, category, externalid, status, extras } = after;
    void transaction.run(
      'UPDATE threads SET title = $1, category = $2, externalid = $3, status = $4, extras = $5, updated = $6 WHERE id = $7',
      [title, category, externalid, status, JSON.stringify(extras), now, key],
    );
    await rekey(transaction, { key, uid: id }, after, ownNow);
    const entries =
      told.length > TOLD_USERS_MAX ? [] : told.map((one) => tell(ledger, Number(one['user_id']), after, now));
    await flush(transaction, ledger);
    return { thread: after, entries };
  }

  async messages(query: { user: UserKey; threadId: string; start: number; limit: number }): Promise<{
    total: number;
    messages: ThreadMessage[];
  }> {
    const { user, threadId, start, limit } = query;
    const thread = await this.database.one('SELECT id FROM threads WHERE uid = $1', [threadId]);
    if (thread === undefined) return { total: 0, messages: [] };
    const key = Number(thread['id']);
    const [sent, replies, counted] = await Promise.all([
      this.database.all(
        `SELECT l.n, l.destination, l.state, l.at, l.read, r.uid, r.accepted, r.content FROM log l JOIN requests r ON r.uid = l.request
         WHERE l.user_id = $1 AND l.thread = $2 AND l.state <> 7 ORDER BY l.n DESC LIMIT $3`,
        [user, key, start + limit],
      ),
      this.database.all(
        'SELECT tid, content, at FROM replies WHERE user_id = $1 AND thread = $2 ORDER BY at DESC LIMIT $3',
        [user, key, start + limit],
      ),
      this.database.one(
        `SELECT (SELECT count(*) FROM log WHERE user_id = $1 AND thread = $2 AND request IS NOT NULL AND state <> 7)
              + (SELECT count(*) FROM replies WHERE user_id = $1 AND thread = $2) AS total`,
        [user, key],
      ),
    ]);
    const messages = [...sent.map(sentMessage), ...replies.map(replyMessage)].toSorted(
      (a, b) => b.createdAt - a.createdAt,
    );
    return { total: Number(counted?.['total'] ?? 0), messages: messages.slice(start, start + limit) };
  }
}

/** The user's key for an own thread follows its title; a closed one gives its key free, a reopened one takes it back. */
async function rekey(
  transaction: Transaction,
  thread: { key: number; uid: string },
  after: Thread,
  own: readonly Row[],
): Promise<void> {
  if (own.length === 0) return;
  const wanted = ownKey(after.type, after.title);
  const users = own.map((row) => Number(row['user_id']));
  const taken = await transaction.all(
    'SELECT user_id FROM user_threads WHERE user_id = ANY($1::bigint[]) AND key = $2 AND thread <> $3',
    [users, wanted, thread.key],
  );
  const others = new Set(taken.map((row) => Number(row['user_id'])));
  const columns = new Columns(3);
  for (const row of own) {
    const user = Number(row['user_id']);
    // ~ marks an own thread whose key is not in force: closed, or another one has the title.
    const key = after.status === 'Active' && !others.has(user) ? wanted : `~${thread.key}`;
    if (key !== row['key']) columns.add(user, row['key'], key);
  }
  if (columns.isEmpty) return;
  void transaction.run(
    `UPDATE user_threads t SET key = q.now FROM ${unnest('bigint', 'text', 'text')} q(u, key, now)
     WHERE t.user_id = q.u AND t.key = q.key`,
    columns.values,
  );
}

function tell(ledger: Ledger, user: UserKey, thread: Thread, now: number): LogEntry {
  const { id, title, type, status } = thread;
  const at = new Date(now).toISOString();
  return ledger.appendEvent(user, { type: 'thread', thread: { id, title, type, status }, at }, now);
}
