import { STATE } from '../../core/delivery-state.ts';
import { newSlug } from '../../core/links.ts';
import type { AcceptResult, AcceptUnit, LogEntry, RequestContent, ThreadChoice, UserKey } from '../../core/ports.ts';
import { contentOfUnit, encodeMembers } from '../request-record.ts';
import type { Member } from '../request-record.ts';
import type { ThreadRef } from '../rows.ts';
import { Prefetch } from './prefetch.ts';
import type { State } from './state.ts';
import type { Threads } from './threads.ts';
import type { UserState } from './users.ts';

const UNKNOWN_PROFILE = '7105';
const UNKNOWN_THREAD = '7312';
const EXPIRED = '7301';
const YOUNG_PER_USER_MAX = 1000;

type Value = string | number | null;

/** Rows of one commit, written together. */
export class AcceptRows {
  readonly requests: Value[] = [];
  readonly links: Value[] = [];
  readonly correlations: Value[] = [];

  flush(state: State): void {
    const { db } = state;
    db.insertMany(
      'INSERT INTO requests (id, uid, client, service, app, accepted, expiry, priority, word, notify_url, callback, content, members)',
      13,
      this.requests,
    );
    db.insertMany('INSERT INTO links (slug, linkid, url, request, user, n, expires)', 7, this.links);
    db.insertMany(
      'INSERT OR IGNORE INTO correlations (service, correlationid, request, destination)',
      4,
      this.correlations,
    );
    for (const rows of [this.requests, this.links, this.correlations]) rows.length = 0;
  }
}

/** Where an identifier's message went: its number, and the store's number of its thread. */
interface Place {
  readonly n: number;
  readonly thread: number;
}

interface Target {
  readonly destination: number;
  readonly correlationid: string | null;
  readonly identifier: AcceptUnit['destinations'][number]['identifiers'][number];
}

/**
 * Accepts one request: who it is for, their numbers, its rows. Writes nothing when it answers `full` or `repeated`.
 * The rows of many requests go into few statements, so what this adds is seen by reads after {@link AcceptRows.flush}.
 */
export class Accept {
  private readonly state: State;
  private readonly threads: Threads;
  private readonly prefetch: Prefetch;

  constructor(state: State, threads: Threads) {
    this.state = state;
    this.threads = threads;
    this.prefetch = new Prefetch(state, threads);
  }

  accept(unit: AcceptUnit, rows: AcceptRows): AcceptResult {
    const repeated = this.repeated(unit, rows);
    if (repeated !== null) return repeated;
    const failure = this.commonFailure(unit);
    const found = failure === null ? this.findUsers(unit) : [];
    if (failure === null) {
      const bound = this.boundReached(unit, found, rows);
      if (bound !== null) return { kind: 'full', bound };
    }
    const content = this.content(unit);
    const seq = this.state.feed('submitted', { request: content.key, at: unit.acceptedAt });
    this.state.young.open(content.key, seq);
    const members: Member[] = [];
    const entries: LogEntry[] = [];
    for (let index = 0; index < unit.destinations.length; index += 1) {
      this.acceptDestination({ unit, index, failure, found, content, members, entries, rows });
    }
    this.writeRequest(unit, content, members, rows);
    this.countLinks(unit, entries.length);
    return { kind: 'accepted', entries };
  }

  private repeated(unit: AcceptUnit, rows: AcceptRows): AcceptResult | null {
    if (unit.idempotency === null) return null;
    const { key, bodyHash, answer, expiresAt } = unit.idempotency;
    const { db } = this.state;
    const row = db.get(
      'SELECT hash, answer FROM idempotency WHERE service = ? AND key = ? AND expires > ?',
      unit.serviceId,
      key,
      unit.acceptedAt,
    );
    if (row !== undefined) {
      return { kind: 'repeated', answer: row['hash'] === bodyHash ? String(row['answer']) : null };
    }
    // Only of an accepted request: a `full` one may be tried again.
    if (this.commonFailure(unit) === null && this.boundReached(unit, this.findUsers(unit), rows) !== null) return null;
    db.run(
      'INSERT OR REPLACE INTO idempotency (service, key, hash, answer, expires) VALUES (?, ?, ?, ?, ?)',
      unit.serviceId,
      key,
      bodyHash,
      answer,
      expiresAt,
    );
    return null;
  }

