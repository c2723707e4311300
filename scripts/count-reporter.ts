import type { Reporter, SerializedError, TestModule } from 'vitest/node';

/** What a finished run came to. */
export interface TestCounts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** The closing line of a run: `N passed, N failed`, with `, N skipped` only where any was. */
export function countLine(counts: TestCounts): string {
  const line = `${counts.passed} passed, ${counts.failed} failed`;
  return counts.skipped > 0 ? `${line}, ${counts.skipped} skipped` : line;
}

/**
 * Counts the tests of a run. A file that fell over before its tests ran, or an error outside of any test, counts as one
 * failure each, so that the line never reads green while the exit code is red.
 */
export function countTests(modules: readonly TestModule[], unhandledErrors: number): TestCounts {
  let passed = 0;
  let failed = unhandledErrors;
  let skipped = 0;
  for (const module of modules) {
    let failedInModule = 0;
    for (const test of module.children.allTests()) {
      const state = test.result().state;
      if (state === 'passed') passed += 1;
      else if (state === 'skipped') skipped += 1;
      else failedInModule += 1;
    }
    if (failedInModule === 0 && !module.ok()) failedInModule = 1;
    failed += failedInModule;
  }
  return { passed, failed, skipped };
}

/** Prints the count line alone on the last line, where people and build servers look for it. */
export class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const line = countLine(countTests(modules, unhandledErrors.length));
    // After the default reporter's summary, which is written in the same turn.
    process.once('exit', () => process.stdout.write(`${line}\n`));
  }
}
