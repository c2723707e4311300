import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { Times } from './numbers.ts';

const READ_BYTES = 262_144;
const HEAD_END = Buffer.from('\r\n\r\n');
const ACCEPTED = Buffer.from('"1001"');
const STATUS_OK = 'HTTP/1.1 200';

/** All sockets read into it in turn: what is left of an unfinished answer is copied out. */
const shared = Buffer.allocUnsafeSlow(READ_BYTES);

/**
 * One kept-alive connection: whole requests out, whole answers in, one at a time. Knows just enough HTTP to outrun the
 * server it measures: answers must carry a content length.
 */
class HttpConnection {
  readonly #socket: Socket;
  #partial: Buffer | null = null;
  #onAnswer: ((answer: Buffer) => void) | null = null;
  #onError: (error: Error) => void = () => undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static open(port: number): Promise<HttpConnection> {
    return new Promise((resolve, reject) => {
      let connection: HttpConnection | null = null;
      const socket = connect({
        host: '127.0.0.1',
        port,
        noDelay: true,
        onread: {
          buffer: shared,
          callback: (bytes) => {
            connection?.read(bytes);
            return true;
          },
        },
      });
      connection = new HttpConnection(socket);
      const opened = connection;
      socket.once('connect', () => resolve(opened));
      socket.on('error', (error) => {
        reject(error);
        opened.#onError(error);
      });
      socket.on('close', () => opened.#onError(new Error('the server closed the connection')));
    });
  }

  send(request: Buffer, onAnswer: (answer: Buffer) => void, onError: (error: Error) => void): void {
    this.#onAnswer = onAnswer;
    this.#onError = onError;
    this.#socket.write(request);
  }

  private read(count: number): void {
    const fresh = shared.subarray(0, count);
    const bytes = this.#partial === null ? fresh : Buffer.concat([this.#partial, fresh]);
    const end = answerEnd(bytes);
    if (end < 0 || end > bytes.length) {
      this.#partial = this.#partial === null ? Buffer.from(fresh) : bytes;
      return;
    }
    this.#partial = null;
    const onAnswer = this.#onAnswer;
    this.#onAnswer = null;
    onAnswer?.(bytes.subarray(0, end));
  }

  close(): void {
    this.#onError = () => undefined;
    this.#socket.destroy();
  }
}

/** Where an answer that begins at 0 ends; -1: its head is not complete. */
function answerEnd(bytes: Buffer): number {
  const headEnd = bytes.indexOf(HEAD_END);
  if (headEnd < 0) return -1;
  const head = bytes.toString('latin1', 0, headEnd);
  const at = head.search(/\r\ncontent-length: /i);
  if (at < 0) throw new Error(`an answer without a content length: ${head}`);
  return headEnd + HEAD_END.length + Number.parseInt(head.slice(at + 18), 10);
}

export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  /** Milliseconds from request to answer, sorted. */
  readonly times: Float64Array;
}

export interface LoadPlan {
  /** Ends after so many requests … */
  readonly requests?: number;
  /** … or when no new one is begun after this time. */
  readonly ms?: number;
  /** Asked before each request: false holds the connection back until {@link HttpLoad.resume}. */
  readonly mayGo?: () => boolean;
}

/** A closed loop over some connections: each sends its next request when the last was answered with 1001. */
export class HttpLoad {
  readonly #connections: readonly HttpConnection[];
  readonly #requests: readonly Buffer[];
  #next = 0;
  #held: (() => void)[] = [];

  private constructor(connections: readonly HttpConnection[], requests: readonly Buffer[]) {
    this.#connections = connections;
    this.#requests = requests;
  }

  /** `requests` are sent in their order, then from the first again. */
  static async open(options: { port: number; connections: number; requests: readonly Buffer[] }): Promise<HttpLoad> {
    const opening = Array.from({ length: options.connections }, () => HttpConnection.open(options.port));
    return new HttpLoad(await Promise.all(opening), options.requests);
  }

  /** Rejects at the first answer that is not an accepted message: figures of refusals would be worth nothing. */
  run(plan: LoadPlan): Promise<LoadResult> {
    const times = new Times();
    const startedAt = performance.now();
    const deadline = startedAt + (plan.ms ?? Number.POSITIVE_INFINITY);
    let left = plan.requests ?? Number.POSITIVE_INFINITY;
    let answered = 0;
    let active = this.#connections.length;
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        active -= 1;
        if (active > 0) return;
        resolve({ requests: answered, seconds: (performance.now() - startedAt) / 1000, times: times.sorted() });
      };
      const step = (connection: HttpConnection): void => {
        const sentAt = performance.now();
        if (left <= 0 || sentAt >= deadline) return finish();
        if (plan.mayGo?.() === false) {
          this.#held.push(() => step(connection));
          return;
        }
        left -= 1;
        connection.send(
          this.#take(),
          (answer) => {
            if (!isAccepted(answer)) return reject(new Error(`not accepted: ${answer.toString('latin1', 0, 600)}`));
            times.add(performance.now() - sentAt);
            answered += 1;
            return step(connection);
          },
          reject,
        );
      };
      for (const connection of this.#connections) step(connection);
    });
  }

  /** What was held back may go on. */
  resume(): void {
    if (this.#held.length === 0) return;
    for (const go of this.#held.splice(0)) go();
  }

  #take(): Buffer {
    const request = this.#requests[this.#next % this.#requests.length];
    if (request === undefined) throw new Error('a load needs requests');
    this.#next += 1;
    return request;
  }

  close(): void {
    for (const connection of this.#connections) connection.close();
  }
}

function isAccepted(answer: Buffer): boolean {
  return answer.toString('latin1', 0, STATUS_OK.length) === STATUS_OK && answer.includes(ACCEPTED);
}
