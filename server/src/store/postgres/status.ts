import { STATE } from '../../core/delivery-state.ts';
import type { StateNumber } from '../../core/delivery-state.ts';
import type { DeliveryStatus, DeliveryStep, RecallResult, RequestStatus } from '../../core/delivery-status.ts';
import type { LogEntry } from '../../core/ports.ts';
import { splitTransid, transidOf } from '../../core/transid.ts';
import { receiptSteps } from '../feed-work.ts';
import { recordOf } from '../request-record.ts';
import type { Member, RequestRecord } from '../request-record.ts';
import { iso } from '../rows.ts';
import { Columns, unnest } from './columns.ts';
import type { Database, Row, Transaction } from './database.ts';
import { Overtaken } from './database.ts';
import { flush } from './flush.ts';
import { detailOf, Ledger, placeKey } from './ledger.ts';
import type { Entry } from './ledger.ts';
import { follow, loadContents, loadEntries, lockUsers } from './loading.ts';
import type { Place } from './loading.ts';
import { RECORD_COLUMNS } from './requests.ts';

interface Found {
  readonly record: RequestRecord;
  readonly destination: number;
  /** Its members, with their index in the request. */
  readonly members: readonly { readonly member: Member; readonly index: number }[];
}

/** Rows about the entries of one transid. */
interface Reading {
  readonly entries: Ledger;
  readonly steps: ReadonlyMap<string, readonly Row[]>;
  readonly receipts: readonly Row[];
  readonly deviceids: ReadonlyMap<number, string>;
  readonly userids: ReadonlyMap<number, string | null>;
}

type Reader = Pick<Transaction, 'all'>;

async function find(reader: Reader, serviceId: string, transid: string): Promise<Found | null> {
  const parts = splitTransid(transid);
  if (parts === null) return null;
  const rows = await reader.all(`SELECT ${RECORD_COLUMNS} FROM requests r WHERE r.uid = $1`, [parts.uid]);
  const record = rows[0] === undefined ? null : recordOf(rows[0]);
  if (record === null || record.service !== serviceId) return null;
  const members = record.members
    .map((member, index) => ({ member, index }))
    .filter(({ member }) => member.destination === parts.destination);
  return members.length === 0 ? null : { record, destination: parts.destination, members };
}

/** What became of a message, and taking it back. */
export class Status {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  async status(serviceId: string, transid: string): Promise<RequestStatus | null> {
    const found = await find(this.database, serviceId, transid);
    if (found === null) return null;
    const { record, destination, members } = found;
    const places = await follow(
      this.database,
      members.map(({ member }) => member),
    );
    const [reading, contents] = await Promise.all([
      this.read(record, destination, [...places.values()]),
      loadContents(this.database, [record.uid]),
    ]);
    return {
      transid: transidOf(record.uid, destination),
      clientId: record.client,
      serviceId: record.service,
      appId: record.app,
      channelWord: record.word,
      correlationid: members[0]?.member.correlationid ?? null,
      content: contents.get(record.uid)?.content ?? '{}',
      expiry: record.expiry,
      priority: record.priority,
      deliveries: members.map(({ member, index }) => {
        const place = places.get(placeKey(member.user ?? 0, member.n ?? 0));
        const entry = place === undefined ? undefined : reading.entries.entry(place.user, place.n);
        const told = receiptSteps(record, { member, index }, reading.receipts);
        return entry === undefined
          ? withoutEntry(record, member, told)
          : delivery(record, member, entry, { reading, told });
      }),
    };
  }

  private async read(record: RequestRecord, destination: number, places: readonly Place[]): Promise<Reading> {
    const entries = new Ledger();
    const columns = new Columns(2);
    for (const { user, n } of places) columns.add(user, n);
    const users = [...new Set(places.map(({ user }) => user))];
    const [, steps, receipts, people] = await Promise.all([
      loadEntries(this.database, entries, places),
      this.database.all(
        `SELECT s.* FROM ${unnest('bigint', 'bigint')} q(u, n) JOIN steps s ON s.user_id = q.u AND s.n = q.n ORDER BY s.id`,
        columns.values,
      ),
      this.database.all('SELECT id, kind, history FROM receipts WHERE transid = $1 AND shown', [
        transidOf(record.uid, destination),
      ]),
      this.database.all('SELECT id, userid FROM users WHERE id = ANY($1::bigint[])', [users]),
    ]);
    const named = [...entries.entries.values()].flatMap((entry) => [entry.device, detailOf(entry).reader ?? null]);
    const devices = [...named, ...steps.map((row) => row['device'])].filter((device) => device !== null);
    const rows =
      devices.length === 0
        ? []
        : await this.database.all(
            'SELECT id, deviceid FROM devices WHERE user_id = ANY($1::bigint[]) AND id = ANY($2::bigint[])',
            [users, [...new Set(devices)]],
          );
    return {
      entries,
      steps: Map.groupBy(steps, (row) => placeKey(Number(row['user_id']), Number(row['n']))),
      receipts,
      deviceids: new Map(rows.map((row) => [Number(row['id']), String(row['deviceid'])])),
      userids: new Map(people.map((row) => [Number(row['id']), row['userid'] as string | null])),
    };
  }

  async transids(serviceId: string, correlationid: string, limit: number): Promise<string[]> {
    const rows = await this.database.all(
      `SELECT request, destination FROM correlations WHERE service = $1 AND correlationid = $2
       ORDER BY request DESC, destination LIMIT $3`,
      [serviceId, correlationid, limit],
    );
    return rows.map((row) => transidOf(String(row['request']), Number(row['destination'])));
  }

