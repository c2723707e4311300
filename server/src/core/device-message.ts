/**
 * The JSON that goes to devices, over MQTT, REST and server-sent events alike (contract §4, `down`).
 * A message is a short part of its recipient joined with a part that all recipients of the request share, which is
 * built once: a thousand devices get one set of bytes.
 */
import { linkAddress, replaceLinkTokens } from './links.ts';
import type { LogEntry, RequestContent } from './ports.ts';
import { transidOf } from './transid.ts';

export interface EncodeOptions {
  /** Public address that short links begin with; the link is `<linkBase>/l/<slug>`. Without a slash at its end. */
  readonly linkBase: string;
}

/** `head` + `tail` is the JSON text. `tail` may be shared: never write into it. */
export interface MessageParts {
  readonly head: string;
  readonly tail: Buffer;
}

interface SharedParts {
  /** `"created":…,"expiry":…,"priority":…,` */
  readonly times: string;
  /** `"message":…,"media":…}`: the content without its first brace. */
  readonly tailText: string;
  tail: Buffer | null;
}

const shared = new WeakMap<RequestContent, SharedParts>();

function sharedParts(content: RequestContent): SharedParts {
  const known = shared.get(content);
  if (known !== undefined) return known;
  const created = new Date(content.acceptedAt).toISOString();
  const expiry = new Date(content.expiry).toISOString();
  const parts: SharedParts = {
    times: `"created":"${created}","expiry":"${expiry}","priority":${content.priority},`,
    tailText: content.content.slice(1),
    tail: null,
  };
  shared.set(content, parts);
  return parts;
}

function withLinks(text: string, links: Readonly<Record<string, string>>, linkBase: string): string {
  return replaceLinkTokens(text, (linkid) => {
    const slug = Object.hasOwn(links, linkid) ? links[linkid] : undefined;
    return slug === undefined ? null : linkAddress(linkBase, slug);
  });
}

function headOf(message: NonNullable<LogEntry['message']>, n: number, parts: SharedParts): string {
  const { content, destination, thread } = message;
  const tid = transidOf(content.uid, destination);
  const threadText = `{"id":${JSON.stringify(thread.id)},"title":${JSON.stringify(thread.title)},"type":"${thread.type}"}`;
  // A content without members leaves a brace alone, which takes no comma before it.
  const comma = parts.tailText.startsWith('}') ? '' : ',';
  return `{"seq":${n},"type":"message","tid":"${tid}",${parts.times}"thread":${threadText}${comma}`;
}

/** A state event with its number. */
export function encodeEvent(entry: LogEntry): string {
  const rest = JSON.stringify(entry.event ?? {}).slice(1);
  return `{"seq":${entry.n}${rest === '}' ? '' : ','}${rest}`;
}

/** One entry of a log as two parts, for senders that write many. */
export function encodeParts(entry: LogEntry, options: EncodeOptions): MessageParts {
  const { message } = entry;
  if (message === null) return { head: encodeEvent(entry), tail: NOTHING };
  const parts = sharedParts(message.content);
  const head = headOf(message, entry.n, parts);
  if (message.links !== null) {
    return { head, tail: Buffer.from(withLinks(parts.tailText, message.links, options.linkBase)) };
  }
  parts.tail ??= ownBuffer(parts.tailText);
  return { head, tail: parts.tail };
}

/** Bytes of their own: a slice of Node's pool would keep all 64 KiB of it for as long as the request is remembered. */
function ownBuffer(text: string): Buffer {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
}

const NOTHING = Buffer.alloc(0);

/** One entry of a log, message or state event, as JSON text. */
export function encodeMessage(entry: LogEntry, options: EncodeOptions): string {
  const { message } = entry;
  if (message === null) return encodeEvent(entry);
  const parts = sharedParts(message.content);
  const tail = message.links === null ? parts.tailText : withLinks(parts.tailText, message.links, options.linkBase);
  return headOf(message, entry.n, parts) + tail;
}

/** The tid of a message; null: a state event. */
export function tidOf(entry: LogEntry): string | null {
  return entry.message === null ? null : transidOf(entry.message.content.uid, entry.message.destination);
}
