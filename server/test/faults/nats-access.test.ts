import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { nkeys } from '@nats-io/transport-node';
import { afterEach, describe, expect, it } from 'vitest';
import type { NatsTls } from '../../src/bus/nats-options.ts';
import { encodeHints, shardOf } from '../../src/bus/wire.ts';
import { makeCertificate } from '../support/certificates.ts';
import { whyNoNats } from '../support/nats.ts';
import type { NatsServer } from '../support/nats.ts';
import { hint, listen, NatsScene, settled } from '../support/nats-bus.ts';
import type { OpenedBus } from '../support/nats-bus.ts';

const skipped = whyNoNats();
const scene = new NatsScene();
afterEach(() => scene.end());

describe.skipIf(skipped !== null)(`NATS${skipped === null ? '' : ` (${skipped})`}`, () => {
  describe('who may come in', () => {
    loginCases();
  });
  describe('who is told', () => {
    routingCases();
  });
  describe('strangers', () => {
    strangerCases();
  });
});

function loginCases(): void {
  it('user and password, or a token, in the URL', async () => {
    const byPassword = await scene.nats({ config: 'authorization { user: "carillon", password: "p@ss:w/rd" }' });
    const byToken = await scene.nats({ config: 'authorization { token: "s3cret" }' });
    await scene.open(`nats://carillon:p%40ss%3Aw%2Frd@127.0.0.1:${byPassword.port}`).became(true);
    await scene.open(`nats://s3cret@127.0.0.1:${byToken.port}`).became(true);
  });

  it('a key (nkey), whose seed is not sent', async () => {
    const pair = nkeys.createUser();
    const server = await scene.nats({ config: `authorization { users: [ { nkey: "${pair.getPublicKey()}" } ] }` });
    const seed = new TextDecoder().decode(pair.getSeed());
    await scene.open(server.url, { login: { kind: 'nkey', seed } }).became(true);
    const stranger = scene.open(server.url, {
      login: { kind: 'nkey', seed: new TextDecoder().decode(nkeys.createUser().getSeed()) },
    });
    await stranger.warned('refused the login');
  });

  it('a wrong password is said clearly and once, without the password, and tried on until it is right', async () => {
    const server = await scene.nats({ config: 'authorization { user: "carillon", password: "right" }' });
    const opened = scene.open(`nats://carillon:wr0ng-one@127.0.0.1:${server.port}`);
    expect(await opened.warned('refused the login')).toContain(`127.0.0.1:${server.port}`);
    await server.kill();
    await opened.warned('connection refused');
    await scene.nats({ config: 'authorization { user: "carillon", password: "wr0ng-one" }', port: server.port });
    await opened.became(true);
    expect(opened.warnings.filter((warning) => warning.includes('refused the login'))).toHaveLength(1);
    expect(opened.warnings.join(' ')).not.toContain('wr0ng-one');
  });

  it('no login where one is wanted', async () => {
    const server = await scene.nats({ config: 'authorization { token: "s3cret" }' });
    await scene.open(server.url).warned('refused the login');
  });

  it('a login that may not do what the bus needs is named', async () => {
    const server = await scene.nats({
      config: `authorization { users: [ { user: "c", password: "p",
        permissions: { publish: "carillon.test.>", subscribe: "carillon.other.>" } } ] }`,
    });
    const opened = scene.open(`nats://c:p@127.0.0.1:${server.port}`);
    await opened.became(true);
    listen(opened, 1);
    expect(await opened.warned('does not allow')).toContain(`subscription carillon.test.users.`);
    expect(opened.bus.isConnected).toBe(true);
  });

  it('and one that may do just that is enough', async () => {
    const permissions = 'permissions: { publish: "carillon.test.>", subscribe: "carillon.test.>" }';
    const server = await scene.nats({
      config: `authorization { users: [ { user: "c", password: "p", ${permissions} } ] }`,
    });
    const [here, there] = [
      scene.open(`nats://c:p@127.0.0.1:${server.port}`),
      scene.open(`nats://c:p@127.0.0.1:${server.port}`),
    ];
    await Promise.all([here.became(true), there.became(true)]);
    const other = listen(there, 1);
    await settled(here.bus, there.bus);
    here.bus.publishUsers([hint(1, 1)]);
    await other.reached(1);
    expect([...here.warnings, ...there.warnings]).toEqual([]);
  });

  it('TLS: only a server whose certificate is for the host and from the right authority', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'carillon-nats-tls-'));
    scene.add(() => rmSync(folder, { recursive: true, force: true }));
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
    const server = await scene.nats({ config: config('right', ['127.0.0.1']) });
    const elsewhere = await scene.nats({ config: config('elsewhere', ['localhost', 'nats.example']) });
    const plain = await scene.nats();
    const tls = { ca: authority.cert, cert: client.cert, key: client.key };
    const at = (one: NatsServer, options = tls as NatsTls): OpenedBus =>
      scene.open(`tls://127.0.0.1:${one.port}`, { tls: options });
    await at(server).became(true);
    await at(server, { ...tls, ca: stranger.cert }).warned('certificate');
    await at(server, { ca: authority.cert, cert: null, key: null }).warned('out of reach');
    expect(await at(elsewhere).warned('out of reach')).toContain("does not match certificate's altnames");
    expect(await at(plain).warned('out of reach')).toContain("does not support 'tls'");
  });
}

