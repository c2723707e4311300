import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Bus, BusTopic, LogEntry, UserHint } from '../../src/core/ports.ts';

/** Two ends of one bus: the same object where the bus is in process, two connections where it is not. */
export interface BusHarness {
  readonly here: Bus;
  readonly there: Bus;
  /** Resolves when every watch is in force and everything published before has reached whoever watches. */
  readonly settled: () => Promise<void>;
  readonly close: () => Promise<void>;
}

const TOPICS: readonly BusTopic[] = ['receipts', 'objects', 'timers', 'erased'];

function hint(user: number, head: number): UserHint {
  return { user, head, entry: null };
}

/**
 * What every bus must pass. A hint may be lost on the way, but only where a connection was; here none is, so all
 * arrive. What may not happen: a hint for somebody else, one after `unwatch`, one out of order.
 */
export function busSuite(name: string, makeBus: () => Promise<BusHarness>): void {
  describe(`bus: ${name}`, () => {
    let bus: BusHarness;
    beforeEach(async () => {
      bus = await makeBus();
    });
    afterEach(() => bus.close());

    describe('users', () => {
      userCases(() => bus);
    });
    describe('topics', () => {
      topicCases(() => bus);
    });
    describe('the end', () => {
      endCases(() => bus);
    });
  });
}

function userCases(current: () => BusHarness): void {
  it('tells who watches, on both sides, and nobody else', async () => {
    const { here, there, settled } = current();
    const heard: string[] = [];
    here.watch(1, ({ user, head }) => heard.push(`here ${user}:${head}`));
    there.watch(1, ({ user, head }) => heard.push(`there ${user}:${head}`));
    there.watch(2, ({ user, head }) => heard.push(`there ${user}:${head}`));
    await settled();
    here.publishUsers([hint(1, 7), hint(3, 9)]);
    await settled();
    expect(heard.toSorted()).toEqual(['here 1:7', 'there 1:7']);
  });

  it('keeps the order of what one side publishes for a user', async () => {
    const { here, there, settled } = current();
    const heads: number[] = [];
    there.watch(1, ({ head }) => heads.push(head));
    await settled();
    here.publishUsers([hint(1, 1), hint(2, 1), hint(1, 2)]);
    for (let head = 3; head <= 100; head += 1) here.publishUsers([hint(1, head)]);
    await settled();
    expect(heads).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
  });

  it('tells every watcher of a user once, the same function twice when it watches twice', async () => {
    const { here, settled } = current();
    const heard: string[] = [];
    const twice = (): void => void heard.push('twice');
    const stops = [here.watch(1, twice), here.watch(1, twice), here.watch(1, () => heard.push('third'))];
    await settled();
    here.publishUsers([hint(1, 1)]);
    await settled();
    expect(heard.toSorted()).toEqual(['third', 'twice', 'twice']);
    stops[0]!();
    here.publishUsers([hint(1, 2)]);
    await settled();
    expect(heard.slice(3).toSorted()).toEqual(['third', 'twice']);
  });

  it('tells nothing after unwatch, and unwatch is done once', async () => {
    const { here, settled } = current();
    const heard: string[] = [];
    const stop = here.watch(1, () => heard.push('first'));
    here.watch(1, () => heard.push('second'));
    here.watch(1, () => heard.push('third'));
    await settled();
    stop();
    stop();
    here.publishUsers([hint(1, 1)]);
    await settled();
    expect(heard.toSorted()).toEqual(['second', 'third']);
  });

  it('watches again after everybody had left', async () => {
    const { here, there, settled } = current();
    const heard: string[] = [];
    here.watch(1, () => heard.push('old'))();
    await settled();
    here.watch(1, () => heard.push('new'));
    await settled();
    there.publishUsers([hint(1, 1)]);
    await settled();
    expect(heard).toEqual(['new']);
  });

  it('lets a watcher leave, and others come, while it is told', async () => {
    const { here, settled } = current();
    const heard: string[] = [];
    const stop = here.watch(1, () => {
      heard.push('leaver');
      stop();
      here.watch(1, () => heard.push('comer'));
    });
    here.watch(1, () => heard.push('stayer'));
    await settled();
    here.publishUsers([hint(1, 1)]);
    await settled();
    expect(heard.filter((one) => one !== 'comer').toSorted()).toEqual(['leaver', 'stayer']);
    heard.length = 0;
    here.publishUsers([hint(1, 2)]);
    await settled();
    expect(heard.toSorted()).toEqual(['comer', 'stayer']);
  });

  it('carries the entry, or leaves it out: never another one', async () => {
    const { here, there, settled } = current();
    const entry: LogEntry = {
      user: 1,
      n: 5,
      priority: 2,
      state: 3,
      message: null,
      event: { type: 'read', tids: ['t'] },
    };
    const heard: UserHint[] = [];
    there.watch(1, (one) => heard.push(one));
    await settled();
    here.publishUsers([{ user: 1, head: 5, entry }]);
    await settled();
    expect(heard).toHaveLength(1);
    expect(heard[0]!.entry).toBeOneOf([null, entry]);
  });

  it('takes an empty list', async () => {
    const { here, settled } = current();
    here.publishUsers([]);
    await settled();
  });
}

function topicCases(current: () => BusHarness): void {
  for (const topic of TOPICS) {
    it(`wakes who subscribed to ${topic}, on both sides, and no other topic`, async () => {
      const { here, there, settled } = current();
      const heard: string[] = [];
      for (const other of TOPICS) {
        here.subscribe(other, () => heard.push(`here ${other}`));
        there.subscribe(other, () => heard.push(`there ${other}`));
      }
      await settled();
      there.publish(topic);
      await settled();
      expect(heard.toSorted()).toEqual([`here ${topic}`, `there ${topic}`]);
    });
  }

  it('stops when told, once', async () => {
    const { here, settled } = current();
    const heard: string[] = [];
    const listener = (): void => void heard.push('same');
    const stop = here.subscribe('receipts', listener);
    here.subscribe('receipts', listener);
    await settled();
    stop();
    stop();
    here.publish('receipts');
    await settled();
    expect(heard).toEqual(['same']);
  });
}

function endCases(current: () => BusHarness): void {
  it('is silent once closed, and closing twice is no fault', async () => {
    const { here, settled } = current();
    const heard: string[] = [];
    const stop = here.watch(1, () => heard.push('user'));
    here.subscribe('receipts', () => heard.push('topic'));
    await settled();
    await here.close();
    await here.close();
    here.publishUsers([hint(1, 1)]);
    here.publish('receipts');
    stop();
    expect(heard).toEqual([]);
  });
}