  recall(serviceId: string, transid: string, now: number): Promise<RecallResult[] | null> {
    return this.database.transaction(async (transaction) => {
      const found = await find(transaction, serviceId, transid);
      if (found === null) return null;
      const members = found.members.map(({ member }) => member);
      const places = await follow(transaction, members);
      const ledger = new Ledger();
      await lockUsers(
        transaction,
        ledger,
        [...places.values()].map(({ user }) => user),
      );
      await loadEntries(transaction, ledger, places.values());
      const done = new Set<Entry>();
      const tid = transidOf(found.record.uid, found.destination);
      const results = members.map((member) => {
        const place = places.get(placeKey(member.user ?? 0, member.n ?? 0));
        const entry = place === undefined ? undefined : ledger.entry(place.user, place.n);
        return recallOne(ledger, { tid, member, entry, done, now });
      });
      await flush(transaction, ledger);
      return results;
    });
  }
}

function withoutEntry(record: RequestRecord, member: Member, told: readonly DeliveryStep[]): DeliveryStatus {
  const state = endedState(member);
  const at = record.accepted;
  return {
    destination: { type: member.type, value: member.value },
    state,
    code: member.code,
    createdAt: at,
    updatedAt: at,
    userid: null,
    steps: [
      { step: 'accepted', at, deviceid: null, detail: null },
      { step: state === STATE.expired ? 'expired' : 'failed', at, deviceid: null, detail: { code: member.code } },
      ...told,
    ],
  };
}

function endedState(member: Member): StateNumber {
  return member.code === '7301' ? STATE.expired : STATE.failed;
}

function delivery(
  record: RequestRecord,
  member: Member,
  entry: Entry,
  { reading, told }: { reading: Reading; told: readonly DeliveryStep[] },
): DeliveryStatus {
  const state = entry.state as StateNumber;
  const rows = (reading.steps.get(placeKey(entry.user, entry.n)) ?? []).map((row) => ({
    step: String(row['step']),
    at: Number(row['at']),
    deviceid: deviceidOf(reading, row['device'] as number | null),
    detail: row['detail'] === null ? null : (JSON.parse(String(row['detail'])) as Record<string, unknown>),
  }));
  const steps: DeliveryStep[] = [
    { step: 'accepted', at: record.accepted, deviceid: null, detail: null },
    ...entrySteps(entry).map(({ device, ...step }) => ({ ...step, deviceid: deviceidOf(reading, device) })),
    ...rows,
    ...told,
  ];
  return {
    destination: { type: member.type, value: member.value },
    state,
    code: state === STATE.expired ? '7301' : state === STATE.failed ? (detailOf(entry).code ?? null) : null,
    createdAt: record.accepted,
    updatedAt: Math.max(record.accepted, entry.at ?? 0, entry.read ?? 0),
    userid: reading.userids.get(entry.user) ?? null,
    steps: steps.toSorted((a, b) => a.at - b.at),
  };
}

function deviceidOf(reading: Reading, device: number | null): string | null {
  return device === null ? null : (reading.deviceids.get(device) ?? '');
}

interface EntryStep {
  readonly step: string;
  readonly at: number;
  readonly device: number | null;
  readonly detail: Record<string, unknown> | null;
}

/** The steps that the entry itself remembers. */
function entrySteps(entry: Entry): EntryStep[] {
  const steps: EntryStep[] = [];
  const { device, state } = entry;
  const at = entry.at ?? 0;
  const wasDelivered = state === STATE.delivered || state === STATE.read;
  // A send that nobody acknowledged has a step row of its own.
  if (entry.sent !== null && wasDelivered) steps.push({ step: 'sent', at: entry.sent, device, detail: null });
  if (wasDelivered) steps.push({ step: 'delivered', at, device, detail: null });
  if (entry.read !== null) {
    steps.push({ step: 'read', at: entry.read, device: detailOf(entry).reader ?? null, detail: null });
  }
  if (state === STATE.expired) steps.push({ step: 'expired', at, device: null, detail: null });
  if (state === STATE.recalled) steps.push({ step: 'recalled', at, device: null, detail: null });
  if (state === STATE.failed) {
    steps.push({ step: 'failed', at, device: null, detail: { code: detailOf(entry).code ?? null } });
  }
  return steps;
}

function recallOne(
  ledger: Ledger,
  about: { tid: string; member: Member; entry: Entry | undefined; done: Set<Entry>; now: number },
): RecallResult {
  const { tid, member, entry, done, now } = about;
  const destination = { type: member.type, value: member.value };
  if (entry === undefined) return { destination, outcome: 'ended', state: endedState(member), entries: [] };
  // Moved after it was looked for: its new owner is not locked.
  if (entry.state === STATE.moved) throw new Overtaken();
  if (done.has(entry)) return { destination, outcome: 'recalled', state: STATE.recalled, entries: [] };
  if (entry.state > STATE.delivered) {
    const state = entry.state as StateNumber;
    return { destination, outcome: state === STATE.read ? 'read' : 'ended', state, entries: [] };
  }
  done.add(entry);
  return { destination, outcome: 'recalled', state: STATE.recalled, entries: [take(ledger, tid, entry, now)] };
}

function take(ledger: Ledger, tid: string, entry: Entry, now: number): LogEntry {
  const { user, n } = entry;
  if (entry.state === STATE.delivered) {
    // The row is about to forget it.
    for (const { step, at } of entrySteps(entry))
      ledger.addStep(user, n, { step, at, device: entry.device, detail: null });
  } else {
    ledger.countWaiting(user, -1);
  }
  ledger.change(entry, { state: STATE.recalled, at: now });
  return ledger.appendEvent(user, { type: 'recalled', tid, at: iso(now) }, now);
}
