/**
 * Reading a log on after a position (contract §4, "The log"): what the numbers after it become for a device.
 * Used by MQTT (`since`) and by the stream of the device API.
 */
import type { ResetDown } from '@carillon/protocol/device.ts';
import { parsePosition } from '@carillon/protocol/device.ts';
import { STATE } from './delivery-state.ts';
import type { LogEntry } from './ports.ts';

export interface LogStand {
  readonly epoch: string;
  readonly head: number;
  /** A position below it cannot be continued. */
  readonly purgedTo: number;
}

export type ReplayStart =
  | { readonly kind: 'from'; readonly after: number }
  /** Say `reset`, then everything unexpired from number 1. */
  | { readonly kind: 'reset'; readonly reason: ResetDown['reason'] };

/** Where a device that holds `since` (`<epoch>:<n>`) goes on. */
export function startReplay(since: string, log: LogStand): ReplayStart {
  const position = parsePosition(since);
  if (position === undefined) return { kind: 'reset', reason: 'malformed' };
  if (position.epoch !== log.epoch) return { kind: 'reset', reason: 'epoch' };
  if (position.number > log.head) return { kind: 'reset', reason: 'ahead' };
  if (position.number < log.purgedTo) return { kind: 'reset', reason: 'too-old' };
  return { kind: 'from', after: position.number };
}

/** Nothing of it is to be shown any more: its number is told as `gone`. */
export function isGone(entry: LogEntry, now: number): boolean {
  if (entry.message === null) return false;
  if (entry.state >= STATE.failed) return true;
  return entry.message.content.expiry <= now;
}

export type ReplayItem =
  | { readonly kind: 'entry'; readonly entry: LogEntry }
  | { readonly kind: 'gone'; readonly from: number; readonly to: number };

export interface ReplayPage {
  readonly items: readonly ReplayItem[];
  /** Everything up to here is in `items`. */
  readonly after: number;
}

/**
 * Turns one page of the log into what is told: entries in number order, numbers without a showable entry as ranges.
 * `upTo`: the page holds every kept entry after `after` up to this number.
 */
export function replayPage(
  page: readonly LogEntry[],
  range: { readonly after: number; readonly upTo: number; readonly now: number },
): ReplayPage {
  const items: ReplayItem[] = [];
  let next = range.after + 1;
  for (const entry of page) {
    if (entry.n < next || isGone(entry, range.now)) continue;
    if (entry.n > next) items.push({ kind: 'gone', from: next, to: entry.n - 1 });
    items.push({ kind: 'entry', entry });
    next = entry.n + 1;
  }
  if (next <= range.upTo) items.push({ kind: 'gone', from: next, to: range.upTo });
  return { items, after: Math.max(range.upTo, next - 1) };
}
