import type { Static } from 'typebox';
import type { Client } from '../../core/model.ts';
import { timeText } from './checks.ts';
import { etagOf, forbidden, found, noteChange } from './context.ts';
import type { AdminDeps, Routes } from './context.ts';
import { createClient } from './provision.ts';
import { addResource, merged } from './resources.ts';
import type { Resource } from './resources.ts';
import { ClientChange, ClientCreate, ClientView } from './schemas.ts';

const show = (client: Client): unknown => ({ ...client, createdAt: timeText(client.createdAt) });

const OWNED = ['service', 'app', 'template', 'smartlink', 'token'] as const;

/** What still belongs to a client; null: nothing. */
async function blockerOf(deps: AdminDeps, client: Client): Promise<string | null> {
  for (const kind of OWNED) {
    const page = await deps.store.listObjects(kind, { clientId: client.id, cursor: null, limit: 1 });
    if (page.items.length > 0) return `The client still has a ${kind}: remove what belongs to it first.`;
  }
  return null;
}

export function addClients(routes: Routes, deps: AdminDeps): void {
  const create = { url: '/clients', summary: 'Makes a client (a tenant).', body: ClientCreate, answer: ClientView };
  routes.add<Static<typeof ClientCreate>>({ ...create, method: 'POST', tag: 'clients', status: 201 }, async (call) => {
    if (call.scope.clientId !== '*') return forbidden('Only a token for the whole installation makes clients.');
    const { retentionDays } = deps;
    const client = await createClient(deps, {
      ...(retentionDays === undefined ? {} : { retentionDays }),
      ...call.body,
    });
    noteChange(deps, call, { action: 'create', kind: 'client', id: client.id });
    return { status: 201, body: show(client), etag: etagOf(client) };
  });

  const resource: Resource<'client'> = {
    kind: 'client',
    path: 'clients',
    noun: 'client',
    view: ClientView,
    show,
    change: { body: ClientChange, apply: (client, call) => Promise.resolve(found(merged(client, call.body))) },
    blocker: (client) => blockerOf(deps, client),
  };
  addResource(routes, deps, resource);
}
