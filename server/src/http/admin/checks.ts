/** Checks that a schema cannot make: between fields, and of addresses. */
import { parseTargetUrl } from '../../lib/target-url.ts';
import type { FaultDetail } from './context.ts';

/** Faults of the fields that hold an address to be called; null and absent are fine. */
export function urlFaults(body: Readonly<Record<string, unknown>>, fields: readonly string[]): FaultDetail[] {
  return fields.flatMap((field) => {
    const value = body[field];
    if (typeof value !== 'string') return [];
    const parsed = parseTargetUrl(value);
    return parsed.ok ? [] : [{ path: `/${field}`, message: parsed.message }];
  });
}

/** An origin is scheme, host and port, and nothing else (RFC 6454). */
export function originFaults(origins: readonly string[] | undefined): FaultDetail[] {
  return (origins ?? []).flatMap((origin, index) => {
    const url = URL.parse(origin);
    if (url !== null && /^https?:$/u.test(url.protocol) && url.origin === origin) return [];
    return [{ path: `/origins/${index}`, message: 'must be an origin like https://www.example.com, without a path' }];
  });
}

/** Whether a text can name a person: 1 to 256 bytes, well-formed, no control characters. */
export function isPersonName(text: string): boolean {
  const bytesMax = 256;
  return (
    text !== '' &&
    Buffer.byteLength(text) <= bytesMax &&
    text.isWellFormed() &&
    // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
    !/[\u0000-\u001f\u007f-\u009f]/u.test(text)
  );
}

/** RFC 3339 in UTC. */
export const timeText = (ms: number): string => new Date(ms).toISOString();
