/**
 * The bare minimum of what each line does, each in a process of its own: what no server on this machine and runtime can
 * beat. Figures are told as ratios to these, measured in the same run. Started by processes.ts:
 * `node floors.ts http | sqlite <folder> <rows> | mqtt <sockets> <window> <messages> | post <port> <requests>`.
 */
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Agent } from 'undici';
import { publishPacket } from './generator/devices.ts';

const ROWS_PER_COMMIT = 1000;
const ROW_USERS = 20_000;
/** What the server gives its database too. */
const CACHE_KIB = 65_536;
/** What a PUBLISH of the bench's message carries. */
const PAYLOAD_BYTES = 470;
const PUBACK_BYTES = 4;
/** What a receipt of the bench's message carries. */
const RECEIPT_BYTES = 520;
const POSTS_AT_ONCE = 32;

const say = (line: string): boolean => process.stdout.write(`${line}\n`);

async function listen(server: Server): Promise<void> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  say(`port ${(server.address() as AddressInfo).port}`);
}

/** node:http with nothing but JSON.parse, answering as an acceptance does. */
async function http(): Promise<void> {
  const answer = JSON.stringify({
    response: [{ code: '1001', description: 'Queued', transid: '01890000-0000-7000-8000-000000000000' }],
  });
  const head = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(answer) };
  const server = createHttpServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as object | null;
      response.writeHead(typeof body === 'object' ? 200 : 400, head);
      response.end(answer);
    });
  });
  await listen(server);
}

/**
 * Narrow rows clustered by (user as text, number), a statement per row, 1,000 rows a commit, synced; the users in turn,
 * as the calls of the fanout line name them. The rate falls as the users' logs grow: both sides insert equally many.
 */
function sqlite(folder: string, rows: number): void {
  const database = new DatabaseSync(path.join(folder, 'floor.db'));
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -${CACHE_KIB}`);
  database.exec(
    'CREATE TABLE log (user TEXT NOT NULL, n INTEGER NOT NULL, request INTEGER, state INTEGER, PRIMARY KEY (user, n)) WITHOUT ROWID',
  );
  const insert = database.prepare('INSERT INTO log VALUES (?, ?, ?, ?)');
  const users = Array.from({ length: ROW_USERS }, (_, index) => `user-${String(index).padStart(31, '0')}`);
  let next = 0;
  const commit = (request: number): void => {
    database.exec('BEGIN');
    for (let row = 0; row < ROWS_PER_COMMIT; row += 1) {
      insert.run(users[next % ROW_USERS] ?? '', Math.floor(next / ROW_USERS) + 1, request, 0);
      next += 1;
    }
    database.exec('COMMIT');
  };
  const warmUp = (2 * ROW_USERS) / ROWS_PER_COMMIT;
  for (let index = 0; index < warmUp; index += 1) commit(index);
  const startedAt = performance.now();
  for (let index = 0; index < rows / ROWS_PER_COMMIT; index += 1) commit(index);
  say(`rate ${(rows * 1000) / (performance.now() - startedAt)}`);
  database.close();
}

/** Writes precomputed QoS 1 PUBLISH packets to sockets, one at a time, and reads the acknowledgements. */
async function mqtt(options: { sockets: number; window: number; messages: number }): Promise<void> {
  const { sockets, window, messages } = options;
  const packets = Array.from({ length: window }, (_, index) =>
    publishPacket('bench-app/customer-0000000', index + 1, PAYLOAD_BYTES),
  );
  const connected: Socket[] = [];
  let left = messages;
  let acknowledged = 0;
  let startedAt = 0;
  const send = (socket: Socket, index: number): void => {
    if (left === 0) return;
    left -= 1;
    socket.write(packets[index % window] as Buffer);
  };
  const server = createServer({ noDelay: true }, (socket) => {
    let turn = 0;
    let bytes = 0;
    connected.push(socket);
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      while (bytes >= PUBACK_BYTES) {
        bytes -= PUBACK_BYTES;
        acknowledged += 1;
        send(socket, turn);
        turn += 1;
      }
      if (acknowledged === messages) say(`rate ${(messages * 1000) / (performance.now() - startedAt)}`);
    });
    socket.on('error', () => undefined);
  });
  await listen(server);
  await once(process.stdin, 'data');
  // The last ones may be connected over there and not yet here.
  while (connected.length < sockets) await once(server, 'connection');
  startedAt = performance.now();
  for (let index = 0; index < window; index += 1) for (const socket of connected) send(socket, index);
}

/** POSTs a receipt's bytes as fast as undici can. */
async function post(port: number, requests: number): Promise<void> {
  const agent = new Agent({ connections: POSTS_AT_ONCE, pipelining: 1 });
  const body = Buffer.alloc(RECEIPT_BYTES, 0x61);
  let left = requests;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const answer = await agent.request({
        origin: `http://127.0.0.1:${port}`,
        path: '/receipts',
        method: 'POST',
        headers: { 'content-type': 'application/json', 'webhook-id': String(left) },
        body,
      });
      await answer.body.dump();
    }
  };
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: POSTS_AT_ONCE }, worker));
  say(`rate ${(requests * 1000) / (performance.now() - startedAt)}`);
  await agent.close();
}

const [name, ...words] = process.argv.slice(2);
const numbers = words.map(Number);
const [first = 0, second = 0, third = 0] = numbers;
if (name === 'http') await http();
else if (name === 'sqlite') sqlite(words[0] ?? '', second);
else if (name === 'mqtt') await mqtt({ sockets: first, window: second, messages: third });
else if (name === 'post') await post(first, second);
else throw new Error(`no floor ${String(name)}`);
