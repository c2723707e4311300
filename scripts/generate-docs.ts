/**
 * Writes the documents that follow from the code; with `--check` it compares instead and exits 1 where one is stale.
 * A new document is a line in `documents`.
 */
import { readFile, writeFile } from 'node:fs/promises';
import process from 'node:process';
import { codeRanges, codes, type CodeEntry } from '../protocol/src/codes.ts';
import { renderConfigDocs } from '../server/src/config.ts';

interface GeneratedDocument {
  /** From the root of the repository. */
  readonly file: string;
  readonly render: () => string | Promise<string>;
}

const documents: readonly GeneratedDocument[] = [
  { file: 'docs/codes.md', render: renderCodes },
  { file: 'docs/config.md', render: renderConfigDocs },
];

function row(entry: CodeEntry): string {
  const status = entry.http ?? 200;
  const http = entry.kind === 'receipt' ? '' : String(status);
  return `| ${entry.code} | ${entry.description} | ${http} | ${entry.retryable ? 'yes' : 'no'} | ${entry.explanation} |`;
}

function table(entries: readonly CodeEntry[]): string {
  const head = '| code | description | HTTP | send again later? | meaning |\n|---|---|---|---|---|';
  return [head, ...entries.map(row)].join('\n');
}

function renderCodes(): string {
  const used = codes.filter((entry) => entry.used);
  const others = codes.filter((entry) => !entry.used);
  const ranges = codeRanges.map((range) => `| ${range.from} to ${range.to} | ${range.description} |`);
  return `# Codes

Generated from protocol/src/codes.ts by scripts/generate-docs.ts; edit there.

A code is a string. Refusals that the original documents come with HTTP 200, as there, so that its clients keep working;
where the status is another one the table says so. 7006 comes as 500 for a fault of the server and as 503 with
Retry-After where there is no room at the moment.

## In the answer to a call

${table(used.filter((entry) => entry.kind === 'request'))}

## In receipts

A receipt with deliveryStatus Failed holds one of these, or 7104 where the app is gone meanwhile.

${table(used.filter((entry) => entry.kind === 'receipt'))}

## Of the original only

Documented there for other channels and calls; this server says none of them.

| code | description |
|---|---|
${others.map((entry) => `| ${entry.code} | ${entry.description} |`).join('\n')}
${ranges.join('\n')}
`;
}

/** Brings one document up to date; the answer tells whether it was stale. */
async function bring(document: GeneratedDocument, checkOnly: boolean): Promise<boolean> {
  const address = new URL(`../${document.file}`, import.meta.url);
  const wanted = await document.render();
  const found = await readFile(address, 'utf8').catch(() => '');
  if (found === wanted) {
    return false;
  }
  if (!checkOnly) {
    await writeFile(address, wanted);
  }
  process.stdout.write(`${document.file}: ${checkOnly ? 'stale, run npm run docs' : 'written'}\n`);
  return true;
}

const checkOnly = process.argv.includes('--check');
const stale = await Promise.all(documents.map((document) => bring(document, checkOnly)));
if (checkOnly && stale.includes(true)) {
  process.exitCode = 1;
}
