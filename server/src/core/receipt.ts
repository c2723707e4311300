import { describe } from '@carillon/protocol/codes.ts';
import type {
  InboundEvent,
  InboundMessage,
  InboundPostback,
  InboundThread,
  InboundThreadClosed,
  InboundTyping,
  PostbackData,
} from '@carillon/protocol/inbound.ts';
import type { Attachment } from '@carillon/protocol/messaging.ts';
import type {
  ClickedReceipt,
  DeliveryInfo,
  DeliveryReceipt,
  Receipt,
  ReceiptInteractiveData,
  ReceiptStatus,
} from '@carillon/protocol/receipt.ts';
import type { Thread } from './model.ts';
import type { ReceiptKind } from './ports.ts';

/** Everything a receipt tells. Texts that are not known are empty, as on the wire. */
export interface ReceiptFacts {
  readonly state: ReceiptStatus;
  /** Of a failure, its reason; of any other state not looked at. */
  readonly code: string;
  /** Instead of the table's own words for the code; null: those. */
  readonly description: string | null;
  /** The word the request used for its channel. */
  readonly channelWord: string;
  readonly destination: string;
  /** The key that named the recipient: customerid, userid, msisdn. */
  readonly destinationType: string;
  /** Empty: no device was part of it. */
  readonly deviceId: string;
  readonly transid: string;
  readonly callbackData: string;
  readonly correlationid: string;
  /** When it happened; wall ms. */
  readonly at: number;
  /** Read by a pressed button or an inline reply. */
  readonly interaction?: { readonly button: string; readonly pushref: string };
  /** What was opened; Clicked only. */
  readonly interactiveData?: Omit<ReceiptInteractiveData, 'type'>;
}

const STATUSES: Readonly<Record<ReceiptKind, ReceiptStatus | null>> = {
  submitted: 'Submitted',
  delivered: 'Delivered',
  read: 'Read',
  pressed: 'Read',
  clicked: 'Clicked',
  failed: 'Failed',
  expired: 'Failed',
  inbound: null,
  postback: null,
};

/** The status that a receipt tells; null: an event for the inbound URL, which no setting of statuses touches. */
export function statusOf(kind: ReceiptKind): ReceiptStatus | null {
  return STATUSES[kind];
}

const CODES: Readonly<Record<Exclude<ReceiptStatus, 'Failed'>, string>> = {
  Submitted: '7501',
  Delivered: '7500',
  Read: '7502',
  Clicked: '7528',
};

const NOTHING_OPENED = { identifier: '', title: '', url: '' };

/**
 * The body of a receipt in the original's form (contract §3, FACTS §3.3): members, their capitals and their order.
 * Of a Clicked everything sits inside `deliveryInfo`; of all others the ids sit beside it.
 */
export function buildReceipt(facts: ReceiptFacts): Receipt {
  const deliveryInfo = deliveryInfoOf(facts);
  const ids = {
    // The sub-transaction of a flow; this API has none.
    subtid: '',
    transid: facts.transid,
    callbackData: facts.callbackData,
    correlationid: facts.correlationid,
  };
  if (facts.state !== 'Clicked') {
    return { deliveryInfoNotification: { deliveryInfo, ...ids } } satisfies DeliveryReceipt;
  }
  const { identifier, title, url } = facts.interactiveData ?? NOTHING_OPENED;
  const interactiveData: ReceiptInteractiveData = { identifier, type: 'webUrl', title, url };
  return {
    deliveryInfoNotification: { deliveryInfo: { ...deliveryInfo, ...ids, interactiveData } },
  } satisfies ClickedReceipt;
}

function deliveryInfoOf(facts: ReceiptFacts): DeliveryInfo {
  const code = facts.state === 'Failed' ? facts.code : CODES[facts.state];
  return {
    timeStamp: timeText(facts.at),
    Description: facts.description ?? describe(code)?.description ?? 'Unknown',
    code,
    deliveryChannel: facts.channelWord as DeliveryInfo['deliveryChannel'],
    additionalInfo: '',
    destination: facts.destination,
    destinationType: facts.destinationType as DeliveryInfo['destinationType'],
    deliveryStatus: facts.state,
    ...deviceMembers(facts),
    ...interactionMember(facts),
  };
}

/** The original's Submitted names no device, its Failed has both members empty where none was tried. */
function deviceMembers(facts: ReceiptFacts): Pick<DeliveryInfo, 'pushId' | 'deviceid'> {
  if (facts.state === 'Failed') return { pushId: '', deviceid: facts.deviceId };
  if (facts.state === 'Submitted' || (facts.state === 'Clicked' && facts.deviceId === '')) return {};
  return { deviceid: facts.deviceId };
}

function interactionMember(facts: ReceiptFacts): Pick<DeliveryInfo, 'interaction'> {
  if (facts.state !== 'Read' || facts.interaction === undefined) return {};
  const { button, pushref } = facts.interaction;
  return { interaction: { Button_Pressed: button, MessageRef: pushref, pushref } };
}

/** The latest time made into text: much happens in one millisecond, as a request's time is that of all its receipts. */
let latest = { at: Number.NaN, text: '' };

/** RFC 3339 in UTC with milliseconds. */
function timeText(at: number): string {
  if (latest.at !== at) latest = { at, text: new Date(at).toISOString() };
  return latest.text;
}

/** The bytes that are posted, signed and, on a retry, built again alike: JSON in UTF-8. */
export function encodeBody(body: Receipt | InboundEvent): Uint8Array {
  return Buffer.from(JSON.stringify(body));
}

const quote = (text: string): string => JSON.stringify(text);

