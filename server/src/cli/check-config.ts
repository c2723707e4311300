import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import path from 'node:path';
import { describeConfig } from '../config.ts';
import type { Config } from '../config.ts';
import { TlsFiles } from '../lib/tls-files.ts';
import { EXIT, print, printJson, printResult } from './output.ts';

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

async function tlsFault(config: Config): Promise<string | null> {
  if (config.tlsCert === null || config.tlsKey === null) return null;
  try {
    const files = await TlsFiles.open({ certPath: config.tlsCert, keyPath: config.tlsKey, onError: () => undefined });
    files.close();
    return null;
  } catch (error) {
    return `--tls-cert and --tls-key cannot be used: ${error instanceof Error ? error.message : String(error)}.`;
  }
}

/** Looks at what `serve` would need and starts nothing. Resolves with the exit code. */
export async function checkConfig(config: Config, warnings: readonly string[], isJson: boolean): Promise<number> {
  const found = await Promise.all([folderFault(config.data), tlsFault(config)]);
  const faults = found.filter((fault) => fault !== null);
  const described = describeConfig(config);
  if (isJson) {
    printJson({ ok: faults.length === 0, faults, warnings, config: described });
  } else {
    printResult(described, false);
    for (const warning of warnings) print(`warning: ${warning}`);
    for (const fault of faults) print(`fault: ${fault}`);
    print(faults.length === 0 ? 'The configuration is good.' : 'The configuration is not good.');
  }
  return faults.length === 0 ? EXIT.ok : EXIT.failed;
}