  /** What makes every identifier of the request fail alike. */
  private commonFailure(unit: AcceptUnit): string | null {
    if (unit.expiry <= unit.acceptedAt) return EXPIRED;
    if ('id' in unit.thread && this.threads.openById(unit.appId, unit.thread.id) === null) return UNKNOWN_THREAD;
    return null;
  }

  /** The users there are already, by identifier in order. */
  private findUsers(unit: AcceptUnit): (UserState | null)[] {
    const found: (UserState | null)[] = [];
    this.prefetch.users(unit);
    for (const { identifiers } of unit.destinations) {
      for (const identifier of identifiers) found.push(this.state.users.find(unit.appId, identifier));
    }
    return found;
  }

  private boundReached(
    unit: AcceptUnit,
    found: readonly (UserState | null)[],
    rows: AcceptRows,
  ): 'user' | 'total' | null {
    const { users } = this.state;
    const { waitingPerUserMax: max } = unit;
    const room = unit.waitingTotalMax - this.state.waiting();
    // Nearly always nobody is near a bound, even if the whole request went to one.
    const isFar = (user: UserState | null): boolean => user === null || users.isFarBelow(user, max - found.length);
    if (found.length <= room && found.every(isFar)) return null;
    const added = additions(unit, found);
    if (added.total > room) return 'total';
    const beforeCount = (user: UserKey): void => {
      rows.flush(this.state);
      this.state.ripen(user);
    };
    for (const [user, count] of added.byUser) {
      if (users.wouldExceed(user, { added: count, max, beforeCount })) return 'user';
    }
    return null;
  }

  private content(unit: AcceptUnit): RequestContent {
    const content = contentOfUnit(unit, this.state.requests.newKey());
    this.state.requests.remember(content, unit.notifyUrl);
    return content;
  }

  private acceptDestination(work: {
    unit: AcceptUnit;
    index: number;
    failure: string | null;
    found: readonly (UserState | null)[];
    content: RequestContent;
    members: Member[];
    entries: LogEntry[];
    rows: AcceptRows;
  }): void {
    const { unit, index, failure, found, members, rows, content } = work;
    const destination = unit.destinations[index];
    if (destination === undefined) return;
    if (destination.correlationid !== null) {
      rows.correlations.push(unit.serviceId, destination.correlationid, content.key, index);
    }
    // Only objects with several identifiers can name one user twice.
    const places = destination.identifiers.length > 1 ? new Map<UserKey, Place>() : null;
    for (const identifier of destination.identifiers) {
      const target: Target = { destination: index, correlationid: destination.correlationid, identifier };
      if (failure !== null) {
        members.push(failed(target, failure));
        continue;
      }
      const user = found[members.length] ?? this.state.users.findOrMake(unit.appId, identifier, unit.acceptedAt);
      if (user === null) {
        members.push(failed(target, UNKNOWN_PROFILE));
        continue;
      }
      const present = places?.get(user.id);
      const place = present ?? this.append(work, target, user);
      places?.set(user.id, place);
      members.push({
        destination: index,
        correlationid: target.correlationid,
        type: identifier.type,
        value: identifier.value,
        user: user.id,
        n: place.n,
        code: null,
        thread: place.thread,
        shared: present !== undefined,
      });
    }
  }

