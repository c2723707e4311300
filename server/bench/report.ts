import type { Goal, Measure } from './harness.ts';
import type { Machine } from './machine.ts';
import { median } from './statistics.ts';

/** One figure over all runs. */
export interface Summary {
  readonly name: string;
  readonly unit: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly values: readonly number[];
  /** Median of the floors; null where the line has none. */
  readonly floor: number | null;
  /** Median of the ratios, each within its run. */
  readonly ratio: number | null;
  readonly goal: Goal | null;
  /** null: there is no goal. */
  readonly isMet: boolean | null;
}

/** Brings the same figures of several runs together, in the order they came first. */
export function summarize(measures: readonly Measure[]): Summary[] {
  const byName = Map.groupBy(measures, (measure) => measure.name);
  return [...byName.values()].map((same) => summaryOf(same));
}

function summaryOf(same: readonly Measure[]): Summary {
  const [first] = same;
  if (first === undefined) throw new Error('a figure without values');
  const values = same.map((measure) => measure.value);
  const floors = same.flatMap(({ floor }) => (floor === undefined ? [] : [floor]));
  const ratios = same.flatMap(({ value, floor }) => (floor === undefined ? [] : [value / floor]));
  const middle = median(values);
  const ratio = ratios.length === 0 ? null : median(ratios);
  const goal = first.goal ?? null;
  return {
    name: first.name,
    unit: first.unit,
    median: middle,
    min: Math.min(...values),
    max: Math.max(...values),
    values,
    floor: floors.length === 0 ? null : median(floors),
    ratio,
    goal,
    isMet: goal === null ? null : isMet(goal, middle, ratio ?? 0),
  };
}

function isMet(goal: Goal, value: number, ratio: number): boolean {
  if (goal.kind === 'ratio at least') return ratio >= goal.limit;
  return goal.kind === 'at least' ? value >= goal.limit : value <= goal.limit;
}

/** Three digits that mean something, thousands apart. */
function digits(value: number): string {
  const places = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', { minimumFractionDigits: places, maximumFractionDigits: places });
}

function goalText(goal: Goal | null): string {
  if (goal === null) return '';
  if (goal.kind === 'ratio at least') return `≥ ${digits(goal.limit)} × floor`;
  return `${goal.kind === 'at least' ? '≥' : '≤'} ${digits(goal.limit)}`;
}

function row(summary: Summary): string[] {
  const { name, unit, median: middle, min, max, values, floor, ratio, goal } = summary;
  const verdict = summary.isMet === null ? '' : summary.isMet ? 'met' : 'MISSED';
  const spread = values.length === 1 ? '' : `${digits(min)} – ${digits(max)}`;
  const ofFloor = ratio === null ? '' : digits(ratio);
  return [name, digits(middle), unit, spread, floor === null ? '' : digits(floor), ofFloor, goalText(goal), verdict];
}

const HEAD = ['figure', 'median', 'unit', 'min – max', 'floor', '× floor', 'goal', ''];
/** Columns whose numbers stand under one another. */
const RIGHT = new Set([1, 3, 4, 5]);

/** A table for people. */
export function renderTable(summaries: readonly Summary[]): string {
  const rows = [HEAD, ...summaries.map((summary) => row(summary))];
  const widths = HEAD.map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        RIGHT.has(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd();
  const [head, ...others] = rows;
  const rule = widths.map((width) => '─'.repeat(width)).join('  ');
  return [line(head ?? []), rule, ...others.map(line)].join('\n');
}

export function renderMachine(machine: Machine): string {
  const { cores, processor, memoryGib, kernel, node, sqlite, syncP50Ms, syncP99Ms, loadAverage } = machine;
  return [
    `${cores} cores (${processor}), ${memoryGib} GiB, ${kernel}, Node ${node}, SQLite ${sqlite}`,
    `fdatasync of 4 KiB: p50 ${digits(syncP50Ms)} ms, p99 ${digits(syncP99Ms)} ms; load before the start: ${digits(loadAverage)}`,
  ].join('\n');
}
