import { Device, openDevices } from './generator/devices.ts';
import { HttpLoad } from './generator/http-client.ts';
import { messageBody, messageRequest } from './generator/requests.ts';
import { commitMeasure, loadMeasures } from './harness.ts';
import type { Bench, Line, Measure } from './harness.ts';
import { FloorProcess } from './processes.ts';
import type { ServerProcess } from './processes.ts';
import { KEY, loginOf } from './provision.ts';

const DEVICES = 1000;
const CALLERS = 4;
/** Rendering the metrics costs the server under test a little each time. */
const POLL_MS = 25;
const RATIO_GOALS: ReadonlyMap<number, number> = new Map([
  [16, 0.7],
  [1, 0.45],
]);

/** Counts messages at the devices; `until` resolves when so many came since the start. */
export class Arrivals {
  #count = 0;
  #wanted = Number.POSITIVE_INFINITY;
  #resolve: () => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;
  #failure: Error | null = null;
  /** Called at each one. */
  onMessage: () => void = () => undefined;

  get count(): number {
    return this.#count;
  }

  readonly events = {
    onMessage: (): void => {
      this.#count += 1;
      this.onMessage();
      if (this.#count >= this.#wanted) this.#resolve();
    },
    onError: (error: Error): void => {
      this.#failure = error;
      this.#reject(error);
    },
  };

  until(count: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) return reject(this.#failure);
      if (this.#count >= count) return resolve();
      this.#wanted = count;
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }
}

/** Waits until the server has recorded so many acknowledgements since its start. */
export async function recorded(server: ServerProcess, count: number): Promise<void> {
  for (;;) {
    const metrics = await server.metrics();
    if ((metrics.get('carillon_delivered_total') ?? 0) >= count) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** A call to each of the devices. */
export function callToAll(): Buffer {
  return messageRequest(
    KEY,
    messageBody(
      Array.from({ length: DEVICES }, (_, user) => user),
      'objects',
    ),
  );
}

/** 1,000 devices that are online and subscribed, and callers that send to all of them. */
export async function openAudience(
  bench: Bench,
  server: ServerProcess,
  window: number | null,
): Promise<{ arrivals: Arrivals; callers: HttpLoad }> {
  const arrivals = new Arrivals();
  const logins = Array.from({ length: DEVICES }, (_, user) => loginOf(user, window));
  const devices = await openDevices(server.mqttPort, arrivals.events, logins);
  bench.defer(() => devices.forEach((device) => device.close()));
  const callers = await HttpLoad.open({ port: server.httpPort, connections: CALLERS, requests: [callToAll()] });
  bench.defer(() => callers.close());
  return { arrivals, callers };
}

async function measureFloor(window: number, messages: number): Promise<number> {
  const floor = new FloorProcess('mqtt', String(DEVICES), String(window), String(messages));
  const devices: Device[] = [];
  try {
    const port = await floor.port();
    const events = { onMessage: () => undefined, onError: () => undefined };
    for (let index = 0; index < DEVICES; index += 1) devices.push(await Device.open(port, events));
    const rate = floor.rate();
    floor.go();
    return await rate;
  } finally {
    for (const device of devices) device.close();
    await floor.end();
  }
}

async function measureWindow(bench: Bench, window: number): Promise<Measure[]> {
  const calls = bench.pick(window === 1 ? 200 : 400, 20);
  const messages = calls * DEVICES;
  // What both goals are measured against: a bare process that writes to the sockets one packet at a time.
  const floor = await measureFloor(1, messages);
  const server = await bench.server();
  const { arrivals, callers } = await openAudience(bench, server, window);
  const warmUp = bench.pick(60, 5);
  await callers.run({ requests: warmUp });
  await arrivals.until(warmUp * DEVICES);
  await recorded(server, warmUp * DEVICES);
  const metricsBefore = await server.metrics();
  const before = await server.ask('reset');
  const startedAt = performance.now();
  const [accepted] = await Promise.all([callers.run({ requests: calls }), arrivals.until((warmUp + calls) * DEVICES)]);
  await recorded(server, (warmUp + calls) * DEVICES);
  const seconds = (performance.now() - startedAt) / 1000;
  const after = await server.ask('read');
  const metricsAfter = await server.metrics();
  await server.stop();
  const name = `deliver, window ${window}`;
  const limit = RATIO_GOALS.get(window) ?? 0;
  return [
    { name, unit: 'messages/s', value: messages / seconds, floor, goal: { kind: 'ratio at least', limit } },
    { name: `${name}: accepted`, unit: 'destinations/s', value: messages / accepted.seconds },
    ...loadMeasures(name, { before, after, units: messages }),
    commitMeasure(name, { before: metricsBefore, after: metricsAfter }),
  ];
}

/** Call, log, device, acknowledgement, recorded with its receipt due: 1,000 devices online. */
export const deliver: Line = {
  name: 'deliver',
  description: 'calls with 1,000 destinations to 1,000 devices online, until recorded',
  async run(bench): Promise<readonly Measure[]> {
    return [...(await measureWindow(bench, 16)), ...(await measureWindow(bench, 1))];
  },
};