  /** The next number of the user's log, given to this message. */
  private append(
    work: { unit: AcceptUnit; content: RequestContent; members: Member[]; entries: LogEntry[]; rows: AcceptRows },
    target: Target,
    user: UserState,
  ): Place {
    const { unit, content } = work;
    const n = this.state.users.head(user) + 1;
    user.head = n;
    this.state.countWaiting(user.id, 1);
    const thread = this.thread(unit, unit.thread, user);
    const links = unit.links.length === 0 ? null : this.mint(work, user.id, n);
    const young = this.state.young.add({
      user: user.id,
      n,
      request: content.key,
      destination: target.destination,
      member: work.members.length,
      priority: unit.priority,
      thread: thread.key,
      detail: links === null ? null : JSON.stringify({ links }),
      state: STATE.queued,
      device: null,
      sent: null,
      at: null,
    });
    // One user's many are folded while they lie together: cheap now, a stall when all are asked for at once.
    if (young >= YOUNG_PER_USER_MAX) this.state.ripen(user.id);
    work.entries.push({
      user: user.id,
      n,
      priority: unit.priority,
      state: STATE.queued,
      message: { content, destination: target.destination, thread, links },
      event: null,
    });
    return { n, thread: thread.key };
  }

  private thread(unit: AcceptUnit, choice: ThreadChoice, user: UserState): ThreadRef {
    if ('id' in choice) {
      const thread = this.threads.openById(unit.appId, choice.id);
      if (thread === null) throw new Error(`thread ${choice.id} closed within a commit`);
      this.threads.link(user, thread);
      return thread;
    }
    return this.threads.own(user, {
      service: unit.serviceId,
      type: choice.type,
      title: choice.title,
      now: unit.acceptedAt,
    });
  }

  private mint(
    work: { unit: AcceptUnit; content: RequestContent; rows: AcceptRows },
    user: UserKey,
    n: number,
  ): Record<string, string> {
    const links: Record<string, string> = {};
    for (const link of work.unit.links) {
      const slug = newSlug(this.state.random);
      links[link.linkid] = slug;
      work.rows.links.push(slug, link.linkid, link.url, work.content.key, user, n, link.expiresAt);
    }
    return links;
  }

  private writeRequest(unit: AcceptUnit, content: RequestContent, members: readonly Member[], rows: AcceptRows): void {
    rows.requests.push(
      content.key,
      unit.uid,
      unit.clientId,
      unit.serviceId,
      unit.appId,
      unit.acceptedAt,
      unit.expiry,
      unit.priority,
      unit.channelWord,
      unit.notifyUrl,
      unit.callbackData,
      unit.content,
      encodeMembers(members),
    );
  }

  private countLinks(unit: AcceptUnit, recipients: number): void {
    for (const link of unit.links) {
      this.state.db.run(
        'INSERT INTO link_figures (linkid, minted, visits, recipients) VALUES (?, ?, 0, 0) ON CONFLICT (linkid) DO UPDATE SET minted = minted + excluded.minted',
        link.linkid,
        recipients,
      );
    }
  }
}

/** What a request adds to the logs: one entry per user and object, however often the object names the user. */
function additions(
  unit: AcceptUnit,
  found: readonly (UserState | null)[],
): { total: number; byUser: Map<UserState, number> } {
  const byUser = new Map<UserState, number>();
  let total = 0;
  let index = 0;
  for (const { identifiers } of unit.destinations) {
    const named = new Set<UserState>();
    for (const { type } of identifiers) {
      const user = found[index] ?? null;
      index += 1;
      // Nobody yet: made by the request, unless it is an msisdn, which makes nobody.
      if (user === null) total += type === 'msisdn' ? 0 : 1;
      else named.add(user);
    }
    total += named.size;
    for (const user of named) byUser.set(user, (byUser.get(user) ?? 0) + 1);
  }
  return { total, byUser };
}

function failed(target: Target, code: string): Member {
  return {
    destination: target.destination,
    correlationid: target.correlationid,
    type: target.identifier.type,
    value: target.identifier.value,
    user: null,
    n: null,
    code,
    thread: null,
    shared: false,
  };
}
