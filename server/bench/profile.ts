import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** What is read of a CPU profile as V8 writes it. */
interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const COSTS_SHOWN = 25;
const IDLE = '(idle)';

/** The functions that took most time by themselves, over all profiles of a line; idle time is left out. */
export function renderCosts(folder: string): string {
  const costs = new Map<string, number>();
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'))) {
    addCosts(costs, JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as Profile);
  }
  costs.delete(IDLE);
  const total = [...costs.values()].reduce((sum, micros) => sum + micros, 0);
  return [...costs]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, COSTS_SHOWN)
    .map(([place, micros]) => `${((micros / total) * 100).toFixed(1).padStart(6)} %  ${place}`)
    .join('\n');
}

function addCosts(costs: Map<string, number>, profile: Profile): void {
  const places = new Map<number, string>();
  for (const { id, callFrame } of profile.nodes) {
    const { functionName, url, lineNumber } = callFrame;
    const file = url.replace(/^file:\/\//u, '').replace(`${path.resolve(import.meta.dirname, '../..')}/`, '');
    const name = functionName === '' ? '(anonymous)' : functionName;
    places.set(id, url === '' ? name : `${name} ${file}:${lineNumber + 1}`);
  }
  profile.samples.forEach((sample, index) => {
    const place = places.get(sample) ?? '(unknown)';
    costs.set(place, (costs.get(place) ?? 0) + (profile.timeDeltas[index] ?? 0));
  });
}
