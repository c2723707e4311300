import type { LogEntry, SessionClose, SessionOpen, SessionOpened, UserKey } from '../../core/ports.ts';
import { STATE } from '../../core/delivery-state.ts';
import { messageEntry } from './ledger.ts';
import type { Device, Entry, Ledger, Person } from './ledger.ts';
import type { RequestContent } from '../../core/ports.ts';
import type { ThreadBook } from './thread-book.ts';

/** What was read for the sessions of one transaction, beside the ledger. */
export interface SessionSources {
  readonly threads: ThreadBook;
  /** Apps in which a customerid is known by token or profile alone. */
  readonly linkedApps: ReadonlySet<string>;
  /** Waiting entries of users without a userid, in order, with what is told of them when they move. */
  readonly waiting: ReadonlyMap<UserKey, readonly Entry[]>;
  readonly contents: ReadonlyMap<string, RequestContent>;
  /** The first waiting number of users; not there: none waits. */
  readonly firstWaiting: ReadonlyMap<UserKey, number>;
  readonly nextId: () => number;
  readonly node: string;
}

/** Sessions of devices and whom a token speaks for. Nothing here waits: all was read before. */
export class Sessions {
  private readonly ledger: Ledger;
  private readonly sources: SessionSources;

  constructor(ledger: Ledger, sources: SessionSources) {
    this.ledger = ledger;
    this.sources = sources;
  }

  open(session: SessionOpen): SessionOpened {
    const { ledger, sources } = this;
    const { appId: app, userid: value, at: now } = session;
    const person =
      ledger.personBy('userid', app, value) ?? ledger.makePerson(sources.nextId(), 'userid', { app, value, now });
    const entries = this.claim(person, session);
    const user = ledger.user(person.id);
    const known = ledger.deviceBy(user.id, session.deviceid);
    const { head } = user;
    if (known !== undefined && !session.clean && isKept(known, now)) {
      const { subscribed, floor } = known;
      const base = known.base ?? head;
      this.enter(known, session);
      const incarnation = known.incarnation;
      return { user: user.id, device: known.id, incarnation, present: true, subscribed, floor, base, head, entries };
    }
    const floor = user.waiting === 0 ? head : (sources.firstWaiting.get(user.id) ?? head + 1) - 1;
    const device = known === undefined ? this.insert(session, user.id, floor) : this.restart(session, known, floor);
    const { id, incarnation } = device;
    return {
      user: user.id,
      device: id,
      incarnation,
      present: false,
      subscribed: false,
      floor,
      base: head,
      head,
      entries,
    };
  }

  private enter(device: Device, session: SessionOpen): void {
    const { keepMs, at } = session;
    const { node } = this.sources;
    Object.assign(device, {
      keepMs,
      until: null,
      seen: at,
      node,
      incarnation: device.incarnation + 1,
      isChanged: true,
    });
  }

  private insert(session: SessionOpen, user: UserKey, floor: number): Device {
    const device: Device = {
      user,
      id: this.sources.nextId(),
      deviceid: session.deviceid,
      keepMs: session.keepMs,
      until: null,
      subscribed: false,
      base: null,
      floor,
      seen: session.at,
      node: this.sources.node,
      incarnation: 0,
      isNew: true,
      isChanged: true,
    };
    this.ledger.learnDevice(device);
    return device;
  }

  private restart(session: SessionOpen, device: Device, floor: number): Device {
    const isEmpty = device.keepMs === 0 && session.keepMs === 0 && device.base === null;
    if (!isEmpty) this.ledger.dropAcks(device.id, Number.MAX_SAFE_INTEGER);
    // Also of a device that keeps nothing: another node may hold it, and learns by the number that it is not its any more.
    this.enter(device, session);
    Object.assign(device, { subscribed: false, base: null, floor });
    return device;
  }

  close(session: SessionClose): void {
    const device = this.ledger.devices.get(session.device);
    if (device === undefined || device.user !== session.user) return;
    if (device.keepMs === 0 && session.keepMs === 0) return;
    // Opened anew since, perhaps on another node: what is told of the connection before is told too late.
    if (session.incarnation !== undefined && session.incarnation !== device.incarnation) return;
    const { keepMs, at, subscribed } = session;
    const floor = Math.max(device.floor, session.floor);
    Object.assign(device, { keepMs, until: at + keepMs, subscribed, floor, seen: at, isChanged: true });
    this.ledger.dropAcks(device.id, keepMs === 0 ? Number.MAX_SAFE_INTEGER : session.floor);
    if (keepMs === 0) Object.assign(device, { base: null, subscribed: false });
  }

  /**
   * A token's claims: signed by the tenant, so they win over what was known. Returns the messages that waited for the
   * customerid and are now in this user's log.
   */
  claim(person: Person, claims: { readonly customerid: string | null; readonly msisdn: string | null }): LogEntry[] {
    const { ledger, sources } = this;
    const { app } = person.names;
    if (claims.msisdn !== null) ledger.takeOver(person, 'msisdn', claims.msisdn);
    if (claims.customerid === null || !sources.linkedApps.has(app)) return [];
    const holder = ledger.personBy('customerid', app, claims.customerid);
    if (holder !== null && holder.id === person.id) return [];
    ledger.takeOver(person, 'customerid', claims.customerid);
    return holder === null || holder.names.userid !== null ? [] : this.move(holder.id, person.id);
  }

  /** What waits in one log goes to the end of another, in order. The old entries say where theirs went. */
  private move(from: UserKey, to: UserKey): LogEntry[] {
    const { ledger, sources } = this;
    const moved: LogEntry[] = [];
    for (const entry of sources.waiting.get(from) ?? []) {
      if (entry.state > STATE.sent) continue;
      const made = ledger.append(to, entry);
      ledger.change(entry, { state: STATE.moved, detail: JSON.stringify({ moved: { user: to, n: made.n } }) });
      ledger.countWaiting(from, -1);
      ledger.movedLinks.push({ from: { user: from, n: entry.n }, to: { user: to, n: made.n } });
      const content = sources.contents.get(entry.request ?? '');
      if (content === undefined) throw new Error(`the log names request ${entry.request}, which is not there`);
      moved.push(messageEntry(made, content, sources.threads.ref(entry.thread ?? 0)));
    }
    sources.threads.copyLinks(from, to);
    return moved;
  }
}

export function isKept(device: { keepMs: number; until: number | null }, at: number): boolean {
  return device.keepMs > 0 && (device.until === null || device.until > at);
}
