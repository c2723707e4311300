import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Server as TlsServer } from 'node:tls';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { GatewayLimits } from './limits.ts';
import { SocketTransport, WebSocketTransport } from './transport.ts';
import type { Transport } from './transport.ts';

export interface TlsFiles {
  /** PEM. */
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

export interface ListenOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly tls?: TlsFiles;
}

export interface Listening {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
}

/** Who gets what was accepted. `origin`: of a browser; null: none. */
export interface Admission {
  /** False: no more connections are taken. */
  admits(): boolean;
  admit(transport: Transport, origin: string | null): void;
}

const BACKLOG = 1_024;
const SUBPROTOCOL = 'mqtt';
const FRAGMENTS_MAX = 256;

/** Where devices come in: a TCP or TLS port, and the upgrades of an HTTP server. */
export class Listener {
  readonly #admission: Admission;
  readonly #limits: GatewayLimits;
  readonly #webSockets: WebSocketServer;
  #server: Server | TlsServer | null = null;

  constructor(admission: Admission, limits: GatewayLimits) {
    this.#admission = admission;
    this.#limits = limits;
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: limits.frameBytesMax,
      maxFragments: FRAGMENTS_MAX,
      handleProtocols: (protocols) => (protocols.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    });
  }

  /** Resolves when the port is bound; rejects where it cannot be. */
  async listen(options: ListenOptions): Promise<Listening> {
    const onSocket = (socket: Socket): void => this.#onSocket(socket);
    const { tls } = options;
    const server =
      tls === undefined
        ? createServer({ noDelay: true }, onSocket)
        : createTlsServer({ ...tls, handshakeTimeout: this.#limits.loginMs }, onSocket);
    // A stranger's failed handshake ends its own socket and nothing else.
    server.on('tlsClientError', (_error: Error, socket: Socket) => socket.destroy());
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: options.host, port: options.port, backlog: BACKLOG }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    const address = server.address() as AddressInfo;
    return { host: address.address, port: address.port, isTls: tls !== undefined };
  }

  /** New connections get the new certificate. */
  useCertificate(tls: TlsFiles): void {
    if (this.#server !== null && 'setSecureContext' in this.#server) this.#server.setSecureContext(tls);
  }

  #onSocket(socket: Socket): void {
    if (this.#admission.admits()) this.#admission.admit(new SocketTransport(socket), null);
    else socket.destroy();
  }

  /** An `upgrade` event of an HTTP server; answers everything but `/mqtt` with 404. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    const path = (request.url ?? '').split('?', 1)[0];
    if (path !== '/mqtt') {
      answerUpgrade(socket, '404 Not Found', 'MQTT is spoken at /mqtt');
    } else if (!this.#admission.admits()) {
      answerUpgrade(socket, '503 Service Unavailable', 'no more connections are taken now');
    } else if (!offersMqtt(request.headers['sec-websocket-protocol'])) {
      answerUpgrade(socket, '400 Bad Request', 'the WebSocket subprotocol is mqtt');
    } else {
      const origin = request.headers.origin ?? null;
      this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        const transport = new WebSocketTransport(webSocket, socket as Socket, this.#limits.loginBytesMax);
        this.#admission.admit(transport, origin);
      });
    }
  }

  /** No new connections on the port; those open stay. */
  stop(): void {
    this.#server?.close();
    this.#server = null;
  }
}

function offersMqtt(header: string | undefined): boolean {
  return header !== undefined && header.split(',').some((name) => name.trim() === SUBPROTOCOL);
}

function answerUpgrade(socket: Duplex, status: string, text: string): void {
  const body = `${text}\n`;
  const headers = `Connection: close\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`;
  socket.end(`HTTP/1.1 ${status}\r\n${headers}\r\n${body}`);
}
