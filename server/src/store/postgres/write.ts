import { uuidv7 } from 'uuidv7';
import type {
  AcceptUnit,
  Random,
  RequestContent,
  Settlement,
  UserKey,
  WriteBatch,
  WriteResult,
} from '../../core/ports.ts';
import { splitTransid } from '../../core/transid.ts';
import { decodeMembers } from '../request-record.ts';
import type { Member } from '../request-record.ts';
import { Accept, columnOf } from './accept.ts';
import type { IdempotencyEntry } from './accept.ts';
import { writeAcceptRows } from './accept-rows.ts';
import { Columns, unnest } from './columns.ts';
import type { Row, Transaction } from './database.ts';
import { flush } from './flush.ts';
import { Idempotency } from './idempotency.ts';
import type { Ids, Numbers } from './ids.ts';
import { Ledger, placeKey } from './ledger.ts';
import type { Entry } from './ledger.ts';
import {
  findPeople,
  follow,
  loadContents,
  loadDevices,
  loadDevicesById,
  loadEntries,
  lockUsers,
  Wanted,
} from './loading.ts';
import type { NamesRead, Place } from './loading.ts';
import { Sessions } from './sessions.ts';
import { Settle } from './settle.ts';
import type { AboutMessage, SettleSources } from './settle.ts';
import { readLinkedApps, readMoving } from './moving.ts';
import { ownKey, ThreadBook } from './thread-book.ts';
import { waitingTotal } from './waiting.ts';

export interface WriteParts {
  readonly node: string;
  readonly ids: Ids;
  readonly random: Random;
}

/** One batch on its way through one transaction: find, lock, read, apply in memory, write. */
export class BatchWrite {
  private readonly parts: WriteParts;
  private readonly transaction: Transaction;
  private readonly batch: WriteBatch;
  private readonly ledger = new Ledger();
  private readonly threads = new ThreadBook();
  private readonly idempotency: Idempotency;
  private linkedApps: ReadonlySet<string> = new Set();
  private readonly placesByTid = new Map<string, Place>();
  private readonly inboundThreads = new Map<string, Row>();
  private readonly pressedContents = new Map<string, string>();
  private readonly firstWaiting = new Map<UserKey, number>();
  private waiting = new Map<UserKey, Entry[]>();
  private contents = new Map<string, RequestContent>();

  constructor(parts: WriteParts, transaction: Transaction, batch: WriteBatch) {
    this.parts = parts;
    this.transaction = transaction;
    this.batch = batch;
    this.idempotency = new Idempotency(transaction);
  }

  async run(): Promise<WriteResult> {
    const { batch, ledger, transaction } = this;
    const kept = await this.find();
    const [waitingBefore, numbers] = await Promise.all([
      waitingTotal(transaction, batch.accepts),
      this.numbers(),
      this.read(),
    ]);
    const settle = new Settle(ledger, this.settleSources());
    const nextId = (): number => numbers.take();
    const sessions = new Sessions(ledger, {
      threads: this.threads,
      linkedApps: this.linkedApps,
      waiting: this.waiting,
      contents: this.contents,
      firstWaiting: this.firstWaiting,
      nextId,
      node: this.parts.node,
    });
    const accept = new Accept(ledger, {
      threads: this.threads,
      linkedApps: this.linkedApps,
      idempotency: kept,
      waitingTotal: waitingBefore,
      nextId,
      newThreadUid: uuidv7,
      random: this.parts.random,
    });
    const settlements = batch.settlements.map((one) => settle.settle(one));
    for (const session of batch.closes) sessions.close(session);
    const opens = batch.opens.map((session) => sessions.open(session));
    const accepts = batch.accepts.map((unit) => accept.accept(unit));
    numbers.giveBack();
    await flush(transaction, ledger, this.threads);
    writeAcceptRows(transaction, accept, this.parts.random);
    this.idempotency.write(kept);
    return { opens, accepts, settlements };
  }

  // ------------------------------------------------------------------------------------------ finding

