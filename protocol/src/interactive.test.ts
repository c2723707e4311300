import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { categories } from './interactive.ts';
import type { Interactive } from './messaging.ts';
import { accepted, body, refusal } from '../test/support.ts';

const path = '/channels/appmessaging/notification/interactive';
const url = 'https://a.example/';

function shown(interactive: unknown): unknown {
  return body({}, { notification: { title: 'T', text: 'T', interactive } });
}

function read(interactive: unknown): Interactive | undefined {
  return accepted(shown(interactive)).notification?.interactive;
}

const defaults: [string, string][] = [
  ['SINGLE_DISMISS', 'DISMISS'],
  ['SINGLE_OPEN', 'OPEN'],
  ['SINGLE_SUBSCRIBE', 'SUBSCRIBE'],
  ['SINGLE_UNSUBSCRIBE', 'UNSUBSCRIBE'],
  ['SINGLE_SHARE', 'SHARE'],
  ['SINGLE_DEEPLINK', 'DEEPLINK'],
  ['SINGLE_REPLY', 'REPLY'],
  ['DOUBLE_YES_NO', 'YES NO'],
  ['DOUBLE_ACCEPT_CANCEL', 'ACCEPT CANCEL'],
  ['DOUBLE_SHARE_CANCEL', 'SHARE CANCEL'],
  ['DOUBLE_SHOPNOW_CANCEL', 'SHOPNOW CANCEL'],
  ['DOUBLE_LATER_NOW', 'LATER NOW'],
  ['DOUBLE_PLAY_NOW_PLAY_LATER', 'PLAY_NOW PLAY_LATER'],
  ['DOUBLE_OK_LEARN_MORE', 'OK LEARN_MORE'],
  ['DOUBLE_SUBSCRIBE_UNSUBSCRIBE', 'SUBSCRIBE UNSUBSCRIBE'],
  ['DOUBLE_BUY_NOW_BUY_LATER', 'BUY_NOW BUY_LATER'],
  ['DOUBLE_LIKE_SHARE', 'LIKE SHARE'],
  ['DOUBLE_REPLY_DISMISS', 'REPLY DISMISS'],
  ['DOUBLE_REPLY_NO_DISMISS', 'NO DISMISS'],
  ['DOUBLE_REPLY_YES_DISMISS', 'YES DISMISS'],
  ['DOUBLE_REPLY_YES_NO', 'YES NO'],
];

describe('decision 10: categories', () => {
  test('are the 21 of the page', () => {
    expect([...categories.keys()]).toEqual(defaults.map(([name]) => name));
    expect(defaults).toHaveLength(21);
  });

  test.each(defaults)('%s has the identifiers %s', (category, words) => {
    const identifiers = words.split(' ');
    const actions = identifiers.map((_, index) => ({ pos: index + 1, action: 'OPEN_APP' }));
    expect(read({ category: category.toLowerCase(), actions: actions.toReversed() })).toEqual({
      category,
      actions: identifiers.map((identifier, index) => ({ pos: index + 1, action: 'OPEN_APP', identifier })),
    });
    expect(refusal(shown({ category, actions: [...actions, { pos: 2, action: 'DISMISS' }] }))).toMatch(/^7004/);
    expect(refusal(shown({ category, actions: actions.slice(1) }))).toMatch(/^700[34]/);
  });
});

