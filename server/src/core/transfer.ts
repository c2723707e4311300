/**
 * Moving an installation from one store into another: the rows of each table in a form that both have in common. Numbers of
 * users, devices, threads and requests stay what they are, since positions and logs tell of them.
 */

export type TransferValue = string | number | null;
/** Values in the order of {@link TRANSFER_TABLES}; a yes or no is 1 or 0. */
export type TransferRow = readonly TransferValue[];

/** In the order of the transfer: what others are looked up in comes first. */
export const TRANSFER_TABLES = {
  objects: ['kind', 'id', 'client', 'body'],
  /** The revision of the objects and the numbers given by name. */
  counters: ['name', 'value'],
  /** head and waiting: of the user's log. */
  users: ['id', 'app', 'userid', 'customerid', 'msisdn', 'created', 'purged', 'head', 'waiting'],
  threads: [
    ...['id', 'uid', 'app', 'type', 'title', 'category', 'externalid', 'status', 'extras', 'service'],
    ...['created', 'updated'],
  ],
  user_threads: ['user', 'key', 'thread'],
  requests: [
    ...['uid', 'key', 'client', 'service', 'app', 'accepted', 'expiry', 'priority', 'word', 'notify_url'],
    ...['callback', 'purge_at', 'content', 'members'],
  ],
  /** request: its uid, here and below. */
  log: [
    ...['user', 'n', 'request', 'destination', 'member', 'priority', 'state', 'thread', 'device', 'sent', 'at'],
    ...['read', 'detail'],
  ],
  steps: ['user', 'n', 'id', 'step', 'at', 'device', 'detail'],
  devices: [...['user', 'id', 'deviceid', 'keep_ms', 'until', 'subscribed', 'base', 'floor', 'seen', 'incarnation']],
  device_acks: ['user', 'device', 'n'],
  /** Numbered without gaps up to the last one given; only what nobody was told of yet. */
  feed: ['seq', 'kind', 'request', 'user', 'n', 'device', 'at', 'detail'],
  receipts: [
    ...['id', 'rank', 'client', 'service', 'kind', 'transid', 'order_key', 'state', 'attempts', 'due', 'leased'],
    ...['created', 'work', 'history'],
  ],
  links: ['slug', 'linkid', 'url', 'request', 'user', 'n', 'expires', 'visits'],
  link_figures: ['linkid', 'minted', 'visits', 'recipients'],
  idempotency: ['service', 'key', 'hash', 'answer', 'expires'],
  correlations: ['service', 'correlationid', 'request', 'destination'],
  once: ['user', 'id', 'at'],
  replies: ['user', 'id', 'thread', 'tid', 'content', 'at'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type TransferTable = keyof typeof TRANSFER_TABLES;
export const TRANSFER_TABLE_NAMES = Object.keys(TRANSFER_TABLES) as TransferTable[];

/** How far a table was read: behind this key (null: from the start), and how many rows that was. */
export interface TransferPlace {
  readonly after: TransferRow | null;
  readonly rows: number;
}

/** What of an installation is in no row. */
export interface TransferMarks {
  readonly epoch: string;
  /** The highest number given to a row of the feed. */
  readonly feedLast: number;
  /** No user, device, thread or request has a higher number. */
  readonly idLast: number;
}

export interface TransferSource {
  marks(): Promise<TransferMarks>;
  /** About so many rows. */
  count(table: TransferTable): Promise<number>;
  /** The next rows by key, and where they end. No rows: there are no more. */
  read(
    table: TransferTable,
    place: TransferPlace,
    limit: number,
  ): Promise<{ readonly rows: readonly TransferRow[]; readonly place: TransferPlace }>;
}

export interface TransferTarget extends TransferSource {
  /** How far an earlier try of the same source got; throws {@link TransferRefused} where anything else is there. */
  begin(epoch: string): Promise<ReadonlyMap<TransferTable, TransferPlace>>;
  /** Rows, and that they are there, in one commit. Rows that are there already are left. */
  write(table: TransferTable, rows: readonly TransferRow[], place: TransferPlace): Promise<void>;
  /** When all rows are there: counters go on behind them. */
  settle(marks: TransferMarks): Promise<void>;
  /** When all was compared: from now on it is an installation. */
  finish(): Promise<void>;
}

/** It is not to be done; the sentence says why. */
export class TransferRefused extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'TransferRefused';
  }
}
