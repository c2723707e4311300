import { findPostgres, PostgresServer } from './postgres.ts';
import { NatsServer, whyNoNats } from './nats.ts';
import { makeFolder, removeFolder, ServerProcess } from './server-process.ts';
import type { ServerOptions } from './server-process.ts';

/** Where PostgreSQL's programs are, when NATS is there too; null: tests of several nodes cannot run here. */
export function findClusterServers(): string | null {
  const bin = findPostgres();
  return bin !== null && whyNoNats() === null ? bin : null;
}

/** A PostgreSQL server, a NATS server and as many nodes as a test starts. */
export class Cluster {
  readonly postgres: PostgresServer;
  nats: NatsServer;
  readonly folder = makeFolder();
  readonly nodes: ServerProcess[] = [];
  private readonly database: string;

  private constructor(postgres: PostgresServer, nats: NatsServer, database: string) {
    this.postgres = postgres;
    this.nats = nats;
    this.database = database;
  }

  static async open(bin: string): Promise<Cluster> {
    const [postgres, nats] = await Promise.all([PostgresServer.start(bin, { durable: true }), NatsServer.start()]);
    await postgres.query('CREATE DATABASE carillon');
    return new Cluster(postgres, nats, postgres.url('carillon'));
  }

  /** What a node needs in its environment. */
  environment(name: string, extra: Record<string, string> = {}): Record<string, string> {
    return { CARILLON_DATABASE: this.database, CARILLON_NATS: this.nats.url, CARILLON_NODE: name, ...extra };
  }

  /** Nodes share the folder of demo.json, and so the demo's tenant: the first is to be ready before the next is started. */
  async start(name: string, options: Partial<ServerOptions> = {}): Promise<ServerProcess> {
    const env = this.environment(name, options.env);
    const node = await ServerProcess.start({ folder: this.folder, ...options, env });
    this.nodes.push(node);
    return node;
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.filter((node) => node.isRunning).map((node) => node.stop()));
    await Promise.all([this.nats.kill(), this.postgres.end()]);
    removeFolder(this.folder);
  }
}
