import { expect, it } from 'vitest';
import type { ReceiptRecord } from '../../src/core/ports.ts';
import { endpointIdOf } from '../../src/receipts/endpoints.ts';
import { FakeClock } from '../support/clock.ts';
import { HOUR_MS, MINUTE_MS } from '../support/builders.ts';
import { answerWith, openSink, openWorld } from '../support/receipt-world.ts';
import type { Answer, ReceiptWorld, Sink } from '../support/receipt-world.ts';

/** Days go by at once: the clock and the timers are the test's. */
async function setUp(answer: Answer): Promise<{ sink: Sink; world: ReceiptWorld }> {
  const sink = await openSink();
  sink.answer = answer;
  const world = await openWorld({ service: { notifyUrl: sink.url() } }, new FakeClock());
  sink.clock = world.clock;
  return { sink, world };
}

/** The only record, once it counts that many tries. */
async function recordAfter(world: ReceiptWorld, attempts: number): Promise<ReceiptRecord> {
  await world.until(async () => (await world.records())[0]?.attempts === attempts);
  const [record] = await world.records();
  return record!;
}

it(
  'tries ten times over 75 hours, ends visibly dead, and is replayed under the same id',
  { timeout: 60_000 },
  async () => {
    const { sink, world } = await setUp(answerWith(500));
    await world.send();
    const waits: number[] = [];
    for (let attempts = 1; attempts < 10; attempts += 1) {
      const record = await recordAfter(world, attempts);
      expect(record.state).toBe('pending');
      expect(sink.arrivals).toHaveLength(attempts);
      waits.push(record.dueAt - record.history.at(-1)!.at);
      world.fake!.scheduler.advance(record.dueAt - world.clock.now());
    }
    const dead = await recordAfter(world, 10);
    expect(dead.state).toBe('dead');
    const schedule = [5_000, 5 * MINUTE_MS, 30 * MINUTE_MS, ...[2, 5, 10, 14, 20, 24].map((hours) => hours * HOUR_MS)];
    waits.forEach((wait, index) => {
      expect(wait).toBeGreaterThanOrEqual(schedule[index]! * 0.9);
      expect(wait).toBeLessThanOrEqual(schedule[index]! * 1.1 + 1);
    });
    expect(dead.history.at(-1)!.at - dead.history[0]!.at).toBeGreaterThan(72 * HOUR_MS);
    expect(dead.history.map((attempt) => attempt.status)).toEqual(Array.from({ length: 10 }, () => 500));
    world.fake!.scheduler.advance(100 * HOUR_MS);
    await world.until(async () => (await world.store.counts(world.clock.now())).receiptsDead === 1);
    expect(sink.arrivals).toHaveLength(10);

    sink.answer = answerWith(204);
    expect(await world.store.replayReceipt('*', dead.id, world.clock.now())).toBe(true);
    world.bus.publish('receipts');
    await world.idle();
    expect((await world.records())[0]!.state).toBe('done');
    expect(sink.arrivals).toHaveLength(11);
    expect(new Set(sink.ids())).toEqual(new Set([dead.id]));
    // The time is that of the try, the body the same.
    expect(new Set(sink.arrivals.map((arrival) => arrival.headers['webhook-timestamp'])).size).toBe(11);
    expect(new Set(sink.arrivals.map((arrival) => arrival.text)).size).toBe(1);
  },
);

it.each([200, 201, 202, 204, 206])('takes %d for taken', async (status) => {
  const { sink, world } = await setUp(answerWith(status));
  await world.send();
  await world.until(() => world.tried.length === 1);
  expect(world.tried[0]).toMatchObject({ result: 'done', status, attempt: 1, origin: new URL(sink.url()).origin });
  await world.idle();
  expect(await world.records()).toEqual([]);
});

it.each([301, 302, 307, 308])('does not follow %d', async (status) => {
  const other = await openSink();
  const { world } = await setUp(answerWith(status, { location: other.url() }));
  await world.send();
  const record = await recordAfter(world, 1);
  expect(record).toMatchObject({ state: 'pending', history: [{ status }] });
  expect(other.arrivals).toEqual([]);
});

it.each([400, 401, 404, 500, 503])('tries again after %d', async (status) => {
  const { world } = await setUp(answerWith(status));
  await world.send();
  const record = await recordAfter(world, 1);
  expect(record).toMatchObject({ state: 'pending', history: [{ status, error: null }] });
});

