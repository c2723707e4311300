import { STATE } from '../../core/delivery-state.ts';
import type { LogEntry, Settlement, SettleResult, UserKey } from '../../core/ports.ts';
import { splitTransid, transidOf } from '../../core/transid.ts';
import { iso, withThread } from '../rows.ts';
import type { EntryDetail, State } from './state.ts';
import type { YoungEntry } from './young.ts';

const DONE: SettleResult = { outcome: 'done', entries: [] };
const STALE: SettleResult = { outcome: 'stale', entries: [] };
const UNKNOWN: SettleResult = { outcome: 'unknown', entries: [] };

type Of<Kind extends Settlement['kind']> = Extract<Settlement, { kind: Kind }>;
/** Kinds about one message. */
type AboutMessage = Exclude<Settlement, { kind: 'inbound' | 'floor' }>;
type Press = Of<'pressed'>;

interface Entry {
  readonly user: UserKey;
  readonly n: number;
  readonly request: number;
  readonly destination: number;
  readonly state: number;
  readonly device: number | null;
}

const ENTRY = 'SELECT user, n, request, destination, state, device, detail FROM log WHERE user = ? AND n = ?';

/** Applies facts about deliveries, each only from the state it may follow. */
export class Settle {
  private readonly state: State;

  constructor(state: State) {
    this.state = state;
  }

  settle(settlement: Settlement): SettleResult {
    if (settlement.kind === 'floor') return this.floor(settlement);
    if (settlement.kind === 'inbound') return this.inbound(settlement);
    if (settlement.kind === 'delivered' && 'n' in settlement.ref)
      return this.deliveredByNumber(settlement, settlement.ref.n);
    const entry = this.find(settlement);
    return entry === null ? UNKNOWN : this.apply(settlement, entry);
  }

  private apply(settlement: AboutMessage, entry: Entry): SettleResult {
    switch (settlement.kind) {
      case 'sent':
        return this.sent(settlement, entry);
      case 'delivered':
        return this.deliveredByNumber(settlement, entry.n, entry.user);
      case 'expired':
        return this.end(settlement.at, entry, { kind: 'expired', code: null });
      case 'failed':
        return this.end(settlement.at, entry, { kind: 'failed', code: settlement.code });
      case 'read':
        return this.read(settlement, entry);
      case 'clicked':
        return this.clicked(settlement, entry);
      case 'pressed':
        return this.pressed(settlement, entry);
      case 'displayed':
      case 'dismissed':
        return this.step(settlement, entry, settlement.kind, null);
    }
  }

  /** The hot path: one update by number, one row of the feed. */
  private deliveredYoung(settlement: Of<'delivered'>, young: YoungEntry): SettleResult {
    if (young.state > STATE.sent) {
      this.state.ripen(young.user);
      return this.deliveredAgain(settlement, young.user, young.n);
    }
    this.state.countWaiting(young.user, -1);
    const { user, n, request } = young;
    const isLate = this.state.requests.content(request).expiry <= settlement.at;
    const { device, sentAt, at } = settlement;
    if (isLate) {
      this.state.young.change(young, { state: STATE.expired, device: null, sent: sentAt, at });
      this.state.feed('expired', { request, user, n, at });
      return STALE;
    }
    this.state.young.change(young, { state: STATE.delivered, device, sent: sentAt, at });
    const detail = sentAt === null ? {} : { detail: String(sentAt) };
    this.state.feed('delivered', { request, user, n, device, at, ...detail });
    return DONE;
  }

