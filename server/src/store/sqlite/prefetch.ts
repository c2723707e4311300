import type { AcceptUnit, ThreadChoice } from '../../core/ports.ts';
import type { ThreadType } from '../../core/model.ts';
import type { Row } from './connection.ts';
import type { State, ThreadRef } from './state.ts';
import { ownKey } from './threads.ts';
import type { Threads } from './threads.ts';
import type { IdentifierColumn } from './users.ts';

/** Users read by one statement. */
const CHUNK = 64;
/** Fewer strangers than this are read one by one. */
const WORTH_IT = 16;

/**
 * Reads the users of a large request that are not in memory, with their heads and the thread that the request needs, 64
 * in one statement. One by one a stranger costs four statements, and with a million users nearly all are strangers.
 */
export class Prefetch {
  private readonly state: State;
  private readonly threads: Threads;

  constructor(state: State, threads: Threads) {
    this.state = state;
    this.threads = threads;
  }

  users(unit: AcceptUnit): void {
    for (const [column, values] of this.strangers(unit)) {
      for (let start = 0; values.length - start >= WORTH_IT; start += CHUNK) {
        this.read(unit, column, values.slice(start, start + CHUNK));
      }
    }
  }

  private strangers(unit: AcceptUnit): Map<IdentifierColumn, string[]> {
    const strangers = new Map<IdentifierColumn, string[]>();
    for (const { identifiers } of unit.destinations) {
      for (const { type, value } of identifiers) {
        const column = this.state.users.column(unit.appId, type);
        if (this.state.users.isKnown(unit.appId, column, value)) continue;
        const values = strangers.get(column);
        if (values === undefined) strangers.set(column, [value]);
        else values.push(value);
      }
    }
    return strangers;
  }

  private read(unit: AcceptUnit, column: IdentifierColumn, values: readonly string[]): void {
    const isById = 'id' in unit.thread;
    // A shorter last chunk is filled up: an identifier twice gives its row once.
    const filled = Array.from({ length: CHUNK }, (_, index) => values[index] ?? (values[0] as string));
    const wanted = isById ? this.linkKey(unit) : ownKey(unit.thread.type, unit.thread.title);
    const rows = this.state.db.all(statement(column), wanted, unit.appId, ...filled);
    for (const row of rows) {
      const user = this.state.users.learn(unit.appId, column, row);
      if (row['thread'] === null) continue;
      const thread = threadOf(row, unit.thread);
      this.threads.learn(user, { linked: Number(row['thread']), own: isById ? null : thread });
    }
  }

  /** How a link to the request's own thread is named in `user_threads`. */
  private linkKey(unit: AcceptUnit): string {
    const thread = 'id' in unit.thread ? this.threads.openById(unit.appId, unit.thread.id) : null;
    return thread === null ? '' : `#${thread.key}`;
  }
}

function threadOf(row: Row, choice: ThreadChoice): ThreadRef | null {
  if ('id' in choice) return null;
  const { title, type }: { title: string; type: ThreadType } = choice;
  return { key: Number(row['thread']), id: String(row['thread_uid']), title, type };
}

const STATEMENTS = new Map<IdentifierColumn, string>();

function statement(column: IdentifierColumn): string {
  const known = STATEMENTS.get(column);
  if (known !== undefined) return known;
  const places = Array.from({ length: CHUNK }, () => '?').join(',');
  const text = `SELECT u.id, u.${column} AS value, t.id AS thread, t.uid AS thread_uid,
      max(coalesce((SELECT max(n) FROM log l WHERE l.user = u.id), 0), u.purged) AS head
    FROM users u
    LEFT JOIN user_threads ut ON ut.user = u.id AND ut.key = ?
    LEFT JOIN threads t ON t.id = ut.thread
    WHERE u.app = ? AND u.${column} IN (${places})`;
  STATEMENTS.set(column, text);
  return text;
}
