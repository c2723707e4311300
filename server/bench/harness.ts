import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { ProbeAnswer } from './probe.ts';
import { ServerProcess } from './processes.ts';
import { provision } from './provision.ts';

/** What a figure has to be. A ratio is that of the value to its floor, measured in the same run. */
export type Goal =
  | { readonly kind: 'ratio at least'; readonly limit: number }
  | { readonly kind: 'at least' | 'at most'; readonly limit: number };

/** One figure of one run. */
export interface Measure {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  /** What the bare minimum did, in the same unit; absent where there is none. */
  readonly floor?: number;
  readonly goal?: Goal;
}

export interface BenchOptions {
  /** Short runs that only show that every line works. */
  readonly isQuick: boolean;
  /** CPU profiles of the servers under test are written here, by line; null: none. */
  readonly profileFolder: string | null;
  /** Messages of the soak line. */
  readonly soakMessages: number;
}

/** One line of the bench: measures its floor, then the server. */
export interface Line {
  readonly name: string;
  readonly description: string;
  run(bench: Bench): Promise<readonly Measure[]>;
}

/** What a line may use: the options, and servers and folders that are gone when it ends. */
export class Bench {
  readonly options: BenchOptions;
  readonly #line: string;
  readonly #root: string;
  readonly #ends: (() => Promise<void> | void)[] = [];
  #folders = 0;

  constructor(options: BenchOptions, place: { line: string; root: string }) {
    this.options = options;
    this.#line = place.line;
    this.#root = mkdtempSync(path.join(place.root, `${place.line}-`));
  }

  /** One of two figures: the second in quick runs. */
  pick(full: number, quick: number): number {
    return this.options.isQuick ? quick : full;
  }

  /** A path for a data folder or a floor's file that nothing uses yet. */
  folder(): string {
    this.#folders += 1;
    return path.join(this.#root, `data-${this.#folders}`);
  }

  get root(): string {
    return this.#root;
  }

  /** Ended with the line, the last first. */
  defer(end: () => Promise<void> | void): void {
    this.#ends.push(end);
  }

  /** A data folder with everything that sending needs. `notifyUrl` null: receipts are due and have nowhere to go. */
  async provisioned(notifyUrl: string | null = null): Promise<string> {
    const data = this.folder();
    await provision(data, notifyUrl);
    return data;
  }

  /** A server on such a folder, in a process of its own. */
  async server(settings: { notifyUrl?: string } = {}): Promise<ServerProcess> {
    return this.serverOn(await this.provisioned(settings.notifyUrl));
  }

  /** A server on a data folder that is there; `isBare`: nothing of the bench runs inside it. */
  async serverOn(data: string, settings: { isBare?: boolean } = {}): Promise<ServerProcess> {
    const { profileFolder } = this.options;
    const server = await ServerProcess.start({
      data,
      profileFolder: profileFolder === null ? null : path.join(profileFolder, this.#line),
      withProbe: settings.isBare !== true,
    });
    this.defer(() => server.stop());
    return server;
  }

  async end(): Promise<void> {
    const failures: unknown[] = [];
    for (const end of this.#ends.toReversed()) {
      try {
        await end();
      } catch (error) {
        failures.push(error);
      }
    }
    rmSync(this.#root, { recursive: true, force: true });
    if (failures.length > 0) throw new AggregateError(failures, failures.map(String).join('; '));
  }
}

const DELAY_MAX_MS = 100;

interface LoadSpan {
  readonly before: ProbeAnswer;
  readonly after: ProbeAnswer;
  /** Work done between the two. */
  readonly units: number;
}

/** What a unit of a line's work cost the server in CPU, all its threads together. */
export function cpuMeasure(name: string, span: LoadSpan): Measure {
  const ms = span.after.cpuMs - span.before.cpuMs;
  return { name: `${name}: CPU`, unit: 'µs each', value: (ms * 1000) / span.units };
}

/** That, and the event loop's delay under the load. */
export function loadMeasures(name: string, span: LoadSpan): Measure[] {
  const goal = { kind: 'at most', limit: DELAY_MAX_MS } as const;
  return [
    { name: `${name}: event-loop delay p99`, unit: 'ms', value: span.after.delayP99Ms, goal },
    cpuMeasure(name, span),
  ];
}

type Metrics = ReadonlyMap<string, number>;

/** How many requests and settlements shared a commit, and so a sync to disk. */
export function commitMeasure(name: string, span: { before: Metrics; after: Metrics }): Measure {
  const grown = (metric: string): number => (span.after.get(metric) ?? 0) - (span.before.get(metric) ?? 0);
  const commits = grown('carillon_commit_units_count');
  return { name: `${name}: gathered`, unit: 'a commit', value: grown('carillon_commit_units_sum') / commits };
}