  private deliveredByNumber(settlement: Of<'delivered'>, n: number, owner: UserKey = settlement.user): SettleResult {
    const young = this.state.young.find(owner, n);
    if (young !== undefined) return this.deliveredYoung(settlement, young);
    const row = this.state.db.get(
      'UPDATE log SET state = 2, device = ?, sent = coalesce(?, sent), at = ? WHERE user = ? AND n = ? AND state < 2 AND request IS NOT NULL RETURNING request',
      settlement.device,
      settlement.sentAt,
      settlement.at,
      owner,
      n,
    );
    if (row === undefined) return this.deliveredAgain(settlement, owner, n);
    this.state.countWaiting(owner, -1);
    const request = Number(row['request']);
    if (this.state.requests.content(request).expiry <= settlement.at) {
      // Expiry came first, though nobody had noticed yet.
      this.state.db.run('UPDATE log SET state = 5 WHERE user = ? AND n = ?', owner, n);
      this.state.feed('expired', { request, user: owner, n, at: settlement.at });
      return STALE;
    }
    this.state.feed('delivered', { request, user: owner, n, device: settlement.device, at: settlement.at });
    return DONE;
  }

  /** Another device of the user, or the same acknowledgement once more. */
  private deliveredAgain(settlement: Of<'delivered'>, owner: UserKey, n: number): SettleResult {
    const { db } = this.state;
    const row = db.get(ENTRY, owner, n);
    if (row === undefined) return UNKNOWN;
    const device = settlement.device;
    if (device === null || row['device'] === device) return STALE;
    const isKept = Number(db.get('SELECT keep_ms FROM devices WHERE id = ?', device)?.['keep_ms'] ?? 0) > 0;
    const isNew = !isKept || db.run('INSERT OR IGNORE INTO device_acks (device, n) VALUES (?, ?)', device, n) === 1;
    if (row['request'] === null) return isNew ? DONE : STALE;
    const state = Number(row['state']);
    if (!isNew || (state !== STATE.delivered && state !== STATE.read)) return STALE;
    this.addStep(owner, n, { step: 'delivered', at: settlement.at, device, detail: null });
    return STALE;
  }

  private sent(settlement: Of<'sent'>, entry: Entry): SettleResult {
    const changed = this.state.db.run(
      'UPDATE log SET state = 1, device = NULL, sent = ?, at = ? WHERE user = ? AND n = ? AND state = 0',
      settlement.at,
      settlement.at,
      entry.user,
      entry.n,
    );
    this.addStep(entry.user, entry.n, { step: 'sent', at: settlement.at, device: settlement.device, detail: null });
    return changed === 1 ? DONE : STALE;
  }

  /** Failed or expired: only what waits can end so. */
  end(
    at: number,
    entry: { user: UserKey; n: number },
    how: { kind: 'failed' | 'expired'; code: string | null },
  ): SettleResult {
    const changed = this.state.db.run(
      'UPDATE log SET state = ?, at = ?, detail = CASE WHEN ? IS NULL THEN detail ELSE json_set(coalesce(detail, ?), ?, ?) END WHERE user = ? AND n = ? AND state < 2 AND request IS NOT NULL',
      STATE[how.kind],
      at,
      how.code,
      '{}',
      '$.code',
      how.code,
      entry.user,
      entry.n,
    );
    if (changed === 0) return STALE;
    this.state.countWaiting(entry.user, -1);
    this.state.feed(how.kind, { user: entry.user, n: entry.n, at, ...(how.code === null ? {} : { detail: how.code }) });
    return DONE;
  }

  /** Makes it delivered where nobody had said so; false: it ended otherwise. */
  private ensureDelivered(settlement: AboutMessage, entry: Entry): boolean {
    if (entry.state === STATE.delivered || entry.state === STATE.read) return true;
    if (entry.state > STATE.sent) return false;
    const result = this.deliveredByNumber(
      {
        kind: 'delivered',
        user: entry.user,
        at: settlement.at,
        device: settlement.device,
        ref: { n: entry.n },
        sentAt: null,
      },
      entry.n,
      entry.user,
    );
    return result.outcome === 'done';
  }

  private markRead(settlement: AboutMessage, entry: Entry): LogEntry | null {
    const changed = this.state.db.run(
      `UPDATE log SET state = 3, read = ?,
         detail = CASE WHEN ? IS NULL THEN detail ELSE json_set(coalesce(detail, '{}'), '$.reader', ?) END
       WHERE user = ? AND n = ? AND state = 2`,
      settlement.at,
      settlement.device,
      settlement.device,
      entry.user,
      entry.n,
    );
    if (changed === 0) return null;
    const tid = this.transid(entry);
    return this.state.appendEvent(entry.user, { type: 'read', tids: [tid], at: iso(settlement.at) }, settlement.at);
  }

