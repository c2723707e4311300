// Three nodes on PostgreSQL and NATS under load, and what takes one of them away. Longer:
//   npm run test:cluster                     (every drill 10 times, with leases as long as the product's)
//   CLUSTER_CYCLES=200 npm run test:cluster
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, findClusterServers } from '../support/cluster.ts';
import { NatsServer } from '../support/nats.ts';
import { faultModule } from './campaign.ts';
import { ClusterScene, Nodes } from './cluster-scene.ts';
import type { NodeName } from './cluster-scene.ts';
import { NO_FINDINGS, summaryOf } from './oracle.ts';

const bin = findClusterServers();
const CYCLES = Number(process.env['CLUSTER_CYCLES'] ?? 1);
const isLong = CYCLES > 1;
/** Of receipts: the product's, or that of support/processes/short-lease.ts. */
const LEASE_MS = isLong ? 30_000 : 6_000;
/** What a dead node held is free again after its lease. */
const DRAIN_MS = LEASE_MS + 15_000;
const DRILL_MS = 60_000 + CYCLES * (LEASE_MS + 15_000);
/** After a fault is over, calls are taken again within this. */
const RESUMED_MS = 10_000;
/** What SIGTERM promises. */
const STOPPED_MS = 10_000;
/** Without NATS a poll finds what other nodes accepted: one second, and the rest is for a machine with much else to do. */
const WITHOUT_NATS_MS = 2_500;
/** On a bus that works, most messages take a few milliseconds. */
const WITH_NATS_MS = 500;
const NAMES: readonly NodeName[] = ['one', 'two', 'three'];

async function times(work: () => Promise<void>): Promise<void> {
  for (let cycle = 0; cycle < CYCLES; cycle += 1) await work();
}

