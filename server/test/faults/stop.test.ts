// SIGTERM under load, and two servers on one folder.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeFolder, removeFolder, ServerProcess } from '../support/server-process.ts';
import { faultModule, Scene } from './campaign.ts';
import { NO_FINDINGS, summaryOf } from './oracle.ts';

/**
 * The promise is 10 s. Within half of it: clients that keep sending on their connections are told to leave, not served
 * until they are cut.
 */
const STOP_MS_MAX = 5_000;

describe('SIGTERM under load', () => {
  let scene: Scene | undefined;
  afterEach(() => scene?.close());

  test('ends the process in time with code 0, and nothing is lost', { timeout: 60_000 }, async () => {
    scene = await Scene.open();
    for (let round = 0; round < 3; round += 1) {
      const server = await scene.run();
      await scene.load.acknowledged(30);
      const exit = await server.stop();
      expect(exit).toMatchObject({ code: 0, signal: null });
      expect(exit.ms).toBeLessThan(STOP_MS_MAX);
      // Everything that was committed was moved into the database: the next start has nothing to mend.
      expect(existsSync(path.join(scene.data, 'carillon.db-wal'))).toBe(false);
      await scene.load.stop();
      await scene.devices.disconnect();
    }
    expect(await scene.judge(), summaryOf(scene.load.journal)).toEqual(NO_FINDINGS);
    // A connection is told or ended; it is not left without an answer and without an end.
    const { journal } = scene.load;
    expect(journal.filter((entry) => entry.outcome === 'refused' && entry.code !== '7006')).toEqual([]);
  });

  test('a server that answers before it commits is seen', { timeout: 60_000 }, async () => {
    scene = await Scene.open();
    const server = await scene.run({ preload: [faultModule('answer-early')], env: { FAULT_LATER_MS: '3000' } });
    await scene.load.acknowledged(30);
    await server.stop();
    await scene.load.stop();
    await scene.devices.disconnect();
    const findings = await scene.judge({ drainMs: 300 });
    expect(findings.missing.length).toBeGreaterThan(0);
  });
});

describe('a second server on the same folder', () => {
  let folder = '';
  const started: ServerProcess[] = [];
  beforeEach(() => {
    folder = makeFolder();
  });
  afterEach(async () => {
    await Promise.all(started.splice(0).map((server) => server.kill()));
    removeFolder(folder);
  });

  const start = async (preload: string[] = []): Promise<ServerProcess> => {
    const server = new ServerProcess({ folder, preload });
    started.push(server);
    await server.ready();
    return server;
  };

  test('is told in one sentence, and the first one goes on', { timeout: 60_000 }, async () => {
    const first = await start();
    const second = new ServerProcess({ folder });
    started.push(second);
    const exit = await second.exited;
    expect(exit.code).toBeGreaterThan(0);
    const said = second.stderr.trim().split('\n');
    expect(said).toHaveLength(1);
    expect(said[0]).toContain('another carillon works on the data folder');
    expect(said[0]).toContain(folder);
    expect(second.stdout).not.toContain('carillon ready');
    expect(first.isRunning).toBe(true);
    // A folder is free again the moment its server is gone, however it went.
    await first.kill();
    await start();
  });

  test('is seen where the folder is not held', { timeout: 60_000 }, async () => {
    const preload = [faultModule('without-folder-lock')];
    await start(preload);
    const second = await start(preload);
    expect(second.isRunning).toBe(true);
  });
});