  /** Whom all this is about; ends with their lock. */
  private async find(): Promise<Map<string, IdempotencyEntry>> {
    const { batch, transaction, ledger } = this;
    const apps = new Set([...batch.accepts, ...batch.opens].map((one) => one.appId));
    const [kept, linkedApps, members] = await Promise.all([
      this.idempotency.claim(batch.accepts),
      readLinkedApps(transaction, apps),
      this.findMembers(),
      this.readThreadsById(),
    ]);
    this.linkedApps = linkedApps;
    const read: NamesRead = new Map();
    const [places] = await Promise.all([
      follow(
        transaction,
        members.map(({ member }) => member),
      ),
      findPeople(transaction, ledger, this.wanted(), read),
    ]);
    for (const { tid, member } of members) {
      const place = places.get(placeKey(member.user ?? 0, member.n ?? 0));
      if (place !== undefined) this.placesByTid.set(`${place.user} ${tid}`, place);
    }
    const ids = new Set<UserKey>(read.keys());
    for (const { user } of [...batch.settlements, ...batch.closes]) ids.add(user);
    for (const { user } of this.placesByTid.values()) ids.add(user);
    await lockUsers(transaction, ledger, ids, read);
    return kept;
  }

  private wanted(): Wanted {
    const wanted = new Wanted();
    for (const { appId, userid, customerid, msisdn } of this.batch.opens) {
      wanted.add('userid', appId, userid);
      if (msisdn !== null) wanted.add('msisdn', appId, msisdn);
      if (customerid !== null && this.linkedApps.has(appId)) wanted.add('customerid', appId, customerid);
    }
    for (const { appId, destinations } of this.batch.accepts) {
      for (const { identifiers } of destinations) {
        for (const { type, value } of identifiers) wanted.add(columnOf(this.linkedApps, appId, type), appId, value);
      }
    }
    return wanted;
  }

  /** The members of the requests that settlements name by a transid. */
  private async findMembers(): Promise<{ tid: string; member: Member }[]> {
    const tids = new Map<string, { uid: string; destination: number }>();
    for (const settlement of this.batch.settlements) {
      if (!isAboutMessage(settlement) || !('tid' in settlement.ref)) continue;
      const parts = splitTransid(settlement.ref.tid);
      if (parts !== null) tids.set(settlement.ref.tid.toLowerCase(), parts);
    }
    if (tids.size === 0) return [];
    const rows = await this.transaction.all(
      'SELECT r.uid, r.members FROM unnest($1::uuid[]) q(uid) JOIN requests r ON r.uid = q.uid',
      [[...new Set([...tids.values()].map(({ uid }) => uid))]],
    );
    const members = new Map(rows.map((row) => [String(row['uid']), decodeMembers(String(row['members']))]));
    return [...tids].flatMap(([tid, { uid, destination }]) =>
      (members.get(uid) ?? [])
        .filter((member) => member.destination === destination && member.n !== null)
        .map((member) => ({ tid, member })),
    );
  }

  private async readThreadsById(): Promise<void> {
    const columns = new Columns(2);
    for (const { thread, appId } of this.batch.accepts) if ('id' in thread) columns.add(appId, thread.id);
    if (columns.isEmpty) return;
    this.threads.learnOpen(
      await this.transaction.all(
        `SELECT t.id, t.uid, t.app, t.title, t.type FROM ${unnest('text', 'text')} q(app, uid)
         JOIN threads t ON t.uid = q.uid AND t.app = q.app AND t.status = 'Active'`,
        columns.values,
      ),
    );
  }

  // ------------------------------------------------------------------------------------------ reading

  private async read(): Promise<void> {
    await Promise.all([this.readForSettlements(), this.readForSessions(), this.readForAccepts()]);
  }

  /** At most so many new rows: a request, and for each identifier a user and a thread; for each open a user and a device. */
  private numbers(): Promise<Numbers> {
    const { accepts, opens } = this.batch;
    let count = opens.length * 2;
    for (const { destinations } of accepts) {
      count += 1;
      for (const { identifiers } of destinations) count += identifiers.length * 2;
    }
    return this.parts.ids.reserve(this.transaction, count);
  }

