import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { request } from 'undici';

export interface SunkReceipt {
  readonly id: string;
  readonly transid: string;
  readonly destination: string;
  readonly status: string;
}

/** A notify URL that takes every receipt and writes it down, repeats included. */
export class ReceiptSink {
  readonly received: SunkReceipt[] = [];
  /** `<transid> <destination> <status>` of each. */
  readonly states = new Set<string>();
  private readonly server: Server;
  private onReceipt: () => void = () => undefined;
  /** Answers that wait, and the ids of their receipts; null: they are given at once. */
  private held: { readonly id: string; readonly answer: () => void }[] | null = null;

  private constructor(server: Server) {
    this.server = server;
  }

  static async open(): Promise<ReceiptSink> {
    const server = createServer();
    const sink = new ReceiptSink(server);
    server.on('request', (message, response) => {
      const chunks: Buffer[] = [];
      message.on('data', (chunk: Buffer) => chunks.push(chunk));
      message.on('end', () => {
        const answer = (): void => void response.writeHead(204).end();
        if (message.method !== 'POST') return answer();
        const id = String(message.headers['webhook-id']);
        sink.take(id, Buffer.concat(chunks).toString());
        if (sink.held === null) return answer();
        return sink.held.push({ id, answer });
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return sink;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/receipts`;
  }

  /** Resolves when the condition holds, looked at after every receipt; false: not within `ms`. */
  until(condition: () => boolean, ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (result: boolean): void => {
        clearTimeout(timer);
        this.onReceipt = () => undefined;
        resolve(result);
      };
      const timer = setTimeout(() => end(condition()), ms);
      this.onReceipt = () => {
        if (condition()) end(true);
      };
      this.onReceipt();
    });
  }

  /** What was told of a message, in the order in which it came. */
  statusesOf(transid: string): string[] {
    return this.received.filter((one) => one.transid === transid).map(({ status }) => status);
  }

  /** From now on receipts are taken and written down, but not answered until {@link release}. */
  hold(): void {
    this.held = [];
  }

  /** Answers what was held; returns the ids. */
  release(): string[] {
    const held = this.held ?? [];
    this.held = null;
    for (const { answer } of held) answer();
    return held.map(({ id }) => id);
  }

  /** Resolves when what had reached this machine before the call has been written down: it is read before what comes later. */
  async settled(): Promise<void> {
    const { body } = await request(this.url, { method: 'GET' });
    await body.dump();
  }

  /** How often a receipt came. */
  timesOf(id: string): number {
    return this.received.filter((one) => one.id === id).length;
  }

  get heldCount(): number {
    return this.held?.length ?? 0;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private take(id: string, body: string): void {
    const { deliveryInfoNotification: note } = JSON.parse(body) as {
      deliveryInfoNotification: { transid: string; deliveryInfo: { destination: string; deliveryStatus: string } };
    };
    const { destination, deliveryStatus: status } = note.deliveryInfo;
    this.states.add(`${note.transid} ${destination} ${status}`);
    this.received.push({ id, transid: note.transid, destination, status });
    this.onReceipt();
  }
}