  private read(settlement: Of<'read'>, entry: Entry): SettleResult {
    if (!this.ensureDelivered(settlement, entry)) return STALE;
    const event = this.markRead(settlement, entry);
    if (event === null) return STALE;
    this.state.feed('read', { user: entry.user, n: entry.n, device: settlement.device, at: settlement.at });
    return { outcome: 'done', entries: [event] };
  }

  private clicked(settlement: Of<'clicked'>, entry: Entry): SettleResult {
    if (!this.isFirst(entry.user, settlement.once, settlement.at)) return STALE;
    if (!this.ensureDelivered(settlement, entry)) return STALE;
    const known = this.hasStep(entry, 'clicked');
    const detail = { identifier: settlement.identifier, url: settlement.url };
    this.addStep(entry.user, entry.n, { step: 'clicked', at: settlement.at, device: settlement.device, detail });
    if (!known) {
      this.state.feed('clicked', {
        user: entry.user,
        n: entry.n,
        device: settlement.device,
        at: settlement.at,
        detail: JSON.stringify(detail),
      });
    }
    const event = {
      type: 'clicked',
      tid: this.transid(entry),
      ...(settlement.identifier === null ? {} : { identifier: settlement.identifier }),
      ...(settlement.url === null ? {} : { url: settlement.url }),
      at: iso(settlement.at),
    };
    return { outcome: 'done', entries: [this.state.appendEvent(entry.user, event, settlement.at)] };
  }

  private pressed(settlement: Press, entry: Entry): SettleResult {
    if (!this.isFirst(entry.user, settlement.once, settlement.at)) return STALE;
    const detail = { identifier: settlement.identifier, text: settlement.text };
    if (this.isDismiss(settlement.identifier, entry.request)) return this.step(settlement, entry, 'dismissed', detail);
    if (!this.ensureDelivered(settlement, entry)) return STALE;
    if (settlement.once === null && this.hasStep(entry, 'pressed', settlement.identifier)) return STALE;
    const read = this.markRead(settlement, entry);
    this.addStep(entry.user, entry.n, { step: 'pressed', at: settlement.at, device: settlement.device, detail });
    const row = {
      user: entry.user,
      n: entry.n,
      device: settlement.device,
      at: settlement.at,
      detail: JSON.stringify(detail),
    };
    this.state.feed('pressed', row);
    this.state.feed('postback', row);
    return { outcome: 'done', entries: read === null ? [] : [read] };
  }

  private step(
    settlement: AboutMessage,
    entry: Entry,
    step: string,
    detail: Record<string, unknown> | null,
  ): SettleResult {
    const once = 'once' in settlement ? settlement.once : null;
    if (step !== 'dismissed' || detail === null) {
      if (!this.isFirst(entry.user, once, settlement.at)) return STALE;
    }
    this.ensureDelivered(settlement, entry);
    this.addStep(entry.user, entry.n, { step, at: settlement.at, device: settlement.device, detail });
    return DONE;
  }

  private inbound(settlement: Of<'inbound'>): SettleResult {
    const { db } = this.state;
    const row = db.get(
      'SELECT t.* FROM threads t WHERE t.uid = ? AND EXISTS (SELECT 1 FROM user_threads u WHERE u.thread = t.id AND u.user = ?)',
      settlement.threadId,
      settlement.user,
    );
    if (row === undefined) return UNKNOWN;
    const { event } = settlement;
    if (row['status'] !== 'Active' || (event.event === 'MO' && row['type'] === 'Announcement')) return STALE;
    if (!this.isFirst(settlement.user, settlement.once, settlement.at)) return STALE;
    if (event.event === 'MO') {
      db.run(
        'INSERT INTO replies (user, thread, tid, content, at) VALUES (?, ?, ?, ?, ?)',
        settlement.user,
        Number(row['id']),
        event.tid,
        JSON.stringify({
          message: event.message,
          media: event.attachments === '' ? [] : JSON.parse(event.attachments),
        }),
        settlement.at,
      );
    }
    const detail = JSON.stringify({ service: row['service'], event: withThread(event, row) });
    this.state.feed('inbound', { user: settlement.user, device: settlement.device, at: settlement.at, detail });
    return DONE;
  }

