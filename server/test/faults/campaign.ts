import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../src/core/ports.ts';
import { makeFolder, removeFolder, ServerProcess } from '../support/server-process.ts';
import type { ServerOptions } from '../support/server-process.ts';
import { Devices } from './device.ts';
import { Load } from './load.ts';
import type { Entry, LoadOptions } from './load.ts';
import { check } from './oracle.ts';
import type { Findings } from './oracle.ts';
import { ReceiptSink } from './receipt-sink.ts';

const USERS = ['ann', 'bob', 'cid', 'dee', 'eva', 'fay'];
/** Every third request asks for receipts: all of them would make the drain longer than the test. */
const NOTIFY_EVERY = 3;

/** Wherever a preload module of `support/processes/` is. */
export function faultModule(name: string): string {
  return path.resolve(import.meta.dirname, '..', 'support', 'processes', `${name}.ts`);
}

/** Clients, devices and a receipt sink around a data folder: what outlives a server. */
export class Scene {
  readonly folder = makeFolder();
  readonly devices = new Devices(USERS);
  readonly load: Load;
  readonly sink: ReceiptSink;
  private server: ServerProcess | null = null;

  private constructor(sink: ReceiptSink, options: Partial<LoadOptions>) {
    this.sink = sink;
    const notify = { notifyUrl: sink.url, notifyEvery: NOTIFY_EVERY };
    this.load = new Load({ users: USERS, clients: 8, destinationsMax: 6, ...notify, ...options });
  }

  static async open(options: Partial<LoadOptions> = {}): Promise<Scene> {
    return new Scene(await ReceiptSink.open(), options);
  }

  get data(): string {
    return path.join(this.folder, 'data');
  }

  async start(options: Partial<ServerOptions> = {}): Promise<ServerProcess> {
    this.server = await ServerProcess.start({ folder: this.data, ...options });
    return this.server;
  }

  /** Starts a server and everything around it: when this resolves the load runs. */
  async run(options: Partial<ServerOptions> = {}): Promise<ServerProcess> {
    const server = await this.start(options);
    await this.devices.connect(server);
    this.load.start(server);
    return server;
  }

  /** Ends this life of the server on the spot, and what was connected to it. */
  async crash(): Promise<void> {
    await this.server?.kill();
    await this.load.stop();
    await this.devices.disconnect();
  }

  /** Starts a sound server on what is left and checks every promise. */
  async judge(options: { drainMs?: number; server?: ServerProcess } = {}): Promise<Findings> {
    const server = options.server ?? (await this.start());
    if (options.server === undefined) await this.devices.connect(server);
    const findings = await check({
      server,
      journal: this.load.journal,
      devices: this.devices,
      sink: this.sink,
      withReceipts: (entry: Entry) => entry.number % NOTIFY_EVERY === 0,
      ...(options.drainMs !== undefined && { drainMs: options.drainMs }),
    });
    return findings;
  }

  async close(): Promise<void> {
    await this.load.stop();
    await this.devices.disconnect();
    await this.server?.stop();
    await this.sink.close();
    removeFolder(this.folder);
  }
}

export interface Campaign {
  readonly cycles: number;
  readonly random: Random;
  readonly server?: (cycle: number) => Partial<ServerOptions>;
  /** After the kill, before the next start. */
  readonly afterCrash?: () => void;
  readonly drainMs?: number;
}

/** Acknowledged requests after which a cycle's kill may come, and the milliseconds on top of that. */
const ACKNOWLEDGED_MAX = 80;
const LATER_MS_MAX = 25;

/** Start, load, SIGKILL at a random instant, again and again; then everything is checked. */
export async function runCampaign(scene: Scene, campaign: Campaign): Promise<Findings> {
  const { cycles, random, server = () => ({}), afterCrash } = campaign;
  for (let cycle = 0; cycle < cycles; cycle += 1) {
    await scene.run(server(cycle));
    await scene.load.acknowledged(1 + Math.floor(random.unit() * ACKNOWLEDGED_MAX));
    await sleep(random.unit() * LATER_MS_MAX);
    await scene.crash();
    afterCrash?.();
  }
  return scene.judge(campaign.drainMs === undefined ? {} : { drainMs: campaign.drainMs });
}