function routingCases(): void {
  it('two installations on one NATS do not hear each other', async () => {
    const server = await scene.nats();
    const [here, same, stranger] = [
      scene.open(server.url),
      scene.open(server.url),
      scene.open(server.url, { prefix: 'other' }),
    ];
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
    const server = await scene.nats();
    const [here, watching, idle] = [scene.open(server.url), scene.open(server.url), scene.open(server.url)];
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
    const server = await scene.nats();
    const [here, there, idle] = [scene.open(server.url), scene.open(server.url), scene.open(server.url)];
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
    const server = await scene.nats({ config: 'max_payload: 1024' });
    const [here, there] = [scene.open(server.url), scene.open(server.url)];
    await Promise.all([here.became(true), there.became(true)]);
    const heard = listen(there, 500);
    await settled(here.bus, there.bus);
    here.bus.publishUsers(Array.from({ length: 501 }, (_, index) => hint(index, 4)));
    await heard.reached(4);
    expect(here.bus.counts).toMatchObject({ sent: 8, dropped: 0 });
    expect(here.bus.isConnected).toBe(true);
  });

  it('tells a topic over the network once for many times within a few milliseconds', async () => {
    const server = await scene.nats();
    const [here, there] = [scene.open(server.url), scene.open(server.url)];
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
    const server = await scene.nats();
    const [here, there] = [scene.open(server.url), scene.open(server.url)];
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
    const server = await scene.nats();
    const { bus, warnings, became } = scene.open(server.url);
    await became(true);
    const heads: number[] = [];
    bus.watch(1, ({ head }) => heads.push(head));
    await bus.flushed();
    const stranger = await scene.foreign(server.port);
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
    const server = await scene.nats();
    const { bus, became } = scene.open(server.url);
    await became(true);
    const stranger = await scene.foreign(server.port);
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
    const server = await scene.nats();
    const { bus, became, warned } = scene.open(server.url);
    await became(true);
    const heads: number[] = [];
    bus.watch(1, ({ head }) => {
      heads.push(head);
      throw new Error('planted');
    });
    await bus.flushed();
    const stranger = await scene.foreign(server.port);
    for (const head of [1, 2]) stranger.publish(`carillon.test.users.${shardOf(1)}`, encodeHints([hint(1, head)]));
    await stranger.flushed();
    await bus.flushed();
    expect(heads).toEqual([1, 2]);
    expect(await warned('a listener of the bus failed')).toContain('planted');
  });

  it('a prefix that would be a wildcard or another subject is refused', () => {
    for (const prefix of ['', '*', '>', 'a.b', 'a b', 'a\n', 'x'.repeat(65)]) {
      expect(() => scene.open('nats://127.0.0.1:1', { prefix })).toThrow('prefix');
    }
  });
}
