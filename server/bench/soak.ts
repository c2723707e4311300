import { openAudience, recorded } from './deliver.ts';
import { cpuMeasure } from './harness.ts';
import type { Line, Measure } from './harness.ts';
import { slope } from './statistics.ts';

const DEVICES = 1000;
const WINDOW = 16;
/** Messages on their way: so many that the windows stay full, so few that what waits is not what grows. */
const UNDER_WAY_MAX = 50_000;
const MIB = 1024 ** 2;
const MILLION = 1e6;
/** Each collects garbage first, which costs a pause: so many, and not more often than that. */
const SAMPLES = 200;
const SAMPLE_MS = 400;

/** Delivers many messages and watches the memory: what it holds must not grow with what has passed through. */
export const soak: Line = {
  name: 'soak',
  description: 'memory over many messages delivered',
  async run(bench): Promise<readonly Measure[]> {
    const calls = Math.ceil(bench.options.soakMessages / DEVICES);
    const messages = calls * DEVICES;
    const server = await bench.server();
    const { arrivals, callers } = await openAudience(bench, server, WINDOW);
    let sent = 0;
    const mayGo = (): boolean => {
      if (sent - arrivals.count > UNDER_WAY_MAX) return false;
      sent += DEVICES;
      return true;
    };
    const before = await server.ask('reset');
    const memory: [number, number][] = [];
    const heap: [number, number][] = [];
    let nextSample = 0;
    let nextSampleAt = 0;
    let isAsking = false;
    const sample = async (): Promise<void> => {
      isAsking = true;
      const { rssBytes, heapBytes } = await server.ask('collect');
      const passed = arrivals.count / MILLION;
      memory.push([passed, rssBytes / MIB]);
      heap.push([passed, heapBytes / MIB]);
      nextSampleAt = performance.now() + SAMPLE_MS;
      isAsking = false;
    };
    arrivals.onMessage = () => {
      if (sent - arrivals.count <= UNDER_WAY_MAX / 2) callers.resume();
      if (arrivals.count < nextSample || isAsking || performance.now() < nextSampleAt) return;
      nextSample += messages / SAMPLES;
      void sample();
    };
    const startedAt = performance.now();
    await Promise.all([callers.run({ requests: calls, mayGo }), arrivals.until(messages)]);
    await recorded(server, messages);
    const seconds = (performance.now() - startedAt) / 1000;
    const after = await server.ask('read');
    const settled = await server.ask('collect');
    // The first half fills caches that have a bound.
    const growth = (points: readonly [number, number][]): number =>
      slope(points.filter(([passed]) => passed > messages / MILLION / 2));
    return [
      { name: `soak, ${messages / MILLION} million`, unit: 'messages/s', value: messages / seconds },
      { name: 'soak: memory at the start', unit: 'MiB', value: before.rssBytes / MIB },
      { name: 'soak: memory at the end', unit: 'MiB', value: settled.rssBytes / MIB },
      { name: 'soak: heap at the end', unit: 'MiB', value: settled.heapBytes / MIB },
      { name: 'soak: growth of memory, second half', unit: 'MiB per million', value: growth(memory) },
      { name: 'soak: growth of the heap, second half', unit: 'MiB per million', value: growth(heap) },
      cpuMeasure('soak', { before, after, units: messages }),
    ];
  },
};
