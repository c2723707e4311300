import { HttpLoad } from './generator/http-client.ts';
import type { LoadResult } from './generator/http-client.ts';
import { messageBody, messageRequest } from './generator/requests.ts';
import { commitMeasure, loadMeasures } from './harness.ts';
import type { Bench, Line, Measure } from './harness.ts';
import { FloorProcess } from './processes.ts';
import { KEY } from './provision.ts';
import { quantile } from './statistics.ts';

const CONNECTIONS = 64;
const USERS = 10_000;

async function load(port: number, requests: readonly Buffer[]): Promise<HttpLoad> {
  return HttpLoad.open({ port, connections: CONNECTIONS, requests });
}

function perSecond(result: LoadResult): number {
  return result.requests / result.seconds;
}

async function measureFloor(bench: Bench, requests: readonly Buffer[]): Promise<number> {
  const floor = new FloorProcess('http');
  try {
    const generator = await load(await floor.port(), requests);
    await generator.run({ ms: bench.pick(2000, 300) });
    const result = await generator.run({ ms: bench.pick(4000, 500) });
    generator.close();
    return perSecond(result);
  } finally {
    await floor.end();
  }
}

/** One destination a call over 64 connections, durable when answered, against node:http that only parses JSON. */
export const accept: Line = {
  name: 'accept',
  description: 'calls with 1 destination, 64 connections',
  async run(bench): Promise<readonly Measure[]> {
    const requests = Array.from({ length: USERS }, (_, user) => messageRequest(KEY, messageBody([user], 'objects')));
    const floor = await measureFloor(bench, requests);
    const server = await bench.server();
    const generator = await load(server.httpPort, requests);
    bench.defer(() => generator.close());
    // Every user is there after it, and the code is compiled.
    await generator.run({ requests: USERS });
    const metricsBefore = await server.metrics();
    const before = await server.ask('reset');
    const result = await generator.run({ ms: bench.pick(6000, 1000) });
    const after = await server.ask('read');
    const metricsAfter = await server.metrics();
    return [
      {
        name: 'accept',
        unit: 'calls/s',
        value: perSecond(result),
        floor,
        goal: { kind: 'ratio at least', limit: 0.55 },
      },
      { name: 'accept: call p50', unit: 'ms', value: quantile(result.times, 0.5) },
      { name: 'accept: call p99', unit: 'ms', value: quantile(result.times, 0.99) },
      ...loadMeasures('accept', { before, after, units: result.requests }),
      commitMeasure('accept', { before: metricsBefore, after: metricsAfter }),
    ];
  },
};
