import { describe, expect, it } from 'vitest';
import { formatServer, readNatsUrls } from './nats-options.ts';

describe('the URLs of NATS', () => {
  it('name servers, the login and whether to insist on TLS', () => {
    expect(readNatsUrls('nats://localhost')).toEqual({
      ok: true,
      urls: {
        servers: [{ host: 'localhost', port: 4222 }],
        login: { kind: 'none' },
        isEncrypted: false,
        isLoopback: true,
      },
    });
    expect(readNatsUrls('tls://u:p%40%3A@nats.example:4333, tls://[2001:db8::1]:4222')).toEqual({
      ok: true,
      urls: {
        servers: [
          { host: 'nats.example', port: 4333 },
          { host: '2001:db8::1', port: 4222 },
        ],
        login: { kind: 'password', user: 'u', password: 'p@:' },
        isEncrypted: true,
        isLoopback: false,
      },
    });
    expect(readNatsUrls('nats://s3cret@127.0.0.2:1/')).toMatchObject({
      ok: true,
      urls: { login: { kind: 'token', token: 's3cret' }, isLoopback: true },
    });
    expect(formatServer({ host: '2001:db8::1', port: 1 })).toBe('[2001:db8::1]:1');
  });

  it.each([
    ['', 'not a URL'],
    ['nats://a,', 'not a URL'],
    ['localhost:4222', 'begins with nats:// or tls://'],
    ['ws://u:secret@a', 'begins with nats:// or tls://'],
    ['nats://', 'names a host'],
    ['nats://a/secret', 'nothing follows'],
    ['nats://a?secret=1', 'nothing follows'],
    ['nats://%E0%A4@a', 'percent-encoded'],
    ['nats://a,tls://b', 'all of the servers'],
    ['nats://u:secret@a,nats://u:other@b', 'the same login'],
    [Array.from({ length: 33 }, () => 'nats://a').join(','), 'at most 32'],
  ])('%s is refused, without a word of what it holds', (text, reason) => {
    const read = readNatsUrls(text);
    expect(read).toMatchObject({ ok: false, reason: expect.stringContaining(reason) as string });
    expect(JSON.stringify(read)).not.toContain('secret');
  });
});
