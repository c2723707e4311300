import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { findViolations, importsOf, parseImportTable, type Rules, type SourceFile } from './support/import-rules.ts';

const root = path.resolve(import.meta.dirname, '..', '..');
const architecture = readFileSync(path.join(root, 'ARCHITECTURE.md'), 'utf8');
const rules: Rules = {
  folders: parseImportTable(architecture, 'Import table'),
  workspaces: parseImportTable(architecture, 'Workspace table'),
};

// A check that looked at nothing is green too. These are floors under what is there, raised as the project grows.
const FILES_MIN = 40;
const ARROWS_MIN = 80;

function readSources(): SourceFile[] {
  return ['protocol', 'sdk', 'console', 'server', 'scripts'].flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
      .filter((name) => /\.tsx?$/u.test(name) && !/\/(?:node_modules|dist|results)\//u.test(name))
      .map((name) => ({ path: name, text: readFileSync(path.join(root, name), 'utf8') })),
  );
}

describe('the sources', () => {
  const sources = readSources();

  test('keep to the tables of ARCHITECTURE.md', () => {
    expect(findViolations(sources, rules)).toEqual([]);
  });

  test('were looked at', () => {
    expect(sources.length).toBeGreaterThanOrEqual(FILES_MIN);
    expect(sources.flatMap(({ text }) => importsOf(text)).length).toBeGreaterThanOrEqual(ARROWS_MIN);
    expect(rules.folders.size).toBeGreaterThanOrEqual(15);
    expect(rules.workspaces.size).toBe(4);
  });
});

describe('a planted fault is seen:', () => {
  const plant = (file: string, text: string): string[] => findViolations([{ path: file, text }], rules);

  test.each([
    ['core imports lib', 'server/src/core/a.ts', "import { b } from '../lib/b.ts';\n", 'core may not import lib'],
    [
      'a type is an arrow too',
      'server/src/lib/a.ts',
      "import type { B } from '../core/b.ts';\n",
      'lib may not import core',
    ],
    [
      'over several lines',
      'server/src/lib/a.ts',
      "import {\n  b,\n  c,\n} from '../core/b.ts';\n",
      'lib may not import core',
    ],
    ['a re-export', 'server/src/queue/a.ts', "export { b } from '../accept/b.ts';\n", 'queue may not import accept'],
    ['import()', 'server/src/gateway/a.ts', "  await import('../queue/b.ts');\n", 'gateway may not import queue'],
    ['for effect', 'server/src/bus/a.ts', "import '../observe/b.ts';\n", 'bus may not import observe'],
    [
      'one channel another',
      'server/src/channels/apns/a.ts',
      "import { b } from '../fcm/b.ts';\n",
      'channels/apns may not import channels/fcm',
    ],
    [
      'one store the other',
      'server/src/store/sqlite/a.ts',
      "import { b } from '../postgres/b.ts';\n",
      'store/sqlite may not import store/postgres',
    ],
    [
      'an adapter',
      'server/src/http/a.ts',
      "import { b } from '../store/sqlite/b.ts';\n",
      'http may not import store/sqlite',
    ],
    ['the root', 'server/src/http/a.ts', "import { b } from '../app.ts';\n", 'http may not import app.ts'],
    [
      'lib and the protocol',
      'server/src/lib/a.ts',
      "import { b } from '@carillon/protocol/b.ts';\n",
      'lib may not import protocol',
    ],
    [
      'the server and the SDK',
      'server/src/http/a.ts',
      "import { b } from '@carillon/sdk/b.ts';\n",
      'http may not import sdk',
    ],
    ['the SDK and the server', 'sdk/src/a.ts', "import { b } from '../../server/src/core/b.ts';\n", 'by its name'],
    ['the protocol and a package', 'protocol/src/a.ts', "import { b } from 'ajv';\n", 'protocol uses no package'],
    [
      'a source and a test',
      'server/src/http/a.ts',
      "import { b } from '../../test/support/b.ts';\n",
      'no source imports a test',
    ],
    ['core and I/O', 'server/src/core/a.ts', "import { readFileSync } from 'node:fs';\n", 'core does no I/O'],
    ['an import without .ts', 'server/src/core/a.ts', "import { b } from './b';\n", 'end in .ts'],
    ['an unknown folder', 'server/src/services/a.ts', 'export const a = 1;\n', 'services has no row'],
    ['a file loose among channels', 'server/src/channels/a.ts', 'export const a = 1;\n', 'channels has no row'],
    ['a long file', 'server/src/core/a.ts', 'a;\n'.repeat(601), '601 lines'],
    ['a long main', 'server/src/main.ts', 'a;\n'.repeat(61), '61 lines'],
    ['a default export', 'sdk/src/a.ts', 'export default 1;\n', 'a default export'],
    ['an index', 'protocol/src/index.ts', 'export const a = 1;\n', 'a barrel'],
    ['a barrel by another name', 'protocol/src/all.ts', "export * from './a.ts';\n", 'a barrel'],
    ['the clock', 'server/src/accept/a.ts', 'const now = new Date();\n', 'reads the clock'],
  ])('%s', (_name, file, text, fault) => {
    expect(plant(file, text).join('\n')).toContain(fault);
  });

  test('and what is allowed is not', () => {
    const allowed: SourceFile[] = [
      {
        path: 'server/src/app.ts',
        text: "import { b } from './store/sqlite/b.ts';\nimport { c } from './http/c.ts';\n",
      },
      {
        path: 'server/src/http/a.ts',
        text: "import { b } from '../accept/b.ts';\nimport { c } from './admin/c.ts';\n",
      },
      { path: 'server/src/http/admin/c.ts', text: "import { b } from '../../core/b.ts';\nimport f from 'fastify';\n" },
      { path: 'server/src/core/a.ts', text: "import { b } from '@carillon/protocol/b.ts';\nconst at = new Date(0);\n" },
      { path: 'server/src/queue/a.test.ts', text: "import { b } from '../store/sqlite/b.ts';\n" },
      { path: 'server/src/config.test.ts', text: "import { b } from './config.ts';\n" },
      { path: 'server/test/e2e/a.test.ts', text: "import { b } from '@carillon/sdk/b.ts';\n" },
      { path: 'vitest.config.ts', text: 'export default {};\n' },
    ];
    expect(findViolations(allowed, rules)).toEqual([]);
  });
});

describe('the table', () => {
  test('is refused when it is missing, empty, or names what is not there', () => {
    expect(() => parseImportTable('# Other\n', 'Import table')).toThrow('no section');
    expect(() => parseImportTable('## Import table\n\nNone.\n', 'Import table')).toThrow('no table');
    expect(() => parseImportTable('## Import table\n| `a` | libb |\n', 'Import table')).toThrow('names libb');
  });
});
