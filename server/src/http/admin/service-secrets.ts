/** The two kinds of secret of a service: the keys that call the API, and the secrets that sign receipts. */
import type { Service, ServiceKey } from '../../core/model.ts';
import { timeText } from './checks.ts';
import { conflict, created, findOwned, noteChange, notFound, nothing, ok } from './context.ts';
import type { AdminDeps, Answer, Call, Routes } from './context.ts';
import {
  createServiceKey,
  keysOf,
  newReceiptSecret,
  provisionLimits,
  removeObject,
  replaceObjects,
} from './provision.ts';
import { KeyCreated, KeyView, pageView, ReceiptSecrets } from './schemas.ts';

const TAG = 'services';

function show(key: ServiceKey): Record<string, unknown> {
  const { id, serviceId, hint, state, createdAt } = key;
  return { id, serviceId, hint, state, createdAt: timeText(createdAt) };
}

type WithService = (service: Service, call: Call) => Promise<Answer>;

export function addServiceSecrets(routes: Routes, deps: AdminDeps): void {
  const ofService = (work: WithService) => async (call: Call) => {
    const service = await findOwned(deps, call, 'service', call.params['id'] ?? '');
    return service === null ? notFound : work(service, call);
  };
  addKeys(routes, deps, ofService);
  addReceiptSecrets(routes, deps, ofService);
}

type OfService = (work: WithService) => (call: Call) => Promise<Answer>;

function addKeys(routes: Routes, deps: AdminDeps, ofService: OfService): void {
  const url = '/services/:id/keys';
  const ofKey = (work: (key: ServiceKey, call: Call) => Promise<Answer>): ((call: Call) => Promise<Answer>) =>
    ofService(async (service, call) => {
      const key = await findOwned(deps, call, 'key', call.params['keyId'] ?? '');
      return key === null || key.serviceId !== service.id ? notFound : work(key, call);
    });

  routes.add(
    { method: 'GET', url, tag: TAG, summary: 'Lists the keys of a service.', answer: pageView(KeyView) },
    ofService(async (service) => ok({ items: (await keysOf(deps.store, service)).map(show), next: null })),
  );
  const more =
    'Makes one more key, told only here. Two can be active at a time: make the new one, move to it, revoke the old.';
  routes.add(
    { method: 'POST', url, tag: TAG, summary: more, answer: KeyCreated, status: 201 },
    ofService(async (service, call) => {
      const made = await createServiceKey(deps, service);
      if (!made.ok) return conflict(made.message);
      noteChange(deps, call, { action: 'create', kind: 'key', id: made.value.id });
      return created({ ...show(made.value), key: made.key });
    }),
  );
  routes.add(
    {
      method: 'POST',
      url: `${url}/:keyId/revoke`,
      tag: TAG,
      summary: 'Revokes a key: it is refused from now on.',
      answer: KeyView,
    },
    ofKey(async (key, call) => {
      const revoked: ServiceKey = { ...key, state: 'revoked' };
      await replaceObjects(deps, { kind: 'key', value: revoked });
      noteChange(deps, call, { action: 'revoke', kind: 'key', id: key.id });
      return ok(show(revoked));
    }),
  );
  routes.add(
    { method: 'DELETE', url: `${url}/:keyId`, tag: TAG, summary: 'Removes a revoked key from the list.', answer: null },
    ofKey(async (key, call) => {
      if (key.state === 'active') return conflict('The key is active: revoke it first.');
      await removeObject(deps, 'key', key.id);
      noteChange(deps, call, { action: 'remove', kind: 'key', id: key.id });
      return nothing;
    }),
  );
}

function addReceiptSecrets(routes: Routes, deps: AdminDeps, ofService: OfService): void {
  const url = '/services/:id/receipt-secrets';
  const keep = async (service: Service, call: Call, change: { secrets: string[]; action: string }): Promise<Answer> => {
    await replaceObjects(deps, { kind: 'service', value: { ...service, receiptSecrets: change.secrets } });
    noteChange(deps, call, { action: change.action, kind: 'service', id: service.id });
    return ok({ secrets: change.secrets });
  };

  routes.add(
    {
      method: 'GET',
      url,
      tag: TAG,
      summary: 'Shows the secrets that receipts are signed with.',
      answer: ReceiptSecrets,
    },
    ofService((service) => Promise.resolve(ok({ secrets: service.receiptSecrets }))),
  );
  const rotate = 'Makes a new receipt secret. Receipts are signed with it and the one before it until that is retired.';
  routes.add(
    { method: 'POST', url: `${url}/rotate`, tag: TAG, summary: rotate, answer: ReceiptSecrets },
    ofService((service, call) => {
      const secrets = [newReceiptSecret(deps.random), ...service.receiptSecrets].slice(0, provisionLimits.secretsMax);
      return keep(service, call, { secrets, action: 'rotate-receipt-secret' });
    }),
  );
  routes.add(
    {
      method: 'POST',
      url: `${url}/retire`,
      tag: TAG,
      summary: 'Drops all receipt secrets but the newest.',
      answer: ReceiptSecrets,
    },
    ofService((service, call) =>
      keep(service, call, { secrets: service.receiptSecrets.slice(0, 1), action: 'retire-receipt-secret' }),
    ),
  );
}
