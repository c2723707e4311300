/** The admin API for the commands: over HTTP with a token, or on the data folder itself where no server runs. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fastify } from 'fastify';
import { MemoryBus } from '../bus/memory.ts';
import type { Observer } from '../core/observer.ts';
import { createAdmin } from '../http/admin/admin.ts';
import { ADMIN_PREFIX } from '../http/admin/admin.ts';
import { createAdminToken } from '../http/admin/provision.ts';
import type { Provisioning } from '../http/admin/provision.ts';
import { systemClock, systemRandom } from '../lib/system.ts';
import { DATABASE_FILE, FolderInUse, lockFolder } from '../store/sqlite/folder.ts';
import { SqliteStore } from '../store/sqlite/store.ts';
import { callServer, dataFolderOf, findTarget } from './api.ts';
import type { Reply, TargetFlags } from './api.ts';
import { CommandFailed } from './output.ts';

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

/** The same routes, called in this process over the data folder, which is held meanwhile. Whoever can write it may do all. */
async function onFolder(folder: string): Promise<AdminApi> {
  const lock = lockFolder(folder);
  const store = new SqliteStore({ path: lock.databasePath, clock: systemClock, random: systemRandom });
  const bus = new MemoryBus();
  const app = fastify({ routerOptions: { maxParamLength: USERID_PARAM_LENGTH_MAX } });
  const authenticate = (): { tokenId: string; clientId: string } => ({ tokenId: 'this machine', clientId: '*' });
  const deps = { store, bus, clock: systemClock, random: systemRandom, observer: silent, authenticate };
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
      lock.release();
    },
  };
}

/** Through the server where one is named or runs on the folder; else on the folder. */
export async function openAdminApi(flags: TargetFlags): Promise<AdminApi> {
  const isNamed = flags.url ?? flags.token ?? (process.env['CARILLON_URL'] || process.env['CARILLON_TOKEN']);
  if (isNamed === undefined || isNamed === '') {
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
 * A token for the whole installation, put into the database of the folder, also while a server runs on it: one row in one
 * transaction, which the server sees within a second. Whoever can write the folder is trusted with that.
 */
export async function makeTokenHere(
  flags: TargetFlags,
  name: string,
): Promise<{ id: string; token: string; name: string }> {
  const folder = dataFolderOf(flags);
  const database = path.join(folder, DATABASE_FILE);
  // A misspelt folder must not become a new installation.
  if (!existsSync(database))
    throw new CommandFailed(`There is no database in ${folder}: start the server once, or give --data.`);
  const store = new SqliteStore({ path: database, clock: systemClock, random: systemRandom });
  try {
    const bus = new MemoryBus();
    const at: Provisioning = { store, bus, clock: systemClock, random: systemRandom };
    const made = await createAdminToken(at, { clientId: '*', name });
    return { id: made.token.id, name, token: made.text };
  } finally {
    await store.close();
  }
}
