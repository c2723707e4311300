import { STATE } from '../../core/delivery-state.ts';
import type { StateNumber } from '../../core/delivery-state.ts';
import type { Priority } from '../../core/model.ts';
import type { DeviceKey, HeldSession, LogEntry, OwedQuery, RequestContent, UserKey } from '../../core/ports.ts';
import type { Database, Row } from './database.ts';
import { detailOf } from './ledger.ts';
import { loadContents } from './loading.ts';

const COLUMNS =
  'l.user_id, l.n, l.request, l.destination, l.priority, l.state, l.detail, t.uid AS thread_uid, t.title, t.type';
const FROM = 'FROM log l LEFT JOIN threads t ON t.id = l.thread';

/** Logs as they are read: by number, and what a device is still owed. */
export class Reading {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  async head(user: UserKey): Promise<number> {
    const row = await this.database.one('SELECT head FROM heads WHERE user_id = $1', [user]);
    return Number(row?.['head'] ?? 0);
  }

  /** Of those who are not erased. */
  /** Devices that another session has by now. */
  async superseded(sessions: readonly HeldSession[]): Promise<Set<DeviceKey>> {
    const rows = await this.database.all(
      `SELECT d.id FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS held (user_id, id, incarnation)
       JOIN devices d ON d.user_id = held.user_id AND d.id = held.id WHERE d.incarnation > held.incarnation`,
      [
        sessions.map(({ user }) => user),
        sessions.map(({ device }) => device),
        sessions.map(({ incarnation }) => incarnation),
      ],
    );
    return new Set(rows.map((row) => Number(row['id'])));
  }

  async heads(users: readonly UserKey[]): Promise<Map<UserKey, number>> {
    if (users.length === 0) return new Map();
    const rows = await this.database.all(
      'SELECT user_id, head FROM heads WHERE user_id = ANY($1::bigint[]) AND NOT erased',
      [users],
    );
    return new Map(rows.map((row) => [Number(row['user_id']), Number(row['head'])]));
  }

  async countMessages(user: UserKey): Promise<{ head: number; unread: number; total: number }> {
    const row = await this.database.one(
      `SELECT h.head, l.total, l.unread FROM heads h CROSS JOIN LATERAL (
         SELECT count(*) AS total, count(*) FILTER (WHERE state <> ${STATE.read}) AS unread FROM log
         WHERE user_id = h.user_id AND request IS NOT NULL AND state <= ${STATE.read}) l WHERE h.user_id = $1`,
      [user],
    );
    const { head = 0, unread = 0, total = 0 } = row ?? {};
    return { head: Number(head), unread: Number(unread), total: Number(total) };
  }

  async log(user: UserKey, after: number, limit: number): Promise<LogEntry[]> {
    const rows = await this.database.all(
      `SELECT ${COLUMNS} ${FROM} WHERE l.user_id = $1 AND l.n > $2 AND l.state <> 7 ORDER BY l.n LIMIT $3`,
      [user, after, limit],
    );
    return this.entries(rows);
  }

  /**
   * Up to its base a device is owed only what nobody has acknowledged; after it everything that this device itself has
   * not, and the state events.
   */
  async owed({ user, device, base, priority, after, limit }: OwedQuery): Promise<LogEntry[]> {
    const rows = await this.database.all(
      `SELECT ${COLUMNS} ${FROM} WHERE l.user_id = $1 AND l.n > $2 AND l.priority = $3 AND (
         (l.request IS NOT NULL AND l.state < 2)
         OR (l.n > $4 AND (l.request IS NULL OR (l.state < 4 AND l.device IS DISTINCT FROM $5::bigint))
           AND NOT EXISTS (SELECT 1 FROM device_acks a WHERE a.user_id = $1 AND a.device = $5 AND a.n = l.n))
       ) ORDER BY l.n LIMIT $6`,
      [user, after, priority, base, device, limit],
    );
    return this.entries(rows);
  }

  private async entries(rows: readonly Row[]): Promise<LogEntry[]> {
    const contents = await loadContents(
      this.database,
      rows.flatMap((row) => (row['request'] === null ? [] : String(row['request']))),
    );
    // Purged between the two reads: it is simply not there.
    return rows.flatMap((row) => entryOf(row, contents) ?? []);
  }

  /** Marks the device as subscribed, with the head at that moment as its base if it had none. */
  async subscribe(
    user: UserKey,
    device: DeviceKey,
    isKept: boolean,
  ): Promise<{ base: number; head: number; purgedTo: number }> {
    const subscribed = isKept;
    return this.database.transaction(async (transaction) => {
      // The lock of the user, so that no number is given between the head read and the base kept.
      const [heads, rows] = await Promise.all([
        transaction.all('SELECT head, purged FROM heads WHERE user_id = $1 FOR NO KEY UPDATE', [user]),
        transaction.all('SELECT keep_ms, base, subscribed FROM devices WHERE user_id = $1 AND id = $2', [user, device]),
      ]);
      const head = Number(heads[0]?.['head'] ?? 0);
      const row = rows[0];
      const base = row === undefined || row['base'] === null ? head : Number(row['base']);
      if (row !== undefined && row['keep_ms'] !== 0 && (row['base'] === null || row['subscribed'] !== subscribed)) {
        void transaction.run('UPDATE devices SET base = $1, subscribed = $2 WHERE user_id = $3 AND id = $4', [
          base,
          subscribed,
          user,
          device,
        ]);
      }
      return { base, head, purgedTo: Number(heads[0]?.['purged'] ?? 0) };
    });
  }

  async unsubscribe(user: UserKey, device: DeviceKey): Promise<void> {
    await this.database.transaction(async (transaction) => {
      await transaction.all('SELECT 1 FROM heads WHERE user_id = $1 FOR NO KEY UPDATE', [user]);
      void transaction.run('UPDATE devices SET subscribed = false WHERE user_id = $1 AND id = $2 AND subscribed', [
        user,
        device,
      ]);
    });
  }
}

function entryOf(row: Row, contents: ReadonlyMap<string, RequestContent>): LogEntry | null {
  const base = {
    user: Number(row['user_id']),
    n: Number(row['n']),
    priority: Number(row['priority']) as Priority,
    state: Number(row['state']) as StateNumber,
  };
  const detail = row['detail'] as string | null;
  if (row['request'] === null) {
    return { ...base, message: null, event: JSON.parse(String(detail)) as Record<string, unknown> };
  }
  const content = contents.get(String(row['request']));
  if (content === undefined) return null;
  const thread = { id: String(row['thread_uid']), title: String(row['title']), type: row['type'] as 'Conversation' };
  const message = {
    content,
    destination: Number(row['destination']),
    thread,
    links: detailOf({ detail }).links ?? null,
  };
  return { ...base, message, event: null };
}
