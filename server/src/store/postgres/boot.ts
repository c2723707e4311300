import type { Session } from './database.ts';

const VERSION_MIN = 15;

/** The server is too old. */
export class DatabaseTooOld extends Error {
  constructor(version: string) {
    super(`PostgreSQL ${version} is too old: carillon needs ${VERSION_MIN} or newer`);
    this.name = 'DatabaseTooOld';
  }
}

/** Settings under which an answered commit is on the disk, and what it means where one is another. */
const DURABLE: readonly {
  readonly name: string;
  readonly isGood: (value: string) => boolean;
  readonly means: string;
}[] = [
  {
    name: 'fsync',
    isGood: (value) => value === 'on',
    means: 'a power loss or a crash of the machine may lose accepted messages and corrupt the database',
  },
  {
    name: 'full_page_writes',
    isGood: (value) => value === 'on',
    means: 'a power loss may corrupt the database, unless the disk writes pages whole',
  },
  {
    name: 'synchronous_commit',
    isGood: (value) => value !== 'off',
    means: 'a crash of the database server loses messages that were accepted just before it',
  },
  {
    name: 'data_sync_retry',
    isGood: (value) => value === 'off',
    means: 'after a failed sync the database goes on as if it had been done',
  },
];

/**
 * Looks at the server before anything is trusted to it. Returns what is said loudly: one sentence per setting under
 * which 1001 does not mean stored. Throws {@link DatabaseTooOld}.
 */
export async function checkServer(session: Session): Promise<string[]> {
  const version = await session.all(
    "SELECT current_setting('server_version_num')::integer AS number, current_setting('server_version') AS text",
  );
  if (Number(version[0]?.['number'] ?? 0) < VERSION_MIN * 10_000)
    throw new DatabaseTooOld(String(version[0]?.['text']));
  const rows = await session.all('SELECT name, setting FROM pg_settings WHERE name = ANY($1::text[])', [
    DURABLE.map(({ name }) => name),
  ]);
  const settings = new Map(rows.map((row) => [String(row['name']), String(row['setting'])]));
  const warnings: string[] = [];
  for (const { name, isGood, means } of DURABLE) {
    const value = settings.get(name);
    if (value !== undefined && !isGood(value)) warnings.push(`PostgreSQL runs with ${name} = ${value}: ${means}`);
  }
  const encoding = await session.all("SELECT current_setting('server_encoding') AS encoding");
  if (encoding[0]?.['encoding'] !== 'UTF8') {
    throw new Error(`the database has the encoding ${String(encoding[0]?.['encoding'])}: make one with UTF8`);
  }
  return warnings;
}
