/**
 * The admin API for the commands: over HTTP with a token, on the database that servers share, or on the data folder itself
 * where no server runs.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fastify } from 'fastify';
import { MemoryBus } from '../bus/memory.ts';
import type { Observer } from '../core/observer.ts';
import type { Clock, Store } from '../core/ports.ts';
import { createAdmin } from '../http/admin/admin.ts';
import { ADMIN_PREFIX } from '../http/admin/admin.ts';
import { createAdminToken } from '../http/admin/provision.ts';
import type { Provisioning } from '../http/admin/provision.ts';
import { systemClock, systemRandom } from '../lib/system.ts';
import { DATABASE_FILE, FolderInUse, lockFolder } from '../store/sqlite/folder.ts';
import { SqliteStore } from '../store/sqlite/store.ts';
import { callServer, dataFolderOf, findTarget } from './api.ts';
import type { Reply, TargetFlags } from './api.ts';
import { databaseOf, onDatabase, openDatabase } from './database.ts';
import { CommandFailed, usageError } from './output.ts';

export interface AdminRequest {
  readonly method: string;
  /** After `/admin/v1`. */
  readonly path: string;
  readonly body?: unknown;
}

export interface AdminApi {
  call(request: AdminRequest): Promise<Reply>;
  close(): Promise<void>;
}

const USERID_PARAM_LENGTH_MAX = 768;

const silent: Pick<Observer, 'adminChanged' | 'warning'> = { adminChanged: () => undefined, warning: () => undefined };

function overHttp(url: string, token: string): AdminApi {
  return {
    call: ({ method, path, body }) =>
      callServer(url, {
        method,
        path: ADMIN_PREFIX + path,
        headers: { authorization: `Bearer ${token}` },
        ...(body === undefined ? undefined : { body }),
      }),
    close: () => Promise.resolve(),
  };
}

/** The data folder is held meanwhile. */
function onFolder(folder: string): Promise<AdminApi> {
  const lock = lockFolder(folder);
  const store = new SqliteStore({ path: lock.databasePath, clock: systemClock, random: systemRandom });
  return overStore({ store, clock: systemClock, end: lock.release });
}

/**
 * Servers may run on the database: what changes here counts there within a second, as they compare the revision of what
 * is provisioned, and an erased user is noticed by the poll of whoever watches it.
 */
async function onShared(url: string): Promise<AdminApi> {
  const store = await openDatabase(url);
  const api = await overStore({ store, clock: store.clock, end: () => undefined });
  return { close: () => api.close(), call: (request) => onDatabase(() => api.call(request)) };
}

/** The same routes, called in this process over a store. Whoever can write where it is may do everything. */
async function overStore(on: { store: Store; clock: Clock; end: () => void }): Promise<AdminApi> {
  const { store, clock, end } = on;
  const bus = new MemoryBus();
  const app = fastify({ routerOptions: { maxParamLength: USERID_PARAM_LENGTH_MAX } });
  const authenticate = (): { tokenId: string; clientId: string } => ({ tokenId: 'this machine', clientId: '*' });
  const deps = { store, bus, clock, random: systemRandom, observer: silent, authenticate };
  await app.register(createAdmin(deps));
  return {
    async call({ method, path, body }) {
      const answer = await app.inject({
        method: method as 'GET',
        url: ADMIN_PREFIX + path,
        ...(body === undefined ? undefined : { payload: body as object }),
      });
      return { status: answer.statusCode, body: answer.body === '' ? null : answer.json<unknown>() };
    },
    async close() {
      await app.close();
      await store.close();
      end();
    },
  };
}

/**
 * On the database that a flag names; through the server where one is named; on the database of the environment; through
 * the server that runs on the folder, else on the folder.
 */
export async function openAdminApi(flags: TargetFlags): Promise<AdminApi> {
  if (flags.database !== undefined && (flags.url ?? flags.token) !== undefined)
    throw usageError('--database is worked on directly: leave out --url and --token.');
  const database = databaseOf(flags);
  if (database !== null && flags.database !== undefined) return onShared(database);
  const isNamed = flags.url ?? flags.token ?? (process.env['CARILLON_URL'] || process.env['CARILLON_TOKEN']);
  if (isNamed === undefined || isNamed === '') {
    if (database !== null) return onShared(database);
    try {
      return await onFolder(dataFolderOf(flags));
    } catch (error) {
      if (!(error instanceof FolderInUse)) throw error;
    }
  }
  const target = await findTarget(flags);
  if (target.token !== null) return overHttp(target.url, target.token);
  throw new CommandFailed('A server runs: give --token or set CARILLON_TOKEN (`carillon admin token` makes one).');
}

/**
 * A token for the whole installation, put into the PostgreSQL database or that of the folder, also while servers run on it:
 * one row in one transaction, which they see within a second. Whoever can write there is trusted with that.
 */
export async function makeTokenHere(
  flags: TargetFlags,
  name: string,
): Promise<{ id: string; token: string; name: string }> {
  const { store, clock } = await openHere(flags);
  try {
    const bus = new MemoryBus();
    const at: Provisioning = { store, bus, clock, random: systemRandom };
    const made = await onDatabase(() => createAdminToken(at, { clientId: '*', name }));
    return { id: made.token.id, name, token: made.text };
  } finally {
    await store.close();
  }
}

async function openHere(flags: TargetFlags): Promise<{ store: Store; clock: Clock }> {
  const shared = databaseOf(flags);
  if (shared !== null) {
    const store = await openDatabase(shared);
    return { store, clock: store.clock };
  }
  const folder = dataFolderOf(flags);
  const database = path.join(folder, DATABASE_FILE);
  // A misspelt folder must not become a new installation.
  if (!existsSync(database))
    throw new CommandFailed(`There is no database in ${folder}: start the server once, or give --data.`);
  return { store: new SqliteStore({ path: database, clock: systemClock, random: systemRandom }), clock: systemClock };
}
