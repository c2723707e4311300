import { open, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { quoteName } from './database.ts';
import type { Database, Session } from './database.ts';

const FILE_MODE = 0o600;
const ROWS_AT_ONCE = 1000;
const FORMAT = 'carillon-postgres';

interface Header {
  readonly format: string;
  /** Of the tables. */
  readonly version: number;
}

const TABLES = `SELECT c.relname AS name, greatest(c.reltuples, 0)::bigint AS rows FROM pg_class c
  WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND c.relname <> 'migrations' ORDER BY c.relname`;
const SEQUENCES = `SELECT sequencename AS name, coalesce(last_value, 0) AS last FROM pg_sequences
  WHERE schemaname = current_schema() ORDER BY sequencename`;
const VERSION = 'SELECT max(version) AS version FROM migrations';

/**
 * Writes everything, as it is at one moment, to a file: a line that says what it is, then for each table its name and its
 * rows as JSON, a line each; at the end how many there were. Resolves when it is synced under its name (mode 0600).
 */
export async function backUp(database: Database, path: string, onProgress?: (share: number) => void): Promise<void> {
  const unfinished = `${path}.part`;
  const file = await open(unfinished, 'w', FILE_MODE);
  try {
    await database.session(async (session) => {
      await session.exec('SET idle_in_transaction_session_timeout = 0');
      await session.exec('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      await writeAll(session, file, onProgress);
      await session.exec('COMMIT');
    });
    await file.sync();
  } catch (error) {
    await file.close();
    await rm(unfinished, { force: true });
    throw error;
  }
  await file.close();
  await rename(unfinished, path);
}

async function writeAll(session: Session, file: FileHandle, onProgress?: (share: number) => void): Promise<void> {
  const version = await session.all(VERSION);
  const header: Header = { format: FORMAT, version: Number(version[0]?.['version']) };
  await file.write(`${JSON.stringify(header)}\n`);
  // Before the rows: a number that is given meanwhile is in none of them.
  for (const row of await session.all(SEQUENCES)) {
    await file.write(`${JSON.stringify({ sequence: row['name'], last: row['last'] })}\n`);
  }
  const tables = await session.all(TABLES);
  const expected = tables.reduce((sum, row) => sum + Number(row['rows']), 0);
  let written = 0;
  for (const { name } of tables.map((row) => ({ name: String(row['name']) }))) {
    await file.write(`${JSON.stringify({ table: name })}\n`);
    await session.exec(`DECLARE backup CURSOR FOR SELECT to_json(t)::text AS row FROM ${quoteName(name)} t`);
    for (;;) {
      const rows = await session.all(`FETCH ${ROWS_AT_ONCE} FROM backup`);
      if (rows.length === 0) break;
      await file.write(rows.map((row) => `${String(row['row'])}\n`).join(''));
      written += rows.length;
      // The number of rows is the planner's guess.
      onProgress?.(Math.min(0.99, written / Math.max(1, expected)));
    }
    await session.exec('CLOSE backup');
  }
  await file.write(`${JSON.stringify({ rows: written })}\n`);
  onProgress?.(1);
}

/** The file is none of ours, was cut off, or is of tables that this carillon does not know. */
export class BackupUnusable extends Error {
  constructor(path: string, reason: string) {
    super(`${path} cannot be restored: ${reason}`);
    this.name = 'BackupUnusable';
  }
}

/**
 * Puts a backup in the place of what a database without an installation holds: its tables must be there and empty.
 * All or nothing, and with this epoch, since positions of devices may lie beyond what the backup knows. Rejects with
 * {@link BackupUnusable}.
 */
export async function restore(database: Database, path: string, epoch: string): Promise<void> {
  await database.session(async (session) => {
    const version = await session.all(VERSION);
    const known = Number(version[0]?.['version']);
    await session.exec('SET idle_in_transaction_session_timeout = 0');
    await session.exec('BEGIN');
    const there = await session.all('SELECT EXISTS (SELECT 1 FROM meta) OR EXISTS (SELECT 1 FROM objects) AS yes');
    if (there[0]?.['yes'] === true) throw new BackupUnusable(path, 'the database holds an installation already');
    await readAll(session, path, known);
    await session.all("UPDATE meta SET value = $1 WHERE name = 'epoch'", [epoch]);
    await session.exec('COMMIT');
  });
}

async function readAll(session: Session, path: string, known: number): Promise<void> {
  const file = await open(path, 'r');
  try {
    let isFirst = true;
    let table: string | null = null;
    let rows: string[] = [];
    let read = 0;
    let expected = -1;
    const put = async (): Promise<void> => {
      if (table !== null && rows.length > 0) await insert(session, table, rows);
      read += rows.length;
      rows = [];
    };
    for await (const line of file.readLines()) {
      if (isFirst) {
        isFirst = false;
        checkHeader(path, line, known);
        continue;
      }
      const sign = signOf(line);
      if (sign === null) {
        rows.push(line);
        if (rows.length === ROWS_AT_ONCE) await put();
        continue;
      }
      await put();
      if (sign.table !== undefined) table = sign.table;
      else if (sign.sequence !== undefined)
        await session.all('SELECT setval($1, greatest($2, 1))', [sign.sequence, sign.last]);
      else expected = sign.rows ?? -1;
    }
    if (read !== expected) throw new BackupUnusable(path, `it was cut off after ${read} rows`);
  } finally {
    await file.close();
  }
}

interface Sign {
  readonly table?: string;
  readonly sequence?: string;
  readonly last?: number;
  readonly rows?: number;
}

/** What is no row: no table of ours has a first column of these names. */
function signOf(line: string): Sign | null {
  return /^\{"(table|sequence|rows)":/.test(line) ? (JSON.parse(line) as Sign) : null;
}

function checkHeader(path: string, line: string, known: number): void {
  let header: Partial<Header>;
  try {
    header = JSON.parse(line) as Partial<Header>;
  } catch {
    header = {};
  }
  if (header.format !== FORMAT) throw new BackupUnusable(path, 'it is no backup of a PostgreSQL store');
  if ((header.version ?? 0) > known) throw new BackupUnusable(path, 'it is of a newer carillon');
}

async function insert(session: Session, table: string, rows: readonly string[]): Promise<void> {
  const name = quoteName(table);
  await session.all(
    `INSERT INTO ${name} OVERRIDING SYSTEM VALUE SELECT * FROM json_populate_recordset(NULL::${name}, $1::json)`,
    [`[${rows.join(',')}]`],
  );
}
