import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { StoreUnavailable } from '../../src/core/ports.ts';
import { destinationOf, userid } from '../support/builders.ts';
import { FakeClock } from '../support/clock.ts';
import { answerWith, openSink, openWorld } from '../support/receipt-world.ts';

function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'carillon-receipts-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

it('loses none over a crash and repeats under the same ids', async () => {
  const folder = makeFolder();
  const sink = await openSink();
  // Half are taken, some fail, the rest hang: all of them are under way or waiting at the crash.
  sink.answer = (_arrival, response) => {
    const turn = sink.arrivals.length % 4;
    if (turn < 2) response.writeHead(200).end();
    else if (turn === 2) response.writeHead(500).end();
  };
  const before = await openWorld({ service: { notifyUrl: sink.url() }, path: join(folder, 'one.db') }, new FakeClock());
  const expected = new Map<string, number>();
  for (let index = 0; index < 40; index += 1) {
    const { user, tid } = await before.send({ destinations: [destinationOf(userid(`u-${index}`))] });
    await before.settle({ kind: 'delivered', user, ref: { tid }, sentAt: null });
    expected.set(tid, 0);
  }
  await before.until(() => sink.arrivals.length >= 8);
  // What the disk holds at this moment is what a killed process leaves behind.
  for (const end of ['', '-wal']) cpSync(join(folder, `one.db${end}`), join(folder, `two.db${end}`));
  const idsBefore = new Set(sink.ids());
  await before.close();

  const second = await openSink();
  const after = await openWorld({ path: join(folder, 'two.db'), seeded: true }, new FakeClock(before.clock.now()));
  const service = await after.store.getObject('service', before.tenant.serviceId);
  await after.store.putObjects([{ kind: 'service', value: { ...service!, notifyUrl: second.url() } }], 'replace');
  after.bus.publish('objects');
  const told = () => new Set([...idsBefore, ...second.ids()]);
  await after.until(() => told().size === 80, 50);
  await after.idle(50);
  const untold = [...idsBefore].filter((id) => !second.ids().includes(id));
  // Only what was taken may be missing from the second run.
  const taken = before.tried.filter((event) => event.result === 'done').map((event) => event.id);
  for (const id of untold) expect(taken).toContain(id);
  for (const tid of expected.keys()) {
    for (const kind of ['submitted', 'delivered']) expect(told()).toContain(`${tid}_0_${kind}`);
  }
});

it('lets what is under way end at a stop, and gives the rest back untried', async () => {
  const folder = makeFolder();
  const path = join(folder, 'one.db');
  const sink = await openSink();
  const waiting: (() => void)[] = [];
  sink.answer = (_arrival, response) => void waiting.push(() => response.writeHead(200).end());
  const first = await openWorld({ service: { notifyUrl: sink.url() }, path });
  await Promise.all(Array.from({ length: 20 }, () => first.accept()));
  await sink.got(1);
  const stopping = first.worker.stop(10_000);
  for (const answer of waiting) answer();
  await stopping;
  expect(first.tried.map((event) => event.result)).toEqual(['done']);
  expect(sink.arrivals).toHaveLength(1);
  const records = await first.records();
  expect(records).toHaveLength(19);
  for (const record of records) expect(record).toMatchObject({ state: 'pending', attempts: 0, history: [] });
  await first.close();

  sink.answer = answerWith(200);
  const second = await openWorld({ path, seeded: true });
  await sink.got(20);
  await second.idle();
  expect(new Set(sink.ids()).size).toBe(20);
});

it('cuts what does not end in time at a stop, which costs no try', async () => {
  const sink = await openSink();
  sink.answer = () => undefined;
  const world = await openWorld({ service: { notifyUrl: sink.url() } });
  await world.send();
  await sink.got(1);
  await world.worker.stop(20);
  expect(world.tried).toEqual([]);
  expect(await world.records()).toMatchObject([{ state: 'pending', attempts: 0, history: [] }]);
});

it('keeps what came of a receipt while the store takes nothing, and writes it once it does', async () => {
  const sink = await openSink();
  sink.answer = answerWith(500);
  const world = await openWorld({ service: { notifyUrl: sink.url() } }, new FakeClock());
  const refusing = vi.spyOn(world.store, 'settleReceipts').mockRejectedValue(new StoreUnavailable('the disk is full'));
  const { user, tid } = await world.send();
  await world.settle({ kind: 'delivered', user, ref: { tid }, sentAt: null });
  // Longer than any lease: it is given out again, and not sent again.
  const end = world.clock.monotonic() + 120_000;
  await world.until(() => world.clock.monotonic() > end, 100);
  expect(sink.arrivals).toHaveLength(1);
  expect(world.warnings.length).toBeGreaterThan(5);
  expect(world.warnings.length).toBeLessThan(100);
  refusing.mockRestore();
  sink.answer = answerWith(200);
  await world.until(() => sink.arrivals.length === 3, 100);
  expect(sink.ids()).toEqual([`${tid}_0_submitted`, `${tid}_0_submitted`, `${tid}_0_delivered`]);
  await world.idle(100);
});

it('does not send again what is still under way when its lease ends', async () => {
  const sink = await openSink();
  const held: (() => void)[] = [];
  sink.answer = (_arrival, response) => void held.push(() => response.writeHead(200).end());
  const limits = { leaseMs: 1_000, waitingMs: 500, tryMs: 60_000 };
  const world = await openWorld({ service: { notifyUrl: sink.url() }, limits }, new FakeClock());
  const claims = vi.spyOn(world.store, 'claimReceipts');
  await world.send();
  await world.until(() => held.length === 1);
  const given = async (): Promise<number> => {
    const works = await Promise.all(claims.mock.results.map((result) => result.value));
    return works.flat().length;
  };
  await world.until(async () => (await given()) >= 3, 50);
  held[0]!();
  await world.until(() => world.tried.length === 1);
  const end = world.clock.monotonic() + 10_000;
  await world.until(() => world.clock.monotonic() > end, 50);
  expect(sink.arrivals).toHaveLength(1);
  expect(await world.records()).toEqual([]);
});

it('goes on where a claim failed', async () => {
  const sink = await openSink();
  const world = await openWorld({ service: { notifyUrl: sink.url() } }, new FakeClock());
  const refusing = vi.spyOn(world.store, 'claimReceipts').mockRejectedValue(new StoreUnavailable('the disk is gone'));
  await world.send();
  await world.until(() => world.warnings.length === 3);
  refusing.mockRestore();
  await world.until(() => sink.arrivals.length === 1, 10);
});
