/** `channels` and the block of the channel in it. Source: the page's appmessaging block; docs/api.md. */
import {
  demand,
  isAbsent,
  isObject,
  kindOf,
  readLabel,
  readObject,
  readSource,
  readString,
  readText,
  warnUnknown,
  type Json,
  type Source,
} from './fields.ts';
import type { RequestDraft } from './layers.ts';
import { limits } from './limits.ts';
import { mergeTemplate, readAttachment, readTemplateLayer } from './message.ts';
import type { ChannelWord, ThreadReference, ThreadType } from './messaging.ts';
import { readNotification } from './notification.ts';

const blockMessageKeys = new Set(['text', 'attachment', 'template', 'parameters', 'extras']);
const blockKeys = new Set([
  'message',
  'notification',
  'thread_type',
  'thread_title',
  'thread_id',
  'extras',
  'expiry',
  'priority',
  'notifyurl',
  'callbackData',
  'smartlinks',
]);

/** `channels`: an object, or the page's array, of which one object is read. */
export function readChannels(root: Source): Source | undefined {
  const { faults } = root;
  const value = root.object['channels'];
  if (isAbsent(value) || (Array.isArray(value) && value.length === 0)) {
    faults.missing('', 'channels', 'must be an object with appmessaging in it');
    return undefined;
  }
  if (isObject(value)) {
    return { object: value, path: '/channels', faults };
  }
  const first: unknown = Array.isArray(value) && value.length === 1 ? value[0] : undefined;
  if (isObject(first)) {
    return { object: first, path: '/channels/0', faults };
  }
  faults.invalid('', 'channels', `must be an object, or an array of one object, not ${kindOf(value)}`);
  return undefined;
}

/** The channel block, under either name; that of the request's own word goes first. */
export function readBlock(channels: Source, word: ChannelWord | undefined): Source | undefined {
  const names = word === 'rt' ? (['rt', 'appmessaging'] as const) : (['appmessaging', 'rt'] as const);
  const [first, second] = names;
  for (const name of names) {
    if (isAbsent(channels.object[name])) {
      continue;
    }
    if (name === first && !isAbsent(channels.object[second])) {
      channels.faults.warn(channels.path, second, `is ignored: ${first} is there`);
    }
    return readSource(channels, name);
  }
  channels.faults.missing(channels.path, 'appmessaging', 'must be an object with the message in it');
  return undefined;
}

function readThreadType(block: Source): ThreadType | undefined {
  const word = readString(block, 'thread_type');
  switch (word?.trim().toLowerCase()) {
    case 'conversation':
      return 'Conversation';
    case 'announcement':
      return 'Announcement';
    case undefined:
      return undefined;
    default:
      block.faults.invalid(block.path, 'thread_type', 'must be conversation or announcement');
      return undefined;
  }
}

function readThread(block: Source): ThreadReference | undefined {
  const id = readLabel(block, 'thread_id');
  const type = readThreadType(block);
  const title = readLabel(block, 'thread_title', limits.threadTitleBytesMax);
  if (id !== undefined) {
    if (type !== undefined) {
      block.faults.warn(block.path, 'thread_type', 'is ignored: thread_id names the thread');
    }
    if (title !== undefined) {
      block.faults.warn(block.path, 'thread_title', 'is ignored: thread_id names the thread');
    }
    return { id };
  }
  if (isAbsent(block.object['thread_id'])) {
    demand(block, 'thread_type', 'must be conversation or announcement where there is no thread_id');
    demand(block, 'thread_title', 'must be the title of the thread where there is no thread_id');
  }
  return type === undefined || title === undefined ? undefined : { type, title };
}

/** `extras` of the message and of the block around it; the message's win by name. */
function readPassedExtras(block: Source, message: Source | undefined): Json | undefined {
  const outer = readObject(block, 'extras');
  const inner = message === undefined ? undefined : readObject(message, 'extras');
  return outer !== undefined && inner !== undefined ? { ...outer, ...inner } : (inner ?? outer);
}

/** `message` of the body: whether it is there, and, where it is an object, that. */
export interface BodyMessage {
  readonly given: boolean;
  readonly source?: Source;
}

/** Text, attachment and template of both layers. */
export function readContent(draft: RequestDraft, bodyMessage: BodyMessage, block: Source | undefined): void {
  const message = block === undefined ? undefined : readSource(block, 'message');
  if (message !== undefined) {
    warnUnknown(message, blockMessageKeys);
  }
  const template = mergeTemplate(readTemplateLayer(bodyMessage.source), readTemplateLayer(message));
  if (block === undefined) {
    return;
  }
  const text = message === undefined ? undefined : readText(message, 'text', limits.textCharactersMax);
  const attached = message === undefined ? undefined : readSource(message, 'attachment');
  const attachment = attached === undefined ? undefined : readAttachment(attached);
  const extras = readPassedExtras(block, message);
  if (extras !== undefined) {
    draft.extras = extras;
  }
  draft.message = {
    ...(text === undefined ? undefined : { text }),
    ...(attachment === undefined ? undefined : { attachment }),
  };
  if (template !== undefined && text === undefined) {
    draft.template = template;
  } else if (template !== undefined) {
    block.faults.warn(`${block.path}/message`, 'text', `is used; template ${template.id} is ignored`);
  }
  if (template === undefined && !isContentGiven(block, bodyMessage, message)) {
    const hint = 'must be the text of the message where there is no attachment and no template';
    block.faults.missing(`${block.path}/message`, 'text', hint);
  }
}

/** Whether text, attachment or template is there at all; what is there and wrong has its own fault. */
function isContentGiven(block: Source, body: BodyMessage, message: Source | undefined): boolean {
  if (body.given && (body.source === undefined || !isAbsent(body.source.object['template']))) {
    return true;
  }
  if (message === undefined) {
    return !isAbsent(block.object['message']);
  }
  const { text, attachment, template } = message.object;
  return !isAbsent(text) || !isAbsent(attachment) || !isAbsent(template);
}

export function readBlockParts(draft: RequestDraft, block: Source): void {
  warnUnknown(block, blockKeys);
  const notification = readSource(block, 'notification');
  if (notification !== undefined) {
    draft.notification = readNotification(notification);
  }
  const thread = readThread(block);
  if (thread !== undefined) {
    draft.thread = thread;
  }
}
