/** From the bytes of a body to a JSON object. */
import { isObject, kindOf, type Json } from './fields.ts';
import { limits } from './limits.ts';

export type BodyParseResult =
  | { readonly ok: true; readonly value: Json }
  | { readonly ok: false; readonly message: string };

// A byte order mark is passed over: RFC 8259 §8.1 allows it, and some clients on Windows send one.
const decoder = new TextDecoder('utf-8', { fatal: true });

const quote = 0x22;
const backslash = 0x5c;

/** The index of the quote that ends a string, or the length where none does. `start` is its first byte inside. */
function endOfString(bytes: Uint8Array, start: number): number {
  for (let index = start; index < bytes.length; index += 1) {
    const byte = bytes[index];
    if (byte === quote) {
      return index;
    }
    if (byte === backslash) {
      index += 1;
    }
  }
  return bytes.length;
}

/** Whether objects and arrays are nested deeper than allowed; one pass, strings passed over. */
function isTooDeep(bytes: Uint8Array): boolean {
  let depth = 0;
  for (let index = 0; index < bytes.length; index += 1) {
    const byte = bytes[index];
    if (byte === quote) {
      index = endOfString(bytes, index + 1);
    } else if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      if (depth > limits.bodyDepthMax) {
        return true;
      }
    } else if (byte === 0x7d || byte === 0x5d) {
      depth -= 1;
    }
  }
  return false;
}

/** Where the text stops being JSON. The engine's own words quote the body, which may not be logged. */
function syntaxMessage(error: unknown): string {
  const words = error instanceof Error ? error.message : '';
  const place = /line (\d+) column (\d+)/.exec(words);
  if (place !== null) {
    return `is not JSON: see line ${place[1]}, column ${place[2]}`;
  }
  return words.includes('end of JSON') ? 'is not JSON: it ends too early' : 'is not JSON';
}

/**
 * Parses the body of a request: strict UTF-8 (a byte order mark is passed over), JSON (RFC 8259), an object, nested at
 * most 32 deep. The size is the caller's to bound. Fails with code 7000 and a message for people.
 */
export function parseJsonBody(bytes: Uint8Array): BodyParseResult {
  if (bytes.length === 0) {
    return { ok: false, message: 'the body is empty; it must be a JSON object' };
  }
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    return { ok: false, message: 'the body is not valid UTF-8' };
  }
  if (isTooDeep(bytes)) {
    return { ok: false, message: `the body is nested more than ${limits.bodyDepthMax} deep` };
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { ok: false, message: `the body ${syntaxMessage(error)}` };
  }
  if (!isObject(value)) {
    return { ok: false, message: `the body must be a JSON object, not ${kindOf(value)}` };
  }
  return { ok: true, value };
}
