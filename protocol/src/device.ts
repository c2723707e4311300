/**
 * What goes to devices and what comes from them. Source: docs/device.md.
 * Over MQTT these are the payloads; over REST and server-sent events the same JSON.
 */
import { Faults } from './faults.ts';
import {
  demand,
  isAbsent,
  isObject,
  kindOf,
  readArray,
  readLabel,
  readSource,
  readText,
  type Source,
} from './fields.ts';
import { limits } from './limits.ts';
import { readAttachment } from './message.ts';
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
export type LogEntryDown = MessageDown | ReadDown | ClickedDown | RecalledDown | ThreadDown | GoneDown;

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

export interface Position {
  readonly epoch: string;
  /** Everything up to this number is held. */
  readonly number: number;
}

const positionPattern = /^([A-Za-z0-9_-]{1,64}):(\d{1,15})$/;

/** Reads `<epoch>:<n>`; undefined where the text is none. */
export function parsePosition(text: string): Position | undefined {
  const match = positionPattern.exec(text);
  return match === null ? undefined : { epoch: match[1] ?? '', number: Number(match[2]) };
}

/** Writes `<epoch>:<n>`. */
export function formatPosition(position: Position): string {
  return `${position.epoch}:${position.number}`;
}

const typeList = 'delivered, read, clicked, pressed, reply, typing';

function readId(source: Source, key: string, hint: string): string {
  demand(source, key, hint);
  return readLabel(source, key, limits.eventIdBytesMax) ?? '';
}

function readTids(source: Source): string[] {
  const list = readArray(source, 'tids');
  const { faults } = source;
  if (list === undefined) {
    const given = source.object['tids'];
    if (isAbsent(given) || Array.isArray(given)) {
      faults.missing('', 'tids', 'must be a list of at least one tid');
    }
    return [];
  }
  if (list.length > limits.eventTidsMax) {
    faults.invalid('', 'tids', `must hold at most ${limits.eventTidsMax}`);
    return [];
  }
  // Through the reader of labels, one by one: the list is an object with indices for keys.
  const items: Source = { object: list as unknown as Source['object'], path: '/tids', faults };
  return list.map((_, index) => readId(items, String(index), 'must be a tid'));
}

function readThreadId(source: Source): { id: string } {
  if (!demand(source, 'thread', 'must be an object with the id of a thread')) {
    return { id: '' };
  }
  const thread = readSource(source, 'thread');
  return { id: thread === undefined ? '' : readId(thread, 'id', 'must be the id of a thread') };
}

function readClicked(source: Source): UpEvent {
  const tid = readId(source, 'tid', 'must be the tid of the message');
  const identifier = readLabel(source, 'identifier');
  const url = readText(source, 'url', limits.urlLengthMax);
  return {
    type: 'clicked',
    tid,
    ...(identifier === undefined ? undefined : { identifier }),
    ...(url === undefined ? undefined : { url }),
  };
}

function readPressed(source: Source): UpEvent {
  demand(source, 'identifier', 'must be the identifier of the button');
  const tid = readId(source, 'tid', 'must be the tid of the message');
  const identifier = readLabel(source, 'identifier') ?? '';
  const text = readText(source, 'text', limits.textCharactersMax);
  return { type: 'pressed', tid, identifier, ...(text === undefined ? undefined : { text }) };
}

function readAttachments(source: Source): Attachment[] {
  const list = readArray(source, 'attachments') ?? [];
  const attachments: Attachment[] = [];
  if (list.length > limits.replyAttachmentsMax) {
    source.faults.invalid('', 'attachments', `must hold at most ${limits.replyAttachmentsMax}`);
    return attachments;
  }
  for (const [index, object] of list.entries()) {
    if (!isObject(object)) {
      source.faults.invalid('/attachments', index, `must be an object, not ${kindOf(object)}`);
      continue;
    }
    const attachment = readAttachment({ object, path: `/attachments/${index}`, faults: source.faults });
    if (attachment !== undefined) {
      attachments.push(attachment);
    }
  }
  return attachments;
}

function readReply(source: Source): UpEvent {
  const id = readId(source, 'id', 'must be an id of the device, the same when it is sent again');
  const thread = readThreadId(source);
  const attachments = readAttachments(source);
  const attached = source.object['attachments'];
  if (isAbsent(attached) || (Array.isArray(attached) && attached.length === 0)) {
    demand(source, 'message', 'must be the text of the reply where there is no attachment');
  }
  const message = readText(source, 'message', limits.textCharactersMax) ?? '';
  return { id, type: 'reply', thread, message, ...(attachments.length === 0 ? undefined : { attachments }) };
}

function readTyping(source: Source): UpEvent {
  const on = source.object['on'];
  if (typeof on !== 'boolean') {
    source.faults.invalid('', 'on', `must be true or false, not ${kindOf(on)}`);
  }
  return { type: 'typing', thread: readThreadId(source), on: on === true };
}

function readByType(source: Source): UpEvent | undefined {
  const type = source.object['type'];
  switch (type) {
    case 'delivered':
    case 'read':
      return { type, tids: readTids(source) };
    case 'clicked':
      return readClicked(source);
    case 'pressed':
      return readPressed(source);
    case 'reply':
      return readReply(source);
    case 'typing':
      return readTyping(source);
    default:
      source.faults.invalid('', 'type', `must be one of ${typeList}`);
      return undefined;
  }
}

/**
 * Checks an event from a device, parsed from JSON. What is not known is ignored; the message of a failure names the
 * first fault by JSON pointer. Never throws.
 */
export function parseUpEvent(value: unknown): UpEventParseResult {
  if (!isObject(value)) {
    return { ok: false, message: `an event must be a JSON object, not ${kindOf(value)}` };
  }
  const faults = new Faults();
  const source: Source = { object: value, path: '', faults };
  const event = readByType(source);
  const id = readLabel(source, 'id', limits.eventIdBytesMax);
  if (faults.any || event === undefined) {
    const first = faults.outcome().details[0];
    return { ok: false, message: first === undefined ? 'is no event' : `${first.path} ${first.message}` };
  }
  return { ok: true, event: id === undefined ? event : { ...event, id } };
}
