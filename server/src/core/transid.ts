import { uuidv7 } from 'uuidv7';

/**
 * One request has one uid; each object of its `destination` has a transid made of the uid with the object's index in
 * the last three hex digits. So a thousand transids cost one row and one index entry, and any of them finds it.
 * Time-ordered (RFC 9562 version 7), which keeps the index at its right end.
 */
const INDEX_DIGITS = 3;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** A new request uid: a version 7 UUID that ends in 000. */
export function newUid(): string {
  return uuidv7().slice(0, -INDEX_DIGITS) + '000';
}

/** The transid of the object at `destination` (0 to 4,095) of the request. */
export function transidOf(uid: string, destination: number): string {
  return uid.slice(0, -INDEX_DIGITS) + destination.toString(16).padStart(INDEX_DIGITS, '0');
}

/** The parts of a transid, in any letter case; null: it cannot be one of ours. */
export function splitTransid(transid: string): { uid: string; destination: number } | null {
  const text = transid.toLowerCase();
  if (!UUID.test(text)) return null;
  return {
    uid: text.slice(0, -INDEX_DIGITS) + '000',
    destination: Number.parseInt(text.slice(-INDEX_DIGITS), 16),
  };
}
