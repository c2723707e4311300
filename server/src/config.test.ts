import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  allowListOf,
  describeConfig,
  environmentNameOf,
  flagOf,
  loadConfig,
  OPTION_NAMES,
  renderConfigDocs,
} from './config.ts';
import type { Config } from './config.ts';
import { createAddressFilter } from './lib/address-filter.ts';

function load(flags: Record<string, string | string[] | boolean>, environment: Record<string, string> = {}): Config {
  const result = loadConfig(flags, environment);
  if (!result.ok) throw new Error(result.faults.join('\n'));
  return result.config;
}

function faults(flags: Record<string, string | string[] | boolean>, environment: Record<string, string> = {}): string {
  const result = loadConfig(flags, environment);
  return result.ok ? 'none' : result.faults.join('\n');
}

describe('loadConfig', () => {
  it('listens on loopback and keeps its data in ./data unless told otherwise', () => {
    const config = load({});
    expect(config.http).toEqual({ host: '127.0.0.1', port: 8080 });
    expect(config.mqtt).toEqual({ host: '127.0.0.1', port: 1883 });
    expect(config.data).toBe(path.resolve('data'));
    expect(config).toMatchObject({ demo: false, waitingPerUserMax: 100_000, waitingTotalMax: 10_000_000 });
  });

  it('reads every option from the environment and lets a flag win', () => {
    const environment = {
      CARILLON_HTTP: '0.0.0.0:1',
      CARILLON_MQTT: 'off',
      CARILLON_ALLOW_PRIVATE: '10.0.0.0/8, ::1',
      CARILLON_DEMO: '1',
    };
    const config = load({ http: '[::1]:0' }, environment);
    expect(config.http).toEqual({ host: '::1', port: 0 });
    expect(config.mqtt).toBeNull();
    expect(config.allowPrivate).toEqual(['10.0.0.0/8', '::1']);
    expect(config.demo).toBe(true);
    expect(load({}, { CARILLON_HTTP: '' }).http.port).toBe(8080);
  });

  it.each([
    [{ http: '8080' }, '--http "8080" is not an address to listen on: write host:port'],
    [{ http: '127.0.0.1:65536' }, '--http "127.0.0.1:65536" is not an address'],
    [{ waitingPerUserMax: '1e3' }, '--waiting-per-user-max "1e3" is not a whole number from 1 to'],
    [{ allowPrivate: ['10.0.0.0/8', '10.1'] }, '--allow-private "10.0.0.0/8,10.1" is no list of address ranges'],
    [{ publicUrl: 'msg.example.com' }, '--public-url "msg.example.com" is no base address'],
    [{ logLevel: 'loud' }, 'write one of debug, info, warn, error, silent'],
    [{ roles: 'api' }, '--roles leaves out gateway, worker: nobody else can do it on a data folder.'],
    [{ node: 'a b' }, '--node "a b" is no node name'],
    [{ nats: 'nats://a' }, '--nats is given without --database'],
    [{ nats: 'http://a' }, '--nats is no address of NATS'],
    [{ roles: 'api,moon' }, 'is no list of roles'],
    [{ tlsCert: 'a.pem' }, '--tls-cert is given without --tls-key'],
    [{ http: '127.0.0.1:1883' }, '--http and --mqtt are the same address'],
    [{ metricsToken: 'short' }, '--metrics-token must be at least 16 visible ASCII characters.'],
  ])('says what is wrong with %j', (flags: Record<string, string | string[]>, message) => {
    expect(faults(flags)).toContain(message);
  });

  it('takes a database, a bus and some of the roles', () => {
    const config = load(
      { nats: 'nats://a:4222, nats://b', roles: 'worker,api', node: 'one' },
      { CARILLON_DATABASE: 'postgres://user:hunter2@db/x' },
    );
    expect(config).toMatchObject({ nats: 'nats://a:4222,nats://b', roles: ['api', 'worker'], node: 'one' });
    expect(config.database).toBe('postgres://user:hunter2@db/x');
  });

  it.each(['mysql://user:hunter2@db/x', 'hunter2', 'postgres://user:hunter2@db/'])(
    'says what is wrong with a database, and repeats no password: %s',
    (database) => {
      const message = faults({}, { CARILLON_DATABASE: database });
      expect(message).toMatch(/^CARILLON_DATABASE (is no|names no)/u);
      expect(message).not.toContain('hunter2');
    },
  );

  it('tells every fault at once', () => {
    expect(faults({ http: 'x', mqtt: 'y' }).split('\n')).toHaveLength(2);
    const mixed = { logLevel: 'loud', tlsCert: 'a.pem', http: '127.0.0.1:1883' };
    expect(faults(mixed).split('\n')).toEqual([
      expect.stringContaining('--log-level "loud"'),
      expect.stringContaining('--tls-cert is given without --tls-key'),
      expect.stringContaining('--http and --mqtt are the same address'),
    ]);
  });

  it('compares no option with the default of one that cannot be read', () => {
    expect(faults({ http: 'x', mqtt: '127.0.0.1:8080' }).split('\n')).toHaveLength(1);
  });

  it('warns of a misspelt variable and of an open port without TLS', () => {
    const result = loadConfig({ http: '0.0.0.0:8080' }, { CARILLON_HTPP: 'x', CARILLON_URL: 'http://127.0.0.1:1' });
    expect(result.ok && result.warnings).toEqual([
      'CARILLON_HTPP is no option and was ignored.',
      '--http listens on 0.0.0.0 without TLS: only safe behind a proxy that ends TLS.',
    ]);
  });
});

describe('what is made of a configuration', () => {
  it('opens loopback to outgoing requests in demo mode only', () => {
    const verdict = (flags: Record<string, boolean>, address: string): boolean =>
      createAddressFilter(allowListOf(load(flags)))(address).allowed;
    expect(verdict({ demo: true }, '127.0.0.9')).toBe(true);
    expect(verdict({ demo: true }, '::1')).toBe(true);
    expect(verdict({ demo: true }, '10.0.0.1')).toBe(false);
    expect(verdict({}, '127.0.0.1')).toBe(false);
  });

  it('shows no secret', () => {
    const described = describeConfig(load({ metricsToken: 'a-very-secret-token', mqtt: 'off' }));
    expect(JSON.stringify(described)).not.toContain('very-secret');
    expect(described).toMatchObject({ metricsTokenConfigured: true, databaseConfigured: false, mqtt: 'off' });
  });

  it('documents every option', () => {
    const docs = renderConfigDocs();
    for (const name of OPTION_NAMES) expect(docs).toContain(`| \`${flagOf(name)}`);
    for (const name of OPTION_NAMES) expect(docs).toContain(`\`${environmentNameOf(name)}\``);
  });
});
