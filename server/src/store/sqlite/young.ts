import { STATE } from '../../core/delivery-state.ts';
import type { StateNumber } from '../../core/delivery-state.ts';
import type { DeviceKey, RequestKey, UserKey } from '../../core/ports.ts';
import { decodeMembers } from '../request-record.ts';
import type { Connection } from './connection.ts';

/** A delivery whose row in `log` is not written yet. What it was accepted as stands in its request. */
export interface YoungEntry {
  readonly user: UserKey;
  readonly n: number;
  readonly request: RequestKey;
  readonly destination: number;
  readonly member: number;
  readonly priority: number;
  readonly thread: number;
  /** JSON for `log.detail`: the recipient's links. */
  readonly detail: string | null;
  state: StateNumber;
  device: DeviceKey | null;
  sent: number | null;
  at: number | null;
}

type Undo =
  | { readonly kind: 'added'; readonly entry: YoungEntry }
  | {
      readonly kind: 'changed';
      readonly entry: YoungEntry;
      readonly before: Pick<YoungEntry, 'state' | 'device' | 'sent' | 'at'>;
    }
  | { readonly kind: 'taken'; readonly user: UserKey; readonly entries: YoungEntry[] };

const NONE: readonly YoungEntry[] = [];

interface OpenRequest {
  /** Its entries that are still young. */
  left: number;
  /** The feed's number of its acceptance: what happened to its entries comes after it. */
  readonly seq: number;
}

/** An entry whose row is there, or was: every row up to the highest one purged or erased has been written. */
const WRITTEN =
  'SELECT 1 AS yes FROM log WHERE user = ? AND n = ? UNION ALL SELECT 1 FROM users WHERE id = ? AND purged >= ?';

/** The first request whose entries may be missing in `log` is the one after this `meta` value. */
const FOLDED = 'folded';

/**
 * The young end of the logs, in memory. A row per delivery in a table clustered by user costs one page written per
 * delivery, since a call's recipients are scattered; so an accepted delivery is at first only a line in its request's
 * `members` (written in the same commit: nothing is less durable) and an entry here, and so is its acknowledgement (a
 * row of the feed). Later many of them are folded into `log` together, in the order of the users, when several share a
 * page, or one user's at once as soon as anything but the hot path asks for that user's log. A start reads the young
 * ones back from the requests after {@link FOLDED} and from the feed.
 *
 * Every change is noted until the commit, so that a transaction that fails takes back what it did here too.
 */
export class Young {
  private readonly byUser = new Map<UserKey, YoungEntry[]>();
  private readonly requests = new Map<RequestKey, OpenRequest>();
  private undo: Undo[] = [];
  private sweep: UserKey[] = [];
  private sweepAt = 0;
  private count = 0;

  get size(): number {
    return this.count;
  }

  has(user: UserKey): boolean {
    return this.byUser.has(user);
  }

  /** A user's young entries in number order. */
  of(user: UserKey): readonly YoungEntry[] {
    return this.byUser.get(user) ?? NONE;
  }

  /** The last young number of a user; 0: none. */
  last(user: UserKey): number {
    return this.byUser.get(user)?.at(-1)?.n ?? 0;
  }

  find(user: UserKey, n: number): YoungEntry | undefined {
    const entries = this.byUser.get(user);
    if (entries === undefined) return undefined;
    const first = entries[0];
    if (first === undefined || n < first.n) return undefined;
    // Without state events between them the numbers are dense.
    const guess = entries[n - first.n];
    if (guess?.n === n) return guess;
    return entries.find((entry) => entry.n === n);
  }

  /** A request whose entries follow; `seq` is the feed's number of its acceptance. */
  open(request: RequestKey, seq: number): void {
    this.requests.set(request, { left: 0, seq });
  }

  /** Returns how many the user has now. */
  add(entry: YoungEntry): number {
    this.undo.push({ kind: 'added', entry });
    return this.insert(entry);
  }

  private insert(entry: YoungEntry): number {
    const entries = this.byUser.get(entry.user);
    if (entries === undefined) this.byUser.set(entry.user, [entry]);
    else entries.push(entry);
    const request = this.requests.get(entry.request);
    if (request !== undefined) request.left += 1;
    this.count += 1;
    return entries === undefined ? 1 : entries.length;
  }

  change(entry: YoungEntry, to: Pick<YoungEntry, 'state' | 'device' | 'sent' | 'at'>): void {
    const { state, device, sent, at } = entry;
    this.undo.push({ kind: 'changed', entry, before: { state, device, sent, at } });
    Object.assign(entry, to);
  }

  /** All young entries of a user, no longer young. */
  take(user: UserKey): readonly YoungEntry[] {
    const entries = this.byUser.get(user);
    if (entries === undefined) return [];
    this.byUser.delete(user);
    for (const entry of entries) this.leave(entry);
    this.undo.push({ kind: 'taken', user, entries });
    return entries;
  }

  private leave(entry: YoungEntry): void {
    this.count -= 1;
    const request = this.requests.get(entry.request);
    if (request !== undefined) request.left -= 1;
  }

