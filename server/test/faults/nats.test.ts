import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { nkeys } from '@nats-io/transport-node';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Bus, UserHint, UserKey } from '../../src/core/ports.ts';
import type { NatsTls } from '../../src/bus/nats-options.ts';
import { PolledBus } from '../../src/bus/polled.ts';
import { encodeHints, shardOf } from '../../src/bus/wire.ts';
import { systemScheduler } from '../../src/lib/timers.ts';
import { makeCertificate } from '../support/certificates.ts';
import { systemClock } from '../support/clock.ts';
import { ForeignClient, NatsServer, whyNoNats } from '../support/nats.ts';
import type { NatsOptions } from '../support/nats.ts';
import { openNatsBus, settled } from '../support/nats-bus.ts';
import type { OpenedBus } from '../support/nats-bus.ts';
import { seededRandom, systemRandom } from '../support/random.ts';

const skipped = whyNoNats();

function hint(user: number, head: number): UserHint {
  return { user, head, entry: null };
}

const ends: (() => Promise<void> | void)[] = [];

async function nats(options?: NatsOptions): Promise<NatsServer> {
  const server = await NatsServer.start(options);
  ends.push(() => server.kill());
  return server;
}

function open(url: string, options?: Parameters<typeof openNatsBus>[1]): OpenedBus {
  const opened = openNatsBus(url, options);
  ends.push(() => opened.bus.close());
  return opened;
}

async function foreign(port: number): Promise<ForeignClient> {
  const client = await ForeignClient.connect(port);
  ends.push(() => client.close());
  return client;
}

/** What a watch hears, and a promise of the first hint of a user at or above a head. */
function listen(opened: { readonly bus: Bus }, user: number) {
  const heads: number[] = [];
  let onHead: (() => void) | null = null;
  opened.bus.watch(user, ({ head }) => {
    heads.push(head);
    onHead?.();
  });
  const reached = (head: number): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (heads.some((one) => one >= head)) resolve();
      };
      onHead = look;
      look();
    });
  return { heads, reached };
}

afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

describe.skipIf(skipped !== null)(`NATS${skipped === null ? '' : ` (${skipped})`}`, () => {
  describe('a server that goes and comes', () => {
    goingCases();
  });
  describe('who may come in', () => {
    loginCases();
  });
  describe('who is told', () => {
    routingCases();
  });
  describe('strangers', () => {
    strangerCases();
  });
  describe('with the poll below it', () => {
    polledCases();
  });
});

