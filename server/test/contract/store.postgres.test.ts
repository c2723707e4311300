import { afterAll, beforeAll, describe } from 'vitest';
import { findPostgres } from '../support/postgres.ts';
import type { PostgresServer } from '../support/postgres.ts';
import { PostgresHarness, startServer } from './postgres-harness.ts';
import { storeSuite } from './store-suite.ts';

const bin = findPostgres();

describe.skipIf(bin === null)('on a server of its own', () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startServer(bin ?? '');
  });

  afterAll(async () => {
    await server?.end();
  });

  storeSuite('postgres', (options) => PostgresHarness.make(server, options));
});
