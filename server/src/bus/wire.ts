import type { UserHint, UserKey } from '../core/ports.ts';

/**
 * What goes over the network for hints: a byte that marks it, a byte for the version, then 16 bytes a hint, the user and
 * the head of the log as unsigned 64-bit numbers. Ids and heads only, never content, and nothing of it is ever made
 * into a subject but the number of a shard.
 */
const MARK = 0xc4;
const VERSION = 1;
const HEAD_BYTES = 2;
const HINT_BYTES = 16;
const LOW_WORD = 0x1_0000_0000;
/** The high word of Number.MAX_SAFE_INTEGER. */
const HIGH_WORD_MAX = 0x1f_ffff;

export const wireLimits = {
  /** Hints in one message: 64 KiB, far below the megabyte that a NATS server takes by default. */
  hintsPerMessageMax: 4_096,
  /** Subjects over which the users are spread; a power of two. Decision 0019. */
  shards: 1_024,
} as const;

/** Multiplicative hashing: consecutive users are spread evenly. */
const GOLDEN = 0x9e_37_79_b1;

/** The shard of a user, 0 … 1,023: the same on every node. */
export function shardOf(user: UserKey): number {
  const word = (user % LOW_WORD) ^ Math.floor(user / LOW_WORD);
  return (Math.imul(word, GOLDEN) >>> 0) % wireLimits.shards;
}

/** Hints that fit into a message of so many bytes; 0: not even one does. */
export function hintsPerMessage(payloadBytesMax: number): number {
  const fitting = Math.floor((payloadBytesMax - HEAD_BYTES) / HINT_BYTES);
  return Math.max(0, Math.min(wireLimits.hintsPerMessageMax, fitting));
}

function isNumber64(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** Whether a hint can go over the wire at all. */
export function isSendable(hint: UserHint): boolean {
  return isNumber64(hint.user) && isNumber64(hint.head);
}

/** One message of {@link isSendable} hints, at most {@link hintsPerMessage}. */
export function encodeHints(hints: readonly UserHint[]): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES + hints.length * HINT_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[0] = MARK;
  bytes[1] = VERSION;
  let at = HEAD_BYTES;
  for (const { user, head } of hints) {
    view.setUint32(at, Math.floor(user / LOW_WORD));
    view.setUint32(at + 4, user % LOW_WORD);
    view.setUint32(at + 8, Math.floor(head / LOW_WORD));
    view.setUint32(at + 12, head % LOW_WORD);
    at += HINT_BYTES;
  }
  return bytes;
}

/**
 * Calls for each hint of a message, in its order. False, and nothing is called: it is no such message, whoever wrote it.
 */
export function decodeHints(bytes: Uint8Array, onHint: (user: UserKey, head: number) => void): boolean {
  const count = (bytes.length - HEAD_BYTES) / HINT_BYTES;
  if (!Number.isInteger(count) || count < 1 || count > wireLimits.hintsPerMessageMax) return false;
  if (bytes[0] !== MARK || bytes[1] !== VERSION) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = HEAD_BYTES; at < bytes.length; at += HINT_BYTES / 2) {
    if (view.getUint32(at) > HIGH_WORD_MAX) return false;
  }
  for (let at = HEAD_BYTES; at < bytes.length; at += HINT_BYTES) {
    const user = view.getUint32(at) * LOW_WORD + view.getUint32(at + 4);
    onHint(user, view.getUint32(at + 8) * LOW_WORD + view.getUint32(at + 12));
  }
  return true;
}
