import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeCertificate } from '../../test/support/certificates.ts';
import type { Certificate } from '../../test/support/certificates.ts';
import { TlsFiles } from './tls-files.ts';
import type { TlsMaterial } from './tls-files.ts';

let folder: string;
let certPath: string;
let keyPath: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tls-files-'));
  certPath = path.join(folder, 'cert.pem');
  keyPath = path.join(folder, 'key.pem');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function write({ cert, key }: Certificate): Promise<void> {
  await writeFile(certPath, cert);
  await writeFile(`${keyPath}.new`, key);
  await rename(`${keyPath}.new`, keyPath);
}

const first = makeCertificate({ commonName: 'one.example' });
const second = makeCertificate({ commonName: 'two.example' });

describe('TlsFiles', () => {
  it('sees a change by itself', async () => {
    await write(first);
    const files = await TlsFiles.open({ certPath, keyPath, onError: () => undefined });
    try {
      expect(files.current.cert).toBe(first.cert);
      const changed = new Promise<TlsMaterial>((resolve) => files.onChange(resolve));
      await write(second);
      expect((await changed).cert).toBe(second.cert);
      expect(files.current.key).toBe(second.key);
    } finally {
      files.close();
    }
  });

  it('keeps the pair it has while the two on disk do not fit together', async () => {
    await write(first);
    const files = await TlsFiles.open({ certPath, keyPath, onError: () => undefined });
    try {
      await writeFile(certPath, second.cert);
      await expect(files.reload()).rejects.toThrow('does not belong');
      expect(files.current.cert).toBe(first.cert);
      await writeFile(keyPath, second.key);
      await files.reload();
      expect(files.current.cert).toBe(second.cert);
    } finally {
      files.close();
    }
  });

  it('does not open what does not fit together or is not there', async () => {
    await expect(TlsFiles.open({ certPath, keyPath, onError: () => undefined })).rejects.toThrow('ENOENT');
    await write({ cert: first.cert, key: second.key });
    await expect(TlsFiles.open({ certPath, keyPath, onError: () => undefined })).rejects.toThrow('does not belong');
  });
});
