import { X509Certificate, createPrivateKey } from 'node:crypto';
import { unwatchFile, watchFile } from 'node:fs';
import { readFile } from 'node:fs/promises';

export interface TlsMaterial {
  /** PEM, the chain included. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

/** Polled, not watched: certificates are swapped by renaming folders and links, which file events miss. */
const POLL_MS = 2_000;

/**
 * A certificate and its key on disk, read again when either changes, for every port that speaks TLS. A pair that does not
 * fit together (a renewal half written) is told and not used: the one before it goes on serving.
 */
export class TlsFiles {
  private readonly paths: TlsPaths;
  private readonly onError: (error: unknown) => void;
  private readonly listeners = new Set<(material: TlsMaterial) => void>();
  private material: TlsMaterial;
  private readonly check = (): void => {
    this.reload().catch(this.onError);
  };

  private constructor(options: TlsFilesOptions, material: TlsMaterial) {
    this.paths = { cert: options.certPath, key: options.keyPath };
    this.onError = options.onError;
    this.material = material;
    for (const path of Object.values(this.paths)) watchFile(path, { interval: POLL_MS, persistent: false }, this.check);
  }

  /** Rejects where a file cannot be read or the two do not fit together: better no start than one without TLS. */
  static async open(options: TlsFilesOptions): Promise<TlsFiles> {
    return new TlsFiles(options, await readPair({ cert: options.certPath, key: options.keyPath }));
  }

  get current(): TlsMaterial {
    return this.material;
  }

  onChange(listener: (material: TlsMaterial) => void): void {
    this.listeners.add(listener);
  }

  /** Reads both files now; also what SIGHUP may call. Rejects, changing nothing, where they do not fit together. */
  async reload(): Promise<void> {
    const material = await readPair(this.paths);
    if (material.cert === this.material.cert && material.key === this.material.key) return;
    this.material = material;
    for (const listener of this.listeners) listener(material);
  }

  close(): void {
    for (const path of Object.values(this.paths)) unwatchFile(path, this.check);
    this.listeners.clear();
  }
}

export interface TlsFilesOptions {
  readonly certPath: string;
  readonly keyPath: string;
  /** A change that could not be used. */
  readonly onError: (error: unknown) => void;
}

interface TlsPaths {
  readonly cert: string;
  readonly key: string;
}

type PairResult =
  | { readonly ok: true; readonly material: TlsMaterial }
  /** All that is wrong, each without a full stop. */
  | { readonly ok: false; readonly faults: readonly string[] };

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Reads a certificate and its key, or says everything that is wrong with the two files. */
export async function readTlsPair(paths: TlsPaths): Promise<PairResult> {
  const faults: string[] = [];
  const part = async <Value>(path: string, what: string, parse: (pem: string) => Value) => {
    let pem: string;
    try {
      pem = await readFile(path, 'utf8');
    } catch (error) {
      faults.push(`the ${what} cannot be read: ${wordsOf(error)}`);
      return null;
    }
    try {
      return { pem, parsed: parse(pem) };
    } catch (error) {
      faults.push(`${path} holds no ${what} in PEM that can be used (${wordsOf(error)})`);
      return null;
    }
  };
  const cert = await part(paths.cert, 'certificate', (pem) => new X509Certificate(pem));
  const key = await part(paths.key, 'private key', (pem) => createPrivateKey(pem));
  if (cert === null || key === null) return { ok: false, faults };
  if (cert.parsed.checkPrivateKey(key.parsed)) return { ok: true, material: { cert: cert.pem, key: key.pem } };
  return { ok: false, faults: [`the key in ${paths.key} does not belong to the certificate in ${paths.cert}`] };
}

async function readPair(paths: TlsPaths): Promise<TlsMaterial> {
  const read = await readTlsPair(paths);
  if (!read.ok) throw new Error(read.faults.join('; '));
  return read.material;
}
