import type { Static } from 'typebox';
import type { Service } from '../../core/model.ts';
import { timeText, urlFaults } from './checks.ts';
import { etagOf, findOwned, findOwner, found, invalid, noteChange, notFoundAt, refused } from './context.ts';
import type { AdminDeps, Call, Found, Routes } from './context.ts';
import { createService, keysOf, removeObject } from './provision.ts';
import { addResource, merged } from './resources.ts';
import type { Resource } from './resources.ts';
import { ServiceChange, ServiceCreate, ServiceCreated, ServiceView } from './schemas.ts';

function show(service: Service): Record<string, unknown> {
  const { receiptSecrets: _receiptSecrets, ...rest } = service;
  return { ...rest, createdAt: timeText(service.createdAt) };
}

/** The addresses are http or https, and the app is one of the service's own client. */
async function checkService(
  deps: AdminDeps,
  call: Pick<Call, 'scope'>,
  service: { readonly clientId: string; readonly appId: string } & Readonly<Record<string, unknown>>,
): Promise<Found<null>> {
  const faults = urlFaults(service, ['notifyUrl', 'inboundUrl']);
  if (faults.length > 0) return refused(invalid(faults));
  const app = await findOwned(deps, call, 'app', service.appId);
  return app?.clientId === service.clientId ? found(null) : refused(notFoundAt('/appId', 'app'));
}

async function blockerOf(deps: AdminDeps, service: Service): Promise<string | null> {
  if (service.state === 'live') return 'The service is live: suspend it first.';
  const filter = {
    clientId: service.clientId,
    serviceId: service.id,
    state: 'pending',
    cursor: null,
    limit: 1,
  } as const;
  const pending = await deps.store.listReceipts(filter);
  return pending.items.length === 0
    ? null
    : 'The service still has receipts to deliver: wait until they are taken or dead.';
}

export function addServices(routes: Routes, deps: AdminDeps): void {
  const create = { url: '/services', body: ServiceCreate, answer: ServiceCreated, status: 201 } as const;
  const summary = 'Makes a service with its first key, which is told only here.';
  routes.add<Static<typeof ServiceCreate>>({ ...create, method: 'POST', tag: 'services', summary }, async (call) => {
    const owner = await findOwner(deps, call, call.body.clientId);
    if (!owner.ok) return owner.answer;
    const input = { ...call.body, clientId: owner.value };
    const checked = await checkService(deps, call, input);
    if (!checked.ok) return checked.answer;
    const { service, key, keyId } = await createService(deps, input);
    noteChange(deps, call, { action: 'create', kind: 'service', id: service.id });
    const body = { ...show(service), key, keyId, receiptSecret: service.receiptSecrets[0] };
    return { status: 201, body, etag: etagOf(service) };
  });

  const resource: Resource<'service'> = {
    kind: 'service',
    path: 'services',
    noun: 'service',
    view: ServiceView,
    show,
    change: {
      body: ServiceChange,
      apply: async (service, call) => {
        const changed = merged(service, call.body);
        const checked = await checkService(deps, call, { ...changed });
        return checked.ok ? found(changed) : checked;
      },
    },
    blocker: (service) => blockerOf(deps, service),
    beforeRemoval: async (service) => {
      for (const key of await keysOf(deps.store, service)) await removeObject(deps, 'key', key.id);
    },
  };
  addResource(routes, deps, resource);
}
