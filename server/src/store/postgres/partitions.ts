import { quoteName, withCode } from './database.ts';
import type { Database, Transaction } from './database.ts';

const WEEK_MS = 7 * 86_400_000;
/** 1970-01-05 was a Monday. */
const MONDAY_MS = 4 * 86_400_000;
/** This week and the next: made before anything is for it. */
const WEEKS_AHEAD = 2;
/** A week that ended so long ago takes no new request: uids are made when the request comes. */
const SETTLED_MS = 2 * 86_400_000;
/** Attaching and dropping shuts out everybody else for a moment; who cannot have that moment at once tries later. */
const LOCK_MS = 500;
const LOCK_NOT_AVAILABLE = '55P03';
/** Rows for the week are in the rest already. */
const CHECK_VIOLATION = '23514';
const PREFIX = 'requests_w';

/**
 * The partitions of `requests`, one per week of their uids (version 7: time comes first). A week is the least that keeps
 * the locks which every statement takes on all of them within ten or so, and the most that a retention of 30 days
 * leaves standing empty.
 */
export class Partitions {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  /** Makes those that will be needed and drops those that are past and empty. */
  async tidy(now: number): Promise<void> {
    const rows = await this.database.all(
      "SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'requests'::regclass",
    );
    const there = new Set(rows.map((row) => String(row['name'])));
    for (let weeks = 0; weeks < WEEKS_AHEAD; weeks += 1) {
      const start = weekOf(now) + weeks * WEEK_MS;
      if (!there.has(nameOf(start))) await this.later(() => this.make(start));
    }
    for (const name of there) {
      const start = name.startsWith(PREFIX) ? Number(name.slice(PREFIX.length)) : Number.NaN;
      if (start + WEEK_MS + SETTLED_MS <= now) await this.later(() => this.drop(name));
    }
  }

  private async later(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!withCode(error, LOCK_NOT_AVAILABLE) && !withCode(error, CHECK_VIOLATION)) throw error;
    }
  }

  private async make(start: number): Promise<void> {
    const name = quoteName(nameOf(start));
    await this.exclusively(async (transaction) => {
      // Another node may have made it since.
      const there = await transaction.one('SELECT to_regclass($1) IS NOT NULL AS yes', [name]);
      if (there?.['yes'] === true) return;
      await transaction.exec(`CREATE TABLE ${name} (LIKE requests INCLUDING DEFAULTS INCLUDING STORAGE)`);
      await transaction.exec(
        `ALTER TABLE requests ATTACH PARTITION ${name} FOR VALUES FROM ('${uuidAt(start)}') TO ('${uuidAt(start + WEEK_MS)}')`,
      );
    });
  }

  private async drop(name: string): Promise<void> {
    const table = quoteName(name);
    const rows = await this.database.all(`SELECT 1 AS yes FROM ${table} LIMIT 1`);
    if (rows.length > 0) return;
    await this.exclusively(async (transaction) => {
      await transaction.exec(`LOCK TABLE requests, ${table} IN ACCESS EXCLUSIVE MODE`);
      const left = await transaction.one(`SELECT 1 AS yes FROM ${table} LIMIT 1`);
      if (left === undefined) await transaction.exec(`DROP TABLE ${table}`);
    });
  }

  private async exclusively(work: (transaction: Transaction) => Promise<void>): Promise<void> {
    await this.database.transaction(async (transaction) => {
      await transaction.exec(`SET LOCAL lock_timeout = ${LOCK_MS}`);
      await work(transaction);
      // Once: each wait for the lock holds up everybody behind it.
    }, 1);
  }
}

function weekOf(at: number): number {
  return Math.floor((at - MONDAY_MS) / WEEK_MS) * WEEK_MS + MONDAY_MS;
}

function nameOf(start: number): string {
  return `${PREFIX}${start}`;
}

/** The least version 7 UUID of a time. */
function uuidAt(at: number): string {
  const hex = at.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}
