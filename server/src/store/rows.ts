/** Rows as the domain's objects: both stores give their columns the same names. */
import type { InboundEvent } from '@carillon/protocol/inbound.ts';
import type { StateNumber } from '../core/delivery-state.ts';
import type { ThreadMessage } from '../core/delivery-status.ts';
import type { Profile, Thread, ThreadType } from '../core/model.ts';
import type { FoundMessage, ReceiptAttempt, ReceiptKind, ReceiptRecord } from '../core/ports.ts';
import { transidOf } from '../core/transid.ts';

/** A row as either driver gives it. */
export type Row = Readonly<Record<string, string | number | boolean | null>>;

/** State events go between high and low messages. */
export const EVENT_PRIORITY = 2;

/** A thread as entries of a log name it; `key`: the store's number. */
export interface ThreadRef {
  readonly key: number;
  readonly id: string;
  readonly title: string;
  readonly type: ThreadType;
}

/** `receipts.state`: the numbers are kept on disk. */
export const RECEIPT_STATES = ['pending', 'dead', 'done'] as const;

export function threadOf(row: Row): Thread {
  return {
    id: String(row['uid']),
    appId: String(row['app']),
    type: row['type'] as Thread['type'],
    title: String(row['title']),
    category: row['category'] as string | null,
    externalid: row['externalid'] as string | null,
    status: row['status'] as Thread['status'],
    extras: JSON.parse(String(row['extras'])) as Record<string, unknown>,
    serviceId: row['service'] as string | null,
    createdAt: Number(row['created']),
    updatedAt: Number(row['updated']),
  };
}

export function sentMessage(row: Row): ThreadMessage {
  const state = Number(row['state']) as StateNumber;
  const delivered = state === 2 || state === 3;
  return {
    tid: transidOf(String(row['uid']), Number(row['destination'])),
    n: Number(row['n']),
    createdAt: Number(row['accepted']),
    deliveredAt: delivered ? (row['at'] as number | null) : null,
    readAt: row['read'] as number | null,
    fromUser: false,
    state,
    content: String(row['content']),
  };
}

export function replyMessage(row: Row): ThreadMessage {
  return {
    tid: String(row['tid']),
    n: null,
    createdAt: Number(row['at']),
    deliveredAt: Number(row['at']),
    readAt: null,
    fromUser: true,
    state: null,
    content: String(row['content']),
  };
}

export function profileOf(row: Row): Profile {
  return {
    appId: String(row['app']),
    userid: String(row['userid']),
    customerid: row['customerid'] as string | null,
    msisdn: row['msisdn'] as string | null,
    createdAt: Number(row['created']),
  };
}

export function foundMessageOf(row: Row): FoundMessage {
  return {
    transid: transidOf(String(row['uid']), Number(row['destination'])),
    clientId: String(row['client']),
    serviceId: String(row['service']),
    appId: String(row['app']),
    acceptedAt: Number(row['accepted']),
  };
}

/** Fills in what only the store knows of the thread. */
export function withThread(event: InboundEvent, row: Row): InboundEvent {
  const thread = {
    id: String(row['uid']),
    title: String(row['title']),
    type: String(row['type']),
    category: row['category'] === null ? '' : String(row['category']),
    status: String(row['status']),
    created_on: iso(Number(row['created'])),
    updated_on: iso(Number(row['updated'])),
    unread_msg_count: 0,
    extras: JSON.parse(String(row['extras'])) as Record<string, unknown>,
  };
  return { ...event, thread_id: thread.id, thread_title: thread.title, thread: JSON.stringify(thread) } as InboundEvent;
}

export function iso(at: number): string {
  return new Date(at).toISOString();
}

export function receiptRecordOf(row: Row): ReceiptRecord {
  return {
    id: String(row['id']),
    clientId: String(row['client']),
    serviceId: String(row['service']),
    kind: row['kind'] as ReceiptKind,
    transid: row['transid'] as string | null,
    state: RECEIPT_STATES[Number(row['state'])] ?? 'pending',
    attempts: Number(row['attempts']),
    dueAt: Number(row['due']),
    createdAt: Number(row['created']),
    history: JSON.parse(String(row['history'])) as ReceiptAttempt[],
  };
}
