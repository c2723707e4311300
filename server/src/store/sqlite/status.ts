import { STATE } from '../../core/delivery-state.ts';
import type { StateNumber } from '../../core/delivery-state.ts';
import type { DeliveryStatus, DeliveryStep, RecallResult, RequestStatus } from '../../core/delivery-status.ts';
import type { LogEntry } from '../../core/ports.ts';
import { splitTransid, transidOf } from '../../core/transid.ts';
import { receiptSteps } from '../feed-work.ts';
import type { Member } from '../request-record.ts';
import type { Row } from './connection.ts';
import type { FeedReader } from './feed.ts';
import type { RequestRecord } from './requests.ts';
import type { EntryDetail, State } from './state.ts';

interface Place {
  readonly user: number;
  readonly n: number;
  readonly row: Row;
}

/** What became of a message, and taking it back. */
export class Status {
  private readonly state: State;
  private readonly reader: FeedReader;

  constructor(state: State, reader: FeedReader) {
    this.state = state;
    this.reader = reader;
  }

  private find(serviceId: string, transid: string): { record: RequestRecord; destination: number } | null {
    const parts = splitTransid(transid);
    const key = parts === null ? null : this.state.requests.keyOf(parts.uid);
    const record = key === null ? null : this.state.requests.record(key);
    if (parts === null || record === null || record.service !== serviceId) return null;
    if (!record.members.some((member) => member.destination === parts.destination)) return null;
    return { record, destination: parts.destination };
  }

  status(serviceId: string, transid: string): RequestStatus | null {
    const found = this.find(serviceId, transid);
    if (found === null) return null;
    const { record, destination } = found;
    const deliveries: DeliveryStatus[] = [];
    record.members.forEach((member, index) => {
      if (member.destination === destination) deliveries.push(this.delivery(record, member, index));
    });
    const first = record.members.find((member) => member.destination === destination);
    return {
      transid: transidOf(record.uid, destination),
      clientId: record.client,
      serviceId: record.service,
      appId: record.app,
      channelWord: record.word,
      correlationid: first?.correlationid ?? null,
      content: this.state.requests.content(record.key).content,
      expiry: record.expiry,
      priority: record.priority,
      deliveries,
    };
  }

  private delivery(record: RequestRecord, member: Member, index: number): DeliveryStatus {
    const destination = { type: member.type, value: member.value };
    const steps: DeliveryStep[] = [{ step: 'accepted', at: record.accepted, deviceid: null, detail: null }];
    const place = member.user === null || member.n === null ? null : this.place(member.user, member.n);
    if (place === null) {
      const state = member.code === '7301' ? STATE.expired : STATE.failed;
      steps.push({
        step: state === STATE.expired ? 'expired' : 'failed',
        at: record.accepted,
        deviceid: null,
        detail: { code: member.code },
      });
      steps.push(...this.receiptSteps(record, member, index));
      return {
        destination,
        state,
        code: member.code,
        createdAt: record.accepted,
        updatedAt: record.accepted,
        userid: null,
        steps,
      };
    }
    steps.push(...this.entrySteps(place), ...this.stepRows(place), ...this.receiptSteps(record, member, index));
    steps.sort((a, b) => a.at - b.at);
    const state = Number(place.row['state']) as StateNumber;
    const userid = this.state.db.get('SELECT userid FROM users WHERE id = ?', place.user)?.['userid'] ?? null;
    return {
      destination,
      state,
      code: state === STATE.expired ? '7301' : state === STATE.failed ? (detailOf(place.row).code ?? null) : null,
      createdAt: record.accepted,
      updatedAt: Math.max(record.accepted, Number(place.row['at'] ?? 0), Number(place.row['read'] ?? 0)),
      userid: userid as string | null,
      steps,
    };
  }

  /** The steps that the entry itself remembers. */
  private entrySteps({ row }: Place): DeliveryStep[] {
    const steps: DeliveryStep[] = [];
    const deviceid = row['device'] === null ? null : this.reader.deviceid(Number(row['device']));
    const state = Number(row['state']);
    const wasDelivered = state === STATE.delivered || state === STATE.read;
    // A send that nobody acknowledged has a step row of its own.
    if (row['sent'] !== null && wasDelivered)
      steps.push({ step: 'sent', at: Number(row['sent']), deviceid, detail: null });
    if (wasDelivered) steps.push({ step: 'delivered', at: Number(row['at']), deviceid, detail: null });
    if (row['read'] !== null) {
      const { reader } = detailOf(row);
      const readOn = reader === undefined ? null : this.reader.deviceid(reader);
      steps.push({ step: 'read', at: Number(row['read']), deviceid: readOn, detail: null });
    }
    if (state === STATE.expired || state === STATE.failed || state === STATE.recalled) {
      const step = state === STATE.expired ? 'expired' : state === STATE.failed ? 'failed' : 'recalled';
      steps.push({
        step,
        at: Number(row['at']),
        deviceid: null,
        detail: state === STATE.failed ? { code: detailOf(row).code ?? null } : null,
      });
    }
    return steps;
  }

