import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

const HEAD_END = Buffer.from('\r\n\r\n');
const OK = Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
const NOTHING = Buffer.alloc(0);

/** Takes receipts with 200 and no more: an endpoint that is faster than any sender. */
export class ReceiptListener {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #ids = new Set<string>();
  #count = 0;
  #wanted = Number.POSITIVE_INFINITY;
  #resolve: () => void = () => undefined;

  private constructor() {
    this.#server = createServer({ noDelay: true }, (socket) => this.serve(socket));
  }

  static async open(): Promise<ReceiptListener> {
    const listener = new ReceiptListener();
    listener.#server.listen(0, '127.0.0.1');
    await once(listener.#server, 'listening');
    return listener;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** POSTs taken. */
  get count(): number {
    return this.#count;
  }

  /** Different `webhook-id`s among them. */
  get distinct(): number {
    return this.#ids.size;
  }

  /** Connections open now. */
  get connections(): number {
    return this.#sockets.size;
  }

  until(count: number): Promise<void> {
    if (this.#count >= count) return Promise.resolve();
    this.#wanted = count;
    return new Promise((resolve) => (this.#resolve = resolve));
  }

  private serve(socket: Socket): void {
    let held: Buffer = NOTHING;
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      for (let end = this.take(held); end > 0; end = this.take(held)) {
        held = held.subarray(end);
        socket.write(OK);
      }
    });
  }

  /** The end of the first request, which is then counted; 0: it is not all there. */
  private take(bytes: Buffer): number {
    const headEnd = bytes.indexOf(HEAD_END);
    if (headEnd < 0) return 0;
    const head = bytes.toString('latin1', 0, headEnd);
    const length = Number(/\r\ncontent-length: (\d+)/iu.exec(head)?.[1]);
    if (!Number.isInteger(length)) throw new Error(`a receipt without a content length: ${head}`);
    const end = headEnd + HEAD_END.length + length;
    if (end > bytes.length) return 0;
    this.#ids.add(/\r\nwebhook-id: (\S+)/iu.exec(head)?.[1] ?? '');
    this.#count += 1;
    if (this.#count >= this.#wanted) this.#resolve();
    return end;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