/** The bytes of {@link buildReceipt}. Those of the many, which tell a state and no more, are written without the objects. */
export function encodeReceipt(facts: ReceiptFacts): Uint8Array {
  const { state, deviceId } = facts;
  if (state === 'Clicked' || facts.interaction !== undefined) return encodeBody(buildReceipt(facts));
  const code = state === 'Failed' ? facts.code : CODES[state];
  const description = facts.description ?? describe(code)?.description ?? 'Unknown';
  const device = state === 'Submitted' ? '' : `,"deviceid":${quote(deviceId)}`;
  return Buffer.from(
    `{"deliveryInfoNotification":{"deliveryInfo":{"timeStamp":"${timeText(facts.at)}","Description":${quote(description)}` +
      `,"code":${quote(code)},"deliveryChannel":${quote(facts.channelWord)},"additionalInfo":""` +
      `,"destination":${quote(facts.destination)},"destinationType":${quote(facts.destinationType)}` +
      `,"deliveryStatus":"${state}"${state === 'Failed' ? ',"pushId":""' : ''}${device}}` +
      `,"subtid":"","transid":${quote(facts.transid)},"callbackData":${quote(facts.callbackData)}` +
      `,"correlationid":${quote(facts.correlationid)}}}`,
  );
}

interface InboundFactsCommon {
  readonly appId: string;
  readonly userId: string;
  /** Id of this event, not of a message sent before. */
  readonly tid: string;
  /** Wall ms. */
  readonly at: number;
}

interface InThread {
  readonly deviceId: string;
  /** Null: the event belongs to none; its members are then empty. */
  readonly thread: Thread | null;
  readonly threadUnread: number;
}

/** What a user did that a service is told of. */
export type InboundFacts =
  | (InboundFactsCommon &
      InThread & {
        readonly event: 'MO';
        readonly message: string;
        readonly attachments: readonly Attachment[];
        /** The topic the user wrote on. */
        readonly replyTo: string;
        readonly extras: Readonly<Record<string, unknown>>;
      })
  | (InboundFactsCommon &
      InThread & {
        readonly event: 'OnPostback';
        /** The button's title, or the text of an inline reply. */
        readonly message: string;
        readonly pushref: string;
        /** The message whose button was pressed. */
        readonly relatedTid: string;
        readonly interactiveData: PostbackData;
        readonly extras: Readonly<Record<string, unknown>>;
      })
  | (InboundFactsCommon & InThread & { readonly event: 'TypingIndicator'; readonly on: boolean })
  | (InboundFactsCommon & { readonly event: 'OnThreadClosed'; readonly thread: Thread; readonly origin: string });

/**
 * The body posted to a service's inbound URL (FACTS §4). `thread`, `attachments` and `interactiveData` are JSON
 * texts inside the JSON, as in the original, and empty where there is nothing.
 */
export function buildInboundEvent(facts: InboundFacts): InboundEvent {
  if (facts.event === 'MO') return messageEvent(facts);
  if (facts.event === 'OnPostback') return postbackEvent(facts);
  if (facts.event === 'OnThreadClosed') return threadClosedEvent(facts);
  return {
    ...commonMembers(facts),
    event: facts.event,
    type: facts.on ? 'typingStart' : 'typingStop',
    ...threadMembers(facts),
  } satisfies InboundTyping;
}

function messageEvent(facts: Extract<InboundFacts, { event: 'MO' }>): InboundMessage {
  return {
    ...commonMembers(facts),
    event: facts.event,
    message: facts.message,
    attachments: facts.attachments.length > 0 ? JSON.stringify(facts.attachments) : '',
    replyTo: facts.replyTo,
    ...threadMembers(facts),
    extras: facts.extras,
  };
}

function postbackEvent(facts: Extract<InboundFacts, { event: 'OnPostback' }>): InboundPostback {
  const { reference, identifier, type, title } = facts.interactiveData;
  return {
    ...commonMembers(facts),
    event: facts.event,
    message: facts.message,
    pushref: facts.pushref,
    relatedTid: facts.relatedTid,
    interactiveData: JSON.stringify({ reference, identifier, type, title }),
    ...threadMembers(facts),
    extras: facts.extras,
  };
}

function threadClosedEvent(facts: Extract<InboundFacts, { event: 'OnThreadClosed' }>): InboundThreadClosed {
  return {
    ...commonMembers(facts),
    event: facts.event,
    threadId: facts.thread.id,
    title: facts.thread.title,
    type: facts.thread.type,
    status: 'Closed',
    datetime: timeText(facts.at),
    origin: facts.origin,
  };
}

function commonMembers(facts: InboundFactsCommon) {
  const ts = timeText(facts.at);
  return { userId: facts.userId, channel: 'Rtm' as const, appId: facts.appId, ts, timeStamp: ts, tid: facts.tid };
}

function threadMembers(facts: InboundFactsCommon & InThread) {
  const { thread } = facts;
  return {
    clientId: `${facts.appId}/${facts.userId}/${facts.deviceId}`,
    thread_id: thread?.id ?? '',
    thread_title: thread?.title ?? '',
    thread: thread === null ? '' : JSON.stringify(inboundThread(thread, facts.threadUnread)),
  };
}

function inboundThread(thread: Thread, unread: number): InboundThread {
  return {
    id: thread.id,
    title: thread.title,
    type: thread.type,
    category: thread.category ?? '',
    status: thread.status,
    created_on: timeText(thread.createdAt),
    updated_on: timeText(thread.updatedAt),
    unread_msg_count: unread,
    extras: thread.extras,
  };
}
