import { HttpLoad } from './generator/http-client.ts';
import { sequence } from './generator/numbers.ts';
import { messageBody, messageRequest } from './generator/requests.ts';
import type { DestinationShape } from './generator/requests.ts';
import { loadMeasures } from './harness.ts';
import type { Bench, Line, Measure } from './harness.ts';
import { FloorProcess } from './processes.ts';
import type { ServerProcess } from './processes.ts';
import { KEY } from './provision.ts';
import { quantile } from './statistics.ts';

const DESTINATIONS = 1000;
const USERS = 20_000;
const MILLION = 1_000_000;
/** 200,000 and 60,000 destinations a second where the floor inserts 170,000 rows. */
const RATIO_GOAL = 200 / 170;
const MILLION_RATIO_GOAL = 60 / 170;
const CALL_MAX_MS = 50;

function range(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => from + index);
}

/** Each of the users once, in calls of 1,000. */
function everyUser(users: number, shape: DestinationShape): Buffer[] {
  return range(0, users / DESTINATIONS).map((call) =>
    messageRequest(KEY, messageBody(range(call * DESTINATIONS, DESTINATIONS), shape)),
  );
}

/** Calls to 1,000 different users drawn at random. */
function randomUsers(users: number, calls: number): Buffer[] {
  const pick = sequence(7);
  return range(0, calls).map(() => {
    const drawn = new Set<number>();
    while (drawn.size < DESTINATIONS) drawn.add(pick(users));
    return messageRequest(KEY, messageBody([...drawn], 'objects'));
  });
}

async function measureFloor(bench: Bench, calls: number): Promise<number> {
  const floor = new FloorProcess('sqlite', bench.root, String(calls * DESTINATIONS));
  try {
    return await floor.rate();
  } finally {
    await floor.end();
  }
}

interface Span {
  readonly name: string;
  readonly callers: number;
  readonly calls: number;
  readonly requests: readonly Buffer[];
  /** null: a figure without a goal. */
  readonly goal: { readonly floor: number; readonly ratio: number } | null;
}

async function measure(server: ServerProcess, span: Span): Promise<Measure[]> {
  const { name, callers, calls, goal, requests } = span;
  const generator = await HttpLoad.open({ port: server.httpPort, connections: callers, requests });
  const before = await server.ask('reset');
  const result = await generator.run({ requests: calls });
  const after = await server.ask('read');
  generator.close();
  const destinations = result.requests * DESTINATIONS;
  const rate = { name, unit: 'destinations/s', value: destinations / result.seconds };
  const p99 = { name: `${name}: call p99`, unit: 'ms', value: quantile(result.times, 0.99) };
  return [
    goal === null ? rate : { ...rate, floor: goal.floor, goal: { kind: 'ratio at least', limit: goal.ratio } },
    // With several callers a call waits for the commits of the others.
    callers === 1 && goal !== null ? { ...p99, goal: { kind: 'at most', limit: CALL_MAX_MS } } : p99,
    ...loadMeasures(name, { before, after, units: destinations }),
  ];
}

/** Sends all of them once or more; returns destinations a second. */
async function send(server: ServerProcess, requests: readonly Buffer[], times: number): Promise<number> {
  const generator = await HttpLoad.open({ port: server.httpPort, connections: 2, requests });
  const result = await generator.run({ requests: requests.length * times });
  generator.close();
  return (result.requests * DESTINATIONS) / result.seconds;
}

/** Calls with 1,000 destinations over 20,000 users, against bare inserts. */
export const fanout: Line = {
  name: 'fanout',
  description: 'calls with 1,000 destinations, 20,000 users',
  async run(bench): Promise<readonly Measure[]> {
    const calls = bench.pick(400, 60);
    const goal = { floor: await measureFloor(bench, calls), ratio: RATIO_GOAL };
    const measures: Measure[] = [];
    // 1,000 objects with a transid each cost more than one object that names 1,000 identifiers.
    for (const shape of ['objects', 'identifiers'] as const) {
      const requests = everyUser(USERS, shape);
      for (const callers of [1, 4]) {
        // A server each: the longer the users' logs, the fewer of them share a page.
        const server = await bench.server();
        await send(server, requests, 2);
        const name = `fanout, ${shape}, ${callers === 1 ? '1 caller' : `${callers} callers`}`;
        measures.push(...(await measure(server, { name, callers, calls, requests, goal })));
        await server.stop();
      }
    }
    const server = await bench.server();
    await send(server, everyUser(USERS, 'objects'), 2);
    const requests = randomUsers(USERS, calls);
    const span = { name: 'fanout, at random, 1 caller', callers: 1, calls, requests, goal: null };
    return [...measures, ...(await measure(server, span))];
  },
};

/** The same over a million users: hardly a page of the log is touched twice. */
export const fanoutMillion: Line = {
  name: 'fanout-million',
  description: 'calls with 1,000 destinations, 1,000,000 users at random',
  async run(bench): Promise<readonly Measure[]> {
    const calls = bench.pick(300, 30);
    const goal = { floor: await measureFloor(bench, bench.pick(400, 60)), ratio: MILLION_RATIO_GOAL };
    const server = await bench.server();
    const users = bench.pick(MILLION, MILLION / 20);
    const made = await send(server, everyUser(users, 'objects'), 1);
    const requests = randomUsers(users, calls);
    const span = { calls, requests, goal };
    return [
      { name: 'fanout-million: users never seen', unit: 'destinations/s', value: made },
      ...(await measure(server, { ...span, name: 'fanout-million, 1 caller', callers: 1 })),
      ...(await measure(server, { ...span, name: 'fanout-million, 4 callers', callers: 4 })),
    ];
  },
};
