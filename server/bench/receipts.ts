import { HttpLoad } from './generator/http-client.ts';
import { ReceiptListener } from './generator/receipt-listener.ts';
import { callToAll } from './deliver.ts';
import { loadMeasures } from './harness.ts';
import type { Line, Measure } from './harness.ts';
import { FloorProcess } from './processes.ts';

const DESTINATIONS = 1000;

async function measureFloor(requests: number): Promise<number> {
  const listener = await ReceiptListener.open();
  const floor = new FloorProcess('post', String(listener.port), String(requests));
  try {
    return await floor.rate();
  } finally {
    await floor.end();
    listener.close();
  }
}

/** Signed receipts to one endpoint that takes every one at once, against bare POSTs by the same client. */
export const receipts: Line = {
  name: 'receipts',
  description: 'receipts to one endpoint',
  async run(bench): Promise<readonly Measure[]> {
    const calls = bench.pick(40, 5);
    const warmUp = bench.pick(10, 2);
    const floor = await measureFloor(calls * DESTINATIONS);
    const listener = await ReceiptListener.open();
    bench.defer(() => listener.close());
    const server = await bench.server({ notifyUrl: `http://127.0.0.1:${listener.port}/receipts` });
    const caller = await HttpLoad.open({ port: server.httpPort, connections: 1, requests: [callToAll()] });
    bench.defer(() => caller.close());
    await caller.run({ requests: warmUp });
    await listener.until(warmUp * DESTINATIONS);
    const before = await server.ask('reset');
    await caller.run({ requests: calls });
    const first = listener.count;
    const startedAt = performance.now();
    await listener.until((warmUp + calls) * DESTINATIONS);
    const seconds = (performance.now() - startedAt) / 1000;
    const after = await server.ask('read');
    const sent = (warmUp + calls) * DESTINATIONS;
    return [
      { name: 'receipts', unit: 'receipts/s', value: (sent - first) / seconds, floor },
      { name: 'receipts: sent again', unit: 'receipts', value: listener.count - listener.distinct },
      { name: 'receipts: connections', unit: '', value: listener.connections },
      ...loadMeasures('receipts', { before, after, units: calls * DESTINATIONS }),
    ];
  },
};
