import { existsSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SqliteStore } from '../../src/store/sqlite/store.ts';
import { systemClock } from '../support/clock.ts';
import { RunningCommand, runCarillon } from '../support/command.ts';
import type { CommandResult } from '../support/command.ts';
import { systemRandom } from '../support/random.ts';
import { makeFolder, removeFolder, ServerProcess } from '../support/server-process.ts';

const root = makeFolder();
afterAll(() => removeFolder(root));

const parse = (result: CommandResult): Record<string, unknown> => {
  expect(result.code, result.stderr).toBe(0);
  return JSON.parse(result.stdout) as Record<string, unknown>;
};

describe('with something else than a messaging API', () => {
  it.each([
    ['nothing', '', 'The server answered 404.'],
    [
      'an error of another part',
      '{"error":{"code":"not-found","message":"there is nothing"}}',
      '404: there is nothing.',
    ],
  ])('says what was answered: %s', async (_what, body, sentence) => {
    const other = createServer((_request, response) => response.writeHead(404).end(body));
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
    const target = ['--url', url, '--key', 'k', '--data', root];
    const commands = [
      ['send', '--to', 'ann', '--text', 'x'],
      ['status', 't'],
      ['token', 'ann', '--appid', 'a'],
    ];
    const results = await Promise.all(commands.map((command) => runCarillon([...command, ...target])));
    other.close();
    for (const { code, stderr } of results) expect([code, stderr]).toEqual([1, expect.stringContaining(sentence)]);
  });
});

describe('with a server in demo mode', () => {
  let server: ServerProcess;
  let data: string;
  const run = (...args: string[]): Promise<CommandResult> => runCarillon([...args, '--data', data]);

  beforeAll(async () => {
    data = path.join(root, 'running');
    server = await ServerProcess.start({ folder: data });
  });
  afterAll(async () => {
    await server.kill();
  });

  it('had written demo.json before it said that it is ready', () => {
    expect(server.demo()).toMatchObject({ http: server.http, mqtt: server.mqtt });
  });

  it('sends what listen prints, over TCP and over WebSocket, and tells both to a backend', async () => {
    const { ws } = server.demo() as unknown as { ws: string };
    const tcp = new RunningCommand(['listen', 'ann', '--count', '1', '--deviceid', 'a', '--data', data]);
    const web = new RunningCommand([
      'listen',
      'ann',
      '--count',
      '1',
      '--deviceid',
      'b',
      '--mqtt',
      ws,
      '--json',
      '--data',
      data,
    ]);
    await Promise.all([tcp.said('connected as a'), web.said('connected as b')]);
    const sent = parse(
      await run('send', '--to', 'ann', '--correlationid', 'o-1', '--text', 'red \u001b[31malert\u009b', '--json'),
    );
    const [{ transid }] = sent['response'] as [{ transid: string }];
    const [plain, json] = await Promise.all([tcp.ended, web.ended]);
    expect([plain.code, json.code]).toEqual([0, 0]);
    const { appid } = server.demo();
    for (const search of [
      ['of', appid, 'ann'],
      ['find', 'o-1'],
    ])
      expect(parse(await run('admin', 'message', ...search, '--json'))).toMatchObject([{ transid }]);
    expect(plain.stdout).toContain('red \\u001b[31malert\\u009b');
    // oxlint-disable-next-line no-control-regex -- what must not reach a terminal
    expect(plain.stdout).not.toMatch(/[\u001b\u009b]/u);
    expect(parse(json)).toMatchObject({ tid: transid, type: 'message', thread: { title: 'Messages' } });
    const status = await run('status', transid);
    expect(status.stdout).toMatch(/ann +delivered/u);
  });

  it('says in one sentence and with 1 what the server refuses', async () => {
    const [unknown, wrong, key] = await Promise.all([
      run('status', '0198c0de-0000-7000-8000-000000000000'),
      run('send', '--to', 'ann', '--text', 'x', '--expiry', 'tomorrow'),
      run('send', '--to', 'ann', '--text', 'x', '--key', 'nonsense'),
    ]);
    expect([unknown.code, wrong.code, key.code]).toEqual([1, 1, 1]);
    expect(unknown.stderr).toContain('7600');
    expect(wrong.stderr).toMatch(/^7004 .*\/expiry .*\.\n$/u);
    expect(key.stderr).toContain('7001');
  });

  it('makes device tokens by the server or from the secret alone', async () => {
    const byServer = await run('token', 'ann', '--deviceid', 'd-1');
    const alone = await runCarillon([
      'token',
      'ann',
      '--appid',
      'SA00000001',
      '--secret',
      's'.repeat(32),
      '--ttl',
      '60',
      '--json',
    ]);
    const claims = (jwt: string): unknown => JSON.parse(Buffer.from(jwt.split('.')[1]!, 'base64url').toString());
    expect(claims(byServer.stdout)).toMatchObject({ sub: 'ann', aud: server.demo().appid, deviceid: 'd-1' });
    expect(claims(String(parse(alone)['token']))).toMatchObject({ sub: 'ann', aud: 'SA00000001' });
  });

  it('provisions through the running server, with the demo’s token or with one made on the machine', async () => {
    const made = parse(await run('admin', 'client', 'create', '--name', 'Acme', '--priority', '3', '--json'));
    expect(made).toMatchObject({ name: 'Acme', priority: 3 });
    const token = (await run('admin', 'token')).stdout.trim();
    expect(token).toMatch(/^cat_/u);
    const app = await runCarillon(
      [
        'admin',
        'app',
        'create',
        '--name',
        'Shop',
        '--client-id',
        String(made['id']),
        '--origins',
        'https://a.example,https://b.example',
        '--json',
      ],
      { CARILLON_URL: server.http, CARILLON_TOKEN: token },
    );
    expect(parse(app)).toMatchObject({ origins: ['https://a.example', 'https://b.example'] });
    const wrong = await run(
      'admin',
      'app',
      'create',
      '--name',
      'x',
      '--client-id',
      String(made['id']),
      '--origins',
      'nonsense',
    );
    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('/origins/0')]);
    const list = parse(await run('admin', 'client', 'list', '--json')) as unknown as { name: string }[];
    expect(list.map(({ name }) => name)).toEqual(['Demo', 'Acme']);
  });

  it('backs up while it runs, and restores only where none runs and only over nothing', async () => {
    const file = path.join(root, 'backup.db');
    expect(parse(await run('backup', file, '--json'))).toMatchObject({ file });
    if (process.platform !== 'win32') expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await run('backup', file)).stderr).toContain('exists already');
    const running = await run('restore', file, '--force');
    expect([running.code, running.stderr]).toEqual([1, expect.stringContaining('stop it first')]);

    const other = path.join(root, 'restored');
    const restored = parse(await runCarillon(['restore', file, '--data', other, '--json']));
    const again = await runCarillon(['restore', file, '--data', other]);
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('--force')]);
    const forced = parse(await runCarillon(['restore', file, '--data', other, '--force', '--json']));
    expect(forced['epoch']).not.toBe(restored['epoch']);
    const store = new SqliteStore({ path: path.join(other, 'carillon.db'), clock: systemClock, random: systemRandom });
    expect(store.epoch()).toBe(forced['epoch']);
    expect(await store.getObject('service', server.demo().serviceId)).toMatchObject({ name: 'Demo' });
    await store.close();
  });

  it('refuses a second server on the same folder', async () => {
    const second = await runCarillon(['serve', '--http', '127.0.0.1:0', '--mqtt', 'off', '--data', data]);
    expect(second.code).toBe(1);
    expect(second.stderr).toContain('another carillon works on the data folder');
  });
});

