import { expect, it, vi } from 'vitest';
import { destinationOf, userid } from '../support/builders.ts';
import { FakeClock } from '../support/clock.ts';
import { seededRandom } from '../support/random.ts';
import { openSink, openWorld } from '../support/receipt-world.ts';

const MESSAGES = 200;
const STATES = ['Submitted', 'Delivered', 'Read'];
/** So often one receipt fails at most: with more, one may rightly be overtaken after 35 minutes. */
const FAILURES_MAX = 2;

interface Told {
  readonly transid: string;
  readonly state: string;
}

function read(text: string): Told {
  const { deliveryInfoNotification: told } = JSON.parse(text) as {
    deliveryInfoNotification: { transid: string; deliveryInfo: { deliveryStatus: string } };
  };
  return { transid: told.transid, state: told.deliveryInfo.deliveryStatus };
}

it(
  'never tries a receipt before the one before it was taken, whatever fails and however slowly',
  { timeout: 60_000 },
  async () => {
    const random = seededRandom(11);
    const sink = await openSink();
    const failures = new Map<string, number>();
    const taken = new Map<string, string[]>();
    const inversions: unknown[] = [];
    let repeats = 0;
    sink.answer = (arrival, response) => {
      const { transid, state } = read(arrival.text);
      const id = String(arrival.headers['webhook-id']);
      const before = taken.get(transid) ?? [];
      if (before.length !== STATES.indexOf(state)) inversions.push({ id, before });
      const failed = failures.get(id) ?? 0;
      const fails = failed < FAILURES_MAX && random.unit() < 0.3;
      if (fails) failures.set(id, failed + 1);
      else if (before.includes(state)) repeats += 1;
      else taken.set(transid, [...before, state]);
      const status = fails ? [400, 429, 500, 503][Math.floor(random.unit() * 4)]! : 200;
      let hops = Math.floor(random.unit() * 30);
      const answer = (): void => {
        hops -= 1;
        if (hops > 0) setImmediate(answer);
        else if (fails && random.unit() < 0.2) response.destroy();
        else response.writeHead(status).end();
      };
      answer();
    };
    const world = await openWorld({ service: { notifyUrl: sink.url() } }, new FakeClock());
    for (let index = 0; index < MESSAGES; index += 1) {
      const { user, tid } = await world.send({ destinations: [destinationOf(userid(`u-${index % 20}`))] });
      if (random.unit() < 0.5) await world.settle({ kind: 'delivered', user, ref: { tid }, sentAt: null });
      if (random.unit() < 0.5) await world.until(() => random.unit() < 0.5);
      await world.settle({ kind: 'read', user, ref: { tid } });
    }
    await world.until(() => [...taken.values()].filter((states) => states.length === 3).length === MESSAGES, 50);
    await world.idle(50);
    expect(inversions).toEqual([]);
    expect(repeats).toBe(0);
    expect(failures.size).toBeGreaterThan(MESSAGES / 2);
    expect(sink.arrivals).toHaveLength(3 * MESSAGES + [...failures.values()].reduce((sum, count) => sum + count, 0));
  },
);

it('lets the next one go after 35 minutes, and no sooner', async () => {
  const sink = await openSink();
  sink.answer = (arrival, response) => {
    response.writeHead(read(arrival.text).state === 'Submitted' ? 500 : 200).end();
  };
  const world = await openWorld({ service: { notifyUrl: sink.url() } }, new FakeClock());
  const startedAt = world.clock.now();
  sink.clock = world.clock;
  const { user, tid } = await world.send();
  await world.settle({ kind: 'delivered', user, ref: { tid }, sentAt: null });
  const delivered = () => sink.arrivals.find((arrival) => read(arrival.text).state === 'Delivered');
  await world.until(() => delivered() !== undefined, 500);
  const waitedMs = delivered()!.at - startedAt;
  expect(waitedMs).toBeGreaterThanOrEqual(35 * 60_000 - 1_000);
  expect(waitedMs).toBeLessThan(37 * 60_000);
});

it('holds back what was being claimed while the one before it failed', async () => {
  const sink = await openSink();
  let fail = (): void => undefined;
  sink.answer = (_arrival, response) => {
    fail = () => response.writeHead(500).end();
    if (sink.arrivals.length > 1) fail();
  };
  const world = await openWorld({ service: { notifyUrl: sink.url() } }, new FakeClock());
  const claim = world.store.claimReceipts.bind(world.store);
  // A store that takes its time, as one over a network does: the claim is made before the outcome and told after it.
  vi.spyOn(world.store, 'claimReceipts').mockImplementation(async (options) => {
    const works = await claim(options);
    if (works.some((work) => work.kind === 'delivered')) {
      fail();
      await vi.waitUntil(() => world.tried.length > 0);
    }
    return works;
  });
  const { user, tid } = await world.send();
  await world.until(() => sink.arrivals.length === 1);
  await world.settle({ kind: 'delivered', user, ref: { tid }, sentAt: null });
  await world.until(async () => (await world.records()).length === 2);
  expect(sink.arrivals.map((arrival) => read(arrival.text).state)).toEqual(['Submitted']);
  await world.until(() => sink.arrivals.length === 2, 50);
  expect(sink.arrivals.map((arrival) => read(arrival.text).state)).toEqual(['Submitted', 'Submitted']);
});
