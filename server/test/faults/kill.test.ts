// kill -9 under load. How often is up to the environment:
//   CRASH_CYCLES=1000 npm test -- server/test/faults/kill.test.ts   (15 without it; 0 failures in n crashes bound the rate below 3/n)
//   CRASH_SEED=7                                                    (1 without it)
import { afterEach, describe, expect, test } from 'vitest';
import { seededRandom } from '../support/random.ts';
import { faultModule, runCampaign, Scene } from './campaign.ts';
import { NO_FINDINGS, summaryOf } from './oracle.ts';

const CYCLES = Number(process.env['CRASH_CYCLES'] ?? 15);
const SEED = Number(process.env['CRASH_SEED'] ?? 1);
const CYCLE_MS = 10_000;

describe('kill -9 under load', () => {
  let scene: Scene | undefined;
  afterEach(() => scene?.close());

  test('loses nothing, halves nothing, doubles nothing', { timeout: 60_000 + CYCLES * CYCLE_MS }, async () => {
    scene = await Scene.open();
    const findings = await runCampaign(scene, { cycles: CYCLES, random: seededRandom(SEED) });
    expect(findings, summaryOf(scene.load.journal)).toEqual(NO_FINDINGS);
    const acknowledged = scene.load.journal.filter((entry) => entry.outcome === 'acknowledged');
    expect(acknowledged.length).toBeGreaterThan(CYCLES);
    if (CYCLES !== 15) console.log(`${CYCLES} crashes: ${summaryOf(scene.load.journal)}`);
  });

  test('is seen to lose what was answered before its commit', { timeout: 60_000 }, async () => {
    scene = await Scene.open();
    const preload = [faultModule('answer-early')];
    const campaign = { cycles: 1, random: seededRandom(SEED), server: () => ({ preload }), drainMs: 300 };
    const findings = await runCampaign(scene, campaign);
    expect(findings.missing.length).toBeGreaterThan(0);
  });

  test('is seen to leave halves where a request is not one commit', { timeout: 60_000 }, async () => {
    scene = await Scene.open();
    const preload = [faultModule('split-requests')];
    const campaign = { cycles: 2, random: seededRandom(SEED), server: () => ({ preload }), drainMs: 300 };
    const findings = await runCampaign(scene, campaign);
    expect(findings.partial.length).toBeGreaterThan(0);
  });
});
