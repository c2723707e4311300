/**
 * What must hold after any fault, checked from outside: the journal of the clients against the status API, what the
 * devices got, and what the receipt sink got.
 */
import { Agent, request } from 'undici';
import type { ServerProcess } from '../support/server-process.ts';
import type { Devices, Received } from './device.ts';
import type { Entry } from './load.ts';
import type { ReceiptSink } from './receipt-sink.ts';

/** Every list holds what broke the promise; all are empty after a good run. */
export interface Findings {
  /** Acknowledged, and the server does not know it (any more). */
  readonly missing: string[];
  /** Stored in part. */
  readonly partial: string[];
  /** Answered with a refusal, and stored all the same. */
  readonly refusedButStored: string[];
  /** Stored twice, or under other transids than the answer said. */
  readonly doubled: string[];
  /** Not delivered although the device is there and everything had time. */
  readonly stuck: string[];
  /** More than one end. */
  readonly multiTerminal: string[];
  /** Acknowledged, and the device never got it. */
  readonly undelivered: string[];
  /** The same message under two tids. */
  readonly otherTid: string[];
  /** A client's later message to the same user arrived first. */
  readonly inversions: string[];
  /** Numbers of a log that never arrived although later ones did. */
  readonly holes: string[];
  /** Arrived at or after its expiry. */
  readonly late: string[];
  /** Receipts that never came, came before what they follow, or under two ids. */
  readonly receipts: string[];
}

export const NO_FINDINGS: Findings = {
  missing: [],
  partial: [],
  refusedButStored: [],
  doubled: [],
  stuck: [],
  multiTerminal: [],
  undelivered: [],
  otherTid: [],
  inversions: [],
  holes: [],
  late: [],
  receipts: [],
};

interface StatusRow {
  readonly transactionid: string;
  readonly to: string;
  readonly status: string;
  readonly events: readonly { readonly event: string }[];
}

const ENDS = new Set(['delivered', 'failed', 'expired', 'recalled']);
const ENDED = new Set([...ENDS, 'read']);
/** Questions under way at a time. */
const QUESTIONS = 8;

/** Every request of the journal, looked up by its label: `known` maps a label to its rows. */
async function askAll(server: ServerProcess, journal: readonly Entry[]): Promise<Map<string, readonly StatusRow[]>> {
  const known = new Map<string, readonly StatusRow[]>();
  const { serviceKey } = server.demo();
  const agent = new Agent({ connections: QUESTIONS });
  const waiting = [...journal];
  const ask = async (): Promise<void> => {
    for (;;) {
      const entry = waiting.pop();
      if (entry === undefined) return;
      const url = `${server.http}/resources/v1/messaging/status?correlationid=${entry.label}`;
      const answer = await request(url, { headers: { key: serviceKey }, dispatcher: agent });
      const body = (await answer.body.json()) as StatusRow[] | { response: { code: string } };
      if (!Array.isArray(body) && body.response.code !== '7600') throw new Error(`status: ${JSON.stringify(body)}`);
      known.set(entry.label, Array.isArray(body) ? body : []);
    }
  };
  await Promise.all(Array.from({ length: QUESTIONS }, ask));
  await agent.destroy();
  return known;
}

function judgeStored(entry: Entry, rows: readonly StatusRow[], findings: Findings): void {
  const { label, users, outcome } = entry;
  if (outcome === 'acknowledged' && rows.length === 0) findings.missing.push(label);
  if (outcome === 'refused' && rows.length > 0) findings.refusedButStored.push(label);
  if (rows.length > 0 && rows.length < users.length)
    findings.partial.push(`${label}: ${rows.length} of ${users.length}`);
  const stored = new Set(rows.map((row) => row.transactionid));
  const strangers = entry.transids.filter((transid) => !stored.has(transid));
  if (rows.length > users.length || (rows.length === users.length && strangers.length > 0))
    findings.doubled.push(label);
  for (const row of rows) {
    const name = `${label} to ${row.to}: ${row.status}`;
    if (!ENDED.has(row.status)) findings.stuck.push(name);
    if (row.events.filter((step) => ENDS.has(step.event)).length > 1) findings.multiTerminal.push(name);
  }
}

function judgeDevice(received: readonly Received[], numberOf: ReadonlyMap<string, Entry>, findings: Findings): void {
  const tids = new Map<string, string>();
  const last = new Map<number, number>();
  for (const { text, tid, expiry, at } of received) {
    if (at >= expiry) findings.late.push(text);
    const first = tids.get(text);
    if (first !== undefined) {
      if (first !== tid) findings.otherTid.push(text);
      continue;
    }
    tids.set(text, tid);
    const entry = numberOf.get(text);
    if (entry === undefined) continue;
    if ((last.get(entry.client) ?? 0) > entry.number) findings.inversions.push(text);
    last.set(entry.client, entry.number);
  }
}

