import { newSlug } from '../../core/links.ts';
import type { AcceptResult, AcceptUnit, LogEntry, Random, RequestContent, UserKey } from '../../core/ports.ts';
import { contentOfUnit, encodeMembers } from '../request-record.ts';
import type { Member } from '../request-record.ts';
import type { ThreadRef } from '../rows.ts';
import { messageEntry } from './ledger.ts';
import type { Ledger, NameColumn, Person } from './ledger.ts';
import type { ThreadBook } from './thread-book.ts';

const UNKNOWN_PROFILE = '7105';
const UNKNOWN_THREAD = '7312';
const EXPIRED = '7301';

export interface IdempotencyEntry {
  readonly hash: string;
  readonly answer: string;
  readonly expires: number;
}

/** What was read for the requests of one transaction, beside the ledger; and what they make. */
export interface AcceptSources {
  readonly threads: ThreadBook;
  readonly linkedApps: ReadonlySet<string>;
  /** `<service> <key>` → what is kept under it; changed as requests are accepted. */
  readonly idempotency: Map<string, IdempotencyEntry>;
  /** Messages that waited, over all users, when the transaction looked. */
  readonly waitingTotal: number;
  readonly nextId: () => number;
  readonly newThreadUid: () => string;
  readonly random: Random;
}

export interface NewLink {
  readonly slug: string;
  readonly linkid: string;
  readonly url: string;
  readonly request: string;
  readonly user: UserKey;
  readonly n: number;
  readonly expires: number;
}

/** Where an identifier's message went: its number, and the store's number of its thread. */
interface Place {
  readonly n: number;
  readonly thread: number;
}

type Identifier = AcceptUnit['destinations'][number]['identifiers'][number];

interface Work {
  readonly unit: AcceptUnit;
  readonly content: RequestContent;
  readonly failure: string | null;
  readonly members: Member[];
  readonly entries: LogEntry[];
}

/** Where an identifier is looked for: a customerid of an app that has none of its own is the userid. */
export function columnOf(linkedApps: ReadonlySet<string>, app: string, type: Identifier['type']): NameColumn {
  return type === 'customerid' && !linkedApps.has(app) ? 'userid' : type;
}

/**
 * Accepts requests: who they are for, their numbers, their rows. A request that is answered `full` or `repeated` changes
 * nothing. Nothing here waits: all was read before.
 */
export class Accept {
  private readonly ledger: Ledger;
  private readonly sources: AcceptSources;
  readonly links: NewLink[] = [];
  /** linkid → recipients it was minted for. */
  readonly minted = new Map<string, number>();
  readonly correlations: { service: string; correlationid: string; request: string; destination: number }[] = [];

  constructor(ledger: Ledger, sources: AcceptSources) {
    this.ledger = ledger;
    this.sources = sources;
  }

  accept(unit: AcceptUnit): AcceptResult {
    const repeated = this.repeated(unit);
    if (repeated !== null) return repeated;
    const failure = this.commonFailure(unit);
    if (failure === null) {
      const bound = this.boundReached(unit);
      if (bound !== null) return { kind: 'full', bound };
    }
    const content = contentOfUnit(unit, this.sources.nextId());
    this.ledger.tell('submitted', { request: unit.uid, at: unit.acceptedAt });
    const work: Work = { unit, content, failure, members: [], entries: [] };
    for (let index = 0; index < unit.destinations.length; index += 1) this.acceptDestination(work, index);
    this.ledger.requests.push({
      content,
      client: unit.clientId,
      word: unit.channelWord,
      notifyUrl: unit.notifyUrl,
      callback: unit.callbackData,
      members: encodeMembers(work.members),
    });
    for (const { linkid } of unit.links) {
      this.minted.set(linkid, (this.minted.get(linkid) ?? 0) + work.entries.length);
    }
    this.keep(unit);
    return { kind: 'accepted', entries: work.entries };
  }

  private repeated(unit: AcceptUnit): AcceptResult | null {
    if (unit.idempotency === null) return null;
    const { key, bodyHash } = unit.idempotency;
    const known = this.sources.idempotency.get(idempotencyKey(unit.serviceId, key));
    if (known === undefined || known.expires <= unit.acceptedAt) return null;
    return { kind: 'repeated', answer: known.hash === bodyHash ? known.answer : null };
  }

  /** Only of an accepted request: a `full` one may be tried again. */
  private keep(unit: AcceptUnit): void {
    if (unit.idempotency === null) return;
    const { key, bodyHash, answer, expiresAt } = unit.idempotency;
    this.sources.idempotency.set(idempotencyKey(unit.serviceId, key), { hash: bodyHash, answer, expires: expiresAt });
  }