it.each([429, 503])('waits as long as %d asks, in seconds, up to a day', async (status) => {
  const { sink, world } = await setUp(answerWith(status, { 'retry-after': '1800' }));
  await world.send();
  const first = await recordAfter(world, 1);
  expect(first.dueAt - first.history[0]!.at).toBe(30 * MINUTE_MS);
  sink.answer = answerWith(status, { 'retry-after': '9999999' });
  world.fake!.scheduler.advance(30 * MINUTE_MS);
  const second = await recordAfter(world, 2);
  expect(second.dueAt - second.history[1]!.at).toBe(24 * HOUR_MS);
});

it('waits until the date a server asks for', async () => {
  const clock = new FakeClock();
  const date = new Date(clock.now() + 2 * HOUR_MS).toUTCString();
  const { world } = await setUp(answerWith(503, { 'retry-after': date }));
  await world.send();
  expect((await recordAfter(world, 1)).dueAt).toBe(Date.parse(date));
});

it('disables the URL for this service after 410, until it is enabled again', async () => {
  const { sink, world } = await setUp(answerWith(410));
  await world.send();
  await world.until(() => world.tried.some((event) => event.result === 'disabled'));
  await world.until(async () => (await world.records())[0]?.state === 'dead');
  const id = endpointIdOf(world.tenant.serviceId, sink.url());
  expect(await world.store.getObject('endpoint', id)).toMatchObject({
    serviceId: world.tenant.serviceId,
    url: sink.url(),
  });

  sink.answer = answerWith(200);
  await world.send();
  await world.until(async () => (await world.store.counts(world.clock.now())).receiptsDead === 2);
  expect(sink.arrivals).toHaveLength(1);
  const records = await world.records();
  expect(records.map((record) => record.history[0]!.error)).toEqual([
    expect.stringContaining('410'),
    expect.stringContaining('410'),
  ]);
  // Another URL of the same service is not concerned.
  await world.send({ notifyUrl: sink.url('/other') });
  await world.until(() => sink.arrivals.length === 2);

  await world.store.deleteObject('endpoint', id);
  world.bus.publish('objects');
  for (const record of records) await world.store.replayReceipt('*', record.id, world.clock.now());
  world.bus.publish('receipts');
  await world.until(() => sink.arrivals.length === 4);
});

it('ends a receipt with a wrong URL at once', async () => {
  const { world } = await setUp(answerWith(200));
  await world.send({ notifyUrl: 'http://user:secret@sink.example/' });
  const record = await recordAfter(world, 1);
  expect(record).toMatchObject({
    state: 'dead',
    history: [{ status: null, error: expect.stringContaining('user name') }],
  });
});

it('never connects to a forbidden address, and goes on trying in case an operator allows it', async () => {
  const sink = await openSink();
  const world = await openWorld({ service: { notifyUrl: sink.url() }, allow: [] }, new FakeClock());
  await world.send();
  const record = await recordAfter(world, 1);
  expect(record).toMatchObject({ state: 'pending', history: [{ status: null, error: expect.any(String) }] });
  expect(sink.arrivals).toEqual([]);
});

it('reads no more than it must of an endless answer', async () => {
  let cut = false;
  const { world } = await setUp((_arrival, response) => {
    response.writeHead(200);
    response.on('close', () => (cut = true));
    const write = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(16_384))) continue;
      response.once('drain', write);
    };
    write();
  });
  await world.send();
  await world.until(() => world.tried.length === 1 && cut);
  expect(world.tried[0]).toMatchObject({ result: 'done', status: 200 });
});

it('counts an answer that does not end in time as a failure', async () => {
  const sink = await openSink();
  sink.answer = (_arrival, response) => void response.writeHead(200).write('{');
  const world = await openWorld({ service: { notifyUrl: sink.url() }, limits: { tryMs: 200 } }, new FakeClock());
  await world.send();
  const record = await recordAfter(world, 1);
  expect(record).toMatchObject({
    state: 'pending',
    history: [{ status: 200, error: expect.stringContaining('200 ms') }],
  });
});

it('tries again after a connection that was cut', async () => {
  const { sink, world } = await setUp((_arrival, response) => response.destroy());
  await world.send();
  const record = await recordAfter(world, 1);
  expect(record.history[0]).toMatchObject({ status: null, error: expect.any(String) });
  sink.answer = answerWith(200);
  world.fake!.scheduler.advance(record.dueAt - world.clock.now());
  await world.until(async () => (await world.records())[0]?.state === 'done');
  expect(new Set(sink.ids()).size).toBe(1);
});