describe('actions', () => {
  const single = (action: Record<string, unknown>): unknown => ({
    category: 'SINGLE_OPEN',
    actions: [{ pos: '1', ...action }],
  });

  test.each([
    [{ action: 'DISMISS' }, 'DISMISS', undefined],
    [{ action: 'open_url', value: 'www.bbc.com' }, 'OPEN_URL', 'https://www.bbc.com'],
    [{ action: 'OPENAPP' }, 'OPEN_APP', undefined],
    [{ action: 'DEEPLINK', value: 'settings/profile' }, 'DEEPLINK', 'settings/profile'],
    [{ action: 'DEEPLINK', value: 'shop://x' }, 'DEEPLINK', 'shop://x'],
    [{ action: 'OPENWEBVIEW', value: url }, 'OPEN_WEBVIEW', url],
    [{ action: 'OPEN_WEBVIEW', value: url }, 'OPEN_WEBVIEW', url],
    [{ action: 'SHARE', value: 'Look: a bell' }, 'SHARE', 'Look: a bell'],
    [{ action: 'TRIVIAL_REPLY', value: 'Yes' }, 'TRIVIAL_REPLY', 'Yes'],
    [{ action: 'TRIVIAL_REPLIES' }, 'TRIVIAL_REPLY', undefined],
    [{ action: 'INLINE_REPLY' }, 'INLINE_REPLY', undefined],
    [{ action: 'in_line_reply' }, 'INLINE_REPLY', undefined],
  ])('%j', (given, action, value) => {
    const expected = { pos: 1, action, identifier: 'OPEN', ...(value === undefined ? {} : { value }) };
    expect(read(single(given))?.actions).toEqual([expected]);
  });

  test('a given identifier is kept, with pushref', () => {
    const interactive = {
      category: 'SINGLE_OPEN',
      pushref: 'r',
      actions: [{ pos: 1, action: 'DISMISS', identifier: 'X' }],
    };
    expect(read(interactive)).toMatchObject({ pushref: 'r', actions: [{ identifier: 'X' }] });
  });

  const at = `${path}/actions/0`;
  test.each([
    [single({}), `7003 ${at}/action`],
    [single({ action: 'OPEN_URL' }), `7003 ${at}/value`],
    [single({ action: 'DEEPLINK', value: '' }), `7003 ${at}/value`],
    [single({ action: 'OPENWEBVIEW' }), `7003 ${at}/value`],
    [single({ action: 'SHARE' }), `7003 ${at}/value`],
    [single({ action: 'DISMISS', pos: null }), `7003 ${at}/pos`],
    [single({ action: 'DISMISS', pos: 2 }), `7004 ${at}/pos`],
    [single({ action: 'DISMISS', pos: 'first' }), `7004 ${at}/pos`],
    [single({ action: 'OPEN_HTML', value: '<b>' }), `7004 ${at}/action`],
    [single({ action: 'JUMP' }), `7004 ${at}/action`],
    [single({ action: 'OPEN_URL', value: 'javascript:alert(1)' }), `7004 ${at}/value`],
    [single({ action: 'OPEN_URL', value: 'ftp://a.example' }), `7004 ${at}/value`],
    [single({ action: 'DEEPLINK', value: ' vbscript:x' }), `7004 ${at}/value`],
    [single({ action: 'SHARE', value: 'DATA:text/html,x' }), `7004 ${at}/value`],
    [single({ action: 'DISMISS', identifier: 5 }), `7004 ${at}/identifier`],
    [{ actions: [] }, `7003 ${path}/category ${path}/actions`],
    [{ category: 'SINGLE_OPEN' }, `7003 ${path}/actions`],
    [{ category: 'SINGLE_OPEN', actions: [] }, `7003 ${path}/actions`],
    [{ category: 'SINGLE_OPEN', actions: {} }, `7004 ${path}/actions`],
    [{ category: 'SINGLE_OPEN', actions: [5] }, `7004 ${at}`],
    [{ category: 'TRIPLE_OPEN', actions: [{}] }, `7004 ${path}/category`],
    [{ category: 'DOUBLE_YES_NO', actions: [{ pos: 1 }] }, `7003 ${at}/action ${path}/actions`],
    ['SINGLE_OPEN', `7004 ${path}`],
  ])('%j is %s', (interactive, expected) => {
    expect(refusal(shown(interactive))).toBe(expected);
  });

  test('two buttons differ in position and identifier', () => {
    const two = (first: object, second: object): unknown => ({
      category: 'DOUBLE_YES_NO',
      actions: [
        { pos: 1, action: 'DISMISS', ...first },
        { pos: 2, action: 'DISMISS', ...second },
      ],
    });
    expect(refusal(shown(two({}, { pos: 1 })))).toBe(`7004 ${path}/actions/1/pos`);
    expect(refusal(shown(two({ identifier: 'NO' }, {})))).toBe(`7004 ${path}/actions/1/identifier`);
  });
});

test('the fixture is shown as sent', () => {
  const fixture = new URL('../test/fixtures/sample-request.json', import.meta.url);
  expect(accepted(JSON.parse(readFileSync(fixture, 'utf8'))).notification?.interactive?.actions).toHaveLength(2);
});
