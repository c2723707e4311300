/**
 * What goes to devices and what comes from them. Source: docs/device.md.
 * Over MQTT these are the payloads; over REST and server-sent events the same JSON.
 */
import type { Attachment, JsonObject, Notification, Priority, ThreadType } from './messaging.ts';

export interface DeviceThread {
  readonly id: string;
  readonly title: string;
  readonly type: ThreadType;
}

/** A message for the user. Times are RFC 3339 in UTC. */
export interface MessageDown {
  readonly seq: number;
  readonly type: 'message';
  readonly tid: string;
  readonly created: string;
  readonly expiry: string;
  readonly priority: Priority;
  readonly thread: DeviceThread;
  readonly message: string;
  readonly media: readonly Attachment[];
  readonly notification?: Notification;
  readonly extras?: JsonObject;
}

/** Read on some device of the user. */
export interface ReadDown {
  readonly seq: number;
  readonly type: 'read';
  readonly tids: readonly string[];
  readonly at: string;
}

/** Clicked or pressed on some device of the user. */
export interface ClickedDown {
  readonly seq: number;
  readonly type: 'clicked';
  readonly tid: string;
  readonly identifier?: string;
  readonly url?: string;
  readonly at: string;
}

/** Taken back by the sender: no longer to be shown. */
export interface RecalledDown {
  readonly seq: number;
  readonly type: 'recalled';
  readonly tid: string;
  readonly at: string;
}

/** A thread was made, changed or closed. */
export interface ThreadDown {
  readonly seq: number;
  readonly type: 'thread';
  readonly thread: DeviceThread & { readonly status: 'Active' | 'Closed' };
  readonly at: string;
}

/** The numbers from `from` to `to`, both included, hold nothing any more. */
export interface GoneDown {
  readonly type: 'gone';
  readonly from: number;
  readonly to: number;
}

/** Not numbered; true at `position` (`<epoch>:<n>`). */
export interface CountsDown {
  readonly type: 'counts';
  readonly position: string;
  readonly unread: number;
  readonly total: number;
}

/** The position asked for cannot be continued; everything unexpired follows. */
export interface ResetDown {
  readonly type: 'reset';
  readonly reason: 'epoch' | 'too-old' | 'ahead' | 'malformed';
  /** Where the log stands now. */
  readonly position?: string;
}

/** An event from the device that could not be taken, or a message that was too large for it. */
export interface ErrorDown {
  readonly type: 'error';
  readonly message: string;
  /** The `id` of the event from the device, where it had one. */
  readonly id?: string;
  /** The message that was passed over. */
  readonly tid?: string;
}

/** Entries of a user's log: each has a number (a gone range has two). */
export type LogEntryDown =
  MessageDown | ReadDown | ClickedDown | RecalledDown | ThreadDown | GoneDown;

export type DownEvent = LogEntryDown | CountsDown | ResetDown | ErrorDown;

/** The device holds these messages. */
export interface DeliveredUp {
  readonly id?: string;
  readonly type: 'delivered';
  readonly tids: readonly string[];
}

export interface ReadUp {
  readonly id?: string;
  readonly type: 'read';
  readonly tids: readonly string[];
}

/** A link or a button that opens one was followed. */
export interface ClickedUp {
  readonly id?: string;
  readonly type: 'clicked';
  readonly tid: string;
  readonly identifier?: string;
  readonly url?: string;
}

/** A button was pressed; `text` is what was written into an inline reply. */
export interface PressedUp {
  readonly id?: string;
  readonly type: 'pressed';
  readonly tid: string;
  readonly identifier: string;
  readonly text?: string;
}

/** A message of the user. The id is mandatory: a repeated reply must not become two. */
export interface ReplyUp {
  readonly id: string;
  readonly type: 'reply';
  readonly thread: { readonly id: string };
  readonly message: string;
  readonly attachments?: readonly Attachment[];
}

export interface TypingUp {
  readonly id?: string;
  readonly type: 'typing';
  readonly thread: { readonly id: string };
  readonly on: boolean;
}

export type UpEvent = DeliveredUp | ReadUp | ClickedUp | PressedUp | ReplyUp | TypingUp;

export type UpEventParseResult =
  | { readonly ok: true; readonly event: UpEvent }
  | { readonly ok: false; readonly message: string };
