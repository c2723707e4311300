/**
 * Addresses a server must never be talked into calling, for every URL field of the API (promise 10), and canaries
 * that tell whether it was. Each URL aims at the canaries' port wherever its form has one.
 */
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { once } from 'node:events';

const LOOPBACK_HOSTS = [
  '127.0.0.1',
  '127.1',
  '127.0.1.3',
  '0',
  '0.0.0.0',
  '0x7f000001',
  '0x7f.0.0.1',
  '0177.0.0.1',
  '2130706433',
  '017700000001',
  '127.0.0.1.',
  'localhost',
  'localhost.',
  'LOCALHOST',
  'foo.localhost',
  '%6c%6fcalhost',
  '%31%32%37.0.0.1',
  '①②⑦.⓪.⓪.①',
  '127。0。0。1',
  '１２７.0.0.1',
  '127.0.0.1%00.example',
  '[::1]',
  '[0:0:0:0:0:0:0:1]',
  '[::]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::ffff:0:127.0.0.1]',
  '[::127.0.0.1]',
  '[64:ff9b::7f00:1]',
  '[64:ff9b::127.0.0.1]',
  '[64:ff9b:1::7f00:1]',
  '[2002:7f00:1::]',
  '[2001:0:7f00:1::80ff:fffe]',
  '[fe80::1%25lo]',
  '[fe80::1]',
] as const;

const METADATA_HOSTS = [
  '169.254.169.254',
  '0xa9fea9fe',
  '2852039166',
  '0251.0376.0251.0376',
  '169.254.43518',
  '[::ffff:a9fe:a9fe]',
  '[::ffff:169.254.169.254]',
  '[64:ff9b::a9fe:a9fe]',
  '[2002:a9fe:a9fe::]',
  '[fd00:ec2::254]',
  'metadata.google.internal',
  '100.100.100.200',
  '192.0.0.192',
  '169.254.170.2',
  '168.63.129.16',
] as const;

/** One address at each end of every range that is not the public's. */
const SPECIAL_HOSTS = [
  '10.0.0.1',
  '10.255.255.255',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.0.1',
  '192.168.255.255',
  '100.64.0.1',
  '100.127.255.255',
  '198.18.0.1',
  '198.19.255.255',
  '192.0.0.1',
  '192.0.2.1',
  '198.51.100.1',
  '203.0.113.1',
  '192.88.99.1',
  '224.0.0.1',
  '239.255.255.255',
  '240.0.0.1',
  '255.255.255.255',
  '0.1.2.3',
  '[fc00::1]',
  '[fdff::1]',
  '[fec0::1]',
  '[feff::1]',
  '[ff00::1]',
  '[ff02::1]',
  '[2001:0:4136:e378:8000:63bf:3fff:fdd2]',
  '[2001:db8::1]',
  '[3fff::1]',
  '[3fff:fff::1]',
  '[100::1]',
  '[5f00::1]',
  '[2002:a00:1::]',
  '[2002:c0a8:101::]',
  '[64:ff9b::a00:1]',
  '[64:ff9b::808:808]',
  '[::10.0.0.1]',
  '[::8.8.8.8]',
  '[4000::1]',
  '[1::1]',
  '[8000::1]',
] as const;

const OWN_SERVICE_PORTS = [22, 25, 1883, 2375, 4222, 5432, 6222, 8222, 8883] as const;

