// A wall clock that jumps under load, the monotonic one untouched (shims/wallclock.c).
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { makeFolder, removeFolder } from '../support/server-process.ts';
import type { ServerProcess } from '../support/server-process.ts';
import { faultModule, Scene } from './campaign.ts';
import { Device } from './device.ts';
import { NO_FINDINGS, summaryOf } from './oracle.ts';
import { buildShim, WallClockControl, whyNoShims } from './shims.ts';

const HOUR_SECONDS = 3_600;
const DAY_SECONDS = 24 * HOUR_SECONDS;
/** A few seconds before 32-bit seconds end. */
const BEFORE_2038_MS = Date.UTC(2038, 0, 19, 3, 14, 5);
/** A server with nothing to do; measured 5 to 30. */
const IDLE_CPU_MS_MAX = 300;
const IDLE_MS = 500;
const TOLD_MS = 10_000;
const skipped = whyNoShims();

describe.skipIf(skipped !== null)(`a wall clock that jumps${skipped === null ? '' : ` (${skipped})`}`, () => {
  let tools = '';
  let preloaded: Record<string, string> = {};
  let clock: WallClockControl | undefined;
  let scene: Scene | undefined;
  let late: Device | undefined;
  beforeAll(() => {
    tools = makeFolder();
    preloaded = buildShim('wallclock', tools);
  });
  afterEach(async () => {
    await late?.disconnect();
    clock?.close();
    await scene?.close();
  });
  afterAll(() => removeFolder(tools));

  async function open(
    preload: string[] = [],
  ): Promise<{ scene: Scene; server: ServerProcess; clock: WallClockControl }> {
    const opened = await Scene.open();
    scene = opened;
    clock = new WallClockControl(opened.folder);
    const server = await opened.run({ env: { ...preloaded, CLOCK_FILE: clock.path }, preload });
    return { scene: opened, server, clock };
  }

  const connected = ({ devices }: Scene): boolean => devices.all.every((device) => device.isConnected);

  /** Nothing to do must cost nothing, whatever the time is. */
  async function idleCpuMs(server: ServerProcess): Promise<number> {
    const before = server.cpuMs();
    await sleep(IDLE_MS);
    return server.cpuMs() - before;
  }

  test('two hours on and back, under load: nothing lost, doubled or stalled', { timeout: 60_000 }, async () => {
    const { scene, server, clock } = await open();
    for (const seconds of [2 * HOUR_SECONDS, 0, -2 * HOUR_SECONDS, 0, 1, -1, 0]) {
      await scene.load.acknowledged(15);
      clock.set(seconds);
      await scene.load.acknowledged(15);
      expect(connected(scene), `${seconds} s off`).toBe(true);
    }
    await scene.load.stop();
    const findings = await scene.judge({ server });
    expect(findings, summaryOf(scene.load.journal)).toEqual(NO_FINDINGS);
    expect(connected(scene)).toBe(true);
    for (const seconds of [2 * HOUR_SECONDS, -2 * HOUR_SECONDS]) {
      clock.set(seconds);
      expect(await idleCpuMs(server), `${seconds} s off`).toBeLessThan(IDLE_CPU_MS_MAX);
    }
    expect(connected(scene)).toBe(true);
  });

  test(
    'a day on, the end of 32-bit seconds, and back, with everything delivered: it goes on',
    {
      timeout: 60_000,
    },
    async () => {
      const { scene, server, clock } = await open();
      for (const seconds of [DAY_SECONDS, Math.round((BEFORE_2038_MS - Date.now()) / 1000), 0]) {
        await scene.load.acknowledged(15);
        await scene.load.stop();
        expect(await scene.judge({ server }), summaryOf(scene.load.journal)).toEqual(NO_FINDINGS);
        clock.set(seconds);
        expect(await idleCpuMs(server), `${seconds} s off`).toBeLessThan(IDLE_CPU_MS_MAX);
        // Their tokens are for a day: where they ended, the devices come again.
        await scene.devices.disconnect();
        await scene.devices.connect(server);
        scene.load.start(server);
      }
      await scene.load.acknowledged(15);
      await scene.load.stop();
      expect(await scene.judge({ server }), summaryOf(scene.load.journal)).toEqual(NO_FINDINGS);
    },
  );

  /** Sends to a user without a device; receipts go to the scene's sink. Resolves with the transid. */
  async function sendTo({ sink }: Scene, server: ServerProcess, expiry: string): Promise<string> {
    const answer = await request(`${server.http}/resources/v1/messaging`, {
      method: 'POST',
      headers: { key: server.demo().serviceKey },
      body: JSON.stringify({
        deliverychannel: 'appmessaging',
        destination: [{ userid: ['zoe'] }],
        expiry,
        notifyurl: sink.url,
        channels: {
          appmessaging: { message: { text: expiry }, thread_type: 'conversation', thread_title: 'Late' },
        },
      }),
    });
    const body = (await answer.body.json()) as { response: { transid: string }[] };
    return body.response[0]?.transid ?? '';
  }

  async function statusOf(server: ServerProcess, transid: string): Promise<string> {
    const url = `${server.http}/resources/v1/messaging/status/${transid}`;
    const answer = await request(url, { headers: { key: server.demo().serviceKey } });
    return ((await answer.body.json()) as { status: string }[])[0]?.status ?? '';
  }

  test('what expired stays expired when the clock goes back', { timeout: 60_000 }, async () => {
    const { scene, server, clock } = await open();
    await scene.load.stop();
    const inHours = (hours: number): string => new Date(Date.now() + hours * HOUR_SECONDS * 1000).toISOString();
    const short = await sendTo(scene, server, inHours(1));
    const long = await sendTo(scene, server, inHours(3));
    expect(await statusOf(server, short)).toBe('queued');
    clock.set(2 * HOUR_SECONDS);
    expect(await scene.sink.until(() => scene.sink.states.has(`${short} zoe Failed`), TOLD_MS)).toBe(true);
    expect(await statusOf(server, short)).toBe('expired');
    clock.set(0);
    late = new Device('zoe');
    const arrived = new Promise<void>((resolve) => {
      (late as Device).onNews = resolve;
    });
    await late.connect(server);
    await arrived;
    expect(late.received.map((message) => message.tid)).toEqual([long]);
    expect(await statusOf(server, short)).toBe('expired');
  });

  test('durations by the wall clock are seen', { timeout: 60_000 }, async () => {
    const { scene, server, clock } = await open([faultModule('wall-clock-everywhere')]);
    await scene.load.acknowledged(1);
    await scene.load.stop();
    // Until the devices have nothing to say any more: what is heard of them after the jump would count as news.
    await scene.judge({ server });
    clock.set(2 * HOUR_SECONDS);
    expect(await scene.devices.until(() => !connected(scene), 2 * TOLD_MS)).toBe(true);
    expect(server.isRunning).toBe(true);
  });
});
