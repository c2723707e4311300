/**
 * The doors between the parts. Adapters (stores, buses) implement these; everything else asks for them.
 *
 * A store method is one atomic unit of work: no transaction crosses a port. Whatever changes a delivery goes
 * through {@link Writer}, which gathers the work of many callers into one commit ({@link Store.write}).
 * Expected outcomes are values; a rejected promise means that the store could not do it and did not do any of it.
 */
import type { InboundEvent } from '@carillon/protocol/inbound.ts';
import type { StateNumber } from './delivery-state.ts';
import type { RecallResult, RequestStatus, ThreadMessage } from './delivery-status.ts';
import type { ObjectKind, Objects, Priority, Profile, Thread, ThreadType } from './model.ts';

export interface Clock {
  /** Wall clock, milliseconds since 1970. May jump. Expiry follows it. */
  now(): number;
  /** Milliseconds since some start. Never goes back. Leases, back-off and keep-alive follow it. */
  monotonic(): number;
}

export interface Random {
  bytes(count: number): Uint8Array;
  /** Uniform in [0, 1). */
  unit(): number;
}

/** The store's number for a user of an app; never told outside. */
export type UserKey = number;
/** The store's number for a (user, client id); a session and a device are the same row. */
export type DeviceKey = number;
/** The store's number for a request. */
export type RequestKey = number;

// ---------------------------------------------------------------------------------------------- accepting

export type IdentifierType = 'customerid' | 'msisdn' | 'userid';
export interface Identifier {
  readonly type: IdentifierType;
  readonly value: string;
}

/** One object of `destination`: a transid, an optional label, and who it is for. */
export interface AcceptDestination {
  readonly correlationid: string | null;
  readonly identifiers: readonly Identifier[];
}

export type ThreadChoice = { readonly id: string } | { readonly type: ThreadType; readonly title: string };

/** A smartlink used by a request: each recipient gets an own slug for it. */
export interface LinkUse {
  readonly linkid: string;
  readonly url: string;
  /** When the minted links stop; wall ms. */
  readonly expiresAt: number;
}

/** A validated, rendered request, ready to be committed. */
export interface AcceptUnit {
  /** uuid whose last three hex digits are 000: the transid of destination i is it with i in their place (transid.ts). */
  readonly uid: string;
  readonly clientId: string;
  readonly serviceId: string;
  readonly appId: string;
  readonly acceptedAt: number;
  /** At or after it nothing is handed on. ≤ acceptedAt: every destination fails at once with 7301. */
  readonly expiry: number;
  readonly priority: Priority;
  /** The word `deliverychannel` used, repeated in receipts. */
  readonly channelWord: string;
  /** The request's own notify URL; null: the service's at the time of sending. */
  readonly notifyUrl: string | null;
  readonly callbackData: string | null;
  /** JSON text of what every recipient gets alike: `{"message":…,"media":[…],"notification":{…},"extras":{…}}`. */
  readonly content: string;
  readonly thread: ThreadChoice;
  readonly links: readonly LinkUse[];
  readonly destinations: readonly AcceptDestination[];
  /** Stored with the request in the same commit. `answer` is the body a repeat gets. */
  readonly idempotency: {
    readonly key: string;
    readonly bodyHash: string;
    readonly answer: string;
    readonly expiresAt: number;
  } | null;
  /** Bounds checked in the commit. */
  readonly waitingPerUserMax: number;
  readonly waitingTotalMax: number;
}

export type AcceptResult =
  | { readonly kind: 'accepted'; readonly entries: readonly LogEntry[] }
  /** The Idempotency-Key was used before: with this body (answer) or another one (null). */
  | { readonly kind: 'repeated'; readonly answer: string | null }
  | { readonly kind: 'full'; readonly bound: 'user' | 'total' };

