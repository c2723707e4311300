import { readFileSync } from 'node:fs';
import { openDevices } from './generator/devices.ts';
import type { DeviceEvents } from './generator/devices.ts';
import type { Line, Measure } from './harness.ts';
import { loginOf } from './provision.ts';

const CONNECTIONS = 10_000;
const WARM_UP = 200;
/** File handles that are no connections. */
const OTHER_FILES = 200;
const KIB = 1024;
const KIB_MAX = 12;

/** Open files this process may have; Node raises the soft limit to the hard one at its start. */
function openFilesMax(): number {
  try {
    const line = /^Max open files\s+(\d+)/mu.exec(readFileSync('/proc/self/limits', 'utf8'));
    return Number(line?.[1] ?? CONNECTIONS);
  } catch {
    return CONNECTIONS + OTHER_FILES;
  }
}

/** Resident memory of a device that is online, subscribed and silent. */
export const idle: Line = {
  name: 'idle',
  description: `memory per idle device, ${CONNECTIONS} of them`,
  async run(bench): Promise<readonly Measure[]> {
    const wanted = bench.pick(CONNECTIONS, CONNECTIONS / 10);
    const count = Math.min(wanted, openFilesMax() - OTHER_FILES);
    if (count < wanted) process.stderr.write(`idle: ${count} connections, since no more files may be open\n`);
    const server = await bench.server();
    let failure: Error | null = null;
    const events: DeviceEvents = { onMessage: () => undefined, onError: (error) => (failure = error) };
    const open = async (from: number, to: number): Promise<void> => {
      const logins = Array.from({ length: to - from }, (_, index) => loginOf(from + index, null));
      const devices = await openDevices(server.mqttPort, events, logins);
      bench.defer(() => devices.forEach((device) => device.close()));
    };
    // What the first connections bring into memory is no cost of one more.
    await open(0, WARM_UP);
    const before = await server.ask('collect');
    const startedAt = performance.now();
    await open(WARM_UP, WARM_UP + count);
    const seconds = (performance.now() - startedAt) / 1000;
    const after = await server.ask('collect');
    if (failure !== null) throw failure as Error;
    const each = (key: 'rssBytes' | 'heapBytes'): number => (after[key] - before[key]) / count / KIB;
    return [
      {
        name: 'idle: memory per device',
        unit: 'KiB',
        value: each('rssBytes'),
        goal: { kind: 'at most', limit: KIB_MAX },
      },
      { name: 'idle: heap per device', unit: 'KiB', value: each('heapBytes') },
      { name: 'idle: devices taken', unit: 'connects/s', value: count / seconds },
    ];
  },
};
