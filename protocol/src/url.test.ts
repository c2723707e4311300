import { describe, expect, test } from 'vitest';
import { forbiddenScheme, parseDeeplink, parseWebUrl } from './url.ts';

describe('parseWebUrl', () => {
  test.each(['http://a', 'HTTPS://A.example/x?y#z', 'http://10.0.0.1:8080/', 'https://[::1]/', 'http://ip/image.jpg'])(
    'takes %s',
    (url) => {
      expect(parseWebUrl(url)).toEqual({ ok: true, url });
    },
  );

  test.each([
    'a.example',
    '//a.example',
    'ftp://a.example',
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    'java\nscript:alert(1)',
    'data:text/html,x',
    'vbscript:x',
    'http:a.example',
    'http:///a',
    'http://',
    'https://a b/',
    'https://a.example/\n',
    ' https://a.example/',
    'https://a.example/ ',
    'https://a:99999/',
    `https://a.example/${'x'.repeat(2048)}`,
    '<Valid http URL>',
  ])('refuses %j', (text) => {
    expect(parseWebUrl(text).ok).toBe(false);
  });

  test.each([
    ['www.bbc.com', 'https://www.bbc.com'],
    ['localhost:8080/x', 'https://localhost:8080/x'],
    ['//a.example/x', 'https://a.example/x'],
    ['http://a.example', 'http://a.example'],
  ])('reads %s without its scheme', (text, url) => {
    expect(parseWebUrl(text, { schemeOptional: true })).toEqual({ ok: true, url });
  });

  test.each(['javascript:1', 'javascript:8080/x', 'data:80', 'shop://x', 'mailto:a@b.example', ''])(
    'refuses %j also where the scheme is optional',
    (text) => {
      expect(parseWebUrl(text, { schemeOptional: true }).ok).toBe(false);
    },
  );
});

describe('deep links', () => {
  test.each(['shop://offers/1', 'settings', 'tel:+123', 'https://a.example/', 'shop:offers'])('takes %s', (text) => {
    expect(parseDeeplink(text)).toEqual({ ok: true, url: text });
  });

  test.each(['javascript:x', '\u0001javascript:x', ' data:x', 'vb\tscript:x', 'shop://a\nb'])('refuses %j', (text) => {
    expect(parseDeeplink(text).ok).toBe(false);
  });
});

test('a forbidden scheme is seen as a browser sees it', () => {
  expect(forbiddenScheme(' \n Java\tScript:alert(1)')).toBe('javascript');
  expect(forbiddenScheme('javascripts are fine: really')).toBe(undefined);
  expect(forbiddenScheme('Look: a bell')).toBe(undefined);
});