/** What all recipients of a request share. One object per request in memory; never mutated. */
export interface RequestContent {
  readonly key: RequestKey;
  readonly uid: string;
  readonly serviceId: string;
  readonly appId: string;
  readonly acceptedAt: number;
  readonly expiry: number;
  readonly priority: Priority;
  readonly content: string;
}

/** One number of a user's log. */
export interface LogEntry {
  readonly user: UserKey;
  readonly n: number;
  readonly priority: Priority;
  readonly state: StateNumber;
  /** A message … */
  readonly message: {
    readonly content: RequestContent;
    /** Index of the object in `destination`: gives the transid. */
    readonly destination: number;
    readonly thread: { readonly id: string; readonly title: string; readonly type: ThreadType };
    /** linkid → slug of this recipient's own short link. */
    readonly links: Readonly<Record<string, string>> | null;
  } | null;
  /** … or a state event as it goes to devices, without its `seq`. */
  readonly event: Readonly<Record<string, unknown>> | null;
}

// ---------------------------------------------------------------------------------------------- settling

/** The message an event is about: by its number where the caller knows it, else by its transid. */
export type MessageRef = { readonly n: number } | { readonly tid: string };

/** A fact about a delivery, from a device, a timer or an operator. */
export type Settlement = {
  readonly user: UserKey;
  readonly at: number;
  /** The device it came from; null: a timer, an operator or a page. */
  readonly device: DeviceKey | null;
} & (
  | { readonly kind: 'sent'; readonly ref: MessageRef }
  | { readonly kind: 'delivered'; readonly ref: MessageRef; readonly sentAt: number | null }
  | { readonly kind: 'expired'; readonly ref: MessageRef }
  | { readonly kind: 'failed'; readonly ref: MessageRef; readonly code: string }
  | { readonly kind: 'read'; readonly ref: MessageRef }
  /** `once`: the event's own id, which makes it idempotent per user. */
  | {
      readonly kind: 'clicked';
      readonly ref: MessageRef;
      readonly once: string | null;
      readonly identifier: string | null;
      readonly url: string | null;
    }
  | {
      readonly kind: 'pressed';
      readonly ref: MessageRef;
      readonly once: string | null;
      readonly identifier: string;
      readonly text: string | null;
    }
  | { readonly kind: 'displayed' | 'dismissed'; readonly ref: MessageRef; readonly once: string | null }
  /** A reply or typing: goes to the service's inbound URL; `threadId` finds the service. */
  | {
      readonly kind: 'inbound';
      readonly once: string | null;
      readonly threadId: string;
      readonly event: InboundEvent;
    }
  /** Positions this device has dealt with: everything ≤ floor. A hint to skip work, never ahead of the truth. */
  | { readonly kind: 'floor'; readonly floor: number }
);

/** `unknown`: no such message or thread for this user. `stale`: the state held does not allow it, or done before. */
export interface SettleResult {
  readonly outcome: 'done' | 'stale' | 'unknown';
  /** State events this made, for the user's other devices. */
  readonly entries: readonly LogEntry[];
}

// ---------------------------------------------------------------------------------------------- sessions

export interface SessionOpen {
  readonly appId: string;
  readonly userid: string;
  readonly customerid: string | null;
  readonly msisdn: string | null;
  /** The MQTT client id or the deviceid. */
  readonly deviceid: string;
  /** Forget what was kept for this device before. */
  readonly clean: boolean;
  /** How long to keep it after the connection ends; 0: not at all. */
  readonly keepMs: number;
  readonly at: number;
}

export interface SessionOpened {
  readonly user: UserKey;
  readonly device: DeviceKey;
  /** Grows with every open of this device that keeps anything; its close carries it back. */
  readonly incarnation: number;
  /** A kept session was found. */
  readonly present: boolean;
  /** A kept session that had subscribed: delivery goes on without a new SUBSCRIBE. */
  readonly subscribed: boolean;
  /** Everything ≤ it is dealt with for this device. */
  readonly floor: number;
  /** The head of the log when the device was first subscribed: up to here only what nobody acknowledged is owed. */
  readonly base: number;
  readonly head: number;
  /** Messages that moved here because this token linked a customerid. */
  readonly entries: readonly LogEntry[];
}

