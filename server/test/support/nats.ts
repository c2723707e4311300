import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** Debian puts the server where the path of an ordinary user does not reach. */
const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/bin`;
const env = { ...process.env, PATH };

/** Why tests that need a NATS server cannot run here, said on one line too; null: they can. In CI they must. */
export function whyNoNats(): string | null {
  if (spawnSync('nats-server', ['--version'], { env }).status === 0) return null;
  const reason = 'needs nats-server; get it with: apt-get install nats-server';
  if (process.env['CI'] === 'true') throw new Error(`in CI nothing is skipped, but this ${reason}`);
  console.log(`skipped: ${reason}`);
  return `skipped: ${reason}`;
}

export interface NatsOptions {
  /** More of the server's configuration file. */
  readonly config?: string;
  /** Default: a free one. */
  readonly port?: number;
}

/** A real NATS server on 127.0.0.1, in a folder of its own. */
export class NatsServer {
  readonly port: number;
  private readonly folder: string;
  private readonly child: ChildProcess;

  private constructor(child: ChildProcess, folder: string, port: number) {
    this.child = child;
    this.folder = folder;
    this.port = port;
  }

  /** Resolves when it takes connections; rejects with what it said where it does not start. */
  static async start(options: NatsOptions = {}): Promise<NatsServer> {
    const folder = mkdtempSync(path.join(tmpdir(), 'carillon-nats-'));
    const file = path.join(folder, 'nats.conf');
    writeFileSync(file, `host: "127.0.0.1"\nport: ${options.port ?? -1}\n${options.config ?? ''}\n`);
    const child = spawn('nats-server', ['-c', file], { env, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
    const port = await listeningPort(child).catch((error: unknown) => {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    });
    return new NatsServer(child, folder, port);
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  /** As a crash; also ends one that is stopped. */
  async kill(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const ended = once(this.child, 'exit');
      this.child.kill('SIGKILL');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function listeningPort(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = '';
    child.on('error', reject);
    child.on('exit', () => reject(new Error(`nats-server ended: ${said}`)));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-20_000);
      if (!said.includes('Server is ready')) return;
      const port = /client connections on [^\n]*:(\d+)/u.exec(said)?.[1];
      if (port === undefined) reject(new Error(`nats-server named no port: ${said}`));
      else resolve(Number(port));
    });
  });
}

/** A foreign client that speaks the protocol by hand, so that it can say anything. */
export class ForeignClient {
  private readonly socket: Socket;
  private heard = '';
  private onHeard: (() => void) | null = null;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('latin1').on('data', (text: string) => {
      this.heard += text;
      this.onHeard?.();
    });
  }

  static async connect(port: number): Promise<ForeignClient> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const client = new ForeignClient(socket);
    socket.write('CONNECT {"verbose":false,"pedantic":false,"protocol":1}\r\n');
    await client.flushed();
    return client;
  }

  publish(subject: string, payload: Uint8Array | string): void {
    const bytes = Buffer.from(payload);
    this.socket.write(Buffer.concat([Buffer.from(`PUB ${subject} ${bytes.length}\r\n`), bytes, Buffer.from('\r\n')]));
  }

  subscribe(subject: string): void {
    this.socket.write(`SUB ${subject} 1\r\n`);
  }

  /** Resolves with all that the server said since the last time, when it has taken all that was said to it. */
  async flushed(): Promise<string> {
    this.socket.write('PING\r\n');
    const ended = once(this.socket, 'close');
    while (!this.heard.includes('PONG\r\n')) {
      const more = new Promise<void>((resolve) => {
        this.onHeard = resolve;
      });
      const isOpen = await Promise.race([more.then(() => true), ended.then(() => false)]);
      if (!isOpen) throw new Error(`NATS ended the connection: ${this.heard}`);
    }
    const { heard } = this;
    this.heard = '';
    return heard;
  }

  close(): void {
    this.socket.destroy();
  }
}
