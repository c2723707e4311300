import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import path from 'node:path';
import { describeConfig } from '../config.ts';
import type { Config, ConfigResult } from '../config.ts';
import { readTlsPair } from '../lib/tls-files.ts';
import { databaseFault, databaseOptions } from './database.ts';
import { EXIT, print, printJson, printResult, safeText } from './output.ts';

async function canWrite(folder: string): Promise<boolean> {
  try {
    await access(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether the data folder is there or can be made; nothing is made. */
async function folderFault(folder: string): Promise<string | null> {
  const known = await stat(folder).catch(() => null);
  if (known !== null && !known.isDirectory()) return `--data "${folder}" is no folder.`;
  if (known !== null) return (await canWrite(folder)) ? null : `--data "${folder}" cannot be written to.`;
  let parent = path.dirname(folder);
  while (parent !== path.dirname(parent) && (await stat(parent).catch(() => null)) === null)
    parent = path.dirname(parent);
  return (await canWrite(parent)) ? null : `--data "${folder}" cannot be made: ${parent} cannot be written to.`;
}

async function tlsFaults({ tlsCert, tlsKey }: Partial<Config>): Promise<readonly string[]> {
  if (!tlsCert || !tlsKey) return [];
  const read = await readTlsPair({ cert: tlsCert, key: tlsKey });
  return read.ok ? [] : read.faults.map((fault) => `--tls-cert and --tls-key cannot be used: ${fault}.`);
}

interface Found {
  readonly faults: readonly string[];
  readonly warnings: readonly string[];
}

const NOTHING: Found = { faults: [], warnings: [] };

/** Connects and looks at the server's version and settings; nothing is made or brought up to date. */
async function lookAtDatabase(url: string | null | undefined): Promise<Found & { readonly version?: string }> {
  if (!url) return NOTHING;
  try {
    const { PostgresStore } = await import('../store/postgres/store.ts');
    const { version, warnings } = await PostgresStore.check(databaseOptions(url));
    return { version, faults: [], warnings: warnings.map((warning) => `--database: ${warning}.`) };
  } catch (error) {
    // Also what has no class of its own, as an encoding that cannot be used.
    const fault = databaseFault(error) ?? (error as Error).message;
    return { faults: [`--database cannot be used: ${fault}.`], warnings: [] };
  }
}

/** The addresses only: NATS may come and go while servers run. */
async function lookAtNats(text: string | null | undefined): Promise<Found> {
  if (!text) return NOTHING;
  const { readNats } = await import('../cluster-adapters.ts');
  const read = readNats(text);
  if (!read.ok) return { faults: [`--nats cannot be used: ${read.reason}.`], warnings: [] };
  return { faults: [], warnings: read.warning === null ? [] : [`--nats: ${read.warning}.`] };
}

/** On a database the folder holds demo.json and nothing else. */
const needsFolder = (config: Partial<Config>): boolean => !config.database || config.demo === true;

/**
 * Looks at what `serve` would need and starts nothing; tells every fault, of the options and of what they name. Resolves
 * with the exit code: wrong use where an option cannot be read or does not go with another.
 */
export async function checkConfig(result: ConfigResult, isJson: boolean): Promise<number> {
  const config = result.ok ? result.config : result.known;
  const ofOptions = result.ok ? [] : result.faults;
  const folder = config.data === undefined || !needsFolder(config) ? null : await folderFault(config.data);
  const [tls, database, nats] = await Promise.all([
    tlsFaults(config),
    lookAtDatabase(config.database),
    lookAtNats(config.nats),
  ]);
  const faults = [...ofOptions, ...(folder === null ? [] : [folder]), ...tls, ...database.faults, ...nats.faults];
  const { version } = database;
  const described = { ...describeConfig(config), ...(version === undefined ? {} : { databaseVersion: version }) };
  const warnings = [...result.warnings, ...database.warnings, ...nats.warnings];
  if (isJson) {
    printJson({ ok: faults.length === 0, faults, warnings, config: described });
  } else {
    printResult(described, false);
    for (const warning of warnings) print(`warning: ${safeText(warning)}`);
    for (const fault of faults) print(`fault: ${safeText(fault)}`);
    print(faults.length === 0 ? 'The configuration is good.' : 'The configuration is not good.');
  }
  if (ofOptions.length > 0) return EXIT.usage;
  return faults.length === 0 ? EXIT.ok : EXIT.failed;
}