  /** Entries of about `limit`, user after user in the order in which their rows lie. */
  takeNext(limit: number): YoungEntry[] {
    const taken: YoungEntry[] = [];
    while (taken.length < limit && this.byUser.size > 0) {
      if (this.sweepAt >= this.sweep.length) {
        this.sweep = [...this.byUser.keys()].toSorted((a, b) => a - b);
        this.sweepAt = 0;
      }
      const user = this.sweep[this.sweepAt];
      this.sweepAt += 1;
      if (user !== undefined) for (const entry of this.take(user)) taken.push(entry);
    }
    return taken;
  }

  /** The request after which everything may be young; `last` is the newest one there is. */
  foldedTo(last: RequestKey): RequestKey {
    for (const [request, { left }] of this.requests) if (left > 0) return request - 1;
    return last;
  }

  /** Rows of the feed from this number on tell what happened to young entries; Infinity: none does. */
  feedNeededFrom(): number {
    for (const { left, seq } of this.requests.values()) if (left > 0) return seq;
    return Number.POSITIVE_INFINITY;
  }

  committed(): void {
    if (this.undo.length > 0) this.undo = [];
    // Not before: a transaction that fails makes entries young again, and they count for their requests.
    for (const [request, { left }] of this.requests) {
      if (left > 0) break;
      this.requests.delete(request);
    }
  }

  rolledBack(): void {
    for (const step of this.undo.toReversed()) {
      if (step.kind === 'changed') Object.assign(step.entry, step.before);
      else if (step.kind === 'added') this.remove(step.entry);
      else for (const entry of step.entries) this.insert(entry);
    }
    this.undo = [];
    this.sweep = [];
    this.sweepAt = 0;
  }

  private remove(entry: YoungEntry): void {
    const entries = this.byUser.get(entry.user);
    const at = entries?.indexOf(entry) ?? -1;
    if (entries === undefined || at < 0) return;
    entries.splice(at, 1);
    if (entries.length === 0) this.byUser.delete(entry.user);
    this.leave(entry);
  }

  // -------------------------------------------------------------------------------------------- starting

  /** Reads the young entries back: at the start, and after the file had to be opened anew. */
  load(db: Connection): void {
    this.byUser.clear();
    this.requests.clear();
    this.undo = [];
    this.sweep = [];
    this.sweepAt = 0;
    this.count = 0;
    const folded = Number(db.get('SELECT value FROM meta WHERE name = ?', FOLDED)?.['value'] ?? 0);
    for (const row of db.sql('SELECT id, priority, members FROM requests WHERE id > ? ORDER BY id').iterate(folded)) {
      this.loadRequest(db, row as { id: number; priority: number; members: string });
    }
    if (this.count > 0) this.loadFeed(db);
    this.undo = [];
  }

  private loadRequest(db: Connection, row: { id: number; priority: number; members: string }): void {
    // Feed rows are looked through from the first one: the number itself is known to the running process alone.
    this.open(row.id, 0);
    const links = linksOf(db, row.id);
    decodeMembers(row.members).forEach((member, index) => {
      const { user, n, thread } = member;
      if (user === null || n === null || thread === null || member.shared) return;
      if (db.get(WRITTEN, user, n, user, n) !== undefined) return;
      this.insert({
        user,
        n,
        request: row.id,
        destination: member.destination,
        member: index,
        priority: row.priority,
        thread,
        detail: links.get(`${user} ${n}`) ?? null,
        state: STATE.queued,
        device: null,
        sent: null,
        at: null,
      });
    });
  }

  private loadFeed(db: Connection): void {
    for (const row of db
      .sql('SELECT kind, user, n, device, at, detail FROM feed WHERE kind IN (1, 6) ORDER BY seq')
      .iterate()) {
      const entry = this.find(Number(row['user']), Number(row['n']));
      if (entry === undefined || entry.state > STATE.sent) continue;
      const isDelivered = row['kind'] === 1;
      entry.state = isDelivered ? STATE.delivered : STATE.expired;
      entry.device = row['device'] === null ? null : Number(row['device']);
      entry.sent = isDelivered && row['detail'] !== null ? Number(row['detail']) : null;
      entry.at = Number(row['at']);
    }
  }
}

/** `<user> <n>` → the JSON of `log.detail` with the recipient's links. */
function linksOf(db: Connection, request: RequestKey): Map<string, string> {
  const links = new Map<string, Record<string, string>>();
  for (const row of db.all('SELECT slug, linkid, user, n FROM links WHERE request = ?', request)) {
    const place = `${row['user']} ${row['n']}`;
    const slugs = links.get(place) ?? {};
    slugs[String(row['linkid'])] = String(row['slug']);
    links.set(place, slugs);
  }
  return new Map([...links].map(([place, slugs]) => [place, JSON.stringify({ links: slugs })]));
}

type Value = string | number | null;

/** Writes entries into `log` and how far it is complete. To be called within a transaction. */
export function fold(db: Connection, entries: readonly YoungEntry[]): void {
  const values: Value[] = [];
  for (const { user, n, request, destination, member, priority, state, thread, device, sent, at, detail } of entries) {
    values.push(user, n, request, destination, member, priority, state, thread, device, sent, at, detail);
  }
  db.insertMany(
    'INSERT INTO log (user, n, request, destination, member, priority, state, thread, device, sent, at, detail)',
    12,
    values,
  );
}

export const FOLDED_META = FOLDED;
