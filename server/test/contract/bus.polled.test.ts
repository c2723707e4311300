import { PolledBus } from '../../src/bus/polled.ts';
import { FakeClock } from '../support/clock.ts';
import { seededRandom } from '../support/random.ts';
import { FakeRemoteBus } from '../support/remote-bus.ts';
import { FakeScheduler } from '../support/scheduler.ts';
import { busSuite } from './bus.ts';

busSuite('with a poll below it', () => {
  const clock = new FakeClock();
  const bus = new PolledBus({
    inner: new FakeRemoteBus(),
    store: { heads: () => Promise.resolve(new Map()), objectsRevision: () => Promise.resolve(0) },
    clock,
    random: seededRandom(1),
    scheduler: new FakeScheduler(clock),
    onWarning: () => undefined,
  });
  return Promise.resolve({
    here: bus,
    there: bus,
    settled: () => Promise.resolve(),
    close: () => bus.close(),
  });
});
