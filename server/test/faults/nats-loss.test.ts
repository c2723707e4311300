import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { PolledBus } from '../../src/bus/polled.ts';
import { encodeHints, shardOf } from '../../src/bus/wire.ts';
import type { UserKey } from '../../src/core/ports.ts';
import { systemScheduler } from '../../src/lib/timers.ts';
import { systemClock } from '../support/clock.ts';
import { whyNoNats } from '../support/nats.ts';
import { hint, listen, NatsScene, settled } from '../support/nats-bus.ts';
import type { OpenedBus } from '../support/nats-bus.ts';
import { seededRandom, systemRandom } from '../support/random.ts';

const skipped = whyNoNats();
const scene = new NatsScene();
afterEach(() => scene.end());

describe.skipIf(skipped !== null)(`NATS${skipped === null ? '' : ` (${skipped})`}`, () => {
  describe('a server that goes and comes', () => {
    goingCases();
  });
  describe('with the poll below it', () => {
    polledCases();
  });
});

function goingCases(): void {
  it('is killed and started again: own hints never stop, those of others flow again by themselves', async () => {
    const server = await scene.nats();
    const here = scene.open(server.url);
    const there = scene.open(server.url);
    await Promise.all([here.became(true), there.became(true)]);
    const own = listen(here, 1);
    const other = listen(there, 1);
    await settled(here.bus, there.bus);
    const states: boolean[] = [];
    there.bus.onConnection((isConnected) => states.push(isConnected));
    await server.kill();
    await Promise.all([here.became(false), there.became(false)]);
    here.bus.publishUsers([hint(1, 1)]);
    here.bus.publish('receipts');
    expect(own.heads).toEqual([1]);
    expect(here.bus.counts.dropped).toBe(2);
    await here.warned('NATS is out of reach');
    await scene.nats({ port: server.port });
    await Promise.all([here.became(true), there.became(true)]);
    await settled(here.bus, there.bus);
    here.bus.publishUsers([hint(1, 2)]);
    await other.reached(2);
    expect(other.heads).toEqual([2]);
    expect(states).toEqual([false, true]);
    expect(await here.warned('NATS is back')).toContain(`127.0.0.1:${server.port}`);
  });

  it('need not be there at the start', async () => {
    const server = await scene.nats();
    await server.kill();
    const here = scene.open(server.url);
    const own = listen(here, 7);
    here.bus.publishUsers([hint(7, 1)]);
    expect(own.heads).toEqual([1]);
    expect(await here.warned('out of reach')).toContain('connection refused');
    await scene.nats({ port: server.port });
    await here.became(true);
    const there = scene.open(server.url);
    await there.became(true);
    await settled(here.bus, there.bus);
    there.bus.publishUsers([hint(7, 2)]);
    await own.reached(2);
  });

  it('is one of several: the next one is taken', async () => {
    const [first, second] = [await scene.nats(), await scene.nats()];
    const here = scene.open(`${first.url},${second.url}`);
    await here.became(true);
    await first.kill();
    await here.became(false);
    await here.became(true);
    const there = scene.open(second.url);
    await there.became(true);
    const other = listen(there, 3);
    await settled(here.bus, there.bus);
    here.bus.publishUsers([hint(3, 1)]);
    await other.reached(1);
  });

  it('stops without a word (SIGSTOP): that is noticed, what is published is not heaped up, and it goes on after', async () => {
    const server = await scene.nats();
    // Longer than the test: what is not confirmed has to be held by its bound, not by the loss of the connection.
    const patient = scene.open(server.url, {
      limits: { pingMs: 60_000, unconfirmedBytesMax: 100_000, confirmBytes: 10_000 },
    });
    const here = scene.open(server.url, { limits: { pingMs: 50, connectMs: 200 } });
    await Promise.all([patient.became(true), here.became(true)]);
    const own = listen(here, 1);
    server.signal('SIGSTOP');
    const commit = Array.from({ length: 4_000 }, (_, index) => hint(index, 1));
    for (let turn = 0; turn < 100; turn += 1) patient.bus.publishUsers(commit);
    expect(patient.bus.counts).toMatchObject({ sent: 1, dropped: 99 });
    await here.became(false);
    expect(await here.warned('out of reach')).toContain('no answer');
    here.bus.publishUsers([hint(1, 5)]);
    expect(own.heads).toEqual([5]);
    server.signal('SIGCONT');
    await here.became(true);
    await settled(patient.bus, here.bus);
    patient.bus.publishUsers([hint(1, 6)]);
    await own.reached(6);
  });

  it('cuts a node that does not read: it comes back', async () => {
    const server = await scene.nats({ config: 'write_deadline: "50ms"\nmax_pending: 65536\nmax_payload: 32768' });
    const here = scene.open(server.url, { limits: { pingMs: 60_000 } });
    await here.became(true);
    const own = listen(here, 1);
    await here.bus.flushed();
    const lost = here.became(false);
    blockWhileFlooded(server.port, `carillon.test.users.${shardOf(1)}`);
    await lost;
    await here.became(true);
    const there = scene.open(server.url);
    await there.became(true);
    await settled(here.bus, there.bus);
    there.bus.publishUsers([hint(1, 9)]);
    await own.reached(9);
  });

  it('takes nothing down with it that a listener opened', async () => {
    const server = await scene.nats();
    const mute = await muteServer();
    const [here, there] = [scene.open(server.url), scene.open(server.url)];
    await Promise.all([here.became(true), there.became(true)]);
    const opened = new Promise<Socket>((resolve) => {
      there.bus.subscribe('receipts', () => {
        const socket = connect(mute.port, '127.0.0.1', () => resolve(socket));
      });
    });
    await settled(here.bus, there.bus);
    here.bus.publish('receipts');
    const socket = await opened;
    await server.kill();
    await there.became(false);
    await there.warned('connection refused');
    expect(socket.destroyed).toBe(false);
    socket.destroy();
  });

  it.each(['nats', 'tls'])('that talks nonsense and hangs up (%s) breaks nothing', async (scheme) => {
    const random = seededRandom(4);
    const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random.unit() * items.length)] as Item;
    const info = (more: object): string =>
      `INFO ${JSON.stringify({ server_id: 'x', version: '2.9.10', proto: 1, max_payload: 1_048_576, ...more })}\r\n`;
    const answers = [
      '',
      'x',
      'INFO {\r\n',
      'INFO {}\r\n',
      info({}),
      info({ tls_required: true }),
      info({ nonce: 'n' }),
    ];
    const more = [
      '',
      'PONG\r\n',
      "-ERR 'Stale Connection'\r\n",
      'MSG a 1 5\r\nab',
      'MSG a 1 x\r\n',
      '\0',
      '+OK\r\nPING\r\n',
    ];
    // The library prints what it could not parse.
    const printed = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    scene.add(() => printed.mockRestore());
    let taken = 0;
    const enough = Promise.withResolvers<void>();
    const server = createServer((socket) => {
      socket.on('error', () => undefined).resume();
      socket.write(pick(answers));
      socket.write(pick(more));
      if (random.unit() < 0.7) socket.once('data', () => socket.write(`PONG\r\n${pick(more)}`));
      setImmediate(() => (random.unit() < 0.5 ? socket.resetAndDestroy() : socket.end(pick(more))));
      taken += 1;
      if (taken === 200) enough.resolve();
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    scene.add(() => void server.close());
    const limits = { retryFirstMs: 1, retryLastMs: 1, connectMs: 20, pingMs: 5 };
    const here = scene.open(`${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`, { limits });
    const own = listen(here, 1);
    await enough.promise;
    here.bus.publishUsers([hint(1, 1)]);
    expect(own.heads).toEqual([1]);
    await here.bus.close();
  });

  it('hangs up every time: that is said once', async () => {
    let taken = 0;
    const enough = Promise.withResolvers<void>();
    const server = createServer((socket) => {
      socket.on('error', () => undefined).end();
      taken += 1;
      if (taken === 20) enough.resolve();
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    scene.add(() => void server.close());
    const limits = { retryFirstMs: 1, retryLastMs: 1 };
    const { warnings } = scene.open(`nats://127.0.0.1:${(server.address() as AddressInfo).port}`, { limits });
    await enough.promise;
    expect(warnings).toHaveLength(1);
  });

  it('is not there when the bus is closed: that takes no time', async () => {
    const server = await scene.nats();
    await server.kill();
    const { bus, warned } = scene.open(server.url, { limits: { retryFirstMs: 3_600_000, retryLastMs: 3_600_000 } });
    await warned('out of reach');
    await bus.close();
    bus.publishUsers([hint(1, 1)]);
    bus.publish('timers');
    expect(bus.isConnected).toBe(false);
  });

  it('takes the connection and says nothing: closing does not wait for it', async () => {
    const mute = await muteServer();
    const { bus } = scene.open(`nats://127.0.0.1:${mute.port}`, { limits: { connectMs: 60_000 } });
    await mute.taken;
    await bus.close();
    await mute.ended;
  });

  it('takes the connection and says nothing: it is tried again, and nothing is left open', async () => {
    const mute = await muteServer();
    const { warned } = scene.open(`nats://127.0.0.1:${mute.port}`, { limits: { connectMs: 50 } });
    await warned('no answer in time');
    await mute.ended;
  });

  it('gets what was published before the bus was closed', async () => {
    const server = await scene.nats();
    const [here, there] = [scene.open(server.url), scene.open(server.url)];
    await Promise.all([here.became(true), there.became(true)]);
    const other = listen(there, 1);
    await settled(here.bus, there.bus);
    for (let head = 1; head <= 1_000; head += 1) here.bus.publishUsers([hint(1, head)]);
    await here.bus.close();
    await other.reached(1_000);
    expect(other.heads).toHaveLength(1_000);
  });
}

/** Takes connections and says nothing. `taken`: the first one was; `ended`: the other end has gone from it. */
async function muteServer(): Promise<{ port: number; taken: Promise<void>; ended: Promise<void> }> {
  const server = createServer();
  const taken = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  server.on('connection', (socket) => {
    socket.on('error', () => undefined).on('close', () => ended.resolve());
    socket.resume();
    taken.resolve();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  scene.add(() => void server.close());
  return { port: (server.address() as AddressInfo).port, taken: taken.promise, ended: ended.promise };
}

/** Keeps this thread busy while another one publishes until the server has cut us. */
function blockWhileFlooded(port: number, subject: string): void {
  const done = new Int32Array(new SharedArrayBuffer(4));
  const code = `
    const { workerData } = require('node:worker_threads');
    const socket = require('node:net').connect(workerData.port, '127.0.0.1');
    const payload = 'x'.repeat(30_000);
    const one = 'PUB ' + workerData.subject + ' ' + payload.length + '\\r\\n' + payload + '\\r\\n';
    socket.write('CONNECT {"verbose":false}\\r\\n' + one.repeat(1_000) + 'PING\\r\\n');
    let heard = '';
    socket.on('data', (data) => {
      heard += data;
      if (!heard.includes('PONG')) return;
      // All is taken; what does not fit into the sockets' buffers is what the server gives up at its deadline.
      setTimeout(() => { Atomics.store(workerData.done, 0, 1); Atomics.notify(workerData.done, 0); socket.destroy(); }, 300);
    });`;
  const worker = new Worker(code, { eval: true, workerData: { port, subject, done } });
  scene.add(async () => {
    await worker.terminate();
  });
  expect(Atomics.wait(done, 0, 0, 15_000)).not.toBe('timed-out');
}

/** A node as it is wired: NATS, the poll below it, and a store that is shared. */
function node(opened: OpenedBus, truth: Map<UserKey, number>) {
  const queries: (readonly UserKey[])[] = [];
  const bus = new PolledBus({
    inner: opened.bus,
    store: {
      heads: (users) => {
        queries.push(users);
        return Promise.resolve(new Map(users.map((user) => [user, truth.get(user) ?? 0])));
      },
      objectsRevision: () => Promise.resolve(0),
    },
    clock: systemClock,
    random: systemRandom,
    scheduler: systemScheduler,
    onWarning: () => undefined,
    // The rounds are an hour apart: what is told in these tests was hinted, or the return of the connection told it.
    limits: { connectedMs: 3_600_000, aloneMs: 3_600_000, returnedMs: 1 },
  });
  scene.add(() => bus.close());
  return { ...opened, ...listen({ ...opened, bus }, 1), polled: bus, queries };
}

function polledCases(): void {
  it('another node is told what the store says, once', async () => {
    const server = await scene.nats();
    const truth = new Map<UserKey, number>();
    const [here, there] = [node(scene.open(server.url), truth), node(scene.open(server.url), truth)];
    await Promise.all([here.became(true), there.became(true)]);
    await settled(here.bus, there.bus);
    for (let head = 1; head <= 100; head += 1) {
      truth.set(1, head);
      here.polled.publishUsers([hint(1, head)]);
    }
    await there.reached(100);
    expect(here.heads).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
    expect(there.heads).toEqual(there.heads.toSorted((a, b) => a - b));
    expect(new Set(there.heads).size).toBe(there.heads.length);
  });

  it('hints that are forged, doubled, late or out of order tell nothing that is not so', async () => {
    const server = await scene.nats();
    const truth = new Map<UserKey, number>([[1, 5]]);
    const here = node(scene.open(server.url), truth);
    await here.became(true);
    await here.reached(5);
    await here.bus.flushed();
    here.queries.length = 0;
    const stranger = await scene.foreign(server.port);
    const say = (head: number): void =>
      stranger.publish(`carillon.test.users.${shardOf(1)}`, encodeHints([hint(1, head)]));
    for (const head of [3, 5, 4, 5, 1]) say(head);
    await stranger.flushed();
    await here.bus.flushed();
    expect(here.queries).toEqual([]);
    say(Number.MAX_SAFE_INTEGER);
    await stranger.flushed();
    await here.bus.flushed();
    expect(here.queries).toEqual([[1]]);
    truth.set(1, 6);
    say(6);
    await here.reached(6);
    expect(here.heads).toEqual([5, 6]);
  });

  it('after a loss of NATS everybody watched is asked for at once', async () => {
    const server = await scene.nats();
    const truth = new Map<UserKey, number>();
    const there = node(scene.open(server.url), truth);
    await there.became(true);
    await there.bus.flushed();
    await server.kill();
    await there.became(false);
    truth.set(1, 7);
    await scene.nats({ port: server.port });
    await there.reached(7);
    expect(there.heads).toEqual([7]);
  });
}
