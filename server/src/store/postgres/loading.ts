import { STATE } from '../../core/delivery-state.ts';
import type { RequestContent, UserKey } from '../../core/ports.ts';
import { contentOf } from '../request-record.ts';
import type { Member } from '../request-record.ts';
import { Columns, unnest } from './columns.ts';
import { Overtaken } from './database.ts';
import type { Row, Transaction } from './database.ts';
import { detailOf, placeKey } from './ledger.ts';
import type { Device, Entry, Ledger, NameColumn, Person } from './ledger.ts';
import { CONTENT_COLUMNS } from './requests.ts';

export interface Place {
  readonly user: UserKey;
  readonly n: number;
}

// ------------------------------------------------------------------------------------------------ users

/** Identifiers to be looked for, by column. */
export class Wanted {
  private readonly seen = new Set<string>();
  private readonly columns = { userid: new Columns(2), customerid: new Columns(2), msisdn: new Columns(2) };

  add(column: NameColumn, app: string, value: string): void {
    const key = `${column} ${app} ${value}`;
    if (this.seen.has(key)) return;
    this.seen.add(key);
    this.columns[column].add(app, value);
  }

  get values(): unknown[] {
    const { userid, customerid, msisdn } = this.columns;
    return [...userid.values, ...customerid.values, ...msisdn.values];
  }

  get isEmpty(): boolean {
    return this.seen.size === 0;
  }
}

const PEOPLE_COLUMNS = 'u.id, u.app, u.userid, u.customerid, u.msisdn, u.created, h.names';
const PEOPLE = (['userid', 'customerid', 'msisdn'] as const)
  .map(
    (column, index) =>
      `SELECT ${PEOPLE_COLUMNS} FROM unnest($${index * 2 + 1}::text[], $${index * 2 + 2}::text[]) q(app, value)
       JOIN users u ON u.app = q.app AND u.${column} = q.value JOIN heads h ON h.user_id = u.id`,
  )
  .join(' UNION ALL ');

/** What `heads.names` was when the identifiers of a user were read. */
export type NamesRead = Map<UserKey, number>;

/** Finds users by their identifiers; nothing is locked yet. */
export async function findPeople(
  transaction: Transaction,
  ledger: Ledger,
  wanted: Wanted,
  read: NamesRead,
): Promise<void> {
  if (wanted.isEmpty) return;
  const rows = await transaction.all(PEOPLE, wanted.values);
  for (const row of rows) {
    const person = personOf(row);
    read.set(person.id, Number(row['names']));
    if (!ledger.people.has(person.id)) ledger.learnPerson(person);
  }
}

function personOf(row: Row): Person {
  return {
    id: Number(row['id']),
    created: Number(row['created']),
    isNew: false,
    names: {
      app: String(row['app']),
      userid: row['userid'] as string | null,
      customerid: row['customerid'] as string | null,
      msisdn: row['msisdn'] as string | null,
    },
  };
}

/**
 * Locks users, all in one statement and in the order of their numbers: whoever locks several does it so, and nobody waits
 * in a circle. Throws {@link Overtaken} where the identifiers of one changed since they were read.
 */
export async function lockUsers(
  transaction: Transaction,
  ledger: Ledger,
  ids: Iterable<UserKey>,
  read: NamesRead = new Map(),
): Promise<void> {
  const wanted = [...new Set(ids)];
  if (wanted.length === 0) return;
  const rows = await transaction.all(
    'SELECT user_id, head, waiting, purged, names FROM heads WHERE user_id = ANY($1::bigint[]) ORDER BY user_id FOR NO KEY UPDATE',
    [wanted],
  );
  for (const row of rows) {
    const id = Number(row['user_id']);
    const names = read.get(id);
    if (names !== undefined && names !== Number(row['names'])) throw new Overtaken();
    ledger.users.set(id, {
      id,
      head: Number(row['head']),
      waiting: Number(row['waiting']),
      purged: Number(row['purged']),
      isNew: false,
      isChanged: false,
    });
  }
}

// ------------------------------------------------------------------------------------------------ logs

const ENTRY_COLUMNS =
  'l.user_id, l.n, l.request, l.destination, l.member, l.priority, l.state, l.thread, l.device, l.sent, l.at, l.read, l.detail';
const ENTRIES = `SELECT ${ENTRY_COLUMNS}, r.expiry FROM ${unnest('bigint', 'bigint')} q(u, n)
  JOIN log l ON l.user_id = q.u AND l.n = q.n LEFT JOIN requests r ON r.uid = l.request`;

/** Reads entries of locked users; what is not there stays out. */
export async function loadEntries(
  transaction: Pick<Transaction, 'all'>,
  ledger: Ledger,
  places: Iterable<Place>,
): Promise<void> {
  const columns = new Columns(2);
  const seen = new Set<string>();
  for (const { user, n } of places) {
    const key = placeKey(user, n);
    if (seen.has(key) || ledger.entries.has(key)) continue;
    seen.add(key);
    columns.add(user, n);
  }
  if (columns.isEmpty) return;
  const rows = await transaction.all(ENTRIES, columns.values);
  for (const row of rows) ledger.learnEntry(entryOf(row));
}

