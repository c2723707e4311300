/**
 * Events posted to a service's inbound URL: messages of users, postbacks, typing.
 * Source: docs/api.md, inbound. `thread`, `attachments` and `interactiveData` are JSON texts inside JSON, empty when
 * there is nothing: clients of the original parse them a second time.
 */
import type { ThreadType } from './messaging.ts';

interface InboundCommon {
  readonly userId: string;
  readonly channel: 'Rtm';
  readonly appId: string;
  /** RFC 3339 with milliseconds; `ts` and `timeStamp` are the same moment. */
  readonly ts: string;
  readonly timeStamp: string;
  readonly tid: string;
}

interface InboundThreadKeys {
  /** `<appid>/<userid>/<deviceid>` */
  readonly clientId: string;
  readonly thread_id: string;
  readonly thread_title: string;
  /** JSON text of an InboundThread. */
  readonly thread: string;
}

/** What the JSON text `thread` holds. */
export interface InboundThread {
  readonly id: string;
  readonly title: string;
  readonly type: ThreadType;
  readonly category: string;
  readonly status: 'Active' | 'Closed';
  readonly created_on: string;
  readonly updated_on: string;
  readonly unread_msg_count: number;
  readonly extras: Readonly<Record<string, unknown>>;
}

/** A message written by a user. */
export interface InboundMessage extends InboundCommon, InboundThreadKeys {
  readonly event: 'MO';
  readonly message: string;
  /** JSON text of an array of Attachment, or empty. */
  readonly attachments: string;
  readonly replyTo: string;
  readonly extras: Readonly<Record<string, unknown>>;
}

/** What the JSON text `interactiveData` holds. */
export interface PostbackData {
  /** The request's pushref. */
  readonly reference: string;
  readonly identifier: string;
  readonly type: 'quickReplyPostback' | 'templatePostback';
  readonly title: string;
}

/** A pressed button of a message with a pushref. */
export interface InboundPostback extends InboundCommon, InboundThreadKeys {
  readonly event: 'OnPostback';
  /** The button's title, or the text of an inline reply. */
  readonly message: string;
  readonly pushref: string;
  /** The tid of the message whose button was pressed. */
  readonly relatedTid: string;
  /** JSON text of a PostbackData. */
  readonly interactiveData: string;
  readonly extras: Readonly<Record<string, unknown>>;
}

export interface InboundTyping extends InboundCommon, InboundThreadKeys {
  readonly event: 'TypingIndicator';
  readonly type: 'typingStart' | 'typingStop';
}

export interface InboundProfile extends InboundCommon {
  readonly event: 'OnProfileCreate' | 'OnProfileUpdate';
}

export interface InboundThreadClosed extends InboundCommon {
  readonly event: 'OnThreadClosed';
  readonly threadId: string;
  readonly title: string;
  readonly type: ThreadType;
  readonly status: 'Closed';
  readonly datetime: string;
  readonly origin: string;
}

export type InboundEvent = InboundMessage | InboundPostback | InboundTyping | InboundProfile | InboundThreadClosed;
