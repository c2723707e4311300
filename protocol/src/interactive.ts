/** `interactive`: buttons of a notification. Source: the page's categories and actions; docs/api.md, interactive. */
import {
  demand,
  isAbsent,
  isObject,
  kindOf,
  readArray,
  readLabel,
  readNumber,
  readString,
  warnUnknown,
  type Source,
} from './fields.ts';
import type { Interactive, InteractiveAction, InteractiveActionName } from './messaging.ts';
import { forbiddenScheme, parseDeeplink, parseWebUrl } from './url.ts';

/** Each category with the default identifiers of its positions, the first being position 1. */
export const categories: ReadonlyMap<string, readonly string[]> = new Map([
  ['SINGLE_DISMISS', ['DISMISS']],
  ['SINGLE_OPEN', ['OPEN']],
  ['SINGLE_SUBSCRIBE', ['SUBSCRIBE']],
  ['SINGLE_UNSUBSCRIBE', ['UNSUBSCRIBE']],
  ['SINGLE_SHARE', ['SHARE']],
  ['SINGLE_DEEPLINK', ['DEEPLINK']],
  ['SINGLE_REPLY', ['REPLY']],
  ['DOUBLE_YES_NO', ['YES', 'NO']],
  ['DOUBLE_ACCEPT_CANCEL', ['ACCEPT', 'CANCEL']],
  ['DOUBLE_SHARE_CANCEL', ['SHARE', 'CANCEL']],
  ['DOUBLE_SHOPNOW_CANCEL', ['SHOPNOW', 'CANCEL']],
  ['DOUBLE_LATER_NOW', ['LATER', 'NOW']],
  ['DOUBLE_PLAY_NOW_PLAY_LATER', ['PLAY_NOW', 'PLAY_LATER']],
  ['DOUBLE_OK_LEARN_MORE', ['OK', 'LEARN_MORE']],
  ['DOUBLE_SUBSCRIBE_UNSUBSCRIBE', ['SUBSCRIBE', 'UNSUBSCRIBE']],
  ['DOUBLE_BUY_NOW_BUY_LATER', ['BUY_NOW', 'BUY_LATER']],
  ['DOUBLE_LIKE_SHARE', ['LIKE', 'SHARE']],
  ['DOUBLE_REPLY_DISMISS', ['REPLY', 'DISMISS']],
  ['DOUBLE_REPLY_NO_DISMISS', ['NO', 'DISMISS']],
  ['DOUBLE_REPLY_YES_DISMISS', ['YES', 'DISMISS']],
  ['DOUBLE_REPLY_YES_NO', ['YES', 'NO']],
]);

/** The eight actions and their other spellings, all without underscores. */
const actionNames: ReadonlyMap<string, InteractiveActionName> = new Map([
  ['DISMISS', 'DISMISS'],
  ['OPENURL', 'OPEN_URL'],
  ['OPENAPP', 'OPEN_APP'],
  ['DEEPLINK', 'DEEPLINK'],
  ['OPENWEBVIEW', 'OPEN_WEBVIEW'],
  ['SHARE', 'SHARE'],
  ['TRIVIALREPLY', 'TRIVIAL_REPLY'],
  ['TRIVIALREPLIES', 'TRIVIAL_REPLY'],
  ['INLINEREPLY', 'INLINE_REPLY'],
]);

const actionList = 'DISMISS, OPEN_URL, OPEN_APP, DEEPLINK, OPENWEBVIEW, SHARE, TRIVIAL_REPLY, INLINE_REPLY';
const valueWords: ReadonlyMap<InteractiveActionName, string> = new Map([
  ['OPEN_URL', 'the http or https address to open'],
  ['OPEN_WEBVIEW', 'the http or https address to open'],
  ['DEEPLINK', 'the page of the app to open'],
  ['SHARE', 'the content to share'],
]);

const interactiveKeys = new Set(['pushref', 'category', 'actions', 'device_types']);
const actionKeys = new Set(['pos', 'action', 'identifier', 'value']);

/** An action's name without regard to case and underscores, as the table spells it. */
export function actionKey(text: string): string {
  return text.trim().toUpperCase().replaceAll('_', '');
}

/**
 * The `value` of an action, by what the action opens: an address (https where it has no scheme), a deep link, or any
 * text. Forbidden schemes are refused everywhere.
 */
export function readActionValue(source: Source, action: string): string | undefined {
  const text = readString(source, 'value');
  if (text === undefined) {
    return undefined;
  }
  let result;
  if (action === 'OPEN_URL' || action === 'OPEN_WEBVIEW') {
    result = parseWebUrl(text, { schemeOptional: true });
  } else if (action === 'DEEPLINK') {
    result = parseDeeplink(text);
  } else {
    const scheme = forbiddenScheme(text);
    if (scheme === undefined) {
      return text;
    }
    result = { ok: false as const, message: `must not be a ${scheme}: address` };
  }
  if (!result.ok) {
    source.faults.invalid(source.path, 'value', result.message);
    return undefined;
  }
  return result.url;
}