  /** What makes every identifier of the request fail alike. */
  private commonFailure(unit: AcceptUnit): string | null {
    if (unit.expiry <= unit.acceptedAt) return EXPIRED;
    if ('id' in unit.thread && this.sources.threads.openById(unit.appId, unit.thread.id) === null)
      return UNKNOWN_THREAD;
    return null;
  }

  private find(app: string, { type, value }: Identifier): Person | null {
    return this.ledger.personBy(columnOf(this.sources.linkedApps, app, type), app, value);
  }

  private findOrMake(unit: AcceptUnit, identifier: Identifier): Person | null {
    const { appId: app, acceptedAt: now } = unit;
    const found = this.find(app, identifier);
    if (found !== null || identifier.type === 'msisdn') return found;
    const column = columnOf(this.sources.linkedApps, app, identifier.type);
    const { value } = identifier;
    return this.ledger.makePerson(this.sources.nextId(), column === 'customerid' ? column : 'userid', {
      app,
      value,
      now,
    });
  }

  private boundReached(unit: AcceptUnit): 'user' | 'total' | null {
    const { total, byUser } = this.additions(unit);
    if (this.sources.waitingTotal + this.ledger.waitingChange + total > unit.waitingTotalMax) return 'total';
    for (const [user, count] of byUser) {
      if (this.ledger.user(user).waiting + count > unit.waitingPerUserMax) return 'user';
    }
    return null;
  }

  /** What a request adds to the logs: one entry per user and object, however often the object names the user. */
  private additions(unit: AcceptUnit): { total: number; byUser: Map<UserKey, number> } {
    const byUser = new Map<UserKey, number>();
    let total = 0;
    for (const { identifiers } of unit.destinations) {
      const named = new Set<UserKey>();
      for (const identifier of identifiers) {
        const person = this.find(unit.appId, identifier);
        // Nobody yet: made by the request, unless it is an msisdn, which makes nobody.
        if (person === null) total += identifier.type === 'msisdn' ? 0 : 1;
        else named.add(person.id);
      }
      total += named.size;
      for (const user of named) byUser.set(user, (byUser.get(user) ?? 0) + 1);
    }
    return { total, byUser };
  }

  private acceptDestination(work: Work, index: number): void {
    const { unit, failure, members } = work;
    const destination = unit.destinations[index];
    if (destination === undefined) return;
    const { correlationid } = destination;
    if (correlationid !== null) {
      this.correlations.push({ service: unit.serviceId, correlationid, request: unit.uid, destination: index });
    }
    // Only objects with several identifiers can name one user twice.
    const places = destination.identifiers.length > 1 ? new Map<UserKey, Place>() : null;
    for (const identifier of destination.identifiers) {
      const { type, value } = identifier;
      const base = { destination: index, correlationid, type, value };
      const person = failure === null ? this.findOrMake(unit, identifier) : null;
      if (person === null) {
        const code = failure ?? UNKNOWN_PROFILE;
        members.push({ ...base, user: null, n: null, code, thread: null, shared: false });
        continue;
      }
      const present = places?.get(person.id);
      const place = present ?? this.append(work, index, person);
      places?.set(person.id, place);
      const shared = present !== undefined;
      members.push({ ...base, user: person.id, n: place.n, code: null, thread: place.thread, shared });
    }
  }

  /** The next number of the user's log, given to this message. */
  private append(work: Work, destination: number, person: Person): Place {
    const { unit, content } = work;
    const thread = this.threadFor(unit, person.id);
    const slugs = unit.links.map((link) => ({ link, slug: newSlug(this.sources.random) }));
    const links = Object.fromEntries(slugs.map(({ link, slug }) => [link.linkid, slug]));
    const entry = this.ledger.append(person.id, {
      request: unit.uid,
      destination,
      member: work.members.length,
      priority: unit.priority,
      thread: thread.key,
      detail: slugs.length === 0 ? null : JSON.stringify({ links }),
      expiry: unit.expiry,
    });
    for (const { link, slug } of slugs) {
      const { linkid, url, expiresAt: expires } = link;
      this.links.push({ slug, linkid, url, request: unit.uid, user: person.id, n: entry.n, expires });
    }
    work.entries.push(messageEntry(entry, content, thread));
    return { n: entry.n, thread: thread.key };
  }

  private threadFor(unit: AcceptUnit, user: UserKey): ThreadRef {
    const { threads } = this.sources;
    const choice = unit.thread;
    if ('id' in choice) {
      const thread = threads.openById(unit.appId, choice.id);
      if (thread === null) throw new Error(`thread ${choice.id} closed within a commit`);
      threads.link(user, thread);
      return thread;
    }
    const { type, title } = choice;
    const wanted = { type, title, app: unit.appId, service: unit.serviceId, now: unit.acceptedAt };
    return threads.own(user, wanted, () => ({ key: this.sources.nextId(), id: this.sources.newThreadUid() }));
  }
}

export function idempotencyKey(service: string, key: string): string {
  return `${service} ${key}`;
}