describe('serve', () => {
  it('without demo has no credential, and says how to make one', async () => {
    const data = path.join(root, 'bare');
    const server = new RunningCommand([
      'serve',
      '--http',
      '127.0.0.1:0',
      '--mqtt',
      'off',
      '--data',
      data,
      '--log-level',
      'silent',
    ]);
    await server.said('carillon ready');
    server.child.kill('SIGTERM');
    const { code, stdout, stderr } = await server.ended;
    expect(code).toBe(0);
    expect(stderr).toBe('');
    expect(stdout.split('\n')).toEqual([
      `There is no admin token yet. Make one on this machine: carillon admin token --data ${data}`,
      expect.stringMatching(/^carillon ready http=http:\/\/127\.0\.0\.1:\d+ mqtt=off$/u),
      '',
    ]);
    expect(existsSync(path.join(data, 'demo.json'))).toBe(false);
    // The folder itself is provisioned where no server runs.
    expect(
      parse(await runCarillon(['admin', 'client', 'create', '--name', 'Acme', '--data', data, '--json']))['id'],
    ).toBeTruthy();
  });

  it('says what it cannot do before it makes anything', async () => {
    const data = path.join(root, 'never');
    const results = await Promise.all([
      runCarillon(['serve', '--data', data], { CARILLON_DATABASE: 'mysql://u:hunter2@db/c' }),
      runCarillon(['serve', '--data', data, '--nats', 'nats://x']),
      runCarillon(['serve', '--data', data, '--http', '80']),
      runCarillon(['serve', '--data', data, '--tls-cert', 'nowhere.pem', '--tls-key', 'nowhere.pem']),
    ]);
    expect(results.map(({ code }) => code)).toEqual([2, 2, 2, 1]);
    expect(results[0]?.stderr).toMatch(/^CARILLON_DATABASE is no address of a PostgreSQL database.*\n/u);
    expect(results[0]?.stderr).not.toContain('hunter2');
    const nats = ['--database', 'postgres://u:hunter2@127.0.0.1:1/c', '--nats', 'nats://10.1.2.3:4222'];
    const open = await runCarillon(['serve', '--data', data, ...nats]);
    expect([open.code, open.stderr]).toEqual([1, expect.stringContaining('--nats names no login')]);
    expect(open.stderr).not.toContain('hunter2');
    expect(results[2]?.stderr).toContain('--http "80"');
    expect(results[3]?.stderr).toContain('nowhere.pem');
  });
});

