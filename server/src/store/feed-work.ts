/** From a row of the feed to the receipts it stands for: the rules that both stores share. Decision 0011. */
import type { InboundEvent } from '@carillon/protocol/inbound.ts';
import { STATE } from '../core/delivery-state.ts';
import type { DeliveryStep } from '../core/delivery-status.ts';
import type { ReceiptAttempt, ReceiptKind, ReceiptSource, ReceiptWork, UserKey } from '../core/ports.ts';
import { transidOf } from '../core/transid.ts';
import type { Member, RequestRecord } from './request-record.ts';
import type { Row } from './rows.ts';

/** What the feed's numbers mean; the order is kept on disk. */
export const FEED_KINDS = [
  'submitted',
  'delivered',
  'read',
  'pressed',
  'clicked',
  'failed',
  'expired',
  'inbound',
  'postback',
] as const;
export type FeedKind = (typeof FEED_KINDS)[number];

/** Throws on a number of no kind: the feed is corrupt. */
export function feedKindOf(number: number): FeedKind {
  const kind = FEED_KINDS[number];
  if (kind === undefined) throw new Error(`the feed has a row of unknown kind ${number}`);
  return kind;
}

/** What happened, as the feed tells it. */
export interface FeedFact {
  readonly seq: number;
  readonly user: UserKey | null;
  readonly n: number | null;
  readonly device: number | null;
  readonly at: number;
  readonly detail: string | null;
}

/** A receipt as the feed tells it, before it has a lease. */
export interface FeedWork {
  readonly id: string;
  readonly seq: number;
  /** Rank among the receipts of one message: what comes first has the smaller one. */
  readonly rank: number;
  readonly client: string;
  readonly kind: ReceiptKind;
  readonly serviceId: string;
  readonly url: string | null;
  readonly orderKey: string;
  readonly at: number;
  readonly facts: ReceiptSource | null;
  readonly inbound: InboundEvent | null;
}

/** The message a fact is about; `thread` as the store names it, null: it took no number. */
export interface MessagePlace<Request extends RequestRecord, Thread> {
  readonly record: Request;
  readonly member: Member;
  readonly index: number;
  readonly thread: Thread | null;
}

export interface InboundOwner {
  readonly serviceId: string;
  readonly client: string;
}

/** What a store looks up for the receipts of a fact. */
export abstract class FeedWorks<Fact extends FeedFact, Request extends RequestRecord, Thread> {
  /** The request of an acceptance; null: purged since. */
  protected abstract record(fact: Fact): Request | null;
  /** The message of any other fact; null: purged or erased since. */
  protected abstract place(fact: Fact): MessagePlace<Request, Thread> | null;
  protected abstract content(record: Request): string | null;
  protected abstract userid(user: UserKey): string;
  protected abstract threadId(thread: Thread): string | null;
  /** `service` null: the first service of the user's app that listens. */
  protected abstract owner(user: UserKey, service: string | null): InboundOwner | null;
  abstract deviceid(device: number): string;

  protected worksOf(kind: FeedKind, fact: Fact): FeedWork[] {
    if (kind === 'submitted') return this.submitted(fact);
    if (kind === 'inbound') return this.inbound(fact);
    const place = this.place(fact);
    // Purged or erased since: nobody can be told about it any more.
    return place === null ? [] : [this.work(fact, place, kind)];
  }

  /** Submitted for every identifier, and at once the failure of those that could not be routed. */
  private submitted(fact: Fact): FeedWork[] {
    const record = this.record(fact);
    if (record === null) return [];
    const works: FeedWork[] = [];
    record.members.forEach((member, index) => {
      if (member.shared) return;
      const place = { record, member, index, thread: null };
      works.push(this.work(fact, place, 'submitted'));
      if (member.code !== null) works.push(this.work(fact, place, 'failed', member.code));
    });
    return works;
  }

  private work(
    fact: Fact,
    place: MessagePlace<Request, Thread>,
    kind: Exclude<FeedKind, 'inbound'>,
    failure?: string,
  ): FeedWork {
    const { record, member, index } = place;
    const transid = transidOf(record.uid, member.destination);
    const { seq } = fact;
    // Presses may be many; every other state is told once, so its name alone is its id.
    const suffix = kind === 'pressed' || kind === 'postback' ? `_${seq}` : '';
    return {
      // No full stop: the signed text of a receipt (Standard Webhooks) joins its parts with one.
      id: `${transid}_${index}_${kind}${suffix}`,
      seq,
      // One row can give two receipts of a message: Submitted and, behind it, the failure.
      rank: seq * 2 + (failure === undefined ? 0 : 1),
      client: record.client,
      kind,
      serviceId: record.service,
      url: kind === 'postback' ? null : record.notifyUrl,
      orderKey: `${kind === 'postback' ? 'postback ' : ''}${transid}.${index}`,
      at: fact.at,
      facts: this.facts(fact, place, { kind, transid, code: failure ?? codeOf(kind, fact) }),
      inbound: null,
    };
  }

