/**
 * The files that start Carillon elsewhere. No container engine is asked for: what is read here is that they parse, that
 * what they name exists, and that they agree with each other and with the table of options.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { environmentNameOf, loadConfig, OPTION_NAMES } from '../src/config.ts';

const ROOT = path.resolve(import.meta.dirname, '..', '..');
const read = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8');
const linesOf = (file: string): string[] =>
  read(file)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));

interface Service {
  readonly environment?: Readonly<Record<string, string>>;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly volumes?: readonly string[];
  readonly networks?: unknown;
  readonly ports?: readonly string[];
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
}

const compose = parse(read('deploy/compose.yaml'), { merge: true }) as Compose;
const nodes = Object.entries(compose.services).filter(([, { environment }]) => environment?.['CARILLON_NODE']);
const options = new Set<string>(OPTION_NAMES.map(environmentNameOf));

/** As Compose fills them in, with a secret in the place of each that has no default. */
const filledIn = (text: string): string =>
  text.replaceAll(/\$\{\w+(?::-(?<otherwise>[^}]*)|:\?[^}]*)?\}/gu, (_all, otherwise?: string) => otherwise ?? 'p1');

describe('deploy/compose.yaml', () => {
  test('starts three nodes whose configuration is right, on a root file system that is read-only', () => {
    expect(nodes.map(([name]) => name)).toEqual(['one', 'two', 'three']);
    for (const [name, { environment = {}, read_only, cap_drop }] of nodes) {
      expect({ read_only, cap_drop }, name).toEqual({ read_only: true, cap_drop: ['ALL'] });
      const filled = Object.fromEntries(Object.entries(environment).map(([key, value]) => [key, filledIn(value)]));
      expect(Object.keys(filled).filter((key) => !options.has(key))).toEqual([]);
      const result = loadConfig({}, filled);
      expect(result).toMatchObject({ ok: true, warnings: [], config: { node: name } });
    }
  });

  test('is filled in from the example of secrets, which holds none', () => {
    const example = linesOf('deploy/secrets.env.example').map((line) => line.split('=') as [string, string]);
    const names = [...read('deploy/compose.yaml').matchAll(/\$\{(?<name>\w+)/gu)].map(({ groups }) => groups?.['name']);
    expect(new Set(names)).toEqual(new Set(example.map(([name]) => name)));
    for (const [name, value] of example) if (name.endsWith('PASSWORD')) expect(value).toBe('');
    expect(linesOf('.gitignore')).toContain('deploy/secrets.env');
  });

  test('names the balancer as the proxy to trust, gives it files that exist, and lets in this machine alone', () => {
    const { balancer } = compose.services;
    const networks = balancer?.networks as { inside: { ipv4_address: string } };
    for (const [, { environment }] of nodes)
      expect(environment?.['CARILLON_TRUSTED_PROXY']).toBe(`${networks.inside.ipv4_address}/32`);
    const mounted = Object.values(compose.services).flatMap(({ volumes = [] }) => volumes);
    for (const [file] of mounted.map((volume) => volume.split(':')))
      if (file?.startsWith('.')) expect(existsSync(path.join(ROOT, 'deploy', file)), file).toBe(true);
    const ports = Object.values(compose.services).flatMap((service) => service.ports ?? []);
    expect(ports).toEqual(['127.0.0.1:8080:8080', '127.0.0.1:1883:1883']);
  });
});

describe('deploy/haproxy.cfg', () => {
  test('knows every node on both ports', () => {
    const servers = linesOf('deploy/haproxy.cfg').filter((line) => line.startsWith('server '));
    expect(servers).toEqual([
      ...nodes.map(([name]) => `server ${name} ${name}:8080`),
      ...nodes.map(([name]) => `server ${name} ${name}:1883 port 8080`),
    ]);
  });
});

describe('Dockerfile', () => {
  const lines = linesOf('Dockerfile');

  test('copies what exists and is not left out, and runs as nobody with rights', () => {
    const kept = linesOf('.dockerignore').filter((line) => line.startsWith('!'));
    const copied = lines
      .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
      .flatMap((line) => line.split(/\s+/u).slice(1, -1));
    expect(copied.length).toBeGreaterThan(8);
    for (const file of copied) {
      expect(existsSync(path.join(ROOT, file)), file).toBe(true);
      expect(kept).toContain(`!${file}`);
    }
    const { workspaces } = JSON.parse(read('package.json')) as { workspaces: string[] };
    for (const workspace of workspaces) expect(copied).toContain(`${workspace}/package.json`);
    expect(lines.findLast((line) => line.startsWith('USER '))).toBe('USER 10001:10001');
  });

  test('sets options that are options', () => {
    const set = lines
      .filter((line) => line.startsWith('ENV '))
      .flatMap((line) => line.split(/\s+/u).slice(1))
      .map((word) => word.split('=') as [string, string])
      .filter(([name]) => name.startsWith('CARILLON_'));
    expect(set.length).toBe(3);
    expect(loadConfig({}, Object.fromEntries(set))).toMatchObject({ ok: true });
    for (const [name] of set) expect(options).toContain(name);
  });
});

/** `null`: the program is not here. */
function lint(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): string | null {
  const result = spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, ...env } });
  if (result.error !== undefined) return null;
  return result.status === 0 ? 'right' : result.stdout + result.stderr;
}

describe('in the eyes of the programs that read them, where they are installed', () => {
  test('haproxy.cfg and nats.conf', () => {
    const PATH = `${process.env['PATH'] ?? ''}${path.delimiter}/usr/sbin`;
    expect([null, 'right']).toContain(lint('haproxy', ['-c', '-f', path.join(ROOT, 'deploy/haproxy.cfg')], { PATH }));
    const nats = ['-t', '-c', path.join(ROOT, 'deploy/nats.conf')];
    expect([null, 'right']).toContain(lint('nats-server', nats, { PATH, NATS_PASSWORD: 'n1' }));
  });

  test('carillon.service', () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'carillon-unit-'));
    const unit = path.join(folder, 'carillon.service');
    writeFileSync(unit, read('deploy/carillon.service').replaceAll('/opt/carillon', ROOT));
    try {
      // It tells of words that it does not know, and ends with 0 all the same.
      const result = spawnSync('systemd-analyze', ['verify', unit], { encoding: 'utf8' });
      const said = (result.stderr ?? '').split('\n').filter((line) => line.includes('carillon.service'));
      expect(said).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
