import { Agent, request } from 'undici';
import type { ServerProcess } from '../support/server-process.ts';

export type Outcome =
  /** The whole answer was read and says 1001. */
  | 'acknowledged'
  /** The whole answer was read and says anything else. */
  | 'refused'
  /** No whole answer: it may be stored or not, but never in part. */
  | 'unknown';

/** One request of the load and what became of it, as its client saw it. */
export interface Entry {
  /** correlationid of the request, and the first part of its texts. */
  readonly label: string;
  readonly client: number;
  /** Grows by one per request of a client; a client sends one after the other. */
  readonly number: number;
  /** One destination each, in this order. */
  readonly users: readonly string[];
  readonly sentAt: number;
  outcome: Outcome;
  status: number;
  code: string;
  transids: readonly string[];
  /** From the first byte of the last attempt to the end of its answer or of its connection. */
  ms: number;
}

/** Where a load goes. */
type Node = Pick<ServerProcess, 'http' | 'demo' | 'isRunning'>;

export interface LoadOptions {
  readonly users: readonly string[];
  readonly clients: number;
  /** Destinations of a request: 1 to this many; at most one per user. */
  readonly destinationsMax: number;
  /** Every n-th request asks for receipts. */
  readonly notifyUrl?: string;
  readonly notifyEvery?: number;
  /** The text the label begins with; the shim order.c wants `mark-`. */
  readonly labelOf?: (client: number, number: number) => string;
  /** Seconds a message lives; none: the service's default. Called per request. */
  readonly expiry?: () => string | undefined;
  /** Of one request, with its Idempotency-Key, each on the next node, until one is acknowledged. Default 1, without a key. */
  readonly attempts?: number;
}

const ANSWER_MS = 10_000;

/**
 * Clients that send one request after the other and write down what they were told. The journal outlives the server:
 * one load is run against many lives of it.
 */
export class Load {
  readonly journal: Entry[] = [];
  private readonly options: LoadOptions;
  private readonly numbers: number[];
  private isStopped = true;
  private running: Promise<unknown> = Promise.resolve();
  private readonly listeners = new Set<(entry: Entry) => void>();

  constructor(options: LoadOptions) {
    this.options = options;
    this.numbers = Array.from({ length: options.clients }, () => 0);
  }

  /** Every client sends until `stop`, or until the server is gone. */
  start(server: Node): void {
    this.startOn(() => (server.isRunning ? [server] : []));
  }

  /** The same for several nodes, asked for before every request: each client has its own among them. Ends where there is none. */
  startOn(nodes: () => readonly Node[]): void {
    const key = nodes()[0]?.demo().serviceKey;
    if (key === undefined) throw new Error('there is no node to send to');
    this.isStopped = false;
    const agent = new Agent({ connections: null, headersTimeout: ANSWER_MS, bodyTimeout: ANSWER_MS });
    const target = { nodes, key, agent };
    const clients = this.numbers.map((_, client) => this.run(client, target));
    this.running = Promise.all(clients).then(() => agent.destroy());
  }

  /** No new requests; resolves when the last answer is there or its connection gone. */
  async stop(): Promise<void> {
    this.isStopped = true;
    await this.running;
  }

  /** Resolves when one entry more fulfils the condition; rejects after `ms`. */
  next(condition: (entry: Entry) => boolean, ms = 10_000): Promise<Entry> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.listeners.delete(look);
        reject(new Error(`no such answer within ${ms} ms; last: ${JSON.stringify(this.journal.at(-1))}`));
      }, ms);
      const look = (entry: Entry): void => {
        if (!condition(entry)) return;
        clearTimeout(timer);
        this.listeners.delete(look);
        resolve(entry);
      };
      this.listeners.add(look);
    });
  }

  /** Resolves after `count` more acknowledged requests. */
  async acknowledged(count: number): Promise<void> {
    let left = count;
    await this.next((entry) => entry.outcome === 'acknowledged' && (left -= 1) <= 0, 30_000);
  }

  private async run(client: number, target: Target): Promise<void> {
    while (!this.isStopped && target.nodes().length > 0) {
      const entry = this.make(client);
      this.journal.push(entry);
      const { attempts = 1 } = this.options;
      for (let attempt = 0; attempt < attempts; attempt += 1) {
        const nodes = target.nodes();
        await this.send(entry, nodes[(client + attempt) % nodes.length], target);
        if (entry.outcome === 'acknowledged') break;
        // A server that refuses or is gone is not asked again in a tight loop.
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      for (const listener of [...this.listeners]) listener(entry);
    }
  }

  private make(client: number): Entry {
    const { users, destinationsMax, labelOf } = this.options;
    const number = (this.numbers[client] ?? 0) + 1;
    this.numbers[client] = number;
    const size = Math.min(users.length, 1 + ((number * 7 + client * 3) % destinationsMax));
    const first = (number * 5 + client) % users.length;
    const chosen = Array.from({ length: size }, (_, index) => users[(first + index) % users.length] ?? '');
    const label = labelOf?.(client, number) ?? `c${client}-${number}`;
    const sentAt = Date.now();
    return {
      label,
      client,
      number,
      users: chosen,
      sentAt,
      outcome: 'unknown',
      status: 0,
      code: '',
      transids: [],
      ms: 0,
    };
  }

  private async send(entry: Entry, node: Node | undefined, target: Target): Promise<void> {
    entry.outcome = 'unknown';
    if (node === undefined) return;
    const isRepeatable = (this.options.attempts ?? 1) > 1;
    const startedAt = performance.now();
    try {
      const answer = await request(`${node.http}/resources/v1/messaging`, {
        method: 'POST',
        headers: {
          key: target.key,
          'content-type': 'application/json',
          ...(isRepeatable && { 'idempotency-key': entry.label }),
        },
        body: JSON.stringify(this.bodyOf(entry)),
        dispatcher: target.agent,
      });
      const text = await answer.body.text();
      readAnswer(entry, answer.statusCode, text);
    } catch {
      // The connection ended before the answer did: the outcome stays unknown.
    }
    entry.ms = performance.now() - startedAt;
  }

  private bodyOf(entry: Entry): object {
    const { notifyUrl, notifyEvery = 1, expiry } = this.options;
    const until = expiry?.();
    return {
      deliverychannel: 'appmessaging',
      correlationid: entry.label,
      destination: entry.users.map((user) => ({ userid: [user] })),
      ...(until !== undefined && { expiry: until }),
      ...(notifyUrl !== undefined && entry.number % notifyEvery === 0 && { notifyurl: notifyUrl }),
      channels: {
        appmessaging: { message: { text: entry.label }, thread_type: 'conversation', thread_title: 'Load' },
      },
    };
  }
}

interface Target {
  readonly nodes: () => readonly Node[];
  readonly key: string;
  readonly agent: Agent;
}

function readAnswer(entry: Entry, status: number, text: string): void {
  const { response } = JSON.parse(text) as { response: unknown };
  entry.status = status;
  const items = (Array.isArray(response) ? response : [response]) as { code: string; transid: string }[];
  entry.code = items[0]?.code ?? '';
  entry.outcome = Array.isArray(response) && items.every((item) => item.code === '1001') ? 'acknowledged' : 'refused';
  if (entry.outcome === 'acknowledged') entry.transids = items.map((item) => item.transid);
}
