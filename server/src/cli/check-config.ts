import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import path from 'node:path';
import { describeConfig } from '../config.ts';
import type { Config, ConfigResult } from '../config.ts';
import { readTlsPair } from '../lib/tls-files.ts';
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

/**
 * Looks at what `serve` would need and starts nothing; tells every fault, of the options and of what they name. Resolves
 * with the exit code: wrong use where an option cannot be read or does not go with another.
 */
export async function checkConfig(result: ConfigResult, isJson: boolean): Promise<number> {
  const config = result.ok ? result.config : result.known;
  const ofOptions = result.ok ? [] : result.faults;
  const folder = config.data === undefined ? null : await folderFault(config.data);
  const faults = [...ofOptions, ...(folder === null ? [] : [folder]), ...(await tlsFaults(config))];
  const described = describeConfig(config);
  const { warnings } = result;
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
