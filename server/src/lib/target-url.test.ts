import { describe, expect, it } from 'vitest';
import { parseTargetUrl } from './target-url.ts';

describe('target URL', () => {
  it.each([
    ['http://hooks.example', 'http://hooks.example/'],
    ['HTTPS://Hooks.Example:8443/a?b=c#d', 'https://hooks.example:8443/a?b=c#d'],
    ['http://hooks.example:1/', 'http://hooks.example:1/'],
    ['http://hooks.example:65535/', 'http://hooks.example:65535/'],
    ['https://bücher.example/ü', 'https://xn--bcher-kva.example/%C3%BC'],
    ['http://hooks.example/@x:y', 'http://hooks.example/@x:y'],
    ['http://[2606:4700::1]/', 'http://[2606:4700::1]/'],
  ])('takes %s', (text, href) => {
    const result = parseTargetUrl(text);
    expect(result.ok && result.url.href).toBe(href);
  });

  // All of them on a public host: what is refused here is the shape alone.
  it.each([
    ['ftp://hooks.example/', 'must begin with'],
    ['ws://hooks.example/', 'must begin with'],
    ['javascript:alert(1)', 'must begin with'],
    ['//hooks.example/', 'must begin with'],
    ['http:hooks.example', 'must begin with'],
    ['http:/hooks.example/', 'must begin with'],
    ['http:///hooks.example/', 'must begin with'],
    ['http://', 'must begin with'],
    [' http://hooks.example/', 'must begin with'],
    ['', 'must begin with'],
    ['http://hooks.exa\tmple/', 'a space, a control character or a backslash'],
    ['http://hooks.example/\r\nx: y', 'a space, a control character or a backslash'],
    ['http://hooks.example/a b', 'a space, a control character or a backslash'],
    ['http://hooks.example\\@other.example/', 'a space, a control character or a backslash'],
    ['http://user:pass@hooks.example/', 'user name or password'],
    ['http://user@hooks.example/', 'user name or password'],
    ['http://:pass@hooks.example/', 'user name or password'],
    ['http://hooks.example:0/', 'from 1 to 65535'],
    ['http://hooks.example:65536/', 'cannot be parsed'],
    ['http://hooks.example:x/', 'cannot be parsed'],
    ['http://:80/', 'cannot be parsed'],
    ['http://[fe80::1%25lo]/', 'cannot be parsed'],
    ['http://256.0.0.1/', 'cannot be parsed'],
    [`http://hooks.example/${'a'.repeat(8_192)}`, 'longer than 8192'],
  ])('refuses %j', (text, message) => {
    expect(parseTargetUrl(text)).toEqual({ ok: false, message: expect.stringContaining(message) });
  });
});