/** A session as the node that holds its connection knows it. */
export type HeldSession = Pick<SessionOpened, 'user' | 'device' | 'incarnation'>;

export interface SessionClose {
  readonly user: UserKey;
  readonly device: DeviceKey;
  readonly subscribed: boolean;
  readonly floor: number;
  readonly keepMs: number;
  readonly at: number;
  /** That of the open: a close is void once the device was opened anew, here or on another node. Not given: it counts. */
  readonly incarnation?: number;
}

// ---------------------------------------------------------------------------------------------- one commit

/**
 * The work of many callers for one commit, applied in this order: settlements, closes, opens, accepts. A session that
 * is opened while the one before it ends finds everything that one acknowledged.
 */
export interface WriteBatch {
  readonly opens: readonly SessionOpen[];
  readonly accepts: readonly AcceptUnit[];
  readonly settlements: readonly Settlement[];
  readonly closes: readonly SessionClose[];
}

/** Results in the order of the batch. */
export interface WriteResult {
  readonly opens: readonly SessionOpened[];
  readonly accepts: readonly AcceptResult[];
  readonly settlements: readonly SettleResult[];
}

/**
 * The one way to change a delivery. Gathers calls into commits; every promise resolves after the sync to disk.
 * Rejects with {@link StoreUnavailable} when the store could not take it or too much waits already.
 */
export interface Writer {
  accept(unit: AcceptUnit): Promise<AcceptResult>;
  /** Fire and forget is allowed: a lost settlement only costs a repeat. */
  settle(settlement: Settlement): Promise<SettleResult>;
  open(session: SessionOpen): Promise<SessionOpened>;
  close(session: SessionClose): Promise<void>;
}

/** The store cannot take work now (disk full, I/O error, connection lost, queue full). Nothing of the unit was kept. */
export class StoreUnavailable extends Error {
  readonly retryAfterSeconds: number;
  constructor(message: string, options?: { cause?: unknown; retryAfterSeconds?: number }) {
    super(message, { cause: options?.cause });
    this.name = 'StoreUnavailable';
    this.retryAfterSeconds = options?.retryAfterSeconds ?? 1;
  }
}

// ---------------------------------------------------------------------------------------------- receipts

/** `inbound` and `postback` go to the inbound URL, the others to the notify URL. */
export type ReceiptKind =
  | 'submitted'
  | 'delivered'
  | 'read'
  | 'pressed'
  | 'clicked'
  | 'failed'
  | 'expired'
  | 'inbound'
  | 'postback';

/** One POST that is due. */
export interface ReceiptWork {
  /** `webhook-id`: stable over retries and replays. */
  readonly id: string;
  /** Handle for the settlement of this claim; carries the fencing number. */
  readonly lease: string;
  readonly kind: ReceiptKind;
  readonly serviceId: string;
  /** The request's own URL; null: the service's notify URL (inbound: inbound URL) now. */
  readonly url: string | null;
  /** Works with the same key are sent one after the other, in the order claimed. */
  readonly orderKey: string;
  /** Tries made so far. */
  readonly attempts: number;
  /** When the thing happened. */
  readonly at: number;
  readonly facts: ReceiptSource | null;
  /** kind inbound only. */
  readonly inbound: InboundEvent | null;
}

/** What the store knows of the message for its receipt. */
export interface ReceiptSource {
  readonly transid: string;
  readonly correlationid: string | null;
  readonly callbackData: string | null;
  readonly channelWord: string;
  readonly destination: string;
  readonly destinationType: string;
  readonly deviceid: string;
  /** Code of a failure; empty otherwise. */
  readonly code: string;
  /** JSON text of the request's content, for labels of buttons and pushref; present for pressed, clicked and postback. */
  readonly content: string | null;
  /** appId and userid for postback events; empty where no user was found. */
  readonly appId: string;
  readonly userid: string;
  /** The message's thread; present for postback. */
  readonly threadId: string | null;
  readonly identifier: string | null;
  readonly url: string | null;
  readonly text: string | null;
}

