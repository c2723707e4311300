import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../support/cluster.ts';
import type { ServerOptions, ServerProcess } from '../support/server-process.ts';
import { faultModule } from './campaign.ts';
import { Devices } from './device.ts';
import type { Device } from './device.ts';
import { Load } from './load.ts';
import type { Entry, LoadOptions } from './load.ts';
import { allTold, check } from './oracle.ts';
import type { Findings } from './oracle.ts';
import { ReceiptSink } from './receipt-sink.ts';

/** Every third request asks for receipts, as in the campaigns of one server. */
const NOTIFY_EVERY = 3;
const USERS_COUNT = 6;
/** Between two tries of a device to find a node that takes it. */
const AGAIN_MS = 20;

export type NodeName = 'one' | 'two' | 'three';

/** The nodes of a cluster by name, through all their lives. */
export class Nodes {
  private readonly cluster: Cluster;
  private readonly byName = new Map<NodeName, ServerProcess>();
  private readonly paused = new Set<NodeName>();
  private readonly isLeaseShort: boolean;

  constructor(cluster: Cluster, options: { isLeaseShort: boolean }) {
    this.cluster = cluster;
    this.isLeaseShort = options.isLeaseShort;
  }

  /** A new life of a node, also after its end. */
  async start(name: NodeName, options: Partial<ServerOptions> = {}): Promise<ServerProcess> {
    const preload = [...(this.isLeaseShort ? [faultModule('short-lease')] : []), ...(options.preload ?? [])];
    const node = await this.cluster.start(name, { ...options, preload });
    this.byName.set(name, node);
    return node;
  }

  get(name: NodeName): ServerProcess {
    const node = this.byName.get(name);
    if (node === undefined) throw new Error(`node ${name} was never started`);
    return node;
  }

  /** What a balancer would choose from: it does not know who is about to end. */
  among(names: readonly NodeName[]): ServerProcess[] {
    return names.filter((name) => !this.paused.has(name) && this.get(name).isRunning).map((name) => this.get(name));
  }

  pause(name: NodeName): void {
    this.paused.add(name);
    this.get(name).child.kill('SIGSTOP');
  }

  resume(name: NodeName): void {
    this.get(name).child.kill('SIGCONT');
    this.paused.delete(name);
  }
}

export interface ClusterSceneOptions {
  /** Part of every user and label, so that scenes share a cluster. */
  readonly name: string;
  readonly nodes: Nodes;
  /** Where devices connect, each to the next one when its connection ends. */
  readonly gateways: readonly NodeName[];
  readonly load?: Partial<LoadOptions>;
}

const asksForReceipts = (entry: Entry): boolean => entry.number % NOTIFY_EVERY === 0;

/** Clients, devices that find another node by themselves, and a receipt sink around a cluster. */
export class ClusterScene {
  readonly devices: Devices;
  readonly load: Load;
  readonly sink: ReceiptSink;
  private readonly options: ClusterSceneOptions;
  private readonly keepers: Promise<void>[] = [];
  private isOver = false;

  private constructor(sink: ReceiptSink, options: ClusterSceneOptions) {
    const { name } = options;
    const users = Array.from({ length: USERS_COUNT }, (_, index) => `${name}-${index}`);
    this.options = options;
    this.sink = sink;
    this.devices = new Devices(users);
    this.load = new Load({
      users,
      clients: 6,
      destinationsMax: 4,
      notifyUrl: sink.url,
      notifyEvery: NOTIFY_EVERY,
      labelOf: (client, number) => `${name}-${client}-${number}`,
      ...options.load,
    });
  }

  /** Resolves when every device is connected. */
  static async open(options: ClusterSceneOptions): Promise<ClusterScene> {
    const scene = new ClusterScene(await ReceiptSink.open(), options);
    const { all } = scene.devices;
    await Promise.all(all.map((device, index) => device.connect(scene.gateway(index))));
    scene.keepers.push(...all.map((device, index) => scene.keep(device, index)));
    return scene;
  }

  private gateway(turn: number): ServerProcess {
    const nodes = this.options.nodes.among(this.options.gateways);
    const node = nodes[turn % nodes.length];
    if (node === undefined) throw new Error('no node takes devices');
    return node;
  }

  private async keep(device: Device, index: number): Promise<void> {
    for (let turn = index + 1; ; turn += 1) {
      await device.ended;
      if (this.isOver) return;
      try {
        await device.connect(this.gateway(turn));
      } catch {
        await device.disconnect();
        await sleep(AGAIN_MS);
      }
      if (this.isOver) await device.disconnect();
    }
  }

  /** From sending to the device, milliseconds, of what was sent from then on and has arrived; the first time it came. */
  latencies(since: number): number[] {
    const sent = new Map(
      this.load.journal.filter((entry) => entry.sentAt >= since).map((one) => [one.label, one.sentAt]),
    );
    return this.devices.all.flatMap((device) => {
      const first = new Map<string, number>();
      for (const { text, at } of device.received) if (!first.has(text)) first.set(text, at);
      return [...first].flatMap(([text, at]) => {
        const sentAt = sent.get(text);
        return sentAt === undefined ? [] : [at - sentAt];
      });
    });
  }

  /** Ends the load and checks every promise, asking a node. */
  async judge(node: NodeName, drainMs: number): Promise<Findings> {
    await this.load.stop();
    return check({
      server: this.options.nodes.get(node),
      journal: this.load.journal,
      devices: this.devices,
      sink: this.sink,
      withReceipts: asksForReceipts,
      drainMs,
    });
  }

  /** Resolves when every receipt that was asked for has come; false: not within `ms`. */
  told(ms: number): Promise<boolean> {
    const acknowledged = this.load.journal.filter((entry) => entry.outcome === 'acknowledged');
    return allTold(acknowledged.filter(asksForReceipts), this.sink, ms);
  }

  async close(): Promise<void> {
    this.isOver = true;
    this.sink.release();
    await this.load.stop();
    await this.devices.disconnect();
    await Promise.all(this.keepers);
    await this.sink.close();
  }
}
