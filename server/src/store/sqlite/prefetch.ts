import type { AcceptUnit } from '../../core/ports.ts';
import type { ThreadType } from '../../core/model.ts';
import type { ThreadRef } from '../rows.ts';
import type { State } from './state.ts';
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
    // A shorter last chunk is filled up: an identifier twice gives its row once.
    const filled = Array.from({ length: CHUNK }, (_, index) => values[index] ?? (values[0] as string));
    const choice = unit.thread;
    const wanted = 'id' in choice ? this.linkKey(unit.appId, choice.id) : ownKey(choice.type, choice.title);
    const rows = this.state.db.all(statement(column), wanted, unit.appId, ...filled);
    for (const row of rows) {
      const user = this.state.users.learn(unit.appId, column, row);
      if (row['thread'] === null) continue;
      const linked = Number(row['thread']);
      this.threads.learn(user, { linked, own: 'id' in choice ? null : new OwnThread(this.state, linked, choice) });
    }
  }

  /** How a link to the thread is named in `user_threads`. */
  private linkKey(appId: string, id: string): string {
    const thread = this.threads.openById(appId, id);
    return thread === null ? '' : `#${thread.key}`;
  }
}

/** A recipient's own thread of which the number is known. Its id is read when a device is told of it, which few are. */
class OwnThread implements ThreadRef {
  readonly key: number;
  readonly title: string;
  readonly type: ThreadType;
  private readonly state: State;

  constructor(state: State, key: number, choice: { title: string; type: ThreadType }) {
    this.state = state;
    this.key = key;
    this.title = choice.title;
    this.type = choice.type;
  }

  get id(): string {
    return this.state.thread(this.key).id;
  }
}

const STATEMENTS = new Map<IdentifierColumn, string>();

function statement(column: IdentifierColumn): string {
  const known = STATEMENTS.get(column);
  if (known !== undefined) return known;
  const places = Array.from({ length: CHUNK }, () => '?').join(',');
  const text = `SELECT u.id, u.${column} AS value, ut.thread,
      max(coalesce((SELECT max(n) FROM log l WHERE l.user = u.id), 0), u.purged) AS head
    FROM users u
    LEFT JOIN user_threads ut ON ut.user = u.id AND ut.key = ?
    WHERE u.app = ? AND u.${column} IN (${places})`;
  STATEMENTS.set(column, text);
  return text;
}
