import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DAY_MS, makeUnit } from '../support/builders.ts';
import { FakeClock } from '../support/clock.ts';
import { findPostgres, PostgresServer } from '../support/postgres.ts';
import { seedTenant } from '../support/seed.ts';
import { openStore } from './postgres-harness.ts';

const bin = findPostgres();

const SCHEMA = `
  SELECT format('table %s', c.relname) || coalesce(' partition by ' || pg_get_partkeydef(c.oid), '')
    || coalesce(' ' || pg_get_expr(c.relpartbound, c.oid), '') || coalesce(' with ' || array_to_string(c.reloptions, ', '), '') AS line
  FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
  UNION ALL
  SELECT format('  %s.%s %s%s%s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attnotnull THEN ' not null' ELSE '' END, coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), ''),
    CASE WHEN a.attidentity <> '' THEN ' identity' ELSE '' END)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
  WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
  UNION ALL
  SELECT format('index %s', indexdef) FROM pg_indexes WHERE schemaname = 'public'
  UNION ALL
  SELECT format('sequence %s by %s', sequencename, increment_by) FROM pg_sequences WHERE schemaname = 'public'
  ORDER BY line`;

describe.skipIf(bin === null)('postgres: the tables', () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await PostgresServer.start(bin ?? '');
  });

  afterAll(async () => {
    await server?.end();
  });

  const makeDatabase = async (name: string): Promise<string> => {
    await server.query(`CREATE DATABASE ${name}`);
    return server.url(name);
  };

  it('are those of the committed dump, whoever makes them first of several nodes that start at once', async () => {
    const url = await makeDatabase('fresh');
    const stores = await Promise.all(['a', 'b', 'c'].map((node) => openStore(url, { node })));
    expect(new Set(stores.map((store) => store.epoch())).size).toBe(1);
    for (const store of stores) await store.close();
    const lines = await server.query(SCHEMA, 'fresh');
    await expect(`${lines.map(({ line }) => line).join('\n')}\n`).toMatchFileSnapshot('./postgres-schema.txt');
    expect(await server.query('SELECT version FROM migrations', 'fresh')).toEqual([{ version: 1 }]);
  });

  it('are left as they were by a start that was cut off, and made by the next one', async () => {
    const url = await makeDatabase('cut');
    // What is in the way makes the migration fail half way.
    await server.query('CREATE TABLE replies (id integer)', 'cut');
    await expect(openStore(url)).rejects.toThrow(/replies/);
    expect(await server.query("SELECT to_regclass('users') IS NULL AS gone", 'cut')).toEqual([{ gone: true }]);
    await server.query('DROP TABLE replies', 'cut');
    const store = await openStore(url);
    await store.probe();
    await store.close();
  });

  it('may be one version ahead, as while a newer carillon is rolled out; not more', async () => {
    const url = await makeDatabase('ahead');
    await (await openStore(url)).close();
    await server.query('INSERT INTO migrations SELECT max(version) + 1, now() FROM migrations', 'ahead');
    await (await openStore(url)).close();
    await server.query('INSERT INTO migrations SELECT max(version) + 1, now() FROM migrations', 'ahead');
    await expect(openStore(url)).rejects.toThrow(/upgrade it/);
  });

  it('says loudly what the server does not sync, and refuses another encoding', async () => {
    const url = await makeDatabase('careless');
    const store = await openStore(url);
    expect(store.warnings.map((warning) => /with (\w+)/.exec(warning)?.[1])).toEqual([
      'fsync',
      'full_page_writes',
      'synchronous_commit',
    ]);
    await store.close();
    await server.query("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    await expect(openStore(server.url('latin'))).rejects.toThrow(/UTF8/);
  });

  it('keep the requests of a week together, and drop the week when nothing of it is left', async () => {
    const url = await makeDatabase('weeks');
    const clock = new FakeClock();
    const store = await openStore(url, { clock });
    await store.tidy();
    await seedTenant(store);
    const uidAt = (at: number): string => {
      const hex = at.toString(16).padStart(12, '0');
      return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
    };
    const now = clock.now();
    const accepts = [now, now + 7 * DAY_MS, now + 100 * DAY_MS].map((at) =>
      makeUnit({ uid: uidAt(at), acceptedAt: now }),
    );
    await store.write({ accepts, opens: [], settlements: [], closes: [] });
    const where =
      'SELECT tableoid::regclass::text AS name, count(*)::integer AS rows FROM requests GROUP BY 1 ORDER BY 1';
    const places = await server.query(where, 'weeks');
    expect(places).toEqual([
      { name: 'requests_rest', rows: 1 },
      { name: expect.stringMatching(/^requests_w\d+$/), rows: 1 },
      { name: expect.stringMatching(/^requests_w\d+$/), rows: 1 },
    ]);
    clock.advance(2 * DAY_MS);
    await store.expireDue(clock.now(), 100);
    clock.advance(40 * DAY_MS);
    await store.purge(clock.now(), 100);
    await store.close();
    const later = await openStore(url, { clock });
    await later.tidy();
    const left = await server.query(
      "SELECT relname AS name FROM pg_class WHERE relname LIKE 'requests\\_w%' AND relkind = 'r'",
      'weeks',
    );
    expect(left.map(({ name }) => name)).toHaveLength(2);
    for (const { name } of places.slice(1)) expect(left.map((one) => one['name'])).not.toContain(name);
    await later.close();
  });

  it('do not wait for a partition while somebody holds the table', async () => {
    const url = await makeDatabase('held');
    const store = await openStore(url, { clock: new FakeClock() });
    const client = new Client({ connectionString: url });
    await client.connect();
    await client.query('BEGIN; LOCK TABLE requests IN SHARE MODE');
    await store.tidy();
    await client.query('ROLLBACK');
    await client.end();
    expect(
      await server.query("SELECT 1 FROM pg_class WHERE relname LIKE 'requests\\_w%' AND relkind = 'r'", 'held'),
    ).toEqual([]);
    await store.close();
  });
});
