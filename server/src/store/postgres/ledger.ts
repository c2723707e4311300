import { STATE } from '../../core/delivery-state.ts';
import type { StateNumber } from '../../core/delivery-state.ts';
import type { Priority } from '../../core/model.ts';
import type { DeviceKey, LogEntry, RequestContent, UserKey } from '../../core/ports.ts';
import { FEED_KINDS } from '../feed-work.ts';
import type { FeedKind } from '../feed-work.ts';
import { EVENT_PRIORITY } from '../rows.ts';
import type { ThreadRef } from '../rows.ts';

export interface UserNames {
  readonly app: string;
  userid: string | null;
  customerid: string | null;
  msisdn: string | null;
}

/** A user whose row of `heads` is locked by this transaction, or who is made by it. */
export interface User {
  readonly id: UserKey;
  head: number;
  waiting: number;
  purged: number;
  readonly isNew: boolean;
  isChanged: boolean;
}

/** A user by its identifiers. */
export interface Person {
  readonly id: UserKey;
  readonly names: UserNames;
  readonly created: number;
  readonly isNew: boolean;
}

/** A row of `log`. */
export interface Entry {
  readonly user: UserKey;
  readonly n: number;
  /** uid; null: a state event. */
  readonly request: string | null;
  readonly destination: number | null;
  readonly member: number | null;
  readonly priority: number;
  state: number;
  readonly thread: number | null;
  device: DeviceKey | null;
  sent: number | null;
  at: number | null;
  read: number | null;
  detail: string | null;
  /** Of its request. */
  readonly expiry: number;
  readonly isNew: boolean;
  isChanged: boolean;
}

/** The JSON of a message's `detail`. */
export interface EntryDetail {
  readonly links?: Record<string, string>;
  /** State moved: where the entry is now. */
  readonly moved?: { readonly user: UserKey; readonly n: number };
  /** State read: the device it was read on. */
  readonly reader?: number;
  /** State failed: why. */
  readonly code?: string;
}

export interface Device {
  readonly user: UserKey;
  readonly id: DeviceKey;
  readonly deviceid: string;
  keepMs: number;
  until: number | null;
  subscribed: boolean;
  base: number | null;
  floor: number;
  seen: number;
  node: string;
  incarnation: number;
  readonly isNew: boolean;
  isChanged: boolean;
}

export interface Step {
  readonly step: string;
  readonly at: number;
  readonly device: DeviceKey | null;
  readonly detail: string | null;
}

export interface FeedRow {
  readonly kind: number;
  readonly request: string | null;
  readonly user: UserKey | null;
  readonly n: number | null;
  readonly device: DeviceKey | null;
  readonly at: number;
  readonly detail: string | null;
}

export interface NewRequest {
  readonly content: RequestContent;
  readonly client: string;
  readonly word: string;
  readonly notifyUrl: string | null;
  readonly callback: string | null;
  readonly members: string;
}

export function placeKey(user: UserKey, n: number): string {
  return `${user} ${n}`;
}

/**
 * What one transaction has in memory: the users it locked, the rows it read of them, and what is to be written. Since
 * everything that hangs on a user changes only under the user's lock, what was read stays true to the commit, and the
 * rules of the domain are applied here, in order, as if nobody else was there. {@link flush} writes what changed.
 */
export class Ledger {
  readonly users = new Map<UserKey, User>();
  readonly people = new Map<UserKey, Person>();
  /** `<column> <app> <value>` → the user. */
  private readonly byName = new Map<string, UserKey>();
  /** Identifiers that go to another user: first they are taken, then given. */
  readonly renamed = new Set<UserKey>();
  readonly entries = new Map<string, Entry>();
  readonly newEntries: Entry[] = [];
  readonly devices = new Map<DeviceKey, Device>();
  private readonly byDeviceid = new Map<string, Device>();
  private readonly acks = new Map<DeviceKey, Set<number>>();
  readonly newAcks = new Map<DeviceKey, Set<number>>();
  /** Acknowledgements of a device up to a number that are let go of. */
  readonly droppedAcks = new Map<DeviceKey, number>();
  /** Steps that were there, and those made now. */
  private readonly steps = new Map<string, Step[]>();
  readonly newSteps: { readonly user: UserKey; readonly n: number; readonly step: Step }[] = [];
  readonly onces = new Set<string>();
  readonly newOnces: { readonly user: UserKey; readonly id: string; readonly at: number }[] = [];
  readonly feed: FeedRow[] = [];
  readonly replies: { user: UserKey; thread: number; tid: string; content: string; at: number }[] = [];
  readonly requests: NewRequest[] = [];
  /** Messages that went to another log: their short links follow. */
  readonly movedLinks: { readonly from: { user: UserKey; n: number }; readonly to: { user: UserKey; n: number } }[] =
    [];
  waitingChange = 0;