function goingCases(): void {
  it('is killed and started again: own hints never stop, those of others flow again by themselves', async () => {
    const server = await nats();
    const here = open(server.url);
    const there = open(server.url);
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
    await nats({ port: server.port });
    await Promise.all([here.became(true), there.became(true)]);
    await settled(here.bus, there.bus);
    here.bus.publishUsers([hint(1, 2)]);
    await other.reached(2);
    expect(other.heads).toEqual([2]);
    expect(states).toEqual([false, true]);
    expect(await here.warned('NATS is back')).toContain(`127.0.0.1:${server.port}`);
  });

  it('need not be there at the start', async () => {
    const server = await nats();
    await server.kill();
    const here = open(server.url);
    const own = listen(here, 7);
    here.bus.publishUsers([hint(7, 1)]);
    expect(own.heads).toEqual([1]);
    expect(await here.warned('out of reach')).toContain('connection refused');
    await nats({ port: server.port });
    await here.became(true);
    const there = open(server.url);
    await there.became(true);
    await settled(here.bus, there.bus);
    there.bus.publishUsers([hint(7, 2)]);
    await own.reached(2);
  });

  it('is one of several: the next one is taken', async () => {
    const [first, second] = [await nats(), await nats()];
    const here = open(`${first.url},${second.url}`);
    await here.became(true);
    await first.kill();
    await here.became(false);
    await here.became(true);
    const there = open(second.url);
    await there.became(true);
    const other = listen(there, 3);
    await settled(here.bus, there.bus);
    here.bus.publishUsers([hint(3, 1)]);
    await other.reached(1);
  });

  it('stops without a word (SIGSTOP): that is noticed, what is published is not heaped up, and it goes on after', async () => {
    const server = await nats();
    // Longer than the test: what is not confirmed has to be held by its bound, not by the loss of the connection.
    const patient = open(server.url, {
      limits: { pingMs: 60_000, unconfirmedBytesMax: 100_000, confirmBytes: 10_000 },
    });
    const here = open(server.url, { limits: { pingMs: 50, connectMs: 200 } });
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
    const server = await nats({ config: 'write_deadline: "50ms"\nmax_pending: 65536\nmax_payload: 32768' });
    const here = open(server.url, { limits: { pingMs: 60_000 } });
    await here.became(true);
    const own = listen(here, 1);
    await here.bus.flushed();
    const lost = here.became(false);
    blockWhileFlooded(server.port, `carillon.test.users.${shardOf(1)}`);
    await lost;
    await here.became(true);
    const there = open(server.url);
    await there.became(true);
    await settled(here.bus, there.bus);
    there.bus.publishUsers([hint(1, 9)]);
    await own.reached(9);
  });

  it('takes nothing down with it that a listener opened', async () => {
    const server = await nats();
    const mute = await muteServer();
    const [here, there] = [open(server.url), open(server.url)];
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
    ends.push(() => printed.mockRestore());
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
    ends.push(() => void server.close());
    const limits = { retryFirstMs: 1, retryLastMs: 1, connectMs: 20, pingMs: 5 };
    const here = open(`${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`, { limits });
    const own = listen(here, 1);
    await enough.promise;
    here.bus.publishUsers([hint(1, 1)]);
    expect(own.heads).toEqual([1]);
    await here.bus.close();
  });

  it('is not there when the bus is closed: that takes no time', async () => {
    const server = await nats();
    await server.kill();
    const { bus, warned } = open(server.url, { limits: { retryFirstMs: 3_600_000, retryLastMs: 3_600_000 } });
    await warned('out of reach');
    await bus.close();
    bus.publishUsers([hint(1, 1)]);
    bus.publish('timers');
    expect(bus.isConnected).toBe(false);
  });

  it('takes the connection and says nothing: closing does not wait for it', async () => {
    const mute = await muteServer();
    const { bus } = open(`nats://127.0.0.1:${mute.port}`, { limits: { connectMs: 60_000 } });
    await mute.taken;
    await bus.close();
    await mute.ended;
  });

  it('takes the connection and says nothing: it is tried again, and nothing is left open', async () => {
    const mute = await muteServer();
    const { warned } = open(`nats://127.0.0.1:${mute.port}`, { limits: { connectMs: 50 } });
    await warned('no answer in time');
    await mute.ended;
  });

  it('gets what was published before the bus was closed', async () => {
    const server = await nats();
    const [here, there] = [open(server.url), open(server.url)];
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
  ends.push(() => void server.close());
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
  ends.push(async () => {
    await worker.terminate();
  });
  expect(Atomics.wait(done, 0, 0, 15_000)).not.toBe('timed-out');
}

function loginCases(): void {
  it('user and password, or a token, in the URL', async () => {
    const byPassword = await nats({ config: 'authorization { user: "carillon", password: "p@ss:w/rd" }' });
    const byToken = await nats({ config: 'authorization { token: "s3cret" }' });
    await open(`nats://carillon:p%40ss%3Aw%2Frd@127.0.0.1:${byPassword.port}`).became(true);
    await open(`nats://s3cret@127.0.0.1:${byToken.port}`).became(true);
  });

  it('a key (nkey), whose seed is not sent', async () => {
    const pair = nkeys.createUser();
    const server = await nats({ config: `authorization { users: [ { nkey: "${pair.getPublicKey()}" } ] }` });
    const seed = new TextDecoder().decode(pair.getSeed());
    await open(server.url, { login: { kind: 'nkey', seed } }).became(true);
    const stranger = open(server.url, {
      login: { kind: 'nkey', seed: new TextDecoder().decode(nkeys.createUser().getSeed()) },
    });
    await stranger.warned('refused the login');
  });

  it('a wrong password is said clearly and once, without the password, and tried on until it is right', async () => {
    const server = await nats({ config: 'authorization { user: "carillon", password: "right" }' });
    const opened = open(`nats://carillon:wr0ng-one@127.0.0.1:${server.port}`);
    expect(await opened.warned('refused the login')).toContain(`127.0.0.1:${server.port}`);
    await server.kill();
    await opened.warned('connection refused');
    await nats({ config: 'authorization { user: "carillon", password: "wr0ng-one" }', port: server.port });
    await opened.became(true);
    expect(opened.warnings.filter((warning) => warning.includes('refused the login'))).toHaveLength(1);
    expect(opened.warnings.join(' ')).not.toContain('wr0ng-one');
  });

  it('no login where one is wanted', async () => {
    const server = await nats({ config: 'authorization { token: "s3cret" }' });
    await open(server.url).warned('refused the login');
  });

  it('a login that may not do what the bus needs is named', async () => {
    const server = await nats({
      config: `authorization { users: [ { user: "c", password: "p",
        permissions: { publish: "carillon.test.>", subscribe: "carillon.other.>" } } ] }`,
    });
    const opened = open(`nats://c:p@127.0.0.1:${server.port}`);
    await opened.became(true);
    listen(opened, 1);
    expect(await opened.warned('does not allow')).toContain(`subscription carillon.test.users.`);
    expect(opened.bus.isConnected).toBe(true);
  });

  it('and one that may do just that is enough', async () => {
    const permissions = 'permissions: { publish: "carillon.test.>", subscribe: "carillon.test.>" }';
    const server = await nats({ config: `authorization { users: [ { user: "c", password: "p", ${permissions} } ] }` });
    const [here, there] = [open(`nats://c:p@127.0.0.1:${server.port}`), open(`nats://c:p@127.0.0.1:${server.port}`)];
    await Promise.all([here.became(true), there.became(true)]);
    const other = listen(there, 1);
    await settled(here.bus, there.bus);
    here.bus.publishUsers([hint(1, 1)]);
    await other.reached(1);
    expect([...here.warnings, ...there.warnings]).toEqual([]);
  });

  it('TLS: only a server whose certificate is for the host and from the right authority', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'carillon-nats-tls-'));
    ends.push(() => rmSync(folder, { recursive: true, force: true }));
    const authority = { ...makeCertificate({ commonName: 'bus CA', authority: true }), commonName: 'bus CA' };
    const stranger = makeCertificate({ commonName: 'bus CA', authority: true });
    const client = makeCertificate({ commonName: 'node', issuer: authority });
    const config = (name: string, altNames: string[]): string => {
      const { cert, key } = makeCertificate({ commonName: 'nats', altNames, issuer: authority });
      for (const [part, text] of Object.entries({ cert, key, ca: authority.cert })) {
        writeFileSync(path.join(folder, `${name}-${part}.pem`), text);
      }
      const at = path.join(folder, name);
      return `tls { cert_file: "${at}-cert.pem", key_file: "${at}-key.pem", ca_file: "${at}-ca.pem", verify: true }`;
    };
    const server = await nats({ config: config('right', ['127.0.0.1']) });
    const elsewhere = await nats({ config: config('elsewhere', ['localhost', 'nats.example']) });
    const plain = await nats();
    const tls = { ca: authority.cert, cert: client.cert, key: client.key };
    const at = (one: NatsServer, options = tls as NatsTls): OpenedBus =>
      open(`tls://127.0.0.1:${one.port}`, { tls: options });
    await at(server).became(true);
    await at(server, { ...tls, ca: stranger.cert }).warned('certificate');
    await at(server, { ca: authority.cert, cert: null, key: null }).warned('out of reach');
    expect(await at(elsewhere).warned('out of reach')).toContain("does not match certificate's altnames");
    expect(await at(plain).warned('out of reach')).toContain("does not support 'tls'");
  });
}

