/** Answers of the messaging API as values: the HTTP layer only writes them (contract §2; FACTS of the original, §1.2). */
import { describe } from '@carillon/protocol/codes.ts';
import type { RequestCode } from '@carillon/protocol/codes.ts';
import type { FaultDetail, Warning } from '@carillon/protocol/messaging.ts';
import { limits } from '@carillon/protocol/limits.ts';
import type { AcceptDestination } from '../core/ports.ts';
import { newUid, transidOf } from '../core/transid.ts';

export interface Answer {
  /** HTTP status. */
  readonly status: number;
  /** The code it carries, for whoever counts. */
  readonly code: RequestCode;
  /** Besides those that every answer has. */
  readonly headers: Readonly<Record<string, string>>;
  /** JSON text. */
  readonly body: string;
}

export interface Refusal {
  readonly code: RequestCode;
  readonly details: readonly FaultDetail[];
  /** HTTP status; by default that of the table of codes, else 200, as the original has it. */
  readonly status?: number;
  readonly retryAfterSeconds?: number;
}

const NO_HEADERS: Readonly<Record<string, string>> = {};

/** The answer to a refused request, with a transid of its own: nothing is stored under it. */
export function refusedAnswer(refusal: Refusal): Answer {
  const entry = describe(refusal.code);
  const transid = newUid();
  const response =
    refusal.details.length === 0
      ? { code: entry.code, description: entry.description, transid }
      : { code: entry.code, description: entry.description, transid, details: refusal.details };
  const headers =
    refusal.retryAfterSeconds === undefined
      ? NO_HEADERS
      : { 'Retry-After': String(Math.max(1, Math.ceil(refusal.retryAfterSeconds))) };
  return {
    status: refusal.status ?? entry.http ?? 200,
    code: refusal.code,
    headers,
    body: JSON.stringify({ response }),
  };
}

const SUFFIX_DIGITS = 3;
/** The last digits of a thousand transids, made once: building them anew was a third of a large answer. */
const SUFFIXES = Array.from({ length: limits.destinationsMax }, (_, index) =>
  transidOf('0'.repeat(SUFFIX_DIGITS), index),
);

const DESCRIPTION = JSON.stringify(describe('1001').description);

/** More of an item than code, description, transid and correlationid: JSON members with a comma before each. */
export type ItemExtra = (index: number) => string;

/**
 * The body of the accepted answer, one item per object of `destination`. Written by hand, since serialising a thousand
 * objects of one shape took three times as long. `tail`: members after `response`, with a comma before each.
 */
export function acceptedBody(
  uid: string,
  destinations: readonly AcceptDestination[],
  extra?: ItemExtra,
  tail: string = '',
): string {
  const head = `{"code":"1001","description":${DESCRIPTION},"transid":"${uid.slice(0, -SUFFIX_DIGITS)}`;
  let lastLabel: string | null = null;
  let label = '';
  let body = '{"response":[';
  for (let index = 0; index < destinations.length; index += 1) {
    const { correlationid } = destinations[index] as AcceptDestination;
    // Mostly all destinations have the body's: one serialisation for the lot.
    if (correlationid !== lastLabel) {
      label = correlationid === null ? '' : `,"correlationid":${JSON.stringify(correlationid)}`;
      lastLabel = correlationid;
    }
    body += `${index === 0 ? '' : ','}${head}${SUFFIXES[index] ?? transidOf('000', index)}"${label}`;
    if (extra !== undefined) body += extra(index);
    body += '}';
  }
  return `${body}]${tail}}`;
}

export function acceptedAnswer(body: string, headers: Readonly<Record<string, string>> = NO_HEADERS): Answer {
  return { status: 200, code: '1001', headers, body };
}

const DESTINATION_PATH = /^\/destination\/(\d+)\//;

/**
 * `warnings` of the items (`Prefer: warnings`): what is about one object of `destination` stands in its item, what is about
 * the whole request in the first one alone. Told a thousand times it would make answers larger than any request.
 */
export function warningsExtra(warnings: readonly Warning[]): ItemExtra | undefined {
  if (warnings.length === 0) return undefined;
  const byItem = new Map<number, Warning[]>();
  for (const warning of warnings) {
    const index = Number(DESTINATION_PATH.exec(warning.path)?.[1] ?? 0);
    const list = byItem.get(index);
    if (list === undefined) byItem.set(index, [warning]);
    else list.push(warning);
  }
  return (index) => {
    const list = byItem.get(index);
    return list === undefined ? '' : `,"warnings":${JSON.stringify(list)}`;
  };
}
