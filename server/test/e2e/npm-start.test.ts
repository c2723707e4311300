import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { expect, test } from 'vitest';
import { makeFolder, removeFolder, ServerProcess } from '../support/server-process.ts';

const MAIN = path.resolve(import.meta.dirname, '../../src/main.ts');

/** What npm does: a shell between it and the server, and the signal to the shell alone. */
test.skipIf(process.platform === 'win32')(
  'under npm the server ends with the shell that npm started it in',
  async () => {
    const folder = makeFolder();
    const command = `"${process.execPath}" "${MAIN}" serve --http 127.0.0.1:0 --mqtt off --data "${folder}"; true`;
    const shell = spawn('sh', ['-c', command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, npm_lifecycle_event: 'start', CARILLON_LOG_LEVEL: 'info' },
    });
    let log = '';
    shell.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
    await new Promise<void>((resolve) => {
      shell.stdout.setEncoding('utf8').on('data', (text: string) => {
        if (text.includes('carillon ready')) resolve();
      });
    });
    // The pipe is the server's too: it closes when the server has ended.
    const ended = once(shell.stderr, 'close');
    shell.kill('SIGTERM');
    await ended;
    expect(log).toContain('"signal":"parent ended"');
    expect(log).toContain('"event":"stopped"');
    // The data folder is free again.
    const next = await ServerProcess.start({ folder });
    expect((await next.stop()).code).toBe(0);
    removeFolder(folder);
  },
);