/** What the URL is, whatever its host: schemes, shapes and parsers' differences. */
function shapes(port: number): readonly string[] {
  return [
    'file:///etc/passwd',
    `gopher://127.0.0.1:${port}/_GET`,
    `ftp://127.0.0.1:${port}/`,
    'data:text/plain,x',
    'javascript:alert(1)',
    `ws://127.0.0.1:${port}/`,
    `wss://127.0.0.1:${port}/`,
    'http+unix://%2Fvar%2Frun%2Fdocker.sock/info',
    'unix:/var/run/docker.sock',
    `http://user:pass@127.0.0.1:${port}/`,
    `http://user@127.0.0.1:${port}/`,
    `http://good.example@127.0.0.1:${port}/`,
    `http://127.0.0.1:${port}#@good.example/`,
    `http://good.example\\@127.0.0.1:${port}/`,
    `http://127.0.0.1:${port}\\@good.example/`,
    `http://127.0.\t0.1:${port}/`,
    `http://127.0.0.1\n:${port}/`,
    `ht\ntp://127.0.0.1:${port}/`,
    ` http://127.0.0.1:${port}/`,
    `http:/127.0.0.1:${port}/`,
    `http:127.0.0.1:${port}/`,
    `http:///127.0.0.1:${port}/`,
    `//127.0.0.1:${port}/`,
    `127.0.0.1:${port}`,
    'http://',
    'http://:80/',
    'http://?x',
    'http://#',
    'http://127.0.0.1:0/',
    'http://127.0.0.1:65536/',
    'http://127.0.0.1:-1/',
    'http://[::1/',
    'http://[127.0.0.1]/',
    `http://127.0.0.1:${port}/${'a'.repeat(70_000)}`,
    '',
  ];
}

/** Every URL a guarded request must refuse without a packet leaving the machine or reaching a canary. */
export function hostileUrls(canaryPort: number): readonly string[] {
  const hosts = [...LOOPBACK_HOSTS, ...METADATA_HOSTS, ...SPECIAL_HOSTS];
  return [
    ...hosts.map((host) => `http://${host}:${canaryPort}/`),
    ...LOOPBACK_HOSTS.map((host) => `https://${host}:${canaryPort}/`),
    ...OWN_SERVICE_PORTS.map((port) => `http://127.0.0.1:${port}/`),
    ...shapes(canaryPort),
  ];
}

/** Names that look harmless, with what a hostile name server answers for them. For tests that bring their own resolver. */
export const hostileNames: Readonly<Record<string, readonly string[]>> = {
  'loopback.example': ['127.0.0.1'],
  'loopback6.example': ['::1'],
  'mapped.example': ['::ffff:127.0.0.1'],
  'metadata.example': ['169.254.169.254'],
  'public-then-private.example': ['93.184.216.34', '127.0.0.1'],
  'public-and-private6.example': ['93.184.216.34', '::1'],
  'public6-and-private.example': ['2606:2800:220:1::1', '10.0.0.1'],
  'many.example': [...Array.from({ length: 299 }, (_, index) => `93.184.${index >> 8}.${index & 0xff}`), '127.0.0.1'],
  'zone.example': ['fe80::1%lo'],
  'text.example': ['localhost'],
  'nonsense.example': [''],
  'short.example': ['127.1'],
  'fcm.googleapis.com.evil.example': ['127.0.0.1'],
  'xn--lcalhost-54a.example': ['127.0.0.1'],
  'metadata.google.internal': ['169.254.169.254'],
};

export interface Canaries {
  /** The same on 127.0.0.1 and ::1 (::1 only where the machine has IPv6). */
  readonly port: number;
  /** Connections so far, also such as sent nothing. */
  readonly hits: () => number;
  readonly close: () => Promise<void>;
}

/** Starts listeners that count connections and answer everything with an empty 200. */
export async function startCanaries(): Promise<Canaries> {
  for (;;) {
    const counter = { hits: 0 };
    const first = await listen(counter, '127.0.0.1', 0);
    if (first === null || first === 'taken') throw new Error('cannot listen on 127.0.0.1');
    const address = first.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const second = await listen(counter, '::1', address.port);
    // The port may be taken on ::1 alone: look for another one. No IPv6 at all is fine.
    if (second === 'taken') {
      await closeServer(first);
      continue;
    }
    const servers = second === null ? [first] : [first, second];
    return {
      port: address.port,
      hits: () => counter.hits,
      close: async () => void (await Promise.all(servers.map(closeServer))),
    };
  }
}

async function listen(counter: { hits: number }, host: string, port: number): Promise<Server | null | 'taken'> {
  const server = createServer((socket) => {
    counter.hits += 1;
    socket.on('error', () => {});
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'));
  });
  try {
    server.listen(port, host);
    await once(server, 'listening');
    return server;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EADDRINUSE' ? 'taken' : null;
  }
}

async function closeServer(server: Server): Promise<void> {
  server.close();
  await once(server, 'close');
}
