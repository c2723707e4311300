// Power loss: a shim keeps what a disk would hold, and every next start begins from that. kill -9 alone cannot show a
// missing sync: the system still has what the process wrote. How often is up to the environment:
//   POWER_CYCLES=500 npm test -- server/test/faults/power-loss.test.ts   (6 without it, of each kind)
import { cpSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { seededRandom } from '../support/random.ts';
import { makeFolder, removeFolder } from '../support/server-process.ts';
import { faultModule, runCampaign, Scene } from './campaign.ts';
import { NO_FINDINGS, summaryOf } from './oracle.ts';
import type { Findings } from './oracle.ts';
import { buildShim, whyNoShims } from './shims.ts';

const CYCLES = Number(process.env['POWER_CYCLES'] ?? 6);
const SEED = Number(process.env['CRASH_SEED'] ?? 1);
const TIMEOUT_MS = 60_000 + CYCLES * 10_000;
const skipped = whyNoShims();

describe.skipIf(skipped !== null)(`power loss under load${skipped === null ? '' : ` (${skipped})`}`, () => {
  let tools = '';
  let preloaded: Record<string, string> = {};
  let scene: Scene | undefined;
  beforeAll(() => {
    tools = makeFolder();
    preloaded = buildShim('disk', tools);
  });
  afterEach(() => scene?.close());
  afterAll(() => removeFolder(tools));

  /** What must hold of the file itself at every start. */
  function isSound(data: string): string {
    const database = new DatabaseSync(path.join(data, 'carillon.db'));
    try {
      return String(database.prepare('PRAGMA integrity_check').get()?.['integrity_check']);
    } finally {
      database.close();
    }
  }

  interface Loss {
    readonly cycles: number;
    readonly isTorn: boolean;
    readonly preload?: string[];
    readonly drainMs?: number;
  }

  async function loseAndJudge({ cycles, isTorn, preload, drainMs }: Loss): Promise<Findings> {
    scene = await Scene.open();
    const { data } = scene;
    const platter = `${data}-platter`;
    mkdirSync(data);
    mkdirSync(platter);
    const integrity: string[] = [];
    const findings = await runCampaign(scene, {
      cycles,
      random: seededRandom(SEED),
      server: (cycle) => {
        const tear: Record<string, string> = isTorn ? { DISK_TEAR: String(SEED * 1000 + cycle) } : {};
        const env = { ...preloaded, DISK_FOLDER: data, DISK_PLATTER: platter, ...tear };
        return { env, ...(preload !== undefined && { preload }) };
      },
      afterCrash: () => {
        rmSync(data, { recursive: true });
        renameSync(platter, data);
        cpSync(data, platter, { recursive: true });
        if (preload === undefined) integrity.push(isSound(copyOf(data)));
      },
      ...(drainMs !== undefined && { drainMs }),
    });
    expect(integrity.filter((verdict) => verdict !== 'ok')).toEqual([]);
    return findings;
  }

  /** The check itself opens the database, and must not mend what the server is to find. */
  function copyOf(data: string): string {
    const copy = `${data}-looked-at`;
    rmSync(copy, { recursive: true, force: true });
    cpSync(data, copy, { recursive: true });
    return copy;
  }

  test.each([
    ['with an empty write cache', false],
    ['with half of the sectors written early, in no order', true],
  ])('loses nothing %s', { timeout: TIMEOUT_MS }, async (_name, isTorn) => {
    const findings = await loseAndJudge({ cycles: CYCLES, isTorn });
    const { journal } = (scene as Scene).load;
    expect(findings, summaryOf(journal)).toEqual(NO_FINDINGS);
    expect(journal.filter((entry) => entry.outcome === 'acknowledged').length).toBeGreaterThan(CYCLES);
  });

  test('is seen to lose what was not synced', { timeout: 60_000 }, async () => {
    const preload = [faultModule('without-sync')];
    const findings = await loseAndJudge({ cycles: 1, isTorn: false, preload, drainMs: 300 });
    expect(findings.missing.length).toBeGreaterThan(0);
  });
});
