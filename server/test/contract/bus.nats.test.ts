import { afterAll, beforeAll, describe } from 'vitest';
import { NatsServer, whyNoNats } from '../support/nats.ts';
import { openNatsBus, settled } from '../support/nats-bus.ts';
import { busSuite } from './bus.ts';

const skipped = whyNoNats();

describe.skipIf(skipped !== null)(`over a real server${skipped === null ? '' : ` (${skipped})`}`, () => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await NatsServer.start();
  });
  afterAll(() => server.kill());

  busSuite('NATS', async () => {
    const here = openNatsBus(server.url, { node: 'here' });
    const there = openNatsBus(server.url, { node: 'there' });
    await Promise.all([here.became(true), there.became(true)]);
    return {
      here: here.bus,
      there: there.bus,
      settled: () => settled(here.bus, there.bus),
      close: async () => {
        await Promise.all([here.bus.close(), there.bus.close()]);
      },
    };
  });
});