  // ------------------------------------------------------------------------------------------ users

  user(id: UserKey): User {
    const user = this.users.get(id);
    if (user === undefined) throw new Error(`user ${id} is not locked by this transaction`);
    return user;
  }

  learnPerson(person: Person): void {
    this.people.set(person.id, person);
    const { names } = person;
    for (const column of ['userid', 'customerid', 'msisdn'] as const) {
      const value = names[column];
      if (value !== null) this.byName.set(nameKey(column, names.app, value), person.id);
    }
  }

  personBy(column: NameColumn, app: string, value: string): Person | null {
    const id = this.byName.get(nameKey(column, app, value));
    return id === undefined ? null : (this.people.get(id) ?? null);
  }

  /** A user that this transaction makes; `id` is one that nobody else has. */
  makePerson(id: UserKey, column: 'userid' | 'customerid', about: { app: string; value: string; now: number }): Person {
    const names = { app: about.app, userid: null, customerid: null, msisdn: null, [column]: about.value };
    const person: Person = { id, names, created: about.now, isNew: true };
    this.users.set(id, { id, head: 0, waiting: 0, purged: 0, isNew: true, isChanged: true });
    this.learnPerson(person);
    return person;
  }

  /** Gives an identifier to a user; who had it before has it no more. */
  takeOver(to: Person, column: 'customerid' | 'msisdn', value: string): void {
    const key = nameKey(column, to.names.app, value);
    const holder = this.personBy(column, to.names.app, value);
    if (holder !== null && holder.id === to.id) return;
    if (holder !== null) {
      holder.names[column] = null;
      this.rename(holder.id);
    }
    const before = to.names[column];
    if (before !== null) this.byName.delete(nameKey(column, to.names.app, before));
    to.names[column] = value;
    this.byName.set(key, to.id);
    this.rename(to.id);
  }

  dropName(person: Person, column: NameColumn): void {
    const value = person.names[column];
    if (value === null) return;
    this.byName.delete(nameKey(column, person.names.app, value));
    person.names[column] = null;
    this.rename(person.id);
  }

  private rename(id: UserKey): void {
    this.renamed.add(id);
    this.user(id).isChanged = true;
  }

  countWaiting(id: UserKey, change: number): void {
    const user = this.user(id);
    user.waiting += change;
    user.isChanged = true;
    this.waitingChange += change;
  }

  private nextNumber(id: UserKey): number {
    const user = this.user(id);
    user.head += 1;
    user.isChanged = true;
    return user.head;
  }

  // ------------------------------------------------------------------------------------------ logs

  entry(user: UserKey, n: number): Entry | undefined {
    return this.entries.get(placeKey(user, n));
  }

  learnEntry(entry: Entry): void {
    this.entries.set(placeKey(entry.user, entry.n), entry);
  }

  /** A message at the end of a log: it waits. */
  append(
    user: UserKey,
    message: Pick<Entry, 'request' | 'destination' | 'member' | 'priority' | 'thread' | 'detail' | 'expiry'>,
  ): Entry {
    const n = this.nextNumber(user);
    const entry: Entry = {
      ...message,
      user,
      n,
      state: STATE.queued,
      device: null,
      sent: null,
      at: null,
      read: null,
      isNew: true,
      isChanged: false,
    };
    this.newEntries.push(entry);
    this.learnEntry(entry);
    this.countWaiting(user, 1);
    return entry;
  }