describe.skipIf(bin === null)('three nodes under load', () => {
  let cluster: Cluster;
  let nodes: Nodes;
  let scene: ClusterScene | undefined;
  beforeAll(async () => {
    cluster = await Cluster.open(bin ?? '');
    nodes = new Nodes(cluster, { isLeaseShort: !isLong });
    for (const name of NAMES) await nodes.start(name);
  }, 120_000);
  afterEach(async () => {
    await scene?.close();
    scene = undefined;
  });
  afterAll(() => cluster?.close(), 60_000);

  async function expectNothingLost(on: ClusterScene, node: NodeName = 'two'): Promise<void> {
    const findings = await on.judge(node, DRAIN_MS);
    const summary = summaryOf(on.load.journal);
    expect(findings, summary).toEqual(NO_FINDINGS);
    if (isLong) console.log(`${expect.getState().currentTestName ?? ''}: ${CYCLES} times, ${summary}`);
  }

  test('kill -9 of the node that serves devices: they go on at another', { timeout: DRILL_MS }, async () => {
    scene = await ClusterScene.open({ name: 'gate', nodes, gateways: ['two', 'three'] });
    const { load } = scene;
    load.start(nodes.get('one'));
    await times(async () => {
      await load.acknowledged(60);
      await nodes.get('two').kill();
      await load.acknowledged(60);
      await nodes.start('two');
      await load.acknowledged(20);
    });
    await expectNothingLost(scene);
  });

  test('kill -9 of the node that takes the calls: what it acknowledged is there', { timeout: DRILL_MS }, async () => {
    scene = await ClusterScene.open({ name: 'call', nodes, gateways: ['two', 'three'] });
    const { load } = scene;
    await times(async () => {
      load.start(nodes.get('one'));
      await load.acknowledged(60);
      await nodes.get('one').kill();
      await load.stop();
      load.start(nodes.get('three'));
      await load.acknowledged(30);
      await load.stop();
      await nodes.start('one');
    });
    await expectNothingLost(scene);
  });

  test('PostgreSQL crashes and comes back: refused meanwhile, then all is well', { timeout: DRILL_MS }, async () => {
    scene = await ClusterScene.open({ name: 'base', nodes, gateways: ['two', 'three'] });
    const { load } = scene;
    load.start(nodes.get('one'));
    await times(async () => {
      await load.acknowledged(60);
      await cluster.postgres.stop('immediate');
      await load.next((entry) => entry.outcome === 'refused');
      await cluster.postgres.run();
      const backAt = performance.now();
      await load.acknowledged(1);
      expect(performance.now() - backAt).toBeLessThan(RESUMED_MS);
      await load.acknowledged(30);
    });
    await expectNothingLost(scene);
    const refused = load.journal.filter((entry) => entry.outcome !== 'acknowledged');
    expect(refused.filter((entry) => entry.code !== '7006' || entry.status !== 503)).toEqual([]);
  });

  test('NATS is gone: messages arrive by the poll, and at once when it is back', { timeout: DRILL_MS }, async () => {
    scene = await ClusterScene.open({ name: 'bus', nodes, gateways: ['two', 'three'] });
    const { load, devices } = scene;
    const on = scene;
    load.start(nodes.get('one'));
    await times(async () => {
      await load.acknowledged(30);
      const { port } = cluster.nats;
      const goneAt = Date.now();
      await cluster.nats.kill();
      await load.acknowledged(100);
      const inOutage = load.journal.filter((entry) => entry.sentAt >= goneAt && entry.outcome === 'acknowledged');
      const isThere = (): boolean =>
        inOutage.every((entry) => entry.users.every((user) => devices.get(user).texts.has(entry.label)));
      expect(await devices.until(isThere, RESUMED_MS)).toBe(true);
      expect(Math.max(...on.latencies(goneAt))).toBeLessThan(WITHOUT_NATS_MS);
      cluster.nats = await NatsServer.start({ port });
      // A poll alone delays most messages: a hundred quick ones in a row are the bus.
      const isQuick = (): boolean => {
        const last = devices.all.flatMap(({ received }) => received.slice(-20));
        const sentAt = new Map(load.journal.slice(-300).map((entry) => [entry.label, entry.sentAt]));
        return last.every(({ text, at }) => at - (sentAt.get(text) ?? 0) < WITH_NATS_MS);
      };
      expect(await devices.until(isQuick, RESUMED_MS)).toBe(true);
    });
    await expectNothingLost(scene);
  });

  test('a node sleeps through its leases: it overwrites nothing when it wakes', { timeout: DRILL_MS }, async () => {
    // The third is the only one that works at first: else nothing tells which node has what is under way.
    await nodes.get('one').stop();
    await nodes.start('one', { args: ['--roles', 'api,gateway'] });
    scene = await ClusterScene.open({
      name: 'lease',
      nodes,
      gateways: ['one'],
      load: { clients: 16, destinationsMax: 6 },
    });
    const { load, sink } = scene;
    const onTheWire = new Set<string>();
    await times(async () => {
      await nodes.get('two').stop();
      load.start(nodes.get('one'));
      // By then receipts flow.
      await load.acknowledged(60);
      sink.hold();
      // What comes then waits in the node's memory behind that.
      expect(await sink.until(() => sink.heldCount > 0, RESUMED_MS)).toBe(true);
      await load.acknowledged(40);
      nodes.pause('three');
      await load.stop();
      // What it had given to the system before arrives yet. Whatever has arrived by then may come again: of what was answered
      // just before, the outcome may not have been written.
      await sink.settled();
      for (const { id } of sink.received) onTheWire.add(id);
      const asleep = sink.release();
      await nodes.start('two');
      // Its leases have run out when another node has sent what it had on the wire and what it holds.
      const areTaken = (): boolean => asleep.every((id) => sink.timesOf(id) > 1);
      expect(await sink.until(areTaken, LEASE_MS + RESUMED_MS)).toBe(true);
      expect(await scene!.told(RESUMED_MS)).toBe(true);
      nodes.resume('three');
    });
    await expectNothingLost(scene);
    const count = new Map<string, number>();
    for (const { id } of sink.received) count.set(id, (count.get(id) ?? 0) + 1);
    const doubled = [...count].filter(([, received]) => received > 1);
    expect(doubled.filter(([id, received]) => received > 2 || !onTheWire.has(id))).toEqual([]);
    // Else the node held nothing, and the drill showed nothing.
    expect(doubled.length).toBeGreaterThan(0);
  });

  test('a rolling restart: no call fails behind clients that try again', { timeout: DRILL_MS }, async () => {
    scene = await ClusterScene.open({ name: 'roll', nodes, gateways: NAMES, load: { attempts: 3 } });
    const { load } = scene;
    load.startOn(() => nodes.among(NAMES));
    await times(async () => {
      for (const name of NAMES) {
        await load.acknowledged(40);
        const exit = await nodes.get(name).stop();
        expect(exit).toMatchObject({ code: 0, signal: null });
        expect(exit.ms).toBeLessThan(STOPPED_MS);
        if (isLong) console.log(`${name} left within ${exit.ms.toFixed(0)} ms`);
        await nodes.start(name);
      }
    });
    await expectNothingLost(scene);
    expect(load.journal.filter((entry) => entry.outcome !== 'acknowledged')).toEqual([]);
  });

  // The last one: what this node lost stays lost.
  test('a node that answers before it commits is seen', { timeout: DRILL_MS }, async () => {
    await nodes.get('one').stop();
    await nodes.start('one', { preload: [faultModule('answer-early')], env: { FAULT_LATER_MS: '3000' } });
    scene = await ClusterScene.open({ name: 'early', nodes, gateways: ['two', 'three'] });
    scene.load.start(nodes.get('one'));
    await scene.load.acknowledged(30);
    await nodes.get('one').kill();
    const findings = await scene.judge('two', 300);
    expect(findings.missing.length).toBeGreaterThan(0);
  });
});
