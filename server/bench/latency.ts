import { openDevices } from './generator/devices.ts';
import { HttpLoad } from './generator/http-client.ts';
import { Times } from './generator/numbers.ts';
import { messageBody, messageRequest } from './generator/requests.ts';
import type { Line, Measure } from './harness.ts';
import { KEY, loginOf } from './provision.ts';
import { Arrivals } from './deliver.ts';
import { quantile } from './statistics.ts';

const P50_MAX_MS = 2;
const P99_MAX_MS = 10;

/** From writing a call to reading the message at the device, one call after the other. */
export const latency: Line = {
  name: 'latency',
  description: 'call to device, nothing else going on',
  async run(bench): Promise<readonly Measure[]> {
    const server = await bench.server();
    const arrivals = new Arrivals();
    const devices = await openDevices(server.mqttPort, arrivals.events, [loginOf(0, null)]);
    bench.defer(() => devices.forEach((device) => device.close()));
    const requests = [messageRequest(KEY, messageBody([0], 'objects'))];
    const caller = await HttpLoad.open({ port: server.httpPort, connections: 1, requests });
    bench.defer(() => caller.close());
    const warmUp = bench.pick(500, 100);
    const calls = warmUp + bench.pick(2000, 300);
    const toDevice = new Times();
    const toAnswer = new Times();
    for (let call = 1; call <= calls; call += 1) {
      const isMeasured = call > warmUp;
      const startedAt = performance.now();
      arrivals.onMessage = () => {
        if (isMeasured) toDevice.add(performance.now() - startedAt);
      };
      const [answered] = await Promise.all([caller.run({ requests: 1 }), arrivals.until(call)]);
      if (isMeasured) toAnswer.add(answered.times[0] ?? 0);
    }
    const device = toDevice.sorted();
    const answer = toAnswer.sorted();
    return [
      {
        name: 'latency to device p50',
        unit: 'ms',
        value: quantile(device, 0.5),
        goal: { kind: 'at most', limit: P50_MAX_MS },
      },
      {
        name: 'latency to device p99',
        unit: 'ms',
        value: quantile(device, 0.99),
        goal: { kind: 'at most', limit: P99_MAX_MS },
      },
      { name: 'latency to answer p50', unit: 'ms', value: quantile(answer, 0.5) },
      { name: 'latency to answer p99', unit: 'ms', value: quantile(answer, 0.99) },
    ];
  },
};