export interface ReceiptClaim {
  /** Works at most. */
  readonly limit: number;
  readonly leaseMs: number;
  readonly now: number;
  /**
   * Given: what nobody wants to be told of now (no URL, status switched off) is passed over, for ever, and only told
   * here; there may be more behind it, so a claim that tells of some is to be repeated soon. Not given: it is claimed too.
   */
  readonly onUnwanted?: (unwanted: UnwantedReceipts) => void;
}

export interface UnwantedReceipts {
  readonly serviceId: string;
  readonly reason: 'no-url' | 'not-wanted';
  /** Things that happened; a request that nobody wants to hear of counts once, however many it was for. */
  readonly count: number;
}

export interface ReceiptAttempt {
  readonly at: number;
  readonly status: number | null;
  readonly error: string | null;
  readonly ms: number;
}

export type ReceiptSettlement = { readonly work: ReceiptWork } &
  /** Taken (2xx), or not wanted (no URL, status switched off). */
  (
    | { readonly kind: 'done'; readonly attempt: ReceiptAttempt | null }
    | { readonly kind: 'retry'; readonly at: number; readonly attempt: ReceiptAttempt }
    /** Not tried: the one before it failed, or its lane is full. Costs no attempt. */
    | { readonly kind: 'defer'; readonly at: number }
    | { readonly kind: 'dead'; readonly attempt: ReceiptAttempt | null }
  );

/** A receipt that did not succeed at once, for people and for replay. */
export interface ReceiptRecord {
  readonly id: string;
  readonly clientId: string;
  readonly serviceId: string;
  readonly kind: ReceiptKind;
  readonly transid: string | null;
  readonly state: 'pending' | 'dead' | 'done';
  readonly attempts: number;
  readonly dueAt: number;
  readonly createdAt: number;
  readonly history: readonly ReceiptAttempt[];
}

// ---------------------------------------------------------------------------------------------- reading

export interface Page<Item> {
  readonly items: readonly Item[];
  /** Opaque; null: no more. */
  readonly next: string | null;
}

/** `entries`: the state event of the click, for the recipient's devices. */
export type LinkVisit =
  | { readonly kind: 'open'; readonly url: string; readonly entries: readonly LogEntry[] }
  | { readonly kind: 'expired' }
  | { readonly kind: 'unknown' };

/** What an operator has in hand of a message. */
export type MessageMark =
  | { readonly kind: 'transid'; readonly transid: string }
  | { readonly kind: 'correlationid'; readonly correlationid: string }
  /** Whoever the identifier means now; only messages that took a number of the user's log. */
  | { readonly kind: 'user'; readonly appId: string; readonly identifier: Identifier };

export interface MessageSearch {
  /** null: every client's. */
  readonly clientId: string | null;
  /** null: every service's. */
  readonly serviceId: string | null;
  readonly mark: MessageMark;
  readonly limit: number;
}

export interface FoundMessage {
  readonly transid: string;
  readonly clientId: string;
  readonly serviceId: string;
  readonly appId: string;
  readonly acceptedAt: number;
}

export interface StoreCounts {
  readonly waiting: number;
  readonly users: number;
  readonly receiptsPending: number;
  readonly receiptsDead: number;
  /** Age of the oldest receipt not yet taken, ms; 0: none. */
  readonly receiptsOldestMs: number;
}

// ---------------------------------------------------------------------------------------------- the store

export interface Store {
  /** All of the batch in one durable commit. */
  write(batch: WriteBatch): Promise<WriteResult>;

