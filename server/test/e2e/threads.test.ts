/** The thread API of the original over a real socket (docs/api.md, threads). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { UserHint } from '../../src/core/ports.ts';
import { FakeClock } from '../support/clock.ts';
import { itemsOf, makeBody, startTestServer } from '../support/http-server.ts';
import type { Answered, TestServer } from '../support/http-server.ts';
import { seedTenant } from '../support/seed.ts';

let server: TestServer;
let clock: FakeClock;
beforeEach(async () => {
  clock = new FakeClock();
  server = await startTestServer({ clock });
});
afterEach(() => server.close());

interface ThreadAnswer {
  readonly code: string;
  readonly description: string;
  readonly thread: { readonly id: string; readonly created_on: string };
  readonly total: number;
  readonly count: number;
  readonly threads: readonly Record<string, unknown>[];
  readonly messages: readonly Record<string, unknown>[];
  readonly details?: readonly { readonly path: string }[];
}

interface Options {
  readonly method?: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  readonly version?: string;
}

async function call(path: string, options: Options = {}): Promise<ThreadAnswer> {
  const { method = 'GET', body, headers = { key: server.tenant.keyText }, version = 'v1' } = options;
  const answered: Answered = await server.call({
    method,
    path: `/rtmsAPI/api/${version}/apps/${path}`,
    headers,
    ...(body === undefined ? undefined : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  expect(answered.status).toBe(200);
  return answered.json as ThreadAnswer;
}

const create = (body: unknown): Promise<ThreadAnswer> => call('acme-app/threads', { method: 'POST', body });

describe('making and listing', () => {
  it('makes a thread that messages can name', async () => {
    const made = await create({
      type: 'announcement',
      title: 'News',
      category: 'c',
      externalid: 'e',
      extras: { a: [1] },
    });
    expect(made).toMatchObject({
      code: '0',
      description: 'success',
      thread: { created_on: '2026-01-01T00:00:00.000Z', id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string },
    });
    itemsOf(await server.send(makeBody({}, { thread_id: made.thread.id })));
    const listed = await call('acme-app/user/ann/threads?start=0&limit=5');
    expect(listed).toMatchObject({ code: '0', total: 1, count: 1 });
    expect(listed.threads[0]).toMatchObject({
      id: made.thread.id,
      title: 'News',
      type: 'Announcement',
      category: 'c',
      status: 'Active',
      extras: { a: [1] },
      created_on: '2026-01-01T00:00:00.000Z',
    });
  });

  it('pages the threads of an app, under both versions', async () => {
    for (let index = 0; index < 5; index += 1) await create({ type: 'Conversation', title: `t${index}` });
    for (const version of ['v1', 'v2']) {
      const page = await call('acme-app/threads?start=1&limit=2', { version });
      expect(page).toMatchObject({ total: 5, count: 2 });
      expect(page.threads.map((thread) => thread['title'])).toEqual(['t3', 't2']);
    }
    expect((await call('acme-app/threads?limit=9999')).count).toBe(5);
    for (const query of ['?start=-1', '?limit=x', '?limit=', '?start=1.5', '?start=1&start=2']) {
      expect((await call(`acme-app/threads${query}`)).code).toBe('7004');
    }
  });

  it('lists nothing for a user never seen', async () => {
    expect(await call('acme-app/user/nobody/threads')).toMatchObject({ code: '0', total: 0, threads: [] });
  });

  it.each([
    [{}, '7003', '/type'],
    [{ type: '' }, '7003', '/type'],
    [{ type: 'chat' }, '7004', '/type'],
    [{ type: 1 }, '7004', '/type'],
    [{ type: 'Conversation', title: 5 }, '7004', '/title'],
    [{ type: 'Conversation', title: 'x'.repeat(1_025) }, '7004', '/title'],
    [{ type: 'Conversation', title: 'a\u0000b' }, '7004', '/title'],
    [{ type: 'Conversation', extras: [] }, '7004', '/extras'],
    [{ type: 'Conversation', extras: { a: 'x'.repeat(16_384) } }, '7004', '/extras'],
    ['{', '7000', ''],
    ['', '7000', ''],
    ['[]', '7000', ''],
  ])('refuses to make %j with %s', async (body, code, path) => {
    const answer = await create(body);
    expect(answer.code).toBe(code);
    expect(answer.details?.[0]?.path).toBe(path);
  });
});

describe('changing', () => {
  it('closes a thread, tells its users, and messages on it fail', async () => {
    const { thread } = await create({ type: 'conversation', title: 'Help' });
    itemsOf(await server.send(makeBody({}, { thread_id: thread.id })));
    const user = (await server.store.findUser('acme-app', 'ann'))!;
    const hints: UserHint[] = [];
    server.bus.watch(user, (hint) => hints.push(hint));
    clock.advance(5_000);
    const closed = await call(`acme-app/user/ann/threads/${thread.id}`, { method: 'PUT', body: { status: 'closed' } });
    expect(closed).toMatchObject({ code: '0', thread: { id: thread.id, updated_on: '2026-01-01T00:00:05.000Z' } });
    expect(hints).toMatchObject([
      { entry: { event: { type: 'thread', thread: { id: thread.id, status: 'Closed' } } } },
    ]);
    const [item] = itemsOf(await server.send(makeBody({}, { thread_id: thread.id })));
    const status = await server.call({
      path: `/resources/v1/messaging/status/${item!.transid}`,
      headers: { key: server.tenant.keyText },
    });
    expect(status.json).toMatchObject([{ status: 'failed', error_code: '7312' }]);
  });

  it('keeps what is not given and clears what is empty', async () => {
    const { thread } = await create({ type: 'conversation', title: 'Help', category: 'c', externalid: 'e' });
    await call(`acme-app/threads/${thread.id}`, { method: 'PUT', body: { title: 'New', category: '' } });
    const [listed] = (await call('acme-app/threads')).threads;
    expect(listed).toMatchObject({
      title: 'New',
      category: '',
      externalid: 'e',
      status: 'Active',
      type: 'Conversation',
    });
  });

  it('refuses nothing, nonsense and the unknown', async () => {
    const { thread } = await create({ type: 'conversation' });
    const put = async (id: string, body: unknown): Promise<string> =>
      (await call(`acme-app/threads/${id}`, { method: 'PUT', body })).code;
    expect(await put(thread.id, {})).toBe('7003');
    expect(await put(thread.id, { status: 'gone' })).toBe('7004');
    expect(await put('nix', { status: 'Closed' })).toBe('7312');
  });
});

describe('messages', () => {
  it('of a user on a thread, in the shape of the original', async () => {
    const { thread } = await create({ type: 'conversation', title: 'Help' });
    const block = { thread_id: thread.id, extras: { customtags: { a: 1 } } };
    const [item] = itemsOf(await server.send(makeBody({}, block)));
    for (const version of ['v1', 'v2']) {
      const answer = await call(`acme-app/user/ann/threads/${thread.id}/messages?start=0&limit=10`, { version });
      expect(answer).toMatchObject({ code: '0', description: 'success', total: 1, count: 1 });
      expect(answer.messages[0]).toEqual({
        payload_type: 'sentToUser',
        created_on: '2026-01-01T00:00:00.000Z',
        appid: 'acme-app',
        extras: { customtags: { a: 1 } },
        read_at: '',
        delivered_at: '',
        media: [],
        thread: { id: thread.id },
        message: 'Hello',
        userId: 'ann',
        tid: item!.transid,
        status: 'submited',
      });
    }
    expect(await call(`acme-app/user/bob/threads/${thread.id}/messages`)).toMatchObject({ total: 0, messages: [] });
    expect((await call('acme-app/user/ann/threads/nix/messages')).code).toBe('7312');
  });
});

describe('who may ask', () => {
  const paths = ['acme-app/threads', 'acme-app/user/ann/threads', 'acme-app/user/ann/threads/x/messages'];

  it('a service of the client, or who has the app secret', async () => {
    const headers = { secretkey: server.tenant.appSecret };
    expect(await call('acme-app/threads', { headers })).toMatchObject({ code: '0' });
    const made = await call('acme-app/threads', { method: 'POST', headers, body: { type: 'conversation' } });
    expect(made.code).toBe('0');
  });

  it('nobody else; and an app of another client looks like none', async () => {
    const other = await seedTenant(server.store, { name: 'other' });
    for (const path of paths) {
      expect((await call(path, { headers: {} })).code).toBe('7002');
      expect((await call(path, { headers: { key: 'nobody' } })).code).toBe('7001');
      expect((await call(path, { headers: { secretkey: 'wrong' } })).code).toBe('7001');
      expect((await call(path, { headers: { secretkey: other.appSecret } })).code).toBe('7001');
      const foreign = await call(path, { headers: { key: other.keyText } });
      const unknown = await call(path.replace('acme-app', 'nix'), { headers: { key: other.keyText } });
      expect(foreign).toEqual(unknown);
      expect(foreign).toEqual({ code: '7104', description: 'Invalid app id' });
    }
  });

  it('nobody by an empty secret', async () => {
    const app = (await server.store.getObject('app', 'acme-app'))!;
    await server.store.putObjects([{ kind: 'app', value: { ...app, id: 'bare', secrets: [] } }], 'create');
    for (const headers of [{ secretkey: '' }, { secretkey: 'x' }]) {
      expect((await call('bare/threads', { headers })).code).toMatch(/^700[12]$/);
    }
  });
});
