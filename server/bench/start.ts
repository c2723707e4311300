import { callToAll } from './deliver.ts';
import { HttpLoad } from './generator/http-client.ts';
import type { Line, Measure } from './harness.ts';

const DESTINATIONS = 1000;
const QUEUED = 100_000;
const EMPTY_MAX_MS = 1000;
const QUEUED_MAX_MS = 2000;

async function call(port: number, requests: number): Promise<void> {
  const caller = await HttpLoad.open({ port, connections: 1, requests: [callToAll()] });
  await caller.run({ requests });
  caller.close();
}

/** From starting the process to its ready line: on nothing, and after a crash with 100,000 messages waiting. */
export const start: Line = {
  name: 'start',
  description: 'start to ready',
  async run(bench): Promise<readonly Measure[]> {
    const empty = await bench.serverOn(bench.folder(), { isBare: true });
    const emptyMs = empty.readyMs;
    await empty.stop();
    const data = await bench.provisioned();
    const first = await bench.serverOn(data);
    const queued = bench.pick(QUEUED, QUEUED / 10);
    await call(first.httpPort, queued / DESTINATIONS);
    await first.kill();
    const startedAt = performance.now();
    const second = await bench.serverOn(data, { isBare: true });
    await call(second.httpPort, 1);
    const acceptedMs = performance.now() - startedAt;
    return [
      { name: 'start, empty', unit: 'ms', value: emptyMs, goal: { kind: 'at most', limit: EMPTY_MAX_MS } },
      {
        name: `start after kill -9, ${queued.toLocaleString('en-US')} waiting`,
        unit: 'ms',
        value: second.readyMs,
        goal: { kind: 'at most', limit: QUEUED_MAX_MS },
      },
      { name: 'start after kill -9: first call accepted', unit: 'ms', value: acceptedMs },
    ];
  },
};
