import { describe, expect, test } from 'vitest';
import type { Notification } from './messaging.ts';
import { accepted, body, refusal, warnings } from '../test/support.ts';

const path = '/channels/appmessaging/notification';

function notified(members: Record<string, unknown>): unknown {
  return body({}, { notification: { title: 'Title', text: 'Text', ...members } });
}

function read(members: Record<string, unknown>): Notification | undefined {
  return accepted(notified(members)).notification;
}

describe('title and text', () => {
  test.each([undefined, null, ''])('as %j are missing', (value) => {
    expect(refusal(notified({ title: value }))).toBe(`7003 ${path}/title`);
    expect(refusal(notified({ text: value }))).toBe(`7003 ${path}/text`);
  });

  test('of another type are refused', () => {
    expect(refusal(notified({ title: 5, text: {} }))).toBe(`7004 ${path}/title ${path}/text`);
  });

  test('alone are enough', () => {
    expect(read({})).toEqual({ title: 'Title', text: 'Text' });
  });
});

describe('extras of the platforms', () => {
  test('keep what the page names and leave out what is absent', () => {
    const url = 'https://a.example/i.png';
    const extras = {
      android_extras: { sound: 's', iconurl: url, collapse_key: 'c', customtags: { imageurl: 'x', n: 1 } },
      ios_extras: { attachmenturl: url, sound: 's', badge: 'b', collapse_key: 'c' },
      windows_extras: { logo: url, image: url, sound: 's', badge: 'b' },
      web_extras: { action: 'Open', url, collapse_key: 'c' },
    };
    expect(read(extras)).toEqual({ title: 'Title', text: 'Text', ...extras });
    expect(read({ ios_extras: { sound: '', badge: null, notificationaction: '' } })?.ios_extras).toEqual({});
  });

  test('collapsekey is the other name, a badge may be a number', () => {
    expect(read({ web_extras: { collapsekey: 'c' } })?.web_extras).toEqual({ collapse_key: 'c' });
    expect(read({ web_extras: { collapse_key: 'a', collapsekey: 'c' } })?.web_extras?.collapse_key).toBe('a');
    expect(read({ ios_extras: { badge: 3 } })?.ios_extras?.badge).toBe('3');
  });

  test('unknown members are told', () => {
    expect(warnings(notified({ ios_extras: { ring: 1 }, watch_extras: {} })).toSorted()).toEqual([
      `${path}/ios_extras/ring`,
      `${path}/watch_extras`,
    ]);
  });

  test.each([
    [{ android_extras: { iconurl: 'icon.png' } }, 'android_extras/iconurl'],
    [{ ios_extras: { attachmenturl: 'file:///x' } }, 'ios_extras/attachmenturl'],
    [{ windows_extras: { logo: 'javascript:x' } }, 'windows_extras/logo'],
    [{ windows_extras: { image: 'data:,x' } }, 'windows_extras/image'],
    [{ web_extras: { url: 'www.bbc.com' } }, 'web_extras/url'],
    [{ android_extras: 'x' }, 'android_extras'],
    [{ android_extras: { customtags: 'x' } }, 'android_extras/customtags'],
    [{ android_extras: { sound: {} } }, 'android_extras/sound'],
  ])('%j is refused', (members, where) => {
    expect(refusal(notified(members))).toBe(`7004 ${path}/${where}`);
  });
});

describe('notificationaction', () => {
  const at = `${path}/android_extras/notificationaction`;
  const acted = (notificationaction: unknown): Record<string, unknown> => ({ android_extras: { notificationaction } });

  test.each([
    [
      { action: 'OPEN_URL', value: 'www.bbc.com' },
      { action: 'OPEN_URL', value: 'https://www.bbc.com' },
    ],
    [
      { action: 'open_webview', value: 'http://a.example/' },
      { action: 'OPEN_WEBVIEW', value: 'http://a.example/' },
    ],
    [
      { action: 'OPENWEBVIEW', value: 'http://a.example/' },
      { action: 'OPEN_WEBVIEW', value: 'http://a.example/' },
    ],
    [
      { action: 'OPEN_HTML', value: '<b>Hello</b>' },
      { action: 'OPEN_HTML', value: '<b>Hello</b>' },
    ],
    [
      { action: 'DEEPLINK', value: 'shop://offers/1' },
      { action: 'DEEPLINK', value: 'shop://offers/1' },
    ],
    [{ action: 'OPEN_APP' }, { action: 'OPEN_APP' }],
    [{ action: 'OPENAPP', value: '' }, { action: 'OPEN_APP' }],
    [{ action: '', value: '' }, undefined],
    [{ value: 'https://a.example/' }, undefined],
  ])('%j', (given, expected) => {
    expect(read(acted(given))?.android_extras?.notificationaction).toEqual(expected);
  });

  test.each([
    [{ action: 'OPEN_URL' }, `7003 ${at}/value`],
    [{ action: 'OPEN_HTML', value: '' }, `7003 ${at}/value`],
    [{ action: 'OPEN_DOOR', value: 'x' }, `7004 ${at}/action`],
    [{ action: 'OPEN_URL', value: 'shop://offers' }, `7004 ${at}/value`],
    [{ action: 'DEEPLINK', value: 'javascript:alert(1)' }, `7004 ${at}/value`],
    [{ action: 'OPEN_HTML', value: 'javascript:alert(1)' }, `7004 ${at}/value`],
    ['OPEN_URL', `7004 ${at}`],
  ])('%j is %s', (given, expected) => {
    expect(refusal(notified(acted(given)))).toBe(expected);
  });
});
