/**
 * The messaging request: its normalised form, its answers, and the validator's entry.
 * Source: the Messaging API page (channel RT) and docs/api.md.
 */
import { readBlock, readBlockParts, readChannels, readContent, type BodyMessage } from './channel-block.ts';
import { readDestinations } from './destination.ts';
import { Faults } from './faults.ts';
import {
  demand,
  isAbsent,
  isObject,
  kindOf,
  readLabel,
  readSource,
  readString,
  warnUnknown,
  type Source,
} from './fields.ts';
import { applyLayers, readLayer, type RequestDraft } from './layers.ts';
import { limits } from './limits.ts';
import { readSmartlinks } from './smartlinks.ts';

/** The word of `deliverychannel`; receipts repeat it. */
export type ChannelWord = 'appmessaging' | 'rt';

/** 1 low, 2 medium, 3 high. */
export type Priority = 1 | 2 | 3;

export type ThreadType = 'Conversation' | 'Announcement';

/** A thread by its id, or the recipient's own open thread of that type and title. */
export type ThreadReference = { readonly id: string } | { readonly type: ThreadType; readonly title: string };

export type IdentifierType = 'customerid' | 'msisdn' | 'userid';

export interface Identifier {
  readonly type: IdentifierType;
  readonly value: string;
}

/** One object of `destination`; its correlationid is the effective one (its own, else the body's). */
export interface Destination {
  readonly correlationid?: string;
  readonly identifiers: readonly Identifier[];
}

export type ContentType = 'file' | 'image' | 'video' | 'audio' | 'location';

/** An attachment as devices get it; size in bytes, duration in seconds, degrees as decimals. */
export interface Attachment {
  readonly contentType: ContentType;
  readonly file?: string;
  readonly preview?: string;
  readonly size?: number;
  readonly duration?: number;
  readonly latitude?: number;
  readonly longitude?: number;
}

/** Any JSON object that is passed through as it came (`customtags`, `extras`). */
export type JsonObject = Readonly<Record<string, unknown>>;

export type NotificationActionName = 'OPEN_URL' | 'OPEN_WEBVIEW' | 'OPEN_HTML' | 'DEEPLINK' | 'OPEN_APP';

export interface NotificationAction {
  readonly action: NotificationActionName;
  readonly value?: string;
}

interface PlatformExtras {
  readonly collapse_key?: string;
  readonly customtags?: JsonObject;
}

export interface AndroidExtras extends PlatformExtras {
  readonly sound?: string;
  readonly iconurl?: string;
  readonly notificationChannelId?: string;
  readonly notificationaction?: NotificationAction;
}

export interface IosExtras extends PlatformExtras {
  readonly sound?: string;
  readonly badge?: string;
  readonly attachmenturl?: string;
  readonly notificationaction?: NotificationAction;
}

export interface WindowsExtras extends PlatformExtras {
  readonly sound?: string;
  readonly badge?: string;
  readonly logo?: string;
  readonly image?: string;
  readonly notificationaction?: NotificationAction;
}

export interface WebExtras extends PlatformExtras {
  /** The label of the button, not a kind of action. */
  readonly action?: string;
  readonly url?: string;
}

export type InteractiveActionName =
  | 'DISMISS'
  | 'OPEN_URL'
  | 'OPEN_APP'
  | 'DEEPLINK'
  | 'OPEN_WEBVIEW'
  | 'SHARE'
  | 'TRIVIAL_REPLY'
  | 'INLINE_REPLY';

export interface InteractiveAction {
  readonly pos: 1 | 2;
  readonly action: InteractiveActionName;
  readonly identifier: string;
  readonly value?: string;
}

/** Buttons, sorted by position; `category` in capitals. */
export interface Interactive {
  readonly category: string;
  readonly pushref?: string;
  readonly actions: readonly InteractiveAction[];
}

/** The push that goes with a message, in the names of the wire. */
export interface Notification {
  readonly title: string;
  readonly text: string;
  readonly android_extras?: AndroidExtras;
  readonly ios_extras?: IosExtras;
  readonly windows_extras?: WindowsExtras;
  readonly web_extras?: WebExtras;
  readonly interactive?: Interactive;
}

export interface Smartlink {
  readonly linkid: number;
  readonly validityMinutes?: number;
}

/** A template and its values; `parameters` has no prototype. */
export interface TemplateReference {
  readonly id: string;
  readonly parameters: Readonly<Record<string, string>>;
}

export interface MessageContent {
  readonly text?: string;
  readonly attachment?: Attachment;
}

/** A request with its layers merged and its aliases resolved; what is absent is not a key. */
export interface MessagingRequest {
  readonly channelWord: ChannelWord;
  readonly appid?: string;
  /** The body's own; each destination already holds the effective one. */
  readonly correlationid?: string;
  readonly notifyUrl?: string;
  readonly callbackData?: string;
  /** Milliseconds since 1970, may lie in the past. */
  readonly expiry?: number;
  /** Not a key: the client's priority applies. */
  readonly priority?: Priority;
  readonly template?: TemplateReference;
  readonly smartlinks: readonly Smartlink[];
  readonly message: MessageContent;
  readonly notification?: Notification;
  readonly thread: ThreadReference;
  readonly extras?: JsonObject;
  readonly destinations: readonly Destination[];
}