function routingCases(): void {
  it('two installations on one NATS do not hear each other', async () => {
    const server = await nats();
    const [here, same, stranger] = [open(server.url), open(server.url), open(server.url, { prefix: 'other' })];
    await Promise.all([here.became(true), same.became(true), stranger.became(true)]);
    const heard = listen(same, 1);
    const overheard = listen(stranger, 1);
    stranger.bus.subscribe('receipts', () => overheard.heads.push(-1));
    await settled(same.bus, stranger.bus);
    here.bus.publishUsers([hint(1, 1)]);
    here.bus.publish('receipts');
    await here.bus.flushed();
    await settled(same.bus, stranger.bus);
    expect(heard.heads).toEqual([1]);
    expect(overheard.heads).toEqual([]);
    expect(stranger.bus.counts.heard).toBe(0);
  });

  it('a node is sent nothing of users that nobody watches there, and nothing of its own', async () => {
    const server = await nats();
    const [here, watching, idle] = [open(server.url), open(server.url), open(server.url)];
    await Promise.all([here.became(true), watching.became(true), idle.became(true)]);
    const heard = listen(watching, 1);
    listen(here, 1);
    idle.bus.watch(1, () => undefined)();
    await settled(watching.bus, idle.bus);
    await here.bus.flushed();
    here.bus.publishUsers([hint(1, 1), hint(2, 1)]);
    await here.bus.flushed();
    await settled(watching.bus, idle.bus);
    expect(heard.heads).toEqual([1]);
    expect([here, watching, idle].map(({ bus }) => bus.counts.heard)).toEqual([0, 1, 0]);
  });

  it('a large commit goes in few messages to whoever watches anybody, in order', async () => {
    const server = await nats();
    const [here, there, idle] = [open(server.url), open(server.url), open(server.url)];
    await Promise.all([here.became(true), there.became(true), idle.became(true)]);
    const heard = listen(there, 77);
    await settled(there.bus, idle.bus);
    const commit = Array.from({ length: 9_000 }, (_, index) => hint(index, 1));
    here.bus.publishUsers([hint(77, 0), ...commit, hint(77, 2)]);
    here.bus.publishUsers([hint(77, 3)]);
    await here.bus.flushed();
    await settled(there.bus, idle.bus);
    expect(heard.heads).toEqual([0, 1, 2, 3]);
    expect(here.bus.counts.sent).toBe(4);
    expect(idle.bus.counts.heard).toBe(0);
  });

  it('keeps below what the server takes in one message', async () => {
    const server = await nats({ config: 'max_payload: 1024' });
    const [here, there] = [open(server.url), open(server.url)];
    await Promise.all([here.became(true), there.became(true)]);
    const heard = listen(there, 500);
    await settled(here.bus, there.bus);
    here.bus.publishUsers(Array.from({ length: 501 }, (_, index) => hint(index, 4)));
    await heard.reached(4);
    expect(here.bus.counts).toMatchObject({ sent: 8, dropped: 0 });
    expect(here.bus.isConnected).toBe(true);
  });

  it('tells a topic over the network once for many times within a few milliseconds', async () => {
    const server = await nats();
    const [here, there] = [open(server.url), open(server.url)];
    await Promise.all([here.became(true), there.became(true)]);
    let woken = 0;
    there.bus.subscribe('receipts', () => (woken += 1));
    await settled(here.bus, there.bus);
    for (let time = 0; time < 1_000; time += 1) here.bus.publish('receipts');
    await settled(here.bus, there.bus);
    expect(woken).toBe(2);
    expect(here.bus.counts.sent).toBe(2);
  });

  it('leaves out what cannot be written, and sends the rest', async () => {
    const server = await nats();
    const [here, there] = [open(server.url), open(server.url)];
    await Promise.all([here.became(true), there.became(true)]);
    const heard = listen(there, Number.MAX_SAFE_INTEGER);
    await settled(here.bus, there.bus);
    const bad = [hint(-1, 1), hint(1.5, 1), hint(1, Number.NaN), hint(2 ** 60, 1)];
    here.bus.publishUsers([...bad, hint(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)]);
    await heard.reached(Number.MAX_SAFE_INTEGER);
    expect(heard.heads).toEqual([Number.MAX_SAFE_INTEGER]);
  });
}