function judgeDevices(journal: readonly Entry[], devices: Devices, findings: Findings): void {
  const byLabel = new Map(journal.map((entry) => [entry.label, entry]));
  for (const device of devices.all) {
    judgeDevice(device.received, byLabel, findings);
    const head = Math.max(0, ...device.numbers);
    for (let n = 1; n <= head; n += 1) if (!device.numbers.has(n)) findings.holes.push(`${device.user}: ${n}`);
  }
  for (const entry of journal) {
    if (entry.outcome !== 'acknowledged') continue;
    for (const user of entry.users) {
      if (!devices.get(user).texts.has(entry.label)) findings.undelivered.push(`${entry.label} to ${user}`);
    }
  }
}

function judgeReceipts(expected: readonly Entry[], sink: ReceiptSink, findings: Findings): void {
  const ids = new Map<string, string>();
  const order = new Map<string, string[]>();
  for (const { id, transid, destination, status } of sink.received) {
    const of = `${transid} ${destination}`;
    const known = ids.get(`${of} ${status}`);
    if (known !== undefined && known !== id) findings.receipts.push(`${of} ${status}: two ids`);
    if (known !== undefined) continue;
    ids.set(`${of} ${status}`, id);
    order.set(of, [...(order.get(of) ?? []), status]);
  }
  for (const entry of expected) {
    entry.transids.forEach((transid, index) => {
      const of = `${transid} ${entry.users[index] ?? ''}`;
      const came = (order.get(of) ?? []).join(' ');
      if (came !== 'Submitted Delivered') findings.receipts.push(`${of}: ${came}`);
    });
  }
}

/** Resolves when every receipt of these requests has come; false: not within `ms`. */
export function allTold(entries: readonly Entry[], sink: ReceiptSink, ms: number): Promise<boolean> {
  const due = entries.flatMap((entry) =>
    entry.transids.flatMap((transid, index) =>
      ['Submitted', 'Delivered'].map((status) => `${transid} ${entry.users[index] ?? ''} ${status}`),
    ),
  );
  return sink.until(
    allOf(due, (state) => sink.states.has(state)),
    ms,
  );
}

export interface Checked {
  readonly server: ServerProcess;
  readonly journal: readonly Entry[];
  readonly devices: Devices;
  readonly sink?: ReceiptSink;
  /** The requests that asked for receipts. */
  readonly withReceipts?: (entry: Entry) => boolean;
  /** For what may still come. A control that is to fail need not wait long. */
  readonly drainMs?: number;
}

/** True once the condition holds for each. Looks on from where it stopped: it is asked after every message. */
function allOf<Item>(items: readonly Item[], holds: (item: Item) => boolean): () => boolean {
  let done = 0;
  return () => {
    for (let item = items[done]; item !== undefined && holds(item); item = items[done]) done += 1;
    return done === items.length;
  };
}

/** Waits until everything acknowledged has arrived, or the time is over, and checks every promise. */
export async function check(checked: Checked): Promise<Findings> {
  const { journal, devices, sink, drainMs = 15_000, withReceipts = () => true } = checked;
  const findings = structuredClone(NO_FINDINGS);
  const acknowledged = journal.filter((entry) => entry.outcome === 'acknowledged');
  const arrived = (entry: Entry): boolean => entry.users.every((user) => devices.get(user).texts.has(entry.label));
  await devices.until(allOf(acknowledged, arrived), drainMs);
  const expected = acknowledged.filter(withReceipts);
  if (sink !== undefined) {
    await allTold(expected, sink, drainMs);
    judgeReceipts(expected, sink, findings);
  }
  const known = await settled(checked, drainMs);
  for (const entry of journal) judgeStored(entry, known.get(entry.label) ?? [], findings);
  judgeDevices(journal, devices, findings);
  return findings;
}

/** A device's last acknowledgement is on its way when its message has arrived: asks again while something has no end. */
async function settled(checked: Checked, ms: number): Promise<Map<string, readonly StatusRow[]>> {
  const deadline = performance.now() + ms;
  const known = await askAll(checked.server, checked.journal);
  for (;;) {
    const open = checked.journal.filter(
      (entry) => known.get(entry.label)?.some((row) => !ENDED.has(row.status)) === true,
    );
    if (open.length === 0 || performance.now() > deadline) return known;
    for (const [label, rows] of await askAll(checked.server, open)) known.set(label, rows);
  }
}

/** One line for a person: what was done, and how many of what. */
export function summaryOf(journal: readonly Entry[]): string {
  const count = (outcome: Entry['outcome']): number => journal.filter((entry) => entry.outcome === outcome).length;
  const destinations = journal.reduce((sum, entry) => sum + entry.transids.length, 0);
  return `${count('acknowledged')} acknowledged (${destinations} destinations), ${count('refused')} refused, ${count('unknown')} unknown`;
}