  // Logs
  /** The epoch that positions begin with; changes only when a backup is restored. */
  epoch(): string;
  head(user: UserKey): Promise<number>;
  /** Heads of many users at once, for the poll below the hints. Erased users are left out. */
  heads(users: readonly UserKey[]): Promise<ReadonlyMap<UserKey, number>>;
  /** Entries after a number in number order, whatever their state; purged ones are simply not there. */
  readLog(user: UserKey, after: number, limit: number): Promise<readonly LogEntry[]>;
  /** What this device is still owed of one priority after a number: see {@link SessionOpened} for the rule. */
  readOwed(query: OwedQuery): Promise<readonly LogEntry[]>;
  /** Messages of the user that hold something: those not read yet, and with those read; true at the head told along. */
  countMessages(user: UserKey): Promise<{ readonly head: number; readonly unread: number; readonly total: number }>;
  findUser(appId: string, userid: string): Promise<UserKey | null>;
  /**
   * Marks the device as subscribed, with the head at that moment as its base if it had none.
   * `purgedTo`: some entry up to this number is gone for good; a position below it cannot be continued.
   * `isKept` false (default true): delivery does not go on by itself at the next connection, whatever ends this one.
   */
  subscribe(
    user: UserKey,
    device: DeviceKey,
    isKept?: boolean,
  ): Promise<{ readonly base: number; readonly head: number; readonly purgedTo: number }>;

  /** Delivery does not go on by itself at the next connection. */
  unsubscribe(user: UserKey, device: DeviceKey): Promise<void>;
  /**
   * Which of these sessions were opened anew since, as by another node. Where one process has the store, it knows of
   * devices that keep nothing by itself, and they are left out.
   */
  superseded(sessions: readonly HeldSession[]): Promise<ReadonlySet<DeviceKey>>;

  // Chores, each in small steps; `more` asks for another one soon.
  expireDue(
    now: number,
    limit: number,
  ): Promise<{ readonly expired: number; readonly more: boolean; readonly nextAt: number | null }>;
  purge(now: number, limit: number): Promise<{ readonly purged: number; readonly more: boolean }>;
  /** Work the store put off to be quick when it was asked; nothing depends on when it is done. */
  tidy(limit: number): Promise<{ readonly more: boolean }>;

  // Receipts
  claimReceipts(options: ReceiptClaim): Promise<readonly ReceiptWork[]>;
  settleReceipts(settlements: readonly ReceiptSettlement[]): Promise<void>;
  listReceipts(filter: ReceiptFilter): Promise<Page<ReceiptRecord>>;
  /** Makes due again what is dead, pending or long taken. False: unknown to this client (`*`: any). */
  replayReceipt(clientId: string, id: string, now: number): Promise<boolean>;

  // Status and recall; null: unknown, or another service's.
  requestStatus(serviceId: string, transid: string): Promise<RequestStatus | null>;
  transidsByCorrelationid(serviceId: string, correlationid: string, limit: number): Promise<readonly string[]>;
  /** Messages by what is known of them, the newest first. */
  findMessages(search: MessageSearch): Promise<readonly FoundMessage[]>;
  recall(serviceId: string, transid: string, now: number): Promise<readonly RecallResult[] | null>;

  // Smartlinks
  /** `count`: whether this visit counts as a click. Records the click of the recipient too. */
  visitLink(slug: string, visit: { now: number; count: boolean }): Promise<LinkVisit>;
  linkFigures(
    linkid: string,
  ): Promise<{ readonly minted: number; readonly visits: number; readonly recipients: number }>;

