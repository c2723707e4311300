import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../test/support/clock.ts';
import { seededRandom } from '../test/support/random.ts';
import { MemoryBus } from './bus/memory.ts';
import { describeDemo, prepareDemo, readDemo } from './demo.ts';
import type { Demo } from './demo.ts';
import { hashOf, removeObject, replaceObjects } from './http/admin/provision.ts';
import type { Provisioning } from './http/admin/provision.ts';
import { SqliteStore } from './store/sqlite/store.ts';

let folder: string;
let store: SqliteStore;
let at: Provisioning;
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'carillon-demo-'));
  const clock = new FakeClock();
  const random = seededRandom(7);
  store = new SqliteStore({ path: ':memory:', clock, random });
  at = { store, bus: new MemoryBus(), clock, random };
});
afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true });
});

const prepare = (port = 1): Promise<Demo> =>
  prepareDemo(at, {
    folder,
    httpUrl: `http://127.0.0.1:${port}`,
    mqttUrl: 'mqtt://127.0.0.1:2',
    wsUrl: `ws://127.0.0.1:${port}/mqtt`,
  });
const file = (): string => path.join(folder, 'demo.json');

/** Everything the file names is there, belongs together and works. */
async function expectWhole(demo: Demo): Promise<void> {
  expect(JSON.parse(await readFile(file(), 'utf8'))).toEqual(demo);
  const key = await store.getObject('key', hashOf(demo.serviceKey));
  expect(key).toMatchObject({ serviceId: demo.serviceId, state: 'active' });
  const service = await store.getObject('service', demo.serviceId);
  expect(service).toMatchObject({ state: 'live', appId: demo.appid, receiptSecrets: [demo.receiptSecret] });
  expect(await store.getObject('token', hashOf(demo.adminToken))).toMatchObject({ clientId: '*' });
  expect((await store.getObject('app', demo.appid))?.secrets).toHaveLength(1);
  const text = 'Hello ${name}, your code is ${code}';
  expect(await store.getObject('template', demo.templateId)).toMatchObject({ text, clientId: service?.clientId });
  expect(await store.getObject('smartlink', demo.linkid)).toMatchObject({ clientId: service?.clientId });
  expect(await store.getThread(demo.appid, demo.threadId)).toMatchObject({ status: 'Active' });
}

async function countOf(kind: 'client' | 'service' | 'app' | 'key' | 'token' | 'template'): Promise<number> {
  return (await store.listObjects(kind, { clientId: null, cursor: null, limit: 100 })).items.length;
}

describe('prepareDemo', () => {
  it('makes everything a first message needs, and a file for its owner alone', async () => {
    const demo = await prepare();
    await expectWhole(demo);
    expect(await readdir(folder)).toEqual(['demo.json']);
    if (process.platform !== 'win32') expect((await stat(file())).mode & 0o777).toBe(0o600);
    expect(demo).toMatchObject({ http: 'http://127.0.0.1:1', consoleUrl: 'http://127.0.0.1:1/console' });
  });

  it('keeps all of it at the next start, but for the addresses', async () => {
    const first = await prepare();
    const second = await prepare(9);
    expect(second).toEqual({
      ...first,
      http: 'http://127.0.0.1:9',
      ws: 'ws://127.0.0.1:9/mqtt',
      consoleUrl: 'http://127.0.0.1:9/console',
    });
    expect(await countOf('token')).toBe(1);
  });

  it.each([
    ['is gone', () => rm(file())],
    ['is torn', async () => writeFile(file(), (await readFile(file(), 'utf8')).slice(0, 100))],
    ['is empty', () => writeFile(file(), '')],
    ['is something else', () => writeFile(file(), '[1, null]')],
  ])('makes new secrets where the file %s, and takes the old ones out of use', async (_what, damage) => {
    const first = await prepare();
    await damage();
    const second = await prepare();
    await expectWhole(second);
    const { serviceId, appid, templateId, linkid, threadId } = first;
    expect(second).toMatchObject({ serviceId, appid, templateId, linkid, threadId });
    expect(second.serviceKey).not.toBe(first.serviceKey);
    expect(second.adminToken).not.toBe(first.adminToken);
    expect(await store.getObject('key', hashOf(first.serviceKey))).toBeNull();
    expect(await store.getObject('token', hashOf(first.adminToken))).toBeNull();
    for (const kind of ['client', 'service', 'app', 'key', 'token', 'template'] as const)
      expect(await countOf(kind)).toBe(1);
  });

  it('mends what is missing on either side, one thing at a time', async () => {
    let demo = await prepare();
    for (const field of [
      'serviceKey',
      'serviceId',
      'receiptSecret',
      'appid',
      'adminToken',
      'templateId',
      'linkid',
      'threadId',
    ]) {
      await writeFile(file(), JSON.stringify({ ...demo, [field]: undefined }));
      demo = await prepare();
      await expectWhole(demo);
    }
    for (const [kind, id] of [
      ['key', hashOf(demo.serviceKey)],
      ['template', demo.templateId],
      ['smartlink', demo.linkid],
      ['token', hashOf(demo.adminToken)],
      ['service', demo.serviceId],
      ['app', demo.appid],
    ] as const) {
      await removeObject(at, kind, id);
      demo = await prepare();
      await expectWhole(demo);
    }
  });

  it('brings a suspended service and a closed thread back', async () => {
    const demo = await prepare();
    const service = await store.getObject('service', demo.serviceId);
    await replaceObjects(at, { kind: 'service', value: { ...service!, state: 'suspended' } });
    await store.updateThread(demo.appid, demo.threadId, { status: 'Closed' }, 1);
    const again = await prepare();
    await expectWhole(again);
    expect(again.threadId).toBe(demo.threadId);
  });
});

describe('readDemo', () => {
  it('takes a whole file and nothing less', async () => {
    expect(await readDemo(folder)).toBeNull();
    const demo = await prepare();
    expect(await readDemo(folder)).toEqual(demo);
    await writeFile(file(), JSON.stringify({ ...demo, adminToken: '' }));
    expect(await readDemo(folder)).toBeNull();
  });
});

describe('describeDemo', () => {
  it('gives a curl line that can be pasted', async () => {
    const demo = await prepare();
    const line = describeDemo(demo, folder)
      .split('\n')
      .find((text) => text.includes('curl'));
    const body = /-d '(?<body>.+)'$/u.exec(line ?? '')?.groups?.['body'];
    expect(JSON.parse(body ?? '')).toMatchObject({ destination: [{ userid: ['ann'] }] });
    expect(line).toContain(`key: ${demo.serviceKey}`);
  });
});
