/** The layers of a request: what the body gives and the channel block may give again, stronger. Source: docs/api.md. */
import { isAbsent, readString, readText, type Source } from './fields.ts';
import { parseTime } from './expiry.ts';
import { limits } from './limits.ts';
import { readWebUrl } from './message.ts';
import type { MessagingRequest, Priority } from './messaging.ts';

/** What both the body and the channel block may give. */
export interface Layer {
  expiry?: number;
  priority?: Priority;
  /** Whether a priority is given at all: a wrong one falls back to the client's, not to a weaker layer's. */
  priorityGiven: boolean;
  notifyUrl?: string;
  callbackData?: string;
}

/** A request under construction. */
export type RequestDraft = { -readonly [K in keyof MessagingRequest]?: MessagingRequest[K] };

function readPriority(source: Source): Priority | undefined {
  switch (source.object['priority']) {
    case 1:
    case '1':
      return 1;
    case 2:
    case '2':
      return 2;
    case 3:
    case '3':
      return 3;
    default:
      source.faults.warn(source.path, 'priority', "is not 1, 2 or 3; the client's priority applies");
      return undefined;
  }
}

function readExpiry(source: Source): number | undefined {
  const text = readString(source, 'expiry');
  if (text === undefined) {
    return undefined;
  }
  const time = parseTime(text);
  if (time === undefined) {
    source.faults.invalid(
      source.path,
      'expiry',
      'must be a time such as 2030-04-12T13:00:19.456Z or 2030-04-12T18:30:19+05:30',
    );
  }
  return time;
}

/** Reads the members that the channel block may repeat. */
export function readLayer(source: Source): Layer {
  const layer: Layer = { priorityGiven: !isAbsent(source.object['priority']) };
  const priority = layer.priorityGiven ? readPriority(source) : undefined;
  const expiry = readExpiry(source);
  const notifyUrl = readWebUrl(source, 'notifyurl');
  const callbackData = readText(source, 'callbackData', limits.callbackDataCharactersMax);
  if (priority !== undefined) {
    layer.priority = priority;
  }
  if (expiry !== undefined) {
    layer.expiry = expiry;
  }
  if (notifyUrl !== undefined) {
    layer.notifyUrl = notifyUrl;
  }
  if (callbackData !== undefined) {
    layer.callbackData = callbackData;
  }
  return layer;
}

/** Puts the effective values of the layers into the request; the last layer is the strongest. */
export function applyLayers(draft: RequestDraft, layers: readonly Layer[]): void {
  for (const { expiry, priority, priorityGiven, notifyUrl, callbackData } of layers) {
    if (expiry !== undefined) {
      draft.expiry = expiry;
    }
    if (priorityGiven) {
      delete draft.priority;
    }
    if (priority !== undefined) {
      draft.priority = priority;
    }
    if (notifyUrl !== undefined) {
      draft.notifyUrl = notifyUrl;
    }
    if (callbackData !== undefined) {
      draft.callbackData = callbackData;
    }
  }
}