  // Threads and people
  createThread(thread: Omit<Thread, 'createdAt' | 'updatedAt'>, now: number): Promise<Thread>;
  getThread(appId: string, id: string): Promise<Thread | null>;
  listThreads(query: {
    appId: string;
    user: UserKey | null;
    start: number;
    limit: number;
  }): Promise<{ total: number; threads: readonly Thread[] }>;
  /** Also tells the linked users' devices. */
  updateThread(
    appId: string,
    id: string,
    patch: ThreadPatch,
    now: number,
  ): Promise<{ thread: Thread; entries: readonly LogEntry[] } | null>;
  threadMessages(query: {
    user: UserKey;
    threadId: string;
    start: number;
    limit: number;
  }): Promise<{ total: number; messages: readonly ThreadMessage[] }>;
  putProfile(
    profile: Omit<Profile, 'createdAt'>,
    now: number,
  ): Promise<
    | { readonly kind: 'ok'; readonly entries: readonly LogEntry[] }
    | { readonly kind: 'taken'; readonly field: 'customerid' | 'msisdn' }
  >;
  getProfile(appId: string, userid: string): Promise<Profile | null>;
  listProfiles(appId: string, cursor: string | null, limit: number): Promise<Page<Profile>>;
  /** Erases the person: profile, log, devices. Whoever asks for it tells the bus, so that live sessions end. */
  deleteProfile(appId: string, userid: string, now: number): Promise<boolean>;

  // Provisioning
  getObject<Kind extends ObjectKind>(kind: Kind, id: string): Promise<Objects[Kind] | null>;
  /** `clientId: null` lists across clients. In order of id. */
  listObjects<Kind extends ObjectKind>(
    kind: Kind,
    query: { clientId: string | null; cursor: string | null; limit: number },
  ): Promise<Page<Objects[Kind]>>;
  /** Makes or replaces, several at once; `create` refuses an id that exists (false: nothing was written). */
  putObjects(objects: readonly StoredObject[], mode: 'create' | 'replace'): Promise<boolean>;
  deleteObject(kind: ObjectKind, id: string): Promise<boolean>;
  /** Grows with every change of an object: caches compare it. */
  objectsRevision(): Promise<number>;
  /** 1, 2, 3 … per name. */
  nextNumber(name: string): Promise<number>;

  // The house
  counts(now: number): Promise<StoreCounts>;
  /** Writes and syncs nothing of value: does the store take writes? Rejects where not. */
  probe(): Promise<void>;
  /** A consistent copy while running; resolves when it is synced. `onProgress`: share done, 0 to 1. */
  backup(path: string, onProgress?: (share: number) => void): Promise<void>;
  close(): Promise<void>;
}

export type StoredObject = { [Kind in ObjectKind]: { readonly kind: Kind; readonly value: Objects[Kind] } }[ObjectKind];

export interface OwedQuery {
  readonly user: UserKey;
  readonly device: DeviceKey;
  readonly base: number;
  readonly priority: Priority;
  readonly after: number;
  readonly limit: number;
}

export interface ReceiptFilter {
  /** null: every client's. */
  readonly clientId: string | null;
  readonly serviceId?: string;
  readonly transid?: string;
  readonly state?: 'pending' | 'dead' | 'done';
  readonly cursor: string | null;
  readonly limit: number;
}

export interface ThreadPatch {
  readonly title?: string;
  readonly category?: string | null;
  readonly externalid?: string | null;
  readonly status?: 'Active' | 'Closed';
  readonly extras?: Record<string, unknown>;
}

// ---------------------------------------------------------------------------------------------- the bus

/** "This user's log grew." Losing one costs a poll interval, never a message. */
export interface UserHint {
  readonly user: UserKey;
  readonly head: number;
  /** In one process the entry itself goes along and saves a read; a network bus carries ids only. */
  readonly entry: LogEntry | null;
}

/** `erased`: some user was; gateways look whether it is one of theirs. */
export type BusTopic = 'receipts' | 'objects' | 'timers' | 'erased';

export interface Bus {
  /** Tells whoever watches these users. Synchronous in process. */
  publishUsers(hints: readonly UserHint[]): void;
  /** Every later hint of these users reaches `onHint` until `unwatch`. */
  watch(user: UserKey, onHint: (hint: UserHint) => void): () => void;
  /** Something of the topic may be due: wakes the loops that poll it. */
  publish(topic: BusTopic): void;
  subscribe(topic: BusTopic, onHint: () => void): () => void;
  close(): Promise<void>;
}
