// Ends in the middle of a start: SIGKILL at every change of the folder, with and without the loss of what was not
// synced; and a demo.json that is torn, foreign or gone.
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, watch, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { request } from 'undici';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { makeFolder, removeFolder, ServerProcess } from '../support/server-process.ts';
import type { Demo, ServerOptions } from '../support/server-process.ts';
import { faultModule } from './campaign.ts';
import { buildShim, whyNoShims } from './shims.ts';

const TEXTS = ['http', 'mqtt', 'ws', 'serviceKey', 'serviceId', 'receiptSecret', 'appid', 'adminToken'];
const MORE = ['consoleUrl', 'templateId', 'linkid', 'threadId'];
/** Changes of the folder after which the start is killed; a start makes some 60. */
const KILL_AFTER = [1, 3, 8, 13, 34];
const skipped = whyNoShims();

let folder = '';
let data = '';
const started: ServerProcess[] = [];
function fresh(): void {
  folder = makeFolder();
  data = path.join(folder, 'data');
}
afterEach(async () => {
  await Promise.all(started.splice(0).map((server) => server.kill()));
  removeFolder(folder);
});

/** A server that is killed at the n-th change of its folder, or when it is ready. */
async function startAndKill(changes: number, options: Partial<ServerOptions>): Promise<void> {
  mkdirSync(data, { recursive: true });
  let left = changes;
  const server = new ServerProcess({ folder: data, ...options });
  started.push(server);
  const watcher = watch(data, () => {
    left -= 1;
    if (left === 0) void server.kill();
  });
  await server.ready().catch(() => undefined);
  watcher.close();
  await server.kill();
}

/** Starts, and does what a newcomer does first with what demo.json says. */
async function startAndSend(): Promise<void> {
  const server = await ServerProcess.start({ folder: data });
  started.push(server);
  const demo = server.demo() as unknown as Record<string, string>;
  for (const name of [...TEXTS, ...MORE]) expect(demo[name], name).toMatch(/./u);
  expect(demo['http']).toBe(server.http);
  expect(statSync(path.join(data, 'demo.json')).mode & 0o777).toBe(0o600);
  const body = {
    deliverychannel: 'appmessaging',
    destination: [{ userid: ['ann'] }],
    channels: { appmessaging: { message: { text: 'Hello' }, thread_id: demo['threadId'] } },
  };
  const answer = await request(`${server.http}/resources/v1/messaging`, {
    method: 'POST',
    headers: { key: server.demo().serviceKey },
    body: JSON.stringify(body),
  });
  expect(await answer.body.json()).toMatchObject({ response: [{ code: '1001' }] });
  const admin = { authorization: `Bearer ${server.demo().adminToken}` };
  const clients = await request(`${server.http}/admin/v1/clients`, { headers: admin });
  await clients.body.dump();
  expect(clients.statusCode).toBe(200);
}

/** Tables and no version: what a migration would leave that is not one transaction. */
function isHalfMigrated(): boolean {
  const copy = path.join(folder, 'looked-at');
  rmSync(copy, { recursive: true, force: true });
  cpSync(data, copy, { recursive: true });
  const database = new DatabaseSync(path.join(copy, 'carillon.db'));
  const tables = Number(database.prepare('SELECT count(*) AS tables FROM sqlite_master').get()?.['tables']);
  const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
  database.close();
  return tables > 0 && version === 0;
}

describe('SIGKILL during a start', () => {
  test('on an empty folder, again and again: the next start is whole', { timeout: 90_000 }, async () => {
    fresh();
    for (const changes of KILL_AFTER) {
      await startAndKill(changes, {});
      expect(isHalfMigrated(), `killed after ${changes} changes`).toBe(false);
    }
    await startAndSend();
  });

  test('a migration that is not one transaction is seen', { timeout: 90_000 }, async () => {
    const halves: boolean[] = [];
    for (let changes = 3; changes <= 30 && !halves.includes(true); changes += 3) {
      if (folder !== '') removeFolder(folder);
      fresh();
      await startAndKill(changes, { preload: [faultModule('without-transactions')] });
      halves.push(isHalfMigrated());
    }
    expect(halves).toContain(true);
    await expect(startAndSend()).rejects.toThrow(/did not get ready/u);
  });
});

describe.skipIf(skipped !== null)(`a power loss during a start${skipped === null ? '' : ` (${skipped})`}`, () => {
  let preloaded: Record<string, string> = {};
  beforeAll(() => {
    const tools = makeFolder();
    preloaded = buildShim('disk', tools);
    return () => removeFolder(tools);
  });

  async function loseAt(changes: number, seed: string): Promise<void> {
    const platter = `${data}-platter`;
    mkdirSync(platter, { recursive: true });
    const env = { ...preloaded, DISK_FOLDER: data, DISK_PLATTER: platter, DISK_TEAR: seed };
    await startAndKill(changes, { env });
    rmSync(data, { recursive: true });
    renameSync(platter, data);
    cpSync(data, platter, { recursive: true });
  }

  test('the next start is whole', { timeout: 90_000 }, async () => {
    fresh();
    for (const changes of [2, 8, 34]) await loseAt(changes, String(changes));
    await startAndSend();
  });
});

describe('demo.json', () => {
  const spoils: readonly [string, (file: string) => void][] = [
    ['torn in the middle', (file) => writeFileSync(file, readFileSync(file).subarray(0, 100))],
    ['empty', (file) => writeFileSync(file, '')],
    ['full of zeros', (file) => writeFileSync(file, Buffer.alloc(512))],
    ['gone', (file) => rmSync(file)],
    ['of another installation', (file) => writeFileSync(file, '{"serviceKey":"x","appid":"y","adminToken":7}')],
  ];

  /** What it said, of a server that has ended. */
  async function said(): Promise<Demo> {
    const [server] = started.splice(0);
    const demo = server?.demo();
    await server?.stop();
    if (demo === undefined) throw new Error('no server was started');
    return demo;
  }

  test('is repaired where it is torn, foreign or gone, and what it says works', { timeout: 90_000 }, async () => {
    fresh();
    await startAndSend();
    for (const [name, spoil] of spoils) {
      const before = await said();
      spoil(path.join(data, 'demo.json'));
      await startAndSend();
      const after = started[0]?.demo();
      expect(after, name).toMatchObject({ serviceId: before.serviceId, appid: before.appid });
      expect(after?.serviceKey, name).not.toBe(before.serviceKey);
      // The key of before is in nobody's hands any more, so it opens nothing.
      const url = `${started[0]?.http ?? ''}/resources/v1/messaging/status/x`;
      const answer = await request(url, { headers: { key: before.serviceKey } });
      expect(await answer.body.json(), name).toMatchObject({ response: { code: '7001' } });
    }
  });

  test('is kept as it is where it is whole', { timeout: 60_000 }, async () => {
    fresh();
    await startAndSend();
    const { serviceKey, adminToken, receiptSecret } = await said();
    await startAndSend();
    expect(started[0]?.demo()).toMatchObject({ serviceKey, adminToken, receiptSecret });
  });
});
