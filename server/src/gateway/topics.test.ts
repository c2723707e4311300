import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeUserid, encodeUserid, filterKind, isUpTopic, isUserTopic, userTopic } from './topics.ts';

test('a userid survives the way into a topic and back, and takes one level without wildcards', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (userid) => {
      const level = encodeUserid(userid);
      expect(decodeUserid(level)).toBe(userid);
      expect(level).not.toMatch(/[/+#]/);
      expect(isUserTopic(userTopic('app', userid), { appId: 'app', userid })).toBe(true);
    }),
  );
});

test('nobody else', () => {
  const ann = { appId: 'app', userid: 'ann' };
  for (const topic of [
    'app/bob',
    'app/ann/',
    'app/ann/x',
    'app2/ann',
    'ap/ann',
    'app',
    'app/',
    'app/%',
    'app/ann%00',
    '',
  ]) {
    expect(isUserTopic(topic, ann), topic).toBe(false);
  }
  expect(isUserTopic('app/a%6En', ann)).toBe(true);
  expect(isUpTopic('app/ann/up', ann)).toBe(true);
  expect(isUpTopic('app/bob/up', ann)).toBe(false);
  // A user whose id ends like the topic of events is told apart by the encoding.
  expect(isUpTopic('app/ann%2Fup', { appId: 'app', userid: 'ann/up' })).toBe(false);
  expect(isUserTopic('app/ann/up', { appId: 'app', userid: 'ann/up' })).toBe(false);
});

test('kinds of filters', () => {
  const kinds = Object.fromEntries(
    ['a/b', '#', 'a/+/b', '#/a', 'a#', '+a', '', '$share/g/a'].map((each) => [each, filterKind(each)]),
  );
  expect(kinds).toEqual({
    'a/b': 'plain',
    '#': 'wildcard',
    'a/+/b': 'wildcard',
    '#/a': 'invalid',
    'a#': 'invalid',
    '+a': 'invalid',
    '': 'invalid',
    '$share/g/a': 'shared',
  });
});