function strangerCases(): void {
  it('what is no message of ours is dropped and counted, and breaks nothing', async () => {
    const server = await nats();
    const { bus, warnings, became } = open(server.url);
    await became(true);
    const heads: number[] = [];
    bus.watch(1, ({ head }) => heads.push(head));
    await bus.flushed();
    const stranger = await foreign(server.port);
    const good = encodeHints([hint(1, 9)]);
    const garbage = [
      '',
      'x',
      '{"user":1,"head":2}',
      good.subarray(0, good.length - 1),
      Uint8Array.of(...good, 0),
      Uint8Array.of(0xc4, 2, ...good.subarray(2)),
      Uint8Array.of(0, 1, ...good.subarray(2)),
      Uint8Array.of(0xc4, 1, ...new Uint8Array(16).fill(0xff)),
      new Uint8Array(1_000_000),
      encodeHints(Array.from({ length: 4_097 }, () => hint(1, 9))),
    ];
    for (const payload of garbage) {
      stranger.publish(`carillon.test.users.${shardOf(1)}`, payload);
      stranger.publish('carillon.test.users.many', payload);
    }
    await stranger.flushed();
    await bus.flushed();
    expect(heads).toEqual([]);
    expect(bus.counts.refused).toBe(2 * garbage.length);
    expect(warnings).toHaveLength(1);
    stranger.publish(`carillon.test.users.${shardOf(1)}`, good);
    await stranger.flushed();
    await bus.flushed();
    expect(heads).toEqual([9]);
    expect(bus.isConnected).toBe(true);
  });

  it('nothing but ids and heads is sent, under subjects that hold nothing from outside', async () => {
    const server = await nats();
    const { bus, became } = open(server.url);
    await became(true);
    const stranger = await foreign(server.port);
    stranger.subscribe('>');
    await stranger.flushed();
    const event = { type: 'read', tids: ['secret-tid'] };
    bus.publishUsers([{ user: 5, head: 6, entry: { user: 5, n: 6, priority: 2, state: 3, message: null, event } }]);
    bus.publish('objects');
    await bus.flushed();
    const heard = await stranger.flushed();
    expect(heard).not.toContain('secret');
    expect(heard.match(/MSG \S+/gu)).toEqual([
      `MSG carillon.test.users.${shardOf(5)}`,
      'MSG carillon.test.topic.objects',
    ]);
  });

  it('a listener that throws does not end the reading', async () => {
    const server = await nats();
    const { bus, became, warned } = open(server.url);
    await became(true);
    const heads: number[] = [];
    bus.watch(1, ({ head }) => {
      heads.push(head);
      throw new Error('planted');
    });
    await bus.flushed();
    const stranger = await foreign(server.port);
    for (const head of [1, 2]) stranger.publish(`carillon.test.users.${shardOf(1)}`, encodeHints([hint(1, head)]));
    await stranger.flushed();
    await bus.flushed();
    expect(heads).toEqual([1, 2]);
    expect(await warned('a listener of the bus failed')).toContain('planted');
  });

  it('a prefix that would be a wildcard or another subject is refused', () => {
    for (const prefix of ['', '*', '>', 'a.b', 'a b', 'a\n', 'x'.repeat(65)]) {
      expect(() => open('nats://127.0.0.1:1', { prefix })).toThrow('prefix');
    }
  });
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
  ends.push(() => bus.close());
  return { ...opened, ...listen({ ...opened, bus }, 1), polled: bus, queries };
}

function polledCases(): void {
  it('another node is told what the store says, once', async () => {
    const server = await nats();
    const truth = new Map<UserKey, number>();
    const [here, there] = [node(open(server.url), truth), node(open(server.url), truth)];
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
    const server = await nats();
    const truth = new Map<UserKey, number>([[1, 5]]);
    const here = node(open(server.url), truth);
    await here.became(true);
    await here.reached(5);
    await here.bus.flushed();
    here.queries.length = 0;
    const stranger = await foreign(server.port);
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
    const server = await nats();
    const truth = new Map<UserKey, number>();
    const there = node(open(server.url), truth);
    await there.became(true);
    await there.bus.flushed();
    await server.kill();
    await there.became(false);
    truth.set(1, 7);
    await nats({ port: server.port });
    await there.reached(7);
    expect(there.heads).toEqual([7]);
  });
}
