import { afterAll, beforeAll, describe } from 'vitest';
import { findPostgres, PostgresServer } from '../support/postgres.ts';
import { openStore, PostgresHarness } from './postgres-harness.ts';
import { storeSuite } from './store-suite.ts';

const bin = findPostgres();

describe.skipIf(bin === null)('on a server of its own', () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await PostgresServer.start(bin ?? '');
    await server.makeTemplate(async (url) => {
      const store = await openStore(url);
      await store.close();
    });
  });

  afterAll(async () => {
    await server?.end();
  });

  storeSuite('postgres', (options) => PostgresHarness.make(server, options));
});
