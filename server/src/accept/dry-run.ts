/** `?dryRun=true`: what would be stored, told instead of stored (contract §2.13). */
import type { Warning } from '@carillon/protocol/messaging.ts';
import { linkAddress, replaceLinkTokens, SLUG_LENGTH } from '../core/links.ts';
import { transidOf } from '../core/transid.ts';
import { acceptedBody, warningsExtra } from './answer.ts';
import type { PreparedUnit } from './prepare.ts';

/**
 * From here on items point at the first one instead of repeating the message, which is the same for all:
 * a thousand copies of the largest message would be 32 MiB.
 */
const REPEATED_BYTES_MAX = 1_048_576;

/** Stands where each recipient's own slug would. */
const SAMPLE_SLUG = 'x'.repeat(SLUG_LENGTH);

/** The accepted answer with `"dryRun":true`; each item has `identifiers` and `message`, as a device would get it. */
export function dryRunBody(unit: PreparedUnit, warnings: readonly Warning[], publicUrl: string): string {
  const used = new Set(unit.links.map((link) => link.linkid));
  const content = replaceLinkTokens(unit.content, (linkid) =>
    used.has(linkid) ? linkAddress(publicUrl, SAMPLE_SLUG) : null,
  );
  const head = JSON.stringify({
    type: 'message',
    created: new Date(unit.acceptedAt).toISOString(),
    expiry: new Date(unit.expiry).toISOString(),
    priority: unit.priority,
    thread: unit.thread,
  }).slice(0, -1);
  const tellWarnings = warningsExtra(warnings);
  let repeated = 0;
  const extra = (index: number): string => {
    const identifiers = JSON.stringify(unit.destinations[index]?.identifiers ?? []);
    repeated += content.length;
    const message =
      index > 0 && repeated > REPEATED_BYTES_MAX
        ? `,"messageLike":"${transidOf(unit.uid, 0)}"`
        : `,"message":${head},"tid":"${transidOf(unit.uid, index)}",${content.slice(1)}`;
    return `,"identifiers":${identifiers}${message}${tellWarnings?.(index) ?? ''}`;
  };
  return acceptedBody(unit.uid, unit.destinations, extra, ',"dryRun":true');
}
