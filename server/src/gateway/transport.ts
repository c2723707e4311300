/** Bytes to and from a device, over TCP, TLS or WebSocket alike. */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';

export interface TransportListener {
  onData(chunk: Buffer): void;
  /** What was written has been taken: more may be sent. */
  onDrain(): void;
  onClosed(): void;
}

export interface Transport {
  readonly kind: 'tcp' | 'ws';
  /** From now on: exactly once, by the connection that uses it. */
  attach(listener: TransportListener): void;
  /** False: enough for now, `onDrain` follows. */
  write(bytes: Buffer): boolean;
  /** Bytes that wait in this process. */
  readonly bufferedBytes: number;
  pause(): void;
  resume(): void;
  /** The device is known: bounds for strangers no longer apply. */
  trust(): void;
  /** Sends what waits, then closes. */
  end(): void;
  destroy(): void;
}

/** After so long without a byte the system asks whether the other side is still there. */
const PROBE_AFTER_MS = 60_000;
const ignore = (): void => undefined;

/** A socket of a TCP or TLS server. */
export class SocketTransport implements Transport {
  readonly kind = 'tcp';
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  attach(listener: TransportListener): void {
    const socket = this.#socket;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, PROBE_AFTER_MS);
    // What went wrong is of no use to anybody; that it is over is told by `close`.
    socket.on('error', ignore);
    socket.on('data', (chunk: Buffer) => listener.onData(chunk));
    socket.on('drain', () => listener.onDrain());
    socket.on('close', () => listener.onClosed());
  }

  write(bytes: Buffer): boolean {
    return this.#socket.write(bytes);
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  trust(): void {
    // TCP has no frames: what a stranger may send is counted where packets are made of it.
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** Frame headers around what a stranger may send. */
const FRAME_BYTES_MAX = 512;
const CLOSE_NORMAL = 1_000;
const CLOSE_TEXT = 1_003;

/** A WebSocket with subprotocol `mqtt`; its frames cut the stream of packets anywhere (MQTT 5 §6). */
export class WebSocketTransport implements Transport {
  readonly kind = 'ws';
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;
  #strangerBytes: number;
  #countStranger: ((chunk: Buffer) => void) | null = null;

  constructor(webSocket: WebSocket, socket: Socket, loginBytesMax: number) {
    this.#webSocket = webSocket;
    this.#socket = socket;
    this.#strangerBytes = loginBytesMax + FRAME_BYTES_MAX;
  }

  attach(listener: TransportListener): void {
    const webSocket = this.#webSocket;
    // The codec holds a whole message before it tells of it, so a stranger's bytes are counted below it.
    this.#countStranger = (chunk): void => {
      this.#strangerBytes -= chunk.length;
      if (this.#strangerBytes < 0) this.destroy();
    };
    this.#socket.on('data', this.#countStranger);
    this.#socket.on('drain', () => listener.onDrain());
    webSocket.on('error', ignore);
    webSocket.on('message', (data, isBinary) => {
      if (isBinary) listener.onData(data as Buffer);
      else webSocket.close(CLOSE_TEXT, 'MQTT is sent in binary frames');
    });
    webSocket.on('close', () => listener.onClosed());
  }

  write(bytes: Buffer): boolean {
    this.#webSocket.send(bytes);
    return !this.#socket.writableNeedDrain;
  }

  get bufferedBytes(): number {
    return this.#webSocket.bufferedAmount;
  }

  pause(): void {
    this.#webSocket.pause();
  }

  resume(): void {
    this.#webSocket.resume();
  }

  trust(): void {
    if (this.#countStranger === null) return;
    this.#socket.off('data', this.#countStranger);
    this.#countStranger = null;
  }

  end(): void {
    this.#webSocket.close(CLOSE_NORMAL);
  }

  destroy(): void {
    this.#webSocket.terminate();
  }
}