function readActionName(source: Source): InteractiveActionName | undefined {
  if (!demand(source, 'action', `must be one of ${actionList}`)) {
    return undefined;
  }
  const text = readString(source, 'action');
  const name = text === undefined ? undefined : actionNames.get(actionKey(text));
  if (text !== undefined && name === undefined) {
    source.faults.invalid(source.path, 'action', `must be one of ${actionList}`);
  }
  return name;
}

function readPosition(source: Source, positions: number): 1 | 2 | undefined {
  const allowed = positions === 1 ? '1' : '1 or 2';
  if (!demand(source, 'pos', `must be ${allowed}`)) {
    return undefined;
  }
  const range = { min: 1, max: positions, whole: true, what: 'a position of the category' };
  return readNumber(source, 'pos', range) as 1 | 2 | undefined;
}

/** One button; undefined, with faults, where a part of it is missing or wrong. */
function readAction(source: Source, identifiers: readonly string[]): InteractiveAction | undefined {
  warnUnknown(source, actionKeys);
  const pos = readPosition(source, identifiers.length);
  const action = readActionName(source);
  const given = readLabel(source, 'identifier');
  if (action === undefined) {
    return undefined;
  }
  const words = valueWords.get(action);
  if (words !== undefined && !demand(source, 'value', `must be ${words}`)) {
    return undefined;
  }
  const value = readActionValue(source, action);
  if (pos === undefined) {
    return undefined;
  }
  const identifier = given ?? identifiers[pos - 1] ?? '';
  return value === undefined ? { pos, action, identifier } : { pos, action, identifier, value };
}

/** What no two buttons may share: the position and, since a press is told by it, the identifier. */
function checkDistinct(actions: readonly InteractiveAction[], source: Source): void {
  const [first, second] = actions;
  if (first === undefined || second === undefined) {
    return;
  }
  if (first.pos === second.pos) {
    source.faults.invalid(`${source.path}/actions/1`, 'pos', 'must differ from the position of the other action');
  } else if (first.identifier === second.identifier) {
    const message = 'must differ from the identifier of the other action (a default one where none is given)';
    source.faults.invalid(`${source.path}/actions/1`, 'identifier', message);
  }
}

/** The list itself; a fault and undefined where it is absent, empty or no list. */
function readActionList(source: Source): unknown[] | undefined {
  const list = readArray(source, 'actions');
  const given = source.object['actions'];
  if (list === undefined && (isAbsent(given) || Array.isArray(given))) {
    source.faults.missing(source.path, 'actions', 'must be a list with one action for each position of the category');
  }
  return list;
}

function readActions(source: Source, identifiers: readonly string[]): InteractiveAction[] {
  const { faults } = source;
  const actions: InteractiveAction[] = [];
  const list = readActionList(source) ?? [];
  if (list.length > 0 && list.length !== identifiers.length) {
    const message = `must hold exactly ${identifiers.length} for this category, not ${list.length}`;
    faults.invalid(source.path, 'actions', message);
  }
  const path = `${source.path}/actions`;
  for (const [index, object] of list.entries()) {
    if (!isObject(object)) {
      faults.invalid(path, index, `must be an object, not ${kindOf(object)}`);
      continue;
    }
    const action = readAction({ object, path: `${path}/${index}`, faults }, identifiers);
    if (action !== undefined) {
      actions.push(action);
    }
  }
  checkDistinct(actions, source);
  return actions.toSorted((left, right) => left.pos - right.pos);
}

function readCategory(source: Source): string | undefined {
  if (!demand(source, 'category', `must be one of ${[...categories.keys()].join(', ')}`)) {
    return undefined;
  }
  const text = readString(source, 'category');
  const category = text?.trim().toUpperCase();
  if (category !== undefined && !categories.has(category)) {
    source.faults.invalid(source.path, 'category', `must be one of ${[...categories.keys()].join(', ')}`);
    return undefined;
  }
  return category;
}

/** Reads `interactive`; undefined, with faults, where it is not complete. */
export function readInteractive(source: Source): Interactive | undefined {
  warnUnknown(source, interactiveKeys);
  const category = readCategory(source);
  const pushref = readLabel(source, 'pushref');
  const identifiers = category === undefined ? undefined : categories.get(category);
  if (category === undefined || identifiers === undefined) {
    // Without a category there are no positions to hold the actions against: only that there are some.
    readActionList(source);
    return undefined;
  }
  const actions = readActions(source, identifiers);
  return pushref === undefined ? { category, actions } : { category, pushref, actions };
}