  private async readForSettlements(): Promise<void> {
    const { batch, transaction, ledger } = this;
    if (batch.settlements.length === 0) return;
    const places: Place[] = [];
    const acks = new Columns(3);
    const onces = new Columns(2);
    const steps: Place[] = [];
    const presses: Place[] = [];
    for (const settlement of batch.settlements) {
      const { user } = settlement;
      if ('once' in settlement && settlement.once !== null) onces.add(user, settlement.once);
      if (!isAboutMessage(settlement)) continue;
      const place = this.placeOf(settlement);
      if (place === undefined) continue;
      places.push(place);
      if (settlement.kind === 'delivered' && settlement.device !== null) acks.add(user, settlement.device, place.n);
      if (settlement.kind === 'clicked' || settlement.kind === 'pressed') steps.push(place);
      if (settlement.kind === 'pressed') presses.push(place);
    }
    await Promise.all([
      loadEntries(transaction, ledger, places),
      this.readAcks(acks),
      this.readOnces(onces),
      this.readSteps(steps),
      this.readInboundThreads(),
      this.readDevices(),
    ]);
    await this.readPressedContents(presses);
  }

  private placeOf({ ref, user }: AboutMessage): Place | undefined {
    return 'n' in ref ? { user, n: ref.n } : this.placesByTid.get(`${user} ${ref.tid.toLowerCase()}`);
  }

  private async readAcks(columns: Columns): Promise<void> {
    if (columns.isEmpty) return;
    const rows = await this.transaction.all(
      `SELECT a.device, a.n FROM ${unnest('bigint', 'bigint', 'bigint')} q(u, device, n)
       JOIN device_acks a ON a.user_id = q.u AND a.device = q.device AND a.n = q.n`,
      columns.values,
    );
    for (const row of rows) this.ledger.learnAck(Number(row['device']), Number(row['n']));
  }

  private async readOnces(columns: Columns): Promise<void> {
    if (columns.isEmpty) return;
    const rows = await this.transaction.all(
      `SELECT o.user_id, o.id FROM ${unnest('bigint', 'text')} q(u, id) JOIN once o ON o.user_id = q.u AND o.id = q.id`,
      columns.values,
    );
    for (const row of rows) this.ledger.onces.add(`${Number(row['user_id'])} ${String(row['id'])}`);
  }

  private async readSteps(places: readonly Place[]): Promise<void> {
    if (places.length === 0) return;
    const columns = new Columns(2);
    const seen = new Set<string>();
    for (const { user, n } of places) {
      if (seen.has(placeKey(user, n))) continue;
      seen.add(placeKey(user, n));
      columns.add(user, n);
    }
    const rows = await this.transaction.all(
      `SELECT s.user_id, s.n, s.step, s.at, s.device, s.detail FROM ${unnest('bigint', 'bigint')} q(u, n)
       JOIN steps s ON s.user_id = q.u AND s.n = q.n WHERE s.step IN ('clicked', 'pressed')`,
      columns.values,
    );
    for (const row of rows) {
      this.ledger.learnStep(Number(row['user_id']), Number(row['n']), {
        step: String(row['step']),
        at: Number(row['at']),
        device: row['device'] as number | null,
        detail: row['detail'] as string | null,
      });
    }
  }

  private async readInboundThreads(): Promise<void> {
    const columns = new Columns(2);
    for (const one of this.batch.settlements) if (one.kind === 'inbound') columns.add(one.user, one.threadId);
    if (columns.isEmpty) return;
    const rows = await this.transaction.all(
      `SELECT DISTINCT q.u, t.* FROM ${unnest('bigint', 'text')} q(u, uid) JOIN threads t ON t.uid = q.uid
       WHERE EXISTS (SELECT 1 FROM user_threads l WHERE l.thread = t.id AND l.user_id = q.u)`,
      columns.values,
    );
    for (const row of rows) this.inboundThreads.set(`${Number(row['u'])} ${String(row['uid'])}`, row);
  }

  private async readDevices(): Promise<void> {
    const columns = new Columns(2);
    const seen = new Set<number>();
    for (const { user, device } of [...this.batch.settlements, ...this.batch.closes]) {
      if (device === null || seen.has(device)) continue;
      seen.add(device);
      columns.add(user, device);
    }
    await loadDevices(this.transaction, this.ledger, columns);
  }

  private async readPressedContents(places: readonly Place[]): Promise<void> {
    const uids = places.flatMap(({ user, n }) => this.ledger.entry(user, n)?.request ?? []);
    for (const [uid, content] of await loadContents(this.transaction, uids)) {
      this.pressedContents.set(uid, content.content);
    }
  }

