/**
 * The messaging request: its normalised form, its answers, and the validator's entry.
 * Source: the Messaging API page (channel RT) and docs/api.md.
 */
/** The word of `deliverychannel`; receipts repeat it. */
export type ChannelWord = 'appmessaging' | 'rt';

/** 1 low, 2 medium, 3 high. */
export type Priority = 1 | 2 | 3;

export type ThreadType = 'Conversation' | 'Announcement';

/** A thread by its id, or the recipient's own open thread of that type and title. */
export type ThreadReference =
  { readonly id: string } | { readonly type: ThreadType; readonly title: string };

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

export type NotificationActionName =
  'OPEN_URL' | 'OPEN_WEBVIEW' | 'OPEN_HTML' | 'DEEPLINK' | 'OPEN_APP';

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
