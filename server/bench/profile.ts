import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}

/** What is read of a CPU profile as V8 writes it. */
interface Profile {
  /** The root first. */
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const COSTS_SHOWN = 25;
const IDLE = '(idle)';
/** The bench's own (probe.ts). */
const PROFILER = 'startProfile';
const ROOT = path.resolve(import.meta.dirname, '../..');

/** Microseconds by function: spent in itself, and in itself with all that it called. */
interface Costs {
  readonly own: Map<string, number>;
  readonly total: Map<string, number>;
}

/** Where the time of a line's servers went, over all its profiles; idle time is left out. */
export function renderCosts(folder: string): string {
  const costs: Costs = { own: new Map(), total: new Map() };
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'))) {
    addCosts(costs, JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as Profile);
  }
  costs.own.delete(IDLE);
  const sum = [...costs.own.values()].reduce((micros, more) => micros + more, 0);
  const ours = [...costs.total].filter(([place]) => place.includes(' ') && !place.includes(' node:'));
  return `by itself\n${table(costs.own, sum)}\nwith what it calls\n${table(ours, sum)}`;
}

function table(costs: Iterable<readonly [string, number]>, sum: number): string {
  return [...costs]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, COSTS_SHOWN)
    .map(([place, micros]) => `${((micros / sum) * 100).toFixed(1).padStart(6)} %  ${place}`)
    .join('\n');
}

function placeOf({ callFrame }: ProfileNode): string {
  const { functionName, url, lineNumber } = callFrame;
  const name = functionName === '' ? '(anonymous)' : functionName;
  const file = url.replace(/^file:\/\//u, '').replace(`${ROOT}/`, '');
  return url === '' ? name : `${name} ${file}:${lineNumber + 1}`;
}

function addCosts(costs: Costs, profile: Profile): void {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const own = new Map<number, number>();
  profile.samples.forEach((id, index) => own.set(id, (own.get(id) ?? 0) + (profile.timeDeltas[index] ?? 0)));
  const add = (map: Map<string, number>, place: string, micros: number): void => {
    map.set(place, (map.get(place) ?? 0) + micros);
  };
  /** `above`: the functions on the stack, so that one which calls itself counts once. */
  const walk = (node: ProfileNode, above: ReadonlySet<string>): number => {
    const place = placeOf(node);
    const stack = new Set(above).add(place);
    if (node.callFrame.functionName === PROFILER) return 0;
    let micros = own.get(node.id) ?? 0;
    add(costs.own, place, micros);
    for (const id of node.children ?? []) {
      const child = nodes.get(id);
      if (child !== undefined) micros += walk(child, stack);
    }
    if (!above.has(place)) add(costs.total, place, micros);
    return micros;
  };
  const [root] = profile.nodes;
  if (root !== undefined) walk(root, new Set());
}
