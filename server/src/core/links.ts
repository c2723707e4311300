/**
 * Short links: their slugs and the token `{{link_<linkid>}}` that stands for one in a message (docs/api.md, smartlinks).
 * A slug is random and means nothing: where it leads, until when and whose it is stands in the store.
 */
import type { Random } from './ports.ts';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** 14 of 62 letters: 83 bits, so that guessing is hopeless even without the limit on guesses. */
export const SLUG_LENGTH = 14;
/** A byte's lower six bits miss the alphabet in 2 of 64 cases; two more bytes than letters mostly do. */
const BYTES_AT_ONCE = 16;

/** A new slug of {@link SLUG_LENGTH} letters and digits. */
export function newSlug(random: Random): string {
  let slug = '';
  while (slug.length < SLUG_LENGTH) {
    for (const byte of random.bytes(BYTES_AT_ONCE)) {
      // A value beyond the alphabet is thrown away, not folded in: every letter stays equally likely.
      if (slug.length < SLUG_LENGTH) slug += ALPHABET[byte & 63] ?? '';
    }
  }
  return slug;
}

const SLUG = /^[0-9A-Za-z]{14}$/;

/** Whether a text can be a slug at all. */
export function isSlug(text: string): boolean {
  return SLUG.test(text);
}

/** The address of a slug below the public base address (without a slash at its end). */
export function linkAddress(publicUrl: string, slug: string): string {
  return `${publicUrl}/l/${slug}`;
}

/** A decimal number as `linkid` has it, at most the 16 digits of the largest whole number JSON carries. */
const TOKEN = /\{\{link_([1-9]\d{0,15})\}\}/g;

/** The linkids named by tokens in a text (also in JSON text, where a token looks the same), each with its count. */
export function findLinkTokens(text: string): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  // Nearly every message has none, and looking for a word costs a tenth of the expression.
  if (!text.includes('{{link_')) return found;
  for (const [, linkid = ''] of text.matchAll(TOKEN)) found.set(linkid, (found.get(linkid) ?? 0) + 1);
  return found;
}

/**
 * Puts addresses in the place of tokens, in one pass. `addressOf` gives null for a link the message does not have: its
 * token stays as it is. May be given JSON text, as an address holds nothing that JSON escapes.
 */
export function replaceLinkTokens(text: string, addressOf: (linkid: string) => string | null): string {
  if (!text.includes('{{link_')) return text;
  return text.replaceAll(TOKEN, (token, linkid: string) => addressOf(linkid) ?? token);
}