  private facts(
    fact: Fact,
    { record, member, thread }: MessagePlace<Request, Thread>,
    about: { kind: FeedKind; transid: string; code: string },
  ): ReceiptSource {
    const interacts = isInteraction(about.kind);
    const detail = interacts
      ? (JSON.parse(fact.detail ?? '{}') as { identifier?: string | null; url?: string | null; text?: string | null })
      : {};
    return {
      transid: about.transid,
      correlationid: member.correlationid,
      callbackData: record.callback,
      channelWord: record.word,
      destination: member.value,
      destinationType: member.type,
      deviceid: fact.device === null ? '' : this.deviceid(fact.device),
      code: about.code,
      content: interacts ? this.content(record) : null,
      appId: record.app,
      userid: interacts && member.user !== null && fact.user !== null ? this.userid(fact.user) : '',
      threadId: about.kind === 'postback' && thread !== null ? this.threadId(thread) : null,
      identifier: detail.identifier ?? null,
      url: detail.url ?? null,
      text: detail.text ?? null,
    };
  }

  private inbound({ seq, user, at, detail }: Fact): FeedWork[] {
    if (user === null) return [];
    const { service, event } = inboundOf(detail);
    const owner = this.owner(user, service);
    if (owner === null) return [];
    return [
      {
        id: `inbound_${event.tid}_${event.event}_${seq}`,
        seq,
        rank: seq * 2,
        client: owner.client,
        kind: 'inbound',
        serviceId: owner.serviceId,
        url: null,
        orderKey: `inbound ${user}`,
        at,
        facts: null,
        inbound: event,
      },
    ];
  }
}

/** Whether a receipt of this kind repeats what the person did, and so needs the message's content. */
export function isInteraction(kind: FeedKind): boolean {
  return kind === 'pressed' || kind === 'clicked' || kind === 'postback';
}

/** The `detail` of an inbound fact; `service` null: the thread has none. */
export function inboundOf(detail: string | null): { service: string | null; event: InboundEvent } {
  return JSON.parse(String(detail)) as { service: string | null; event: InboundEvent };
}

function codeOf(kind: FeedKind, { detail }: FeedFact): string {
  if (kind === 'expired') return '7301';
  return kind === 'failed' ? (detail ?? '7011') : '';
}

/** A work as the claim that holds `lease` hands it out. */
export function receiptWork(work: FeedWork, lease: string, attempts: number): ReceiptWork {
  const { id, kind, serviceId, url, orderKey, at, facts, inbound } = work;
  return { id, lease, kind, serviceId, url, orderKey, attempts, at, facts, inbound };
}

/** When a message's row in the log reached a state of which a receipt tells; null: it is not there, or not any more. */
export function reachedIn(row: Row | undefined, kind: ReceiptKind): Pick<FeedFact, 'at' | 'device' | 'detail'> | null {
  const state = Number(row?.['state'] ?? -1);
  const reached: Partial<Record<ReceiptKind, boolean>> = {
    delivered: state === STATE.delivered || state === STATE.read,
    read: state === STATE.read,
    failed: state === STATE.failed,
    expired: state === STATE.expired,
  };
  if (row === undefined || reached[kind] !== true) return null;
  const detail = kind === 'failed' ? (JSON.parse(String(row['detail'] ?? '{}')) as { code?: string }) : {};
  const at = Number((kind === 'read' ? row['read'] : row['at']) ?? 0);
  return { at, device: row['device'] === null ? null : Number(row['device']), detail: detail.code ?? null };
}

/** Tries of a message's receipts that were not taken at once; rows with the columns id, kind, history. */
export function receiptSteps(
  record: RequestRecord,
  { member, index }: { readonly member: Member; readonly index: number },
  rows: readonly Row[],
): DeliveryStep[] {
  const prefix = `${transidOf(record.uid, member.destination)}_${index}_`;
  return rows
    .filter((row) => String(row['id']).startsWith(prefix))
    .flatMap((row) =>
      (JSON.parse(String(row['history'])) as ReceiptAttempt[]).map((attempt) => ({
        step: 'receipt',
        at: attempt.at,
        deviceid: null,
        detail: { receipt: row['kind'], status: attempt.status, error: attempt.error, ms: attempt.ms },
      })),
    );
}
