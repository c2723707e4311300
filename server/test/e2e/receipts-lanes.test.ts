import type { ServerResponse } from 'node:http';
import { expect, it } from 'vitest';
import { FakeClock } from '../support/clock.ts';
import { answerWith, openSink, openWorld } from '../support/receipt-world.ts';
import type { ReceiptWorld, Sink } from '../support/receipt-world.ts';

const HUNG = 1_000;
const HEALTHY = 10;

/** Every name leads to the sink: origins that differ by name share one listener. */
const EVERY_NAME = { lookup: () => Promise.resolve(['127.0.0.1']) };

function urlOf(sink: Sink, name: string): string {
  return `http://${name}.test:${sink.port}/notify`;
}

/** Names starting with `hung` never answer. */
async function setUp(limits: { tryMs: number }, fake: FakeClock | null = null) {
  const sink = await openSink();
  const held: ServerResponse[] = [];
  sink.answer = (arrival, response) => {
    if (arrival.host.startsWith('hung')) held.push(response);
    else response.writeHead(200).end();
  };
  const world = await openWorld({ limits, fetch: EVERY_NAME }, fake);
  return { sink, world, held };
}

async function flood(world: ReceiptWorld, sink: Sink, names: readonly string[], each: number): Promise<void> {
  for (let round = 0; round < each; round += 1) {
    await Promise.all(names.map((name) => world.accept({ notifyUrl: urlOf(sink, name) })));
  }
}

const namesOf = (kind: string, count: number) => Array.from({ length: count }, (_, index) => `${kind}-${index}`);

function arrivalsOf(sink: Sink, kind: string): number {
  return sink.arrivals.filter((arrival) => arrival.host.startsWith(kind)).length;
}

it(
  'serves ten healthy endpoints while a thousand hang, before any of those has timed out',
  { timeout: 60_000 },
  async () => {
    // A try outlives the test: what arrives at the healthy ones did not wait for a hung one to end.
    const { sink, world } = await setUp({ tryMs: 300_000 });
    await flood(world, sink, namesOf('hung', HUNG), 8);
    await flood(world, sink, namesOf('fine', HEALTHY), 30);
    await world.until(() => arrivalsOf(sink, 'fine') === 30 * HEALTHY);
    await world.until(() => arrivalsOf(sink, 'hung') === HUNG);
    const perHung = Map.groupBy(sink.arrivals, (arrival) => arrival.host);
    for (const [host, arrivals] of perHung) if (host.startsWith('hung')) expect(arrivals).toHaveLength(1);
    expect(world.tried.every((event) => event.result === 'done')).toBe(true);
  },
);

it('comes back to an endpoint that hung, and then tells it everything', { timeout: 60_000 }, async () => {
  const { sink, world } = await setUp({ tryMs: 100 }, new FakeClock());
  await flood(world, sink, ['hung'], 100);
  await world.until(() => world.tried.length >= 3, 20);
  expect(world.tried.map((event) => event.result)).toContain('retry');
  sink.answer = answerWith(200);
  await world.until(() => new Set(sink.ids()).size === 100, 50);
  await world.idle(50);
  // Nobody paid for the trouble of others: only what really timed out counts a try.
  const records = await world.records();
  const timedOut = world.tried.filter((event) => event.result === 'retry').length;
  expect(records.reduce((sum, record) => sum + record.history.length - 1, 0)).toBeLessThanOrEqual(timedOut);
  expect(records.every((record) => record.state === 'done')).toBe(true);
});

it('gives an endpoint that answers quickly up to sixty-four tries at once, and never more', async () => {
  const sink = await openSink();
  const open: ServerResponse[] = [];
  let most = 0;
  const answerAll = (): void => {
    for (const response of open.splice(0)) response.writeHead(200).end();
  };
  sink.answer = (_arrival, response) => {
    open.push(response);
    most = Math.max(most, open.length);
    // Answered once there are sixty-four, or none came for a while of turns.
    let turns = 500;
    const turn = (): void => {
      turns -= 1;
      if (open.length >= 64 || turns === 0) answerAll();
      else setImmediate(turn);
    };
    turn();
  };
  const world = await openWorld({ service: { notifyUrl: sink.url() } });
  await Promise.all(Array.from({ length: 800 }, () => world.accept()));
  await sink.got(800);
  expect(most).toBe(64);
});

it('works off a burst for one endpoint without sending anything twice', { timeout: 60_000 }, async () => {
  const sink = await openSink();
  const world = await openWorld({ service: { notifyUrl: sink.url() } });
  const count = 2_000;
  await Promise.all(Array.from({ length: count }, () => world.accept()));
  await sink.got(count);
  await world.idle();
  expect(new Set(sink.ids()).size).toBe(count);
  expect(sink.arrivals).toHaveLength(count);
});

it('does not stop for a bound of the client: what was not tried costs no attempt', async () => {
  const sink = await openSink();
  const world = await openWorld({ service: { notifyUrl: sink.url() }, fetch: { inFlightMax: 1 } }, new FakeClock());
  await Promise.all(Array.from({ length: 60 }, () => world.accept()));
  await world.until(() => new Set(sink.ids()).size === 60, 20);
  await world.idle(20);
  expect(sink.arrivals).toHaveLength(60);
  for (const record of await world.records()) expect(record.history).toHaveLength(1);
});