/** Something that was ignored, by JSON pointer. */
export interface Warning {
  readonly path: string;
  readonly message: string;
}

/** Something that is wrong, by JSON pointer: what is wrong and what would be right. */
export interface FaultDetail {
  readonly path: string;
  readonly message: string;
}

export type MessagingFaultCode = '7000' | '7009' | '7003' | '7004';

export type MessagingParseResult =
  | {
      readonly ok: true;
      readonly request: MessagingRequest;
      readonly warnings: readonly Warning[];
    }
  | {
      readonly ok: false;
      readonly code: MessagingFaultCode;
      readonly details: readonly FaultDetail[];
    };

export interface MessagingContext {
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** One item of the accepted answer: one per object of `destination`, in order. */
export interface AcceptedItem {
  readonly code: '1001';
  readonly description: string;
  readonly transid: string;
  readonly correlationid?: string;
  /** Only with `Prefer: warnings`. */
  readonly warnings?: readonly Warning[];
}

export interface AcceptedAnswer {
  readonly response: readonly AcceptedItem[];
  readonly dryRun?: true;
}

export interface RefusedAnswer {
  readonly response: {
    readonly code: string;
    readonly description: string;
    readonly transid: string;
    readonly details?: readonly FaultDetail[];
  };
}

const bodyKeys = new Set([
  'appid',
  'correlationid',
  'notifyurl',
  'callbackData',
  'expiry',
  'priority',
  'message',
  'deliverychannel',
  'channels',
  'destination',
  'smartlinks',
]);
const channelsKeys = new Set(['appmessaging', 'rt', 'smartlinks']);
const bodyMessageKeys = new Set(['template', 'parameters']);
function readChannelWord(root: Source): ChannelWord | undefined {
  if (!demand(root, 'deliverychannel', 'must be appmessaging')) {
    return undefined;
  }
  const word = readString(root, 'deliverychannel');
  if (word === 'appmessaging' || word === 'rt') {
    return word;
  }
  if (word !== undefined) {
    root.faults.invalid('', 'deliverychannel', 'must be appmessaging (or rt, its other name)');
  }
  return undefined;
}

function readIds(draft: RequestDraft, root: Source): void {
  const appid = readLabel(root, 'appid');
  if (appid !== undefined) {
    draft.appid = appid;
  }
  const correlationid = readLabel(root, 'correlationid', limits.correlationidBytesMax);
  if (correlationid !== undefined) {
    draft.correlationid = correlationid;
  }
}

function readBodyMessage(root: Source): BodyMessage {
  const given = !isAbsent(root.object['message']);
  const source = readSource(root, 'message');
  if (source === undefined) {
    return { given };
  }
  warnUnknown(source, bodyMessageKeys);
  return { given, source };
}

/** Everything of the body, with faults in the source. */
function readBody(root: Source, context: MessagingContext): RequestDraft {
  const draft: RequestDraft = {};
  warnUnknown(root, bodyKeys);
  readIds(draft, root);
  const word = readChannelWord(root);
  if (word !== undefined) {
    draft.channelWord = word;
  }
  draft.destinations = readDestinations(root, draft.correlationid);
  const channels = readChannels(root);
  const block = channels === undefined ? undefined : readBlock(channels, word);
  const layers = [readLayer(root)];
  const links = new Map<number, Smartlink>();
  readSmartlinks(root, links);
  const bodyMessage = readBodyMessage(root);
  if (channels !== undefined) {
    warnUnknown(channels, channelsKeys);
    readSmartlinks(channels, links);
  }
  if (block !== undefined) {
    layers.push(readLayer(block));
    readSmartlinks(block, links);
    readBlockParts(draft, block);
  }
  readContent(draft, bodyMessage, block);
  applyLayers(draft, layers);
  draft.smartlinks = links.size === 0 ? [] : [...links.values()];
  if (draft.expiry !== undefined && draft.expiry <= context.now) {
    root.faults.warn('', 'expiry', 'is past: the message fails at once with 7301');
  }
  return draft;
}

/**
 * Checks and normalises a parsed body. All faults are collected; the first code of 7000, 7009, 7003, 7004 that has one
 * decides. Whether templates, smartlinks, apps and threads exist is for the server to say. Never throws.
 */
export function parseMessagingRequest(body: unknown, context: MessagingContext): MessagingParseResult {
  if (!isObject(body)) {
    const message = `the body must be a JSON object, not ${kindOf(body)}`;
    return { ok: false, code: '7000', details: [{ path: '', message }] };
  }
  const faults = new Faults();
  const draft = readBody({ object: body, path: '', faults }, context);
  if (faults.any) {
    return { ok: false, ...faults.outcome() };
  }
  // Whatever of the mandatory parts could not be read has left a fault, so that all of them are here.
  return { ok: true, request: draft as MessagingRequest, warnings: faults.warnings };
}