  private stepRows(place: Place): DeliveryStep[] {
    return this.state.db
      .all('SELECT step, at, device, detail FROM steps WHERE user = ? AND n = ? ORDER BY id', place.user, place.n)
      .map((row) => ({
        step: String(row['step']),
        at: Number(row['at']),
        deviceid: row['device'] === null ? null : this.reader.deviceid(Number(row['device'])),
        detail: row['detail'] === null ? null : (JSON.parse(String(row['detail'])) as Record<string, unknown>),
      }));
  }

  private receiptSteps(record: RequestRecord, member: Member, index: number): DeliveryStep[] {
    const transid = transidOf(record.uid, member.destination);
    const rows = this.state.db.all('SELECT id, kind, history FROM receipts WHERE transid = ?', transid);
    return receiptSteps(record, { member, index }, rows);
  }

  private place(user: number, n: number): Place | null {
    this.state.ripen(user);
    const row = this.state.db.get(
      'SELECT state, device, sent, at, read, detail FROM log WHERE user = ? AND n = ? AND request IS NOT NULL',
      user,
      n,
    );
    if (row === undefined) return null;
    const moved = Number(row['state']) === STATE.moved ? detailOf(row).moved : undefined;
    return moved === undefined ? { user, n, row } : this.place(moved.user, moved.n);
  }

  transids(serviceId: string, correlationid: string, limit: number): string[] {
    return this.state.db
      .all(
        'SELECT r.uid, c.destination FROM correlations c JOIN requests r ON r.id = c.request WHERE c.service = ? AND c.correlationid = ? ORDER BY c.request DESC, c.destination LIMIT ?',
        serviceId,
        correlationid,
        limit,
      )
      .map((row) => transidOf(String(row['uid']), Number(row['destination'])));
  }

  recall(serviceId: string, transid: string, now: number): RecallResult[] | null {
    const found = this.find(serviceId, transid);
    if (found === null) return null;
    const results: RecallResult[] = [];
    const done = new Set<string>();
    for (const member of found.record.members) {
      if (member.destination !== found.destination) continue;
      results.push(this.recallOne(transidOf(found.record.uid, found.destination), member, done, now));
    }
    return results;
  }

  private recallOne(transid: string, member: Member, done: Set<string>, now: number): RecallResult {
    const destination = { type: member.type, value: member.value };
    const place = member.user === null || member.n === null ? null : this.place(member.user, member.n);
    if (place === null)
      return {
        destination,
        outcome: 'ended',
        state: member.code === '7301' ? STATE.expired : STATE.failed,
        entries: [],
      };
    const state = Number(place.row['state']) as StateNumber;
    const key = `${place.user} ${place.n}`;
    if (done.has(key)) return { destination, outcome: 'recalled', state: STATE.recalled, entries: [] };
    if (state > STATE.delivered)
      return { destination, outcome: state === STATE.read ? 'read' : 'ended', state, entries: [] };
    done.add(key);
    return { destination, outcome: 'recalled', state: STATE.recalled, entries: this.take(transid, place, now) };
  }

  private take(transid: string, place: Place, now: number): LogEntry[] {
    const { db } = this.state;
    const state = Number(place.row['state']);
    if (state === STATE.delivered) {
      // The row is about to forget it.
      const steps = this.entrySteps(place);
      for (const step of steps) {
        db.run(
          'INSERT INTO steps (user, n, step, at, device, detail) VALUES (?, ?, ?, ?, ?, NULL)',
          place.user,
          place.n,
          step.step,
          step.at,
          place.row['device'] ?? null,
        );
      }
    } else {
      this.state.countWaiting(place.user, -1);
    }
    db.run('UPDATE log SET state = ?, at = ? WHERE user = ? AND n = ?', STATE.recalled, now, place.user, place.n);
    return [
      this.state.appendEvent(place.user, { type: 'recalled', tid: transid, at: new Date(now).toISOString() }, now),
    ];
  }
}

function detailOf(row: Row): EntryDetail {
  return row['detail'] === null ? {} : (JSON.parse(String(row['detail'])) as EntryDetail);
}
