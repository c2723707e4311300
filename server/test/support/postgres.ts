import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { chownSync, existsSync, readdirSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';

const DEBIAN_FOLDER = '/usr/lib/postgresql';
const READY_MS = 30_000;
const STOP_MS = 20_000;
const TEMPLATE = 'carillon_template';

/** Where PostgreSQL's programs are: CARILLON_TEST_PG_BIN, the search path, Debian's folders; null: nowhere. */
export function findPostgres(): string | null {
  const given = process.env['CARILLON_TEST_PG_BIN'];
  const debian = existsSync(DEBIAN_FOLDER)
    ? readdirSync(DEBIAN_FOLDER)
        .toSorted((a, b) => Number(b) - Number(a))
        .map((version) => path.join(DEBIAN_FOLDER, version, 'bin'))
    : [];
  const folders = [given ?? '', ...(process.env['PATH'] ?? '').split(path.delimiter), ...debian];
  const found = folders.find((folder) => folder !== '' && existsSync(path.join(folder, 'initdb')));
  if (found === undefined && process.env['CI'] === 'true') {
    throw new Error('PostgreSQL was not found, and here its tests must run: install postgresql-15');
  }
  if (found === undefined) {
    console.info(
      'PostgreSQL was not found, and its tests are skipped: apt-get install postgresql-15, or CARILLON_TEST_PG_BIN',
    );
  }
  return found ?? null;
}

/** The user that a server runs as, where the tests run as root: PostgreSQL refuses root. */
function unprivileged(): { uid: number; gid: number } | null {
  if (process.getuid?.() !== 0) return null;
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = (flag: string): number => Number(execFileSync('id', [flag, name], { encoding: 'utf8' }));
      return { uid: id('-u'), gid: id('-g') };
    } catch {
      // The next one, then.
    }
  }
  throw new Error('there is no user that PostgreSQL could run as');
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => {
    server.close(resolve);
  });
  if (address === null || typeof address === 'string') throw new Error('no port was free');
  return address.port;
}

export interface PostgresServerOptions {
  /** Lines for the server's configuration beside those for tests. */
  readonly settings?: Readonly<Record<string, string>>;
  /** As a production server, with syncs. Without it what is written is lost with the machine: the fastest for tests. */
  readonly durable?: boolean;
}

/** A PostgreSQL server of its own, on a socket in a scratch folder and a free port of the loopback. */
export class PostgresServer {
  readonly folder: string;
  readonly port: number;
  private readonly bin: string;
  private readonly owner: { uid: number; gid: number } | null;
  private readonly settings: Readonly<Record<string, string>>;
  private process: ChildProcess | null = null;
  private databases = 0;
  /** Databases that nobody uses any more. */
  private readonly used: string[] = [];
  private output = '';

  private constructor(parts: {
    bin: string;
    folder: string;
    port: number;
    owner: { uid: number; gid: number } | null;
    settings: Readonly<Record<string, string>>;
  }) {
    this.bin = parts.bin;
    this.folder = parts.folder;
    this.port = parts.port;
    this.owner = parts.owner;
    this.settings = parts.settings;
  }

  static async start(bin: string, options: PostgresServerOptions = {}): Promise<PostgresServer> {
    const folder = await mkdtemp(path.join(tmpdir(), 'carillon-pg-'));
    const owner = unprivileged();
    if (owner !== null) chownSync(folder, owner.uid, owner.gid);
    await chmod(folder, 0o700);
    const careless = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' };
    const settings = {
      max_connections: '200',
      shared_buffers: '64MB',
      listen_addresses: '127.0.0.1',
      unix_socket_directories: folder,
      ...(options.durable === true ? {} : careless),
      ...options.settings,
    };
    const server = new PostgresServer({ bin, folder, port: await freePort(), owner, settings });
    try {
      const data = path.join(folder, 'data');
      const initdb = ['-D', data, '-U', 'carillon', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
      execFileSync(path.join(bin, 'initdb'), initdb, { cwd: folder, stdio: 'pipe', ...owner });
      await server.run();
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
    return server;
  }

  /** Starts the server on its data, as after a stop or a crash; resolves when it takes connections. */
  async run(): Promise<void> {
    const settings = Object.entries(this.settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const args = ['-D', path.join(this.folder, 'data'), '-p', String(this.port), ...settings];
    const child = spawn(path.join(this.bin, 'postgres'), args, {
      cwd: this.folder,
      stdio: ['ignore', 'ignore', 'pipe'],
      ...this.owner,
    });
    this.process = child;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`PostgreSQL was not ready: ${this.output}`)), READY_MS);
      child.once('exit', () => reject(new Error(`PostgreSQL ended: ${this.output}`)));
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        this.output = (this.output + text).slice(-10_000);
        if (!text.includes('ready to accept connections')) return;
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** `fast` ends in order, `immediate` as a crash does. */
  async stop(mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
    const child = this.process;
    this.process = null;
    if (child === null || child.exitCode !== null) return;
    const ended = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
    });
    child.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await ended;
    clearTimeout(timer);
  }

  async end(): Promise<void> {
    await this.stop('immediate');
    await rm(this.folder, { recursive: true, force: true });
  }

  /** The process to stop and go on with (SIGSTOP, SIGCONT). */
  get pid(): number {
    const pid = this.process?.pid;
    if (pid === undefined) throw new Error('the server does not run');
    return pid;
  }

  url(database: string): string {
    return `postgres://carillon@/${database}?host=${encodeURIComponent(this.folder)}&port=${this.port}`;
  }

  /** Statements as the superuser. */
  async query(text: string, database = 'postgres'): Promise<Record<string, unknown>[]> {
    const client = new Client({ connectionString: this.url(database) });
    await client.connect();
    try {
      const { rows } = await client.query<Record<string, unknown>>(text);
      return rows;
    } finally {
      await client.end();
    }
  }

  /** Makes what {@link makeDatabase} copies. */
  async makeTemplate(fill: (url: string) => Promise<void>): Promise<void> {
    await this.query(`CREATE DATABASE ${TEMPLATE}`);
    await fill(this.url(TEMPLATE));
    await this.query(EMPTY, TEMPLATE);
  }

  /**
   * A database that is like the template; its URL. Copying takes 0.2 s: one that was given back is emptied instead, in a
   * tenth of that.
   */
  async makeDatabase(): Promise<{ name: string; url: string }> {
    const used = this.used.pop();
    if (used !== undefined) {
      await this.query(EMPTY, used);
      return { name: used, url: this.url(used) };
    }
    this.databases += 1;
    const name = `carillon_${this.databases}`;
    await this.query(`CREATE DATABASE ${name} TEMPLATE ${TEMPLATE}`);
    return { name, url: this.url(name) };
  }

  giveBack(name: string): void {
    this.used.push(name);
  }
}

/** Every row but the number of the tables' version. */
const EMPTY = `DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'migrations' LOOP
    EXECUTE format('DELETE FROM %I', name);
  END LOOP; END $$`;
