import { STATE } from '../../core/delivery-state.ts';
import type { LogEntry, Settlement, SettleResult, UserKey } from '../../core/ports.ts';
import { transidOf } from '../../core/transid.ts';
import { iso, withThread } from '../rows.ts';
import { Overtaken } from './database.ts';
import type { Row } from './database.ts';
import { detailOf } from './ledger.ts';
import type { Entry, Ledger } from './ledger.ts';
import type { Place } from './loading.ts';

const DONE: SettleResult = { outcome: 'done', entries: [] };
const STALE: SettleResult = { outcome: 'stale', entries: [] };
const UNKNOWN: SettleResult = { outcome: 'unknown', entries: [] };

type Of<Kind extends Settlement['kind']> = Extract<Settlement, { kind: Kind }>;
/** Kinds about one message. */
export type AboutMessage = Exclude<Settlement, { kind: 'inbound' | 'floor' }>;
type Press = Of<'pressed'>;

/** What was read for the settlements of one transaction, beside the ledger. */
export interface SettleSources {
  /** Where the message of a transid is, by `<user> <transid>` in lower case. */
  readonly places: ReadonlyMap<string, Place>;
  /** JSON text of requests' contents, of the messages pressed on. */
  readonly contents: ReadonlyMap<string, string>;
  /** Threads by `<user> <uid>`, where the user is linked to them. */
  readonly threads: ReadonlyMap<string, Row>;
}

/** Applies facts about deliveries, each only from the state it may follow. Nothing here waits: all was read before. */
export class Settle {
  private readonly ledger: Ledger;
  private readonly sources: SettleSources;

  constructor(ledger: Ledger, sources: SettleSources) {
    this.ledger = ledger;
    this.sources = sources;
  }

  settle(settlement: Settlement): SettleResult {
    if (!this.ledger.users.has(settlement.user)) return UNKNOWN;
    if (settlement.kind === 'floor') return this.floor(settlement);
    if (settlement.kind === 'inbound') return this.inbound(settlement);
    const entry = this.find(settlement);
    if (entry === undefined) return UNKNOWN;
    // Events can be acknowledged, and nothing else.
    if (entry.request === null) {
      return settlement.kind === 'delivered' && 'n' in settlement.ref
        ? this.deliveredAgain(settlement, entry)
        : UNKNOWN;
    }
    return this.apply(settlement, entry);
  }

  private find({ ref, user }: AboutMessage): Entry | undefined {
    const place = 'n' in ref ? { user, n: ref.n } : this.sources.places.get(`${user} ${ref.tid.toLowerCase()}`);
    const entry = place === undefined ? undefined : this.ledger.entry(place.user, place.n);
    if (entry?.state !== STATE.moved) return entry;
    const { moved } = detailOf(entry);
    const now = moved === undefined ? undefined : this.ledger.entry(moved.user, moved.n);
    // Moved after it was looked for: its new owner is not locked.
    if (now === undefined) throw new Overtaken();
    return now;
  }

