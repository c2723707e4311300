import path from 'node:path';

/** Lines; the limit of CONTRIBUTING.md. */
const FILE_LINES_MAX = 600;
const MAIN_LINES_MAX = 60;

/** Built-in modules that reach outside the process; `core` is pure. */
const IO_MODULES = new Set(
  [
    'child_process',
    'cluster',
    'dgram',
    'dns',
    'fs',
    'fs/promises',
    'http',
    'http2',
    'https',
    'net',
    'sqlite',
    'tls',
  ].concat(['timers', 'timers/promises', 'worker_threads']),
);

export interface SourceFile {
  /** From the root of the repository, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

/** Row name (`core`, `store/*`, `app.ts`) to the names it may import. */
export type ImportTable = ReadonlyMap<string, ReadonlySet<string>>;

export interface Rules {
  readonly folders: ImportTable;
  readonly workspaces: ImportTable;
}

/**
 * Reads the first table under a heading of ARCHITECTURE.md. Throws when the heading or the table is missing, and when a row
 * names something that is neither a row nor one of the words below, so that a slip of the pen does not loosen the law.
 */
export function parseImportTable(markdown: string, heading: string): ImportTable {
  const section = markdown.split(/^## /mu).find((part) => part.startsWith(`${heading}\n`));
  if (section === undefined) throw new Error(`ARCHITECTURE.md has no section "${heading}"`);
  const table = new Map<string, ReadonlySet<string>>();
  for (const row of section.matchAll(/^\| `(?<name>[^`]+)` \| (?<allowed>[^|]+) \|$/gmu)) {
    const { name = '', allowed = '' } = row.groups ?? {};
    table.set(name, new Set(allowed === 'nothing' ? [] : allowed.split(', ')));
  }
  if (table.size === 0) throw new Error(`The section "${heading}" of ARCHITECTURE.md has no table`);
  const known = new Set([...table.keys(), 'protocol', 'everything']);
  for (const [name, allowed] of table) {
    const unknown = [...allowed].filter((word) => !known.has(word));
    if (unknown.length > 0) throw new Error(`The row "${name}" of "${heading}" names ${unknown.join(', ')}`);
  }
  return table;
}

/**
 * Every module name that a file imports or re-exports, types included. Statements begin in the first column, which
 * `npm run format:check` sees to.
 */
export function importsOf(text: string): string[] {
  const statements =
    /^(?:import|export)\b[^'";]*?\bfrom\s+['"](?<from>[^'"]+)['"]|^import\s+['"](?<bare>[^'"]+)['"]/gmu;
  const dynamic = /\bimport\(\s*['"](?<from>[^'"]+)['"]/gu;
  return [...text.matchAll(statements), ...text.matchAll(dynamic)].map(
    ({ groups }) => groups?.['from'] ?? groups?.['bare'] ?? '',
  );
}

/** Where a file of server/src belongs: its unit (the folder that may import itself) and the row that speaks for it. */
function placeOf(file: string, table: ImportTable): { unit: string; row: string | undefined } {
  const [first = '', second = '', ...deeper] = file.slice('server/src/'.length).split('/');
  if (second !== '' && deeper.length > 0 && table.has(`${first}/*`)) {
    return { unit: `${first}/${second}`, row: `${first}/*` };
  }
  // A test beside a file of the root (config.test.ts) goes with that file.
  const unit = first.replace(/\.test\.ts$/u, '.ts');
  return { unit, row: table.has(unit) ? unit : undefined };
}

const isTest = (file: string): boolean => file.endsWith('.test.ts') || /^server\/(?:test|bench)\//u.test(file);

/** The rule that an import inside the server breaks, or undefined. */
function judgeInside(from: string, to: string, table: ImportTable): string | undefined {
  const source = placeOf(from, table);
  const target = placeOf(to, table);
  if (source.row === undefined) return undefined; // Said once per file, not once per import.
  if (source.unit === target.unit) return undefined;
  const allowed = table.get(source.row);
  if (allowed?.has('everything') === true) return undefined;
  if (target.row !== undefined && allowed?.has(target.row) === true) return undefined;
  return `${source.unit} may not import ${target.unit}`;
}

function judgeWorkspace(from: string, name: string, rules: Rules): string | undefined {
  const [workspace = ''] = from.split('/');
  const allowed = rules.workspaces.get(workspace);
  if (allowed === undefined) return undefined; // Scripts belong to no workspace and may read all of them.
  if (workspace === name) return 'a workspace imports itself by a relative path';
  const isAllowed = allowed.has(name) || (name === 'sdk' && workspace === 'server' && isTest(from));
  if (!isAllowed) return `${workspace} may not import ${name}`;
  if (!from.startsWith('server/src/') || isTest(from)) return undefined;
  const { unit, row } = placeOf(from, rules.folders);
  const folder = row === undefined ? undefined : rules.folders.get(row);
  if (folder === undefined || folder.has(name) || folder.has('everything')) return undefined;
  return `${unit} may not import ${name}`;
}

function judgeRelative(from: string, specifier: string, rules: Rules): string | undefined {
  const to = path.posix.join(path.posix.dirname(from), specifier);
  const workspaceOf = (file: string): string => file.split('/')[0] ?? '';
  if (!specifier.endsWith('.ts') && !specifier.endsWith('.tsx')) return 'relative imports end in .ts';
  if (workspaceOf(from) !== workspaceOf(to) && rules.workspaces.has(workspaceOf(from))) {
    return 'another workspace is imported by its name';
  }
  if (isTest(from)) return undefined;
  if (rules.workspaces.has(workspaceOf(from)) && isTest(to)) return 'no source imports a test';
  if (!from.startsWith('server/src/') || !to.startsWith('server/src/')) return undefined;
  return judgeInside(from, to, rules.folders);
}

function judgePackage(from: string, specifier: string): string | undefined {
  if (isTest(from)) return undefined;
  if (from.startsWith('protocol/')) return 'protocol uses no package and no built-in module';
  if (from.startsWith('server/src/core/') && IO_MODULES.has(specifier.replace(/^node:/u, '')))
    return 'core does no I/O';
  return undefined;
}

function judgeImport(from: string, specifier: string, rules: Rules): string | undefined {
  if (specifier.startsWith('.')) return judgeRelative(from, specifier, rules);
  const workspace = /^@carillon\/(?<name>[^/]+)/u.exec(specifier)?.groups?.['name'];
  return workspace === undefined ? judgePackage(from, specifier) : judgeWorkspace(from, workspace, rules);
}

/** Faults of a file taken by itself: its place, its length, how it exports, where it takes the time from. */
function judgeFile(file: SourceFile, rules: Rules): string[] {
  const faults: string[] = [];
  const lines = file.text.trimEnd().split('\n').length;
  const inServer = file.path.startsWith('server/src/');
  if (lines > FILE_LINES_MAX) faults.push(`${lines} lines, at most ${FILE_LINES_MAX}`);
  if (file.path === 'server/src/main.ts' && lines > MAIN_LINES_MAX)
    faults.push(`${lines} lines, at most ${MAIN_LINES_MAX}`);
  if (/(?:^|\/)index\.tsx?$/u.test(file.path) || /^export \*/mu.test(file.text)) faults.push('a barrel');
  const isConfig = file.path.endsWith('.config.ts');
  if (!isConfig && /^export default\b|^export \{[^}]*\bas default\b/mu.test(file.text)) faults.push('a default export');
  if (!inServer) return faults;
  const place = placeOf(file.path, rules.folders);
  if (place.row === undefined) faults.push(`${place.unit} has no row in the import table`);
  const handsOutTime = /^(?:lib|app\.ts|main\.ts)$/u.test(place.unit);
  if (!handsOutTime && !isTest(file.path) && /\bnew Date\(\s*\)/u.test(file.text))
    faults.push('reads the clock: new Date()');
  return faults;
}

/** Every fault found, as `path: what is wrong`, in the order of the files. */
export function findViolations(files: readonly SourceFile[], rules: Rules): string[] {
  return files.flatMap((file) => {
    const arrows = importsOf(file.text).flatMap((specifier) => {
      const fault = judgeImport(file.path, specifier, rules);
      return fault === undefined ? [] : [`${fault} (${specifier})`];
    });
    return [...judgeFile(file, rules), ...arrows].map((fault) => `${file.path}: ${fault}`);
  });
}
