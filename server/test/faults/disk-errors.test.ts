// A disk that fails or is full: what it did not take is refused in words, nothing acknowledged is lost, and when it is
// well again the server goes on by itself. Every case ends in a power loss: what a failed sync should have written is
// gone from the page cache's point of view, and a second sync of the same bytes would be a lie.
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { request } from 'undici';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { makeFolder, removeFolder } from '../support/server-process.ts';
import type { ServerProcess } from '../support/server-process.ts';
import { faultModule, Scene } from './campaign.ts';
import type { Entry } from './load.ts';
import { NO_FINDINGS, summaryOf } from './oracle.ts';
import { buildShim, DiskControl, whyNoShims } from './shims.ts';

const RECOVERY_MS = 5_000;
/** Answers looked at while the disk fails. */
const ANSWERS = 40;
const skipped = whyNoShims();

type Kinds = Parameters<DiskControl['fail']>[0];

describe.skipIf(skipped !== null)(`a disk that fails${skipped === null ? '' : ` (${skipped})`}`, () => {
  let tools = '';
  let preloaded: Record<string, string> = {};
  let control: DiskControl | undefined;
  let scene: Scene | undefined;
  beforeAll(() => {
    tools = makeFolder();
    preloaded = buildShim('disk', tools);
  });
  afterEach(async () => {
    control?.heal();
    control?.close();
    await scene?.close();
  });
  afterAll(() => removeFolder(tools));

  async function open(preload: string[] = []): Promise<{ scene: Scene; server: ServerProcess; control: DiskControl }> {
    const opened = await Scene.open();
    scene = opened;
    control = new DiskControl(opened.folder);
    mkdirSync(opened.data);
    mkdirSync(`${opened.data}-platter`);
    const disk = { DISK_FOLDER: opened.data, DISK_PLATTER: `${opened.data}-platter`, DISK_CONTROL: control.path };
    const server = await opened.run({ env: { ...preloaded, ...disk }, preload });
    await opened.load.acknowledged(20);
    return { scene: opened, server, control };
  }

  /** The machine loses power; the next start is from what the disk has. */
  async function losePower(lost: Scene): Promise<void> {
    await lost.crash();
    rmSync(lost.data, { recursive: true });
    renameSync(`${lost.data}-platter`, lost.data);
  }

  /** Answers of requests that were sent when the disk had already refused one, until `heal`. */
  async function answersWhileFailing(load: Scene['load']): Promise<Entry[]> {
    const first = await load.next((entry) => entry.outcome === 'refused');
    const seen: Entry[] = [first];
    await load.next((entry) => {
      if (entry.sentAt > first.sentAt) seen.push(entry);
      return seen.length > ANSWERS;
    });
    return seen;
  }

  test('refuses every request while the disk takes nothing, and goes on afterwards', { timeout: 90_000 }, async () => {
    const { scene, server, control } = await open();
    // The failing syncs last: what opens the file anew after them would hide what they left behind.
    const cases: readonly [Kinds, 'EIO' | 'ENOSPC'][] = [
      [['write', 'create'], 'ENOSPC'],
      [['write'], 'EIO'],
      [['sync', 'write', 'truncate', 'create'], 'EIO'],
      [['sync'], 'EIO'],
    ];
    for (const [kinds, error] of cases) {
      const name = `${error} of ${kinds.join(', ')}`;
      control.fail(kinds, error);
      const answers = await answersWhileFailing(scene.load);
      expect(
        answers.filter((entry) => entry.status !== 503 || entry.code !== '7006'),
        name,
      ).toEqual([]);
      const ready = await request(`${server.http}/health/ready`);
      await ready.body.dump();
      expect(ready.statusCode, name).toBe(503);
      control.heal();
      await scene.load.next((entry) => entry.outcome === 'acknowledged', RECOVERY_MS);
      await scene.load.acknowledged(20);
      expect(server.isRunning, name).toBe(true);
    }
    await losePower(scene);
    expect(await scene.judge(), summaryOf(scene.load.journal)).toEqual(NO_FINDINGS);
  });

  test('single errors, here and there, lose nothing and need nobody', { timeout: 60_000 }, async () => {
    const { scene, server, control } = await open();
    for (const [kinds, count] of [
      [['sync'], 1],
      [['write'], 1],
      [['sync'], 2],
      [['sync'], 3],
      [['sync', 'write', 'truncate'], 5],
      [['truncate'], 1],
      [['sync'], 4],
    ] as const) {
      const failed = control.failed;
      control.fail(kinds, 'EIO', { pass: 3, count });
      await scene.load.acknowledged(30);
      // How many commits thirty answers take is the load's affair: it goes on until each error was met.
      const sure = kinds.some((kind) => kind === 'truncate') ? 0 : count;
      while (control.failed - failed < sure) await scene.load.acknowledged(10);
      control.heal();
    }
    expect(server.isRunning).toBe(true);
    await losePower(scene);
    expect(await scene.judge(), summaryOf(scene.load.journal)).toEqual(NO_FINDINGS);
  });

  test('errors while old pages are moved lose nothing', { timeout: 60_000 }, async () => {
    const { scene, control } = await open();
    // Long enough that the write-ahead log is moved into the database meanwhile: its syncs fail too.
    for (let round = 0; round < 4; round += 1) {
      control.fail(['sync'], 'EIO', { pass: 40 + round, count: 2 });
      await scene.load.acknowledged(100);
      control.heal();
    }
    await losePower(scene);
    expect(await scene.judge(), summaryOf(scene.load.journal)).toEqual(NO_FINDINGS);
  });

  test('a server that swallows the error is seen', { timeout: 60_000 }, async () => {
    const { scene, control } = await open([faultModule('swallow-errors')]);
    control.fail(['sync'], 'EIO');
    await scene.load.acknowledged(ANSWERS);
    control.heal();
    await losePower(scene);
    const findings = await scene.judge({ drainMs: 300 });
    expect(findings.missing.length).toBeGreaterThan(0);
  });
});