describe('the command line', () => {
  it.each([
    [['--help'], 0, 'Exit codes: 0 done'],
    [['serve', '--help'], 0, '--waiting-per-user-max <count>'],
    [['admin', 'service', '--help'], 0, 'rotate-receipt-secret'],
    [['--version'], 0, '0.1.0'],
    [['dance'], 2, "unknown command 'dance'"],
    [['send', '--text', 'x'], 2, "required option '--to <who>' not specified"],
    [['send', '--to', 'ann', '--data', '/nowhere'], 1, 'No server is named'],
    [['send', '--to', 'ann', '--url', 'http://127.0.0.1:2', '--key', 'k'], 2, 'Give --text or --template'],
    [['status', 'x', '--url', 'http://127.0.0.1:2', '--key', 'k'], 1, 'cannot be reached (ECONNREFUSED)'],
    [['token', 'ann', '--secret', 'x'], 2, '--secret needs --appid'],
    [['admin', 'client', 'create', '--priority', 'high', '--data', '/nowhere'], 2, '"high" is no whole number'],
    [['admin', 'token', '--data', '/nowhere'], 1, 'There is no database in /nowhere'],
    [['backup', 'x.db', '--data', '/nowhere'], 1, 'There is no database at'],
  ])('answers %j with %i', async (args, code, text) => {
    const result = await runCarillon(args);
    expect({ code: result.code, said: result.stdout + result.stderr }).toEqual({
      code,
      said: expect.stringContaining(text),
    });
    expect(result.stderr).not.toMatch(/\n\s+at /u);
  });

  it('refuses to restore what is no backup, or a damaged one', async () => {
    const file = path.join(root, 'not-a-backup');
    await writeFile(file, 'SQLite format 3\u0000 but no more');
    const data = path.join(root, 'restore-target');
    const result = await runCarillon(['restore', file, '--data', data]);
    expect([result.code, result.stderr]).toEqual([1, `${path.join(root, 'not-a-backup')} is no backup of Carillon.\n`]);
    expect(existsSync(path.join(data, 'carillon.db'))).toBe(false);
  });
});

describe('check-config', () => {
  it('says what is good and what is not, and makes nothing', async () => {
    const data = path.join(root, 'checked');
    const good = parse(
      await runCarillon(['check-config', '--data', data, '--metrics-token', 'm'.repeat(20), '--json']),
    );
    expect(good).toMatchObject({ ok: true, config: { data, metricsTokenConfigured: true } });
    expect(existsSync(data)).toBe(false);
    const file = path.join(root, 'a-file');
    await writeFile(file, '');
    const bad = await runCarillon(['check-config', '--data', file, '--tls-cert', file, '--tls-key', file], {
      CARILLON_HTPP: 'x',
    });
    expect(bad.code).toBe(1);
    expect(bad.stdout).toContain('is no folder');
    expect(bad.stdout).toContain(`--tls-cert and --tls-key cannot be used: ${file} holds no certificate in PEM`);
    expect(bad.stdout).toContain(`--tls-cert and --tls-key cannot be used: ${file} holds no private key in PEM`);
    expect(bad.stdout).toContain('CARILLON_HTPP is no option');
    expect(await readFile(file, 'utf8')).toBe('');
  });

  it('tells the faults of options and of what they name at once', async () => {
    const file = path.join(root, 'no-folder');
    await writeFile(file, '');
    const options = ['--data', file, '--http', 'nowhere', '--tls-cert', path.join(root, 'gone.pem'), '--json'];
    const bad = await runCarillon(['check-config', ...options], { CARILLON_LOG_LEVEL: 'loud' });
    expect(bad.code).toBe(2);
    expect(JSON.parse(bad.stdout)).toMatchObject({
      ok: false,
      faults: [
        expect.stringContaining('--http "nowhere" is not an address'),
        expect.stringContaining('CARILLON_LOG_LEVEL "loud" is no log level'),
        expect.stringContaining('--tls-cert is given without --tls-key'),
        expect.stringContaining('is no folder'),
      ],
      config: { data: file },
    });
  });
});