  private apply(settlement: AboutMessage, entry: Entry): SettleResult {
    switch (settlement.kind) {
      case 'sent':
        return this.sent(settlement, entry);
      case 'delivered':
        return this.delivered(settlement, entry);
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

  private delivered(
    settlement: { at: number; device: number | null; sentAt: number | null },
    entry: Entry,
  ): SettleResult {
    if (entry.state > STATE.sent) return this.deliveredAgain(settlement, entry);
    const { device, sentAt, at } = settlement;
    const about = { user: entry.user, n: entry.n, request: entry.request ?? '' };
    this.ledger.countWaiting(entry.user, -1);
    if (entry.expiry <= at) {
      // Expiry came first, though nobody had noticed yet.
      this.ledger.change(entry, { state: STATE.expired, device: null, sent: sentAt ?? entry.sent, at });
      this.ledger.tell('expired', { ...about, at });
      return STALE;
    }
    this.ledger.change(entry, { state: STATE.delivered, device, sent: sentAt ?? entry.sent, at });
    this.ledger.tell('delivered', { ...about, device, at });
    return DONE;
  }

  /** Another device of the user, or the same acknowledgement once more. */
  private deliveredAgain({ device, at }: { device: number | null; at: number }, entry: Entry): SettleResult {
    if (device === null || entry.device === device) return STALE;
    const isKept = (this.ledger.devices.get(device)?.keepMs ?? 0) > 0;
    const isNew = !isKept || this.ledger.acknowledge(device, entry.n);
    if (entry.request === null) return isNew ? DONE : STALE;
    if (!isNew || (entry.state !== STATE.delivered && entry.state !== STATE.read)) return STALE;
    this.addStep(entry, { step: 'delivered', at, device, detail: null });
    return STALE;
  }

  private sent(settlement: Of<'sent'>, entry: Entry): SettleResult {
    const { at, device } = settlement;
    this.addStep(entry, { step: 'sent', at, device, detail: null });
    if (entry.state !== STATE.queued) return STALE;
    this.ledger.change(entry, { state: STATE.sent, device: null, sent: at, at });
    return DONE;
  }

  /** Failed or expired: only what waits can end so. */
  end(at: number, entry: Entry, how: { kind: 'failed' | 'expired'; code: string | null }): SettleResult {
    if (entry.state > STATE.sent || entry.request === null) return STALE;
    const { user, n, request } = entry;
    const detail = how.code === null ? entry.detail : JSON.stringify({ ...detailOf(entry), code: how.code });
    this.ledger.change(entry, { state: STATE[how.kind], at, detail });
    this.ledger.countWaiting(user, -1);
    this.ledger.tell(how.kind, { user, n, request, at, ...(how.code === null ? {} : { detail: how.code }) });
    return DONE;
  }

  /** Makes it delivered where nobody had said so; false: it ended otherwise. */
  private ensureDelivered(settlement: AboutMessage, entry: Entry): boolean {
    if (entry.state === STATE.delivered || entry.state === STATE.read) return true;
    if (entry.state > STATE.sent) return false;
    return this.delivered({ at: settlement.at, device: settlement.device, sentAt: null }, entry).outcome === 'done';
  }

  private markRead(settlement: AboutMessage, entry: Entry): LogEntry | null {
    if (entry.state !== STATE.delivered) return null;
    const { at, device } = settlement;
    const detail = device === null ? entry.detail : JSON.stringify({ ...detailOf(entry), reader: device });
    this.ledger.change(entry, { state: STATE.read, read: at, detail });
    return this.ledger.appendEvent(entry.user, { type: 'read', tids: [transid(entry)], at: iso(at) }, at);
  }

  private read(settlement: Of<'read'>, entry: Entry): SettleResult {
    if (!this.ensureDelivered(settlement, entry)) return STALE;
    const event = this.markRead(settlement, entry);
    if (event === null) return STALE;
    this.tell('read', settlement, entry);
    return { outcome: 'done', entries: [event] };
  }

  private clicked(settlement: Of<'clicked'>, entry: Entry): SettleResult {
    if (!this.ledger.isFirst(entry.user, settlement.once, settlement.at)) return STALE;
    if (!this.ensureDelivered(settlement, entry)) return STALE;
    const known = this.ledger.stepsOf(entry.user, entry.n).some(({ step }) => step === 'clicked');
    const { at, device, identifier, url } = settlement;
    const detail = { identifier, url };
    this.addStep(entry, { step: 'clicked', at, device, detail });
    if (!known) this.tell('clicked', settlement, entry, JSON.stringify(detail));
    const event = {
      type: 'clicked',
      tid: transid(entry),
      ...(identifier === null ? {} : { identifier }),
      ...(url === null ? {} : { url }),
      at: iso(at),
    };
    return { outcome: 'done', entries: [this.ledger.appendEvent(entry.user, event, at)] };
  }

  private pressed(settlement: Press, entry: Entry): SettleResult {
    const { at, device, identifier, text, once } = settlement;
    if (!this.ledger.isFirst(entry.user, once, at)) return STALE;
    const detail = { identifier, text };
    if (this.isDismiss(identifier, entry)) return this.step(settlement, entry, 'dismissed', detail);
    if (!this.ensureDelivered(settlement, entry)) return STALE;
    if (once === null && this.wasPressed(entry, identifier)) return STALE;
    const read = this.markRead(settlement, entry);
    this.addStep(entry, { step: 'pressed', at, device, detail });
    this.tell('pressed', settlement, entry, JSON.stringify(detail));
    this.tell('postback', settlement, entry, JSON.stringify(detail));
    return { outcome: 'done', entries: read === null ? [] : [read] };
  }

  private wasPressed(entry: Entry, identifier: string): boolean {
    return this.ledger
      .stepsOf(entry.user, entry.n)
      .some(
        ({ step, detail }) =>
          step === 'pressed' &&
          detail !== null &&
          (JSON.parse(detail) as { identifier?: string }).identifier === identifier,
      );
  }

  private step(
    settlement: AboutMessage,
    entry: Entry,
    step: string,
    detail: Record<string, unknown> | null,
  ): SettleResult {
    const { at, device } = settlement;
    // A press that dismisses gave its id before.
    if (detail === null) {
      const once = 'once' in settlement ? settlement.once : null;
      if (!this.ledger.isFirst(entry.user, once, at)) return STALE;
    }
    this.ensureDelivered(settlement, entry);
    this.addStep(entry, { step, at, device, detail });
    return DONE;
  }

  private inbound(settlement: Of<'inbound'>): SettleResult {
    const { user, threadId, at, device, event } = settlement;
    const row = this.sources.threads.get(`${user} ${threadId}`);
    if (row === undefined) return UNKNOWN;
    if (row['status'] !== 'Active' || (event.event === 'MO' && row['type'] === 'Announcement')) return STALE;
    if (!this.ledger.isFirst(user, settlement.once, at)) return STALE;
    if (event.event === 'MO') {
      const media: unknown = event.attachments === '' ? [] : JSON.parse(event.attachments);
      const content = JSON.stringify({ message: event.message, media });
      this.ledger.replies.push({ user, thread: Number(row['id']), tid: event.tid, content, at });
    }
    const detail = JSON.stringify({ service: row['service'], event: withThread(event, row) });
    this.ledger.tell('inbound', { user, device, at, detail });
    return DONE;
  }

  private floor({ device, user, floor }: Of<'floor'>): SettleResult {
    const known = device === null ? undefined : this.ledger.devices.get(device);
    if (known === undefined || known.user !== user) return DONE;
    if (floor > known.floor) {
      known.floor = floor;
      known.isChanged = true;
    }
    this.ledger.dropAcks(known.id, floor);
    return DONE;
  }

  /** A button whose action is DISMISS, or whose identifier says so where the message defines no such button. */
  private isDismiss(identifier: string, entry: Entry): boolean {
    const content = JSON.parse(this.sources.contents.get(entry.request ?? '') ?? '{}') as {
      notification?: { interactive?: { actions?: { identifier?: string; action?: string }[] } };
    };
    const actions = content.notification?.interactive?.actions ?? [];
    const action = actions.find((candidate) => candidate.identifier === identifier);
    return action === undefined ? identifier === 'DISMISS' : action.action === 'DISMISS';
  }

  private tell(
    kind: 'read' | 'clicked' | 'pressed' | 'postback',
    { at, device }: AboutMessage,
    { user, n, request }: Entry,
    detail?: string,
  ): void {
    const row = { user, n, request: request ?? '', device, at };
    this.ledger.tell(kind, detail === undefined ? row : { ...row, detail });
  }

  private addStep(
    { user, n }: { user: UserKey; n: number },
    step: { step: string; at: number; device: number | null; detail: Record<string, unknown> | null },
  ): void {
    const detail = step.detail === null ? null : JSON.stringify(step.detail);
    this.ledger.addStep(user, n, { ...step, detail });
  }
}

function transid(entry: Entry): string {
  return transidOf(entry.request ?? '', entry.destination ?? 0);
}