/** Entries that wait in the logs of these users, in order. */
export async function loadWaiting(
  transaction: Transaction,
  ledger: Ledger,
  users: readonly UserKey[],
): Promise<Entry[]> {
  if (users.length === 0) return [];
  const rows = await transaction.all(
    `SELECT ${ENTRY_COLUMNS}, r.expiry FROM log l JOIN requests r ON r.uid = l.request
     WHERE l.user_id = ANY($1::bigint[]) AND l.state < 2 AND l.request IS NOT NULL ORDER BY l.user_id, l.n`,
    [users],
  );
  const entries = rows.map(entryOf);
  for (const entry of entries) ledger.learnEntry(entry);
  return entries;
}

function entryOf(row: Row): Entry {
  return {
    user: Number(row['user_id']),
    n: Number(row['n']),
    request: row['request'] as string | null,
    destination: row['destination'] as number | null,
    member: row['member'] as number | null,
    priority: Number(row['priority']),
    state: Number(row['state']),
    thread: row['thread'] as number | null,
    device: row['device'] as number | null,
    sent: row['sent'] as number | null,
    at: row['at'] as number | null,
    read: row['read'] as number | null,
    detail: row['detail'] as string | null,
    expiry: Number(row['expiry'] ?? 0),
    isNew: false,
    isChanged: false,
  };
}

/** Whether a message may have been moved: only what was for a customerid that nobody had. */
function mayHaveMoved(member: Pick<Member, 'type'>): boolean {
  return member.type === 'customerid';
}

/** Where the messages of members are now, by `<user> <n>` of the member. Nothing is locked yet. */
export async function follow(
  transaction: Pick<Transaction, 'all'>,
  members: readonly Member[],
): Promise<ReadonlyMap<string, Place>> {
  const now = new Map<string, Place>();
  let open: (Place & { readonly from: string })[] = [];
  for (const member of members) {
    if (member.user === null || member.n === null) continue;
    const from = placeKey(member.user, member.n);
    now.set(from, { user: member.user, n: member.n });
    if (mayHaveMoved(member)) open.push({ user: member.user, n: member.n, from });
  }
  while (open.length > 0) {
    const columns = new Columns(2);
    for (const { user, n } of open) columns.add(user, n);
    const rows = await transaction.all(
      `SELECT l.user_id, l.n, l.detail FROM ${unnest('bigint', 'bigint')} q(u, n) JOIN log l ON l.user_id = q.u AND l.n = q.n AND l.state = ${STATE.moved}`,
      columns.values,
    );
    const moved = new Map(rows.map((row) => [placeKey(Number(row['user_id']), Number(row['n'])), movedTo(row)]));
    open = open.flatMap(({ user, n, from }) => {
      const place = moved.get(placeKey(user, n));
      if (place === undefined) return [];
      now.set(from, place);
      return [{ ...place, from }];
    });
  }
  return now;
}

function movedTo(row: Row): Place {
  const { moved } = detailOf({ detail: String(row['detail']) });
  if (moved === undefined) throw new Error('an entry that was moved does not say where to');
  return moved;
}

// ------------------------------------------------------------------------------------------------ devices

const DEVICE_COLUMNS =
  'd.user_id, d.id, d.deviceid, d.keep_ms, d.until, d.subscribed, d.base, d.floor, d.seen, d.node, d.incarnation';
const DEVICES_BY_KEY = `SELECT ${DEVICE_COLUMNS} FROM ${unnest('bigint', 'bigint')} q(u, id) JOIN devices d ON d.user_id = q.u AND d.id = q.id`;
const DEVICES_BY_ID = `SELECT ${DEVICE_COLUMNS} FROM ${unnest('bigint', 'text')} q(u, id) JOIN devices d ON d.user_id = q.u AND d.deviceid = q.id`;

/** Columns: user, device. */
export async function loadDevices(transaction: Transaction, ledger: Ledger, columns: Columns): Promise<void> {
  if (columns.isEmpty) return;
  const rows = await transaction.all(DEVICES_BY_KEY, columns.values);
  for (const row of rows) learnDevice(ledger, row);
}

/** Columns: user, deviceid. */
export async function loadDevicesById(transaction: Transaction, ledger: Ledger, columns: Columns): Promise<void> {
  if (columns.isEmpty) return;
  const rows = await transaction.all(DEVICES_BY_ID, columns.values);
  for (const row of rows) learnDevice(ledger, row);
}

function learnDevice(ledger: Ledger, row: Row): void {
  // Read once by its number and once by its name, it stays one.
  if (!ledger.devices.has(Number(row['id']))) ledger.learnDevice(deviceOf(row));
}

export function deviceOf(row: Row): Device {
  return {
    user: Number(row['user_id']),
    id: Number(row['id']),
    deviceid: String(row['deviceid']),
    keepMs: Number(row['keep_ms']),
    until: row['until'] as number | null,
    subscribed: row['subscribed'] === true,
    base: row['base'] as number | null,
    floor: Number(row['floor']),
    seen: Number(row['seen']),
    node: String(row['node']),
    incarnation: Number(row['incarnation']),
    isNew: false,
    isChanged: false,
  };
}

// ------------------------------------------------------------------------------------------------ contents

/** Contents by uid, one object per request. */
export async function loadContents(
  transaction: Pick<Transaction, 'all'>,
  uids: Iterable<string>,
): Promise<Map<string, RequestContent>> {
  const wanted = [...new Set(uids)];
  if (wanted.length === 0) return new Map();
  const rows = await transaction.all(
    `SELECT ${CONTENT_COLUMNS} FROM unnest($1::uuid[]) q(uid) JOIN requests r ON r.uid = q.uid`,
    [wanted],
  );
  return new Map(rows.map((row) => [String(row['uid']), contentOf(row)]));
}
