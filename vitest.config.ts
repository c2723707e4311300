import { defineConfig } from 'vitest/config';
import { CountReporter } from './scripts/count-reporter.ts';

// Two workers: the machines that gate a change have two cores. Forks, not threads: the fault tests kill processes and the
// SQLite handles of one file must not share a heap with another's.
export default defineConfig({
  test: {
    include: ['protocol/**/*.test.ts', 'sdk/**/*.test.ts', 'server/**/*.test.ts', 'scripts/**/*.test.ts'],
    exclude: ['**/node_modules/**'],
    pool: 'forks',
    maxWorkers: 2,
    fileParallelism: true,
    testTimeout: 20_000,
    hookTimeout: 20_000,
    teardownTimeout: 10_000,
    // A test that needs luck is a test that lies: no retries.
    retry: 0,
    passWithNoTests: false,
    allowOnly: process.env['CI'] === undefined,
    reporters: ['default', new CountReporter()],
  },
});
