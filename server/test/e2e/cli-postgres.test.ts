/** The commands of an operator on a PostgreSQL database: what they do on a data folder, and that no password is ever repeated. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCarillon, RunningCommand } from '../support/command.ts';
import type { CommandResult } from '../support/command.ts';
import { findPostgres, PostgresServer } from '../support/postgres.ts';
import { makeFolder, removeFolder } from '../support/server-process.ts';

const bin = findPostgres();
const PASSWORD = 'pa55-of-the-test';

const parse = (result: CommandResult): Record<string, unknown> => {
  expect(result.code, result.stderr).toBe(0);
  return JSON.parse(result.stdout) as Record<string, unknown>;
};

/** The server trusts everybody on its socket, so that a password changes nothing; what is said must not hold it. */
const withPassword = (url: string): string => url.replace('carillon@', `carillon:${PASSWORD}@`);

describe.skipIf(bin === null)('with a PostgreSQL database', { timeout: 60_000 }, () => {
  const root = makeFolder();
  let server: PostgresServer;
  const makeDatabase = async (name: string): Promise<string> => {
    await server.query(`CREATE DATABASE ${name}`);
    return withPassword(server.url(name));
  };
  const said: string[] = [];
  const run = async (args: string[], env: Record<string, string> = {}): Promise<CommandResult> => {
    const result = await runCarillon(args, env);
    said.push(result.stdout + result.stderr);
    return result;
  };

  beforeAll(async () => {
    server = await PostgresServer.start(bin!);
  }, 60_000);
  afterAll(async () => {
    await server?.end();
    removeFolder(root);
    expect(said.filter((text) => text.includes(PASSWORD))).toEqual([]);
  }, 60_000);

  it('makes tokens and what is provisioned, backs up, and restores into an empty database alone', async () => {
    const [database, other] = [await makeDatabase('first'), await makeDatabase('other')];
    const here = { CARILLON_DATABASE: database };
    const app = new RunningCommand(
      ['serve', '--http', '127.0.0.1:0', '--mqtt', 'off', '--data', path.join(root, 'unused')],
      { ...here, CARILLON_LOG_LEVEL: 'error' },
    );
    await app.said('carillon ready');
    const token = (await run(['admin', 'token'], here)).stdout.trim();
    expect(token).toMatch(/^cat_/u);
    const client = parse(await run(['admin', 'client', 'create', '--name', 'Shop', '--json', '--database', database]));
    const clientId = String(client['id']);
    const shop = parse(await run(['admin', 'app', 'create', '--name', 'App', '--client-id', clientId, '--json'], here));
    const service = parse(
      await run(
        [
          'admin',
          'service',
          'create',
          '--name',
          'Orders',
          '--app-id',
          String(shop['id']),
          '--client-id',
          clientId,
          '--json',
        ],
        here,
      ),
    );
    const bound = parse(await run(['admin', 'token', '--client-id', clientId, '--json'], here));
    expect(bound['clientId']).toBe(clientId);

    const file = path.join(root, 'backup.jsonl');
    expect(parse(await run(['backup', file, '--json'], here))).toEqual({ file, bytes: (await stat(file)).size });
    if (process.platform !== 'win32') expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await run(['backup', file], here)).stderr).toContain('exists already');
    app.child.kill('SIGTERM');
    const ended = await app.ended;
    said.push(ended.stdout + ended.stderr);
    expect(ended.stdout).toContain('carillon admin token --database …');

    const full = await run(['restore', file], here);
    expect([full.code, full.stderr]).toEqual([1, expect.stringContaining('holds an installation already')]);
    const { epoch } = parse(await run(['restore', file, '--database', other, '--json']));
    const epochOf = async (name: string): Promise<unknown> =>
      (await server.query("SELECT value FROM meta WHERE name = 'epoch'", name))[0]?.['value'];
    expect(await epochOf('other')).toBe(epoch);
    expect(await epochOf('first')).not.toBe(epoch);
    const services = parse(await run(['admin', 'service', 'list', '--json'], { CARILLON_DATABASE: other }));
    expect(services).toMatchObject([{ id: service['id'], name: 'Orders' }]);
    const again = await run(['restore', file, '--database', other]);
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('holds an installation already')]);
    const forced = await run(['restore', file, '--database', other, '--force']);
    expect([forced.code, forced.stderr]).toEqual([2, expect.stringContaining('only while it is empty')]);
  });

  it('restores nothing of a file that is no backup or was cut off', async () => {
    const [database, target] = [await makeDatabase('whole'), await makeDatabase('target')];
    await run(['admin', 'token'], { CARILLON_DATABASE: database });
    const file = path.join(root, 'whole.jsonl');
    expect((await run(['backup', file, '--database', database])).code).toBe(0);
    const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
    await writeFile(path.join(root, 'cut.jsonl'), `${lines.slice(0, -1).join('\n')}\n`);
    await writeFile(path.join(root, 'none.jsonl'), 'SQLite format 3');
    for (const [name, words] of [
      ['cut', 'it was cut off'],
      ['none', 'it is no backup of a PostgreSQL store'],
    ]) {
      const result = await run(['restore', path.join(root, `${name}.jsonl`), '--database', target]);
      expect([result.code, result.stderr]).toEqual([1, expect.stringContaining(words!)]);
      expect(result.stderr).not.toMatch(/\n\s+at /u);
    }
    expect((await run(['restore', file, '--database', target])).code).toBe(0);
  });

  it('check-config tells the version and what is careless, and makes no table', async () => {
    const database = await makeDatabase('checked');
    const nats = `nats://carillon:${PASSWORD}@nats.example`;
    const checked = parse(await run(['check-config', '--database', database, '--nats', nats, '--json']));
    expect(checked).toMatchObject({
      ok: true,
      config: { databaseConfigured: true, natsConfigured: true, databaseVersion: expect.stringMatching(/^\d+/u) },
      warnings: expect.arrayContaining([
        expect.stringContaining('fsync = off'),
        expect.stringContaining('NATS is reached without TLS'),
      ]),
    });
    expect(await server.query("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", 'checked')).toEqual([]);
    const bad = await run(['check-config', '--database', withPassword(server.url('nowhere')), '--nats', `${nats}/x`]);
    expect(bad.code).toBe(1);
    expect(bad.stdout).toContain(
      'fault: --database cannot be used: the database refused: database "nowhere" does not exist.',
    );
    expect(bad.stdout).toContain('fault: --nats cannot be used: nothing follows the port of a URL.');
  });

  it.each([
    [
      ['admin', 'token', '--database', `mysql://u:${PASSWORD}@h/d`],
      2,
      '--database is no address of a PostgreSQL database',
    ],
    [['backup', 'x', '--database', `postgres://u:${PASSWORD}%zz@h:nn/d`], 1, 'user and password are percent-encoded'],
    [['admin', 'client', 'list', '--database', `postgres://u:${PASSWORD}@127.0.0.1:1/d`], 1, 'ECONNREFUSED'],
    [['admin', 'client', 'list', '--database', 'postgres://h/d', '--token', 'cat_x'], 2, 'leave out --url and --token'],
  ])('answers %j with %i', async (args, code, text) => {
    const result = await run(args);
    expect([result.code, result.stderr]).toEqual([code, expect.stringContaining(text)]);
    expect(result.stderr).not.toMatch(/\n\s+at /u);
  });
});