  private settleSources(): SettleSources {
    return { places: this.placesByTid, contents: this.pressedContents, threads: this.inboundThreads };
  }

  private async readForSessions(): Promise<void> {
    const { batch, ledger } = this;
    if (batch.closes.length > 0 && batch.settlements.length === 0) await this.readDevices();
    if (batch.opens.length === 0) return;
    const devices = new Columns(2);
    const users = new Set<UserKey>();
    const movers = new Set<UserKey>();
    for (const { appId, userid, customerid, deviceid } of batch.opens) {
      const person = ledger.personBy('userid', appId, userid);
      if (person !== null) {
        devices.add(person.id, deviceid);
        users.add(person.id);
      }
      const holder = customerid === null ? null : ledger.personBy('customerid', appId, customerid);
      if (holder !== null && holder.names.userid === null) {
        movers.add(holder.id);
        if (person !== null) movers.add(person.id);
      }
    }
    await Promise.all([
      loadDevicesById(this.transaction, ledger, devices),
      this.readFirstWaiting([...users]),
      this.readMoving([...movers]),
    ]);
  }

  private async readFirstWaiting(users: readonly UserKey[]): Promise<void> {
    const waiting = users.filter((user) => (this.ledger.users.get(user)?.waiting ?? 0) > 0);
    if (waiting.length === 0) return;
    const rows = await this.transaction.all(
      `SELECT q.u, (SELECT l.n FROM log l WHERE l.user_id = q.u AND l.state < 2 AND l.request IS NOT NULL ORDER BY l.n LIMIT 1) AS first
       FROM unnest($1::bigint[]) q(u)`,
      [waiting],
    );
    for (const row of rows) if (row['first'] !== null) this.firstWaiting.set(Number(row['u']), Number(row['first']));
  }

  /** What waits for customerids that are linked now, and the threads of both users. */
  private async readMoving(users: readonly UserKey[]): Promise<void> {
    if (users.length === 0) return;
    const moving = await readMoving(this.transaction, this.ledger, this.threads, users);
    this.waiting = moving.waiting;
    this.contents = moving.contents;
  }

  private async readForAccepts(): Promise<void> {
    const own = new Columns(2);
    const linked = new Columns(2);
    const seen = new Set<string>();
    for (const unit of this.batch.accepts) {
      const choice = unit.thread;
      const thread = 'id' in choice ? (this.threads.openById(unit.appId, choice.id)?.key ?? null) : null;
      if ('id' in choice && thread === null) continue;
      const key = 'id' in choice ? `#${thread}` : ownKey(choice.type, choice.title);
      for (const user of this.usersOf(unit)) {
        if (seen.has(`${user} ${key}`)) continue;
        seen.add(`${user} ${key}`);
        if (thread === null) own.add(user, key);
        else linked.add(user, thread);
      }
    }
    await Promise.all([this.readOwnThreads(own), this.readLinkedThreads(linked)]);
  }

  private *usersOf(unit: AcceptUnit): Generator<UserKey> {
    for (const { identifiers } of unit.destinations) {
      for (const { type, value } of identifiers) {
        const person = this.ledger.personBy(columnOf(this.linkedApps, unit.appId, type), unit.appId, value);
        if (person !== null) yield person.id;
      }
    }
  }

  private async readOwnThreads(columns: Columns): Promise<void> {
    if (columns.isEmpty) return;
    this.threads.learnLinks(
      await this.transaction.all(
        `SELECT l.user_id, l.key, l.thread, l.uid FROM ${unnest('bigint', 'text')} q(u, key)
         JOIN user_threads l ON l.user_id = q.u AND l.key = q.key`,
        columns.values,
      ),
    );
  }

  private async readLinkedThreads(columns: Columns): Promise<void> {
    if (columns.isEmpty) return;
    this.threads.learnLinks(
      await this.transaction.all(
        `SELECT l.user_id, l.key, l.thread, l.uid FROM ${unnest('bigint', 'bigint')} q(u, thread)
         JOIN user_threads l ON l.thread = q.thread AND l.user_id = q.u`,
        columns.values,
      ),
    );
  }
}

function isAboutMessage(settlement: Settlement): settlement is AboutMessage {
  return settlement.kind !== 'inbound' && settlement.kind !== 'floor';
}