  /** A numbered state event at the end of a log; the caller publishes it after the commit. */
  appendEvent(user: UserKey, event: Readonly<Record<string, unknown>>, at: number): LogEntry {
    const n = this.nextNumber(user);
    const entry: Entry = {
      user,
      n,
      request: null,
      destination: null,
      member: null,
      priority: EVENT_PRIORITY,
      state: STATE.read,
      thread: null,
      device: null,
      sent: null,
      at,
      read: null,
      detail: JSON.stringify(event),
      expiry: 0,
      isNew: true,
      isChanged: false,
    };
    this.newEntries.push(entry);
    this.learnEntry(entry);
    return { user, n, priority: EVENT_PRIORITY, state: STATE.read, message: null, event };
  }

  change(entry: Entry, changes: Partial<Pick<Entry, 'state' | 'device' | 'sent' | 'at' | 'read' | 'detail'>>): void {
    Object.assign(entry, changes);
    entry.isChanged = true;
  }

  // ------------------------------------------------------------------------------------------ devices

  learnDevice(device: Device): void {
    this.devices.set(device.id, device);
    this.byDeviceid.set(`${device.user} ${device.deviceid}`, device);
  }

  deviceBy(user: UserKey, deviceid: string): Device | undefined {
    return this.byDeviceid.get(`${user} ${deviceid}`);
  }

  learnAck(device: DeviceKey, n: number): void {
    const known = this.acks.get(device);
    if (known === undefined) this.acks.set(device, new Set([n]));
    else known.add(n);
  }

  /** False: the device had said so before. */
  acknowledge(device: DeviceKey, n: number): boolean {
    if (this.acks.get(device)?.has(n) === true) return false;
    this.learnAck(device, n);
    const made = this.newAcks.get(device);
    if (made === undefined) this.newAcks.set(device, new Set([n]));
    else made.add(n);
    return true;
  }

  dropAcks(device: DeviceKey, upTo: number): void {
    this.droppedAcks.set(device, Math.max(upTo, this.droppedAcks.get(device) ?? 0));
    for (const numbers of [this.acks.get(device), this.newAcks.get(device)]) {
      for (const n of numbers ?? []) if (n <= upTo) numbers?.delete(n);
    }
  }

  // ------------------------------------------------------------------------------------------ what happened

  learnStep(user: UserKey, n: number, step: Step): void {
    const key = placeKey(user, n);
    const known = this.steps.get(key);
    if (known === undefined) this.steps.set(key, [step]);
    else known.push(step);
  }

  addStep(user: UserKey, n: number, step: Step): void {
    this.learnStep(user, n, step);
    this.newSteps.push({ user, n, step });
  }

  stepsOf(user: UserKey, n: number): readonly Step[] {
    return this.steps.get(placeKey(user, n)) ?? [];
  }

  /** False: this id was there before. */
  isFirst(user: UserKey, id: string | null, at: number): boolean {
    if (id === null) return true;
    const key = `${user} ${id}`;
    if (this.onces.has(key)) return false;
    this.onces.add(key);
    this.newOnces.push({ user, id, at });
    return true;
  }

  tell(
    kind: FeedKind,
    row: { request?: string; user?: UserKey; n?: number; device?: number | null; at: number; detail?: string },
  ): void {
    const { request = null, user = null, n = null, device = null, at, detail = null } = row;
    this.feed.push({ kind: FEED_KINDS.indexOf(kind), request, user, n, device, at, detail });
  }
}

export type NameColumn = 'userid' | 'customerid' | 'msisdn';

function nameKey(column: NameColumn, app: string, value: string): string {
  return `${column} ${app} ${value}`;
}

export function detailOf(entry: { readonly detail: string | null }): EntryDetail {
  return entry.detail === null ? {} : (JSON.parse(entry.detail) as EntryDetail);
}

/** A message's entry as everybody else knows it. */
export function messageEntry(entry: Entry, content: RequestContent, thread: ThreadRef): LogEntry {
  return {
    user: entry.user,
    n: entry.n,
    priority: entry.priority as Priority,
    state: entry.state as StateNumber,
    message: {
      content,
      destination: entry.destination ?? 0,
      thread: { id: thread.id, title: thread.title, type: thread.type },
      links: detailOf(entry).links ?? null,
    },
    event: null,
  };
}