  private floor(settlement: Of<'floor'>): SettleResult {
    const { db } = this.state;
    db.run(
      'UPDATE devices SET floor = max(floor, ?) WHERE id = ? AND user = ?',
      settlement.floor,
      settlement.device,
      settlement.user,
    );
    db.run('DELETE FROM device_acks WHERE device = ? AND n <= ?', settlement.device, settlement.floor);
    return DONE;
  }

  // -------------------------------------------------------------------------------------------- finding

  private find(settlement: AboutMessage): Entry | null {
    const { ref, user } = settlement;
    if ('n' in ref) return this.entryAt(user, ref.n);
    const parts = splitTransid(ref.tid);
    const key = parts === null ? null : this.state.requests.keyOf(parts.uid);
    const record = key === null ? null : this.state.requests.record(key);
    if (parts === null || record === null) return null;
    for (const member of record.members) {
      if (member.destination !== parts.destination || member.user === null || member.n === null) continue;
      const entry = this.entryAt(member.user, member.n);
      if (entry !== null && entry.user === user) return entry;
    }
    return null;
  }

  /** The message at a place of the log, followed to where it was moved. */
  private entryAt(user: UserKey, n: number): Entry | null {
    this.state.ripen(user);
    const row = this.state.db.get(ENTRY, user, n);
    if (row === undefined || row['request'] === null) return null;
    if (Number(row['state']) === STATE.moved) {
      const moved = (JSON.parse(String(row['detail'])) as EntryDetail).moved;
      return moved === undefined ? null : this.entryAt(moved.user, moved.n);
    }
    return {
      user,
      n,
      request: Number(row['request']),
      destination: Number(row['destination']),
      state: Number(row['state']),
      device: row['device'] as number | null,
    };
  }

  private transid(entry: Entry): string {
    return transidOf(this.state.requests.content(entry.request).uid, entry.destination);
  }

  /** A button whose action is DISMISS, or whose identifier says so where the message defines no such button. */
  private isDismiss(identifier: string, request: number): boolean {
    const content = JSON.parse(this.state.requests.content(request).content) as {
      notification?: { interactive?: { actions?: { identifier?: string; action?: string }[] } };
    };
    const actions = content.notification?.interactive?.actions ?? [];
    const action = actions.find((candidate) => candidate.identifier === identifier);
    return action === undefined ? identifier === 'DISMISS' : action.action === 'DISMISS';
  }

  private isFirst(user: UserKey, once: string | null, at: number): boolean {
    if (once === null) return true;
    return this.state.db.run('INSERT OR IGNORE INTO once (user, id, at) VALUES (?, ?, ?)', user, once, at) === 1;
  }

  private hasStep(entry: Entry, step: string, identifier?: string): boolean {
    const rows = this.state.db.all(
      'SELECT detail FROM steps WHERE user = ? AND n = ? AND step = ?',
      entry.user,
      entry.n,
      step,
    );
    if (identifier === undefined) return rows.length > 0;
    return rows.some((row) => (JSON.parse(String(row['detail'])) as { identifier?: string }).identifier === identifier);
  }

  addStep(
    user: UserKey,
    n: number,
    step: { step: string; at: number; device: number | null; detail: Record<string, unknown> | null },
  ): void {
    this.state.db.run(
      'INSERT INTO steps (user, n, step, at, device, detail) VALUES (?, ?, ?, ?, ?, ?)',
      user,
      n,
      step.step,
      step.at,
      step.device,
      step.detail === null ? null : JSON.stringify(step.detail),
    );
  }
}
