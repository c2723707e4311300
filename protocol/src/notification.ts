/** `notification`: the push that goes with a message. Source: the page's notification block; docs/api.md. */
import {
  demand,
  readLabel,
  readObject,
  readSource,
  readString,
  readStringOrNumber,
  readText,
  warnUnknown,
  type Json,
  type Source,
} from './fields.ts';
import { actionKey, readActionValue, readInteractive } from './interactive.ts';
import { limits } from './limits.ts';
import { readWebUrl } from './message.ts';
import type {
  AndroidExtras,
  Interactive,
  IosExtras,
  Notification,
  NotificationAction,
  NotificationActionName,
  WebExtras,
  WindowsExtras,
} from './messaging.ts';

type FieldKind = 'string' | 'url' | 'action' | 'object' | 'collapse' | 'alias';

/** What every platform takes. */
const commonFields: readonly (readonly [string, FieldKind])[] = [
  ['collapse_key', 'collapse'],
  ['collapsekey', 'alias'],
  ['customtags', 'object'],
];

function fields(own: Readonly<Record<string, FieldKind>>): ReadonlyMap<string, FieldKind> {
  return new Map([...commonFields, ...Object.entries(own)]);
}

const androidFields = fields({
  sound: 'string',
  iconurl: 'url',
  notificationChannelId: 'string',
  notificationaction: 'action',
});
const iosFields = fields({ sound: 'string', badge: 'string', attachmenturl: 'url', notificationaction: 'action' });
const windowsFields = fields({
  sound: 'string',
  badge: 'string',
  logo: 'url',
  image: 'url',
  notificationaction: 'action',
});
const webFields = fields({ action: 'string', url: 'url' });

const notificationKeys = new Set([
  'title',
  'text',
  'android_extras',
  'ios_extras',
  'windows_extras',
  'web_extras',
  'interactive',
]);

/** Names without underscores; the page writes OPEN_WEBVIEW, OPENWEBVIEW and OPENAPP. */
const actionNames: ReadonlyMap<string, NotificationActionName> = new Map([
  ['OPENURL', 'OPEN_URL'],
  ['OPENWEBVIEW', 'OPEN_WEBVIEW'],
  ['OPENHTML', 'OPEN_HTML'],
  ['DEEPLINK', 'DEEPLINK'],
  ['OPENAPP', 'OPEN_APP'],
]);

const actionSourceKeys = new Set(['action', 'value']);

/** What a tap on the notification does; undefined where no action is set. */
function readNotificationAction(extras: Source): NotificationAction | undefined {
  const source = readSource(extras, 'notificationaction');
  if (source === undefined) {
    return undefined;
  }
  warnUnknown(source, actionSourceKeys);
  const text = readString(source, 'action');
  if (text === undefined) {
    if (readString(source, 'value') !== undefined) {
      source.faults.warn(source.path, 'value', 'is ignored without an action');
    }
    return undefined;
  }
  const action = actionNames.get(actionKey(text));
  if (action === undefined) {
    const message = 'must be one of OPEN_URL, OPEN_WEBVIEW, OPEN_HTML, DEEPLINK, OPEN_APP';
    source.faults.invalid(source.path, 'action', message);
    return undefined;
  }
  if (action !== 'OPEN_APP' && !demand(source, 'value', `must be given for ${action}`)) {
    return undefined;
  }
  const value = readActionValue(source, action);
  return value === undefined ? { action } : { action, value };
}

function readField(source: Source, key: string, kind: FieldKind): unknown {
  switch (kind) {
    case 'string':
      return readStringOrNumber(source, key);
    case 'url':
      return readWebUrl(source, key);
    case 'action':
      return readNotificationAction(source);
    case 'object':
      return readObject(source, key);
    case 'collapse':
      return readString(source, key) ?? readString(source, 'collapsekey');
    case 'alias':
    default:
      return undefined;
  }
}

/** The extras of one platform in the names of the wire; undefined where there are none. */
function readExtras(notification: Source, key: string, known: ReadonlyMap<string, FieldKind>): Json | undefined {
  const source = readSource(notification, key);
  if (source === undefined) {
    return undefined;
  }
  const extras: Json = {};
  for (const name of Object.keys(source.object)) {
    if (!known.has(name)) {
      source.faults.warn(source.path, name, 'is not a known parameter and is ignored');
    }
  }
  for (const [name, kind] of known) {
    const value = readField(source, name, kind);
    if (value !== undefined) {
      extras[name] = value;
    }
  }
  return extras;
}

/** A notification under construction. */
interface Draft {
  title: string;
  text: string;
  android_extras?: AndroidExtras;
  ios_extras?: IosExtras;
  windows_extras?: WindowsExtras;
  web_extras?: WebExtras;
  interactive?: Interactive;
}

/** Reads `notification` of the channel block. */
export function readNotification(source: Source): Notification {
  warnUnknown(source, notificationKeys);
  demand(source, 'title', 'must be the title of the notification');
  demand(source, 'text', 'must be the text of the notification');
  const draft: Draft = {
    title: readLabel(source, 'title', limits.renderedBytesMax) ?? '',
    text: readText(source, 'text', limits.textCharactersMax) ?? '',
  };
  const android = readExtras(source, 'android_extras', androidFields);
  const ios = readExtras(source, 'ios_extras', iosFields);
  const windows = readExtras(source, 'windows_extras', windowsFields);
  const web = readExtras(source, 'web_extras', webFields);
  const buttons = readSource(source, 'interactive');
  const interactive = buttons === undefined ? undefined : readInteractive(buttons);
  if (android !== undefined) {
    draft.android_extras = android;
  }
  if (ios !== undefined) {
    draft.ios_extras = ios;
  }
  if (windows !== undefined) {
    draft.windows_extras = windows;
  }
  if (web !== undefined) {
    draft.web_extras = web;
  }
  if (interactive !== undefined) {
    draft.interactive = interactive;
  }
  return draft;
}
