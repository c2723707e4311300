/** Bytes to and from the server, over TCP, TLS or WebSocket, behind one face. */

export interface Transport {
  write(bytes: Uint8Array): void;
  /** Ends the connection; `onClose` follows. */
  close(): void;
}

export interface TransportEvents {
  readonly onOpen: () => void;
  readonly onData: (bytes: Uint8Array) => void;
  /** Once, whatever happened: never opened, broken, or ended by either side. */
  readonly onClose: (reason: string) => void;
}

const PORTS = { mqtt: 1883, mqtts: 8883 } as const;

/**
 * Opens `mqtt://host[:port]`, `mqtts://…`, `ws://host[:port]/mqtt` or `wss://…`; never throws for what the other side does.
 * WebSocket is the platform's own, so that this works in a browser too.
 */
export function openTransport(address: string, events: TransportEvents): Transport {
  const url = new URL(address);
  switch (url.protocol) {
    case 'ws:':
    case 'wss:':
      return openWebSocket(url, events);
    case 'mqtt:':
    case 'mqtts:':
      return openSocket(url, events);
    default:
      throw new Error(`"${address}" is no address of a server: it begins with mqtt://, mqtts://, ws:// or wss://`);
  }
}

/** Lets `onClose` be called once. */
function once(call: (reason: string) => void): (reason: string) => void {
  let isDone = false;
  return (reason) => {
    if (isDone) return;
    isDone = true;
    call(reason);
  };
}

function openWebSocket(url: URL, events: TransportEvents): Transport {
  const socket = new WebSocket(url, ['mqtt']);
  socket.binaryType = 'arraybuffer';
  const onClose = once(events.onClose);
  socket.addEventListener('open', () => events.onOpen());
  socket.addEventListener('message', ({ data }) => {
    if (data instanceof ArrayBuffer) events.onData(new Uint8Array(data));
    else socket.close();
  });
  socket.addEventListener('close', ({ code }) => onClose(`the WebSocket ended (${code})`));
  socket.addEventListener('error', () => {
    if (socket.readyState !== WebSocket.OPEN) onClose('the WebSocket could not be opened');
  });
  return {
    write(bytes) {
      // A copy of the right length: the view may be a part of a larger buffer.
      if (socket.readyState === WebSocket.OPEN) socket.send(Uint8Array.from(bytes));
    },
    close: () => socket.close(),
  };
}

function openSocket(url: URL, events: TransportEvents): Transport {
  const onClose = once(events.onClose);
  let close: (() => void) | null = null;
  let write: ((bytes: Uint8Array) => void) | null = null;
  let isClosed = false;

  async function open(): Promise<void> {
    const isSecure = url.protocol === 'mqtts:';
    const host = url.hostname.replace(/^\[|\]$/gu, '');
    const port = url.port === '' ? PORTS[isSecure ? 'mqtts' : 'mqtt'] : Number(url.port);
    // Loaded when needed: a browser has neither.
    const [net, tls] = await Promise.all([import('node:net'), import('node:tls')]);
    if (isClosed) return;
    const socket = isSecure
      ? tls.connect({ host, port, ...(net.isIP(host) === 0 ? { servername: host } : undefined) })
      : net.connect({ host, port });
    socket.setNoDelay(true);
    socket.on(isSecure ? 'secureConnect' : 'connect', () => events.onOpen());
    socket.on('data', (chunk: Buffer) => events.onData(chunk));
    socket.on('error', (error: NodeJS.ErrnoException) => onClose(error.code ?? error.message));
    socket.on('close', () => onClose('the connection ended'));
    // What was written is sent; the other side’s end is not waited for.
    close = () => socket.destroySoon();
    write = (bytes) => socket.write(bytes);
  }

  open().catch((error: unknown) => onClose(String(error)));
  return {
    write: (bytes) => write?.(bytes),
    close() {
      isClosed = true;
      if (close === null) onClose('closed before it was open');
      else close();
    },
  };
}
