// The order of things inside one process: a request's row is written, then synced, and only then answered.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { makeFolder, removeFolder } from '../support/server-process.ts';
import { faultModule, Scene } from './campaign.ts';
import { buildShim, whyNoShims } from './shims.ts';

const ANSWERS = 300;
const CONTROL_ANSWERS = 30;
const skipped = whyNoShims();

interface Judged {
  readonly answers: number;
  /** Answers that were not preceded by row, sync, synced, in this order. */
  readonly early: number;
}

/** Reads what the shim wrote down. A sync that serves many requests is the rule. */
function judge(log: string): Judged {
  const rowAt = new Map<string, number>();
  const inAt = new Map<string, number>();
  let syncAt = -1;
  /** The start of the latest sync that ended well. */
  let syncedFrom = -1;
  let answers = 0;
  let early = 0;
  log.split('\n').forEach((line, at) => {
    const [word = '', mark = ''] = line.split(' ');
    if (word === 'in') inAt.set(mark, at);
    else if (word === 'row') rowAt.set(mark, at);
    else if (word === 'sync') syncAt = at;
    else if (word === 'synced') syncedFrom = syncAt;
    else if (word === 'out') {
      answers += 1;
      const row = rowAt.get(mark) ?? Number.POSITIVE_INFINITY;
      const isRight = (inAt.get(mark) ?? Number.POSITIVE_INFINITY) < row && row < syncedFrom;
      if (!isRight) early += 1;
    }
  });
  return { answers, early };
}

describe.skipIf(skipped !== null)(`before an answer${skipped === null ? '' : ` (${skipped})`}`, () => {
  let tools = '';
  let preloaded: Record<string, string> = {};
  let scene: Scene | undefined;
  beforeAll(() => {
    tools = makeFolder();
    preloaded = buildShim('order', tools);
  });
  afterEach(() => scene?.close());
  afterAll(() => removeFolder(tools));

  async function watch(answers: number, preload: string[]): Promise<Judged> {
    const labelOf = (client: number, number: number): string =>
      `mark-${String(client * 100_000 + number).padStart(6, '0')}-`;
    scene = await Scene.open({ labelOf });
    const log = path.join(scene.folder, 'order');
    await scene.run({ env: { ...preloaded, ORDER_LOG: log }, preload });
    await scene.load.acknowledged(answers);
    await scene.load.stop();
    return judge(readFileSync(log, 'utf8'));
  }

  test('its row is written and synced, every time', { timeout: 60_000 }, async () => {
    const { answers, early } = await watch(ANSWERS, []);
    expect(answers).toBeGreaterThanOrEqual(ANSWERS);
    expect(early).toBe(0);
  });

  test.each(['without-sync', 'answer-early'])('a server %s is seen', { timeout: 60_000 }, async (fault) => {
    const { answers, early } = await watch(CONTROL_ANSWERS, [faultModule(fault)]);
    expect(answers).toBeGreaterThanOrEqual(CONTROL_ANSWERS);
    expect(early).toBeGreaterThan(answers / 2);
  });
});
