import type { Static } from 'typebox';
import type { App } from '../../core/model.ts';
import { originFaults, timeText, urlFaults } from './checks.ts';
import { conflict, etagOf, findOwned, findOwner, found, invalid, noteChange, notFound, refused } from './context.ts';
import type { AdminDeps, Answer, Call, FaultDetail, Routes } from './context.ts';
import { createApp, eachObject, newAppSecret, provisionLimits, replaceObjects } from './provision.ts';
import { addResource, merged, shown } from './resources.ts';
import type { Resource } from './resources.ts';
import { AppChange, AppCreate, AppCreated, AppView } from './schemas.ts';

const HINT_LENGTH = 4;
const TAG = 'apps';

function show(app: App): Record<string, unknown> {
  const { secrets, ...rest } = app;
  const secretHints = secrets.map((secret) => secret.slice(-HINT_LENGTH));
  return { ...rest, secretHints, createdAt: timeText(app.createdAt) };
}

const faultsOf = (app: { readonly origins?: readonly string[] } & Readonly<Record<string, unknown>>): FaultDetail[] => [
  ...urlFaults(app, ['jwksUrl']),
  ...originFaults(app.origins),
];

const verifies = (app: Pick<App, 'secrets' | 'jwksUrl'>): boolean => app.secrets.length > 0 || app.jwksUrl !== null;
const NOTHING_VERIFIES = {
  path: '/jwksUrl',
  message: 'is needed where the app has no secret: nothing could check its tokens',
};

async function blockerOf(deps: AdminDeps, app: App): Promise<string | null> {
  for await (const service of eachObject(deps.store, 'service', app.clientId)) {
    if (service.appId === app.id) return `The service ${service.id} sends through this app: give it another one first.`;
  }
  return null;
}

export function addApps(routes: Routes, deps: AdminDeps): void {
  const create = { url: '/apps', body: AppCreate, answer: AppCreated, status: 201 } as const;
  const summary = 'Makes an app with a secret for its tokens, which is told only here.';
  routes.add<Static<typeof AppCreate>>({ ...create, method: 'POST', tag: TAG, summary }, async (call) => {
    const owner = await findOwner(deps, call, call.body.clientId);
    if (!owner.ok) return owner.answer;
    const faults = faultsOf(call.body);
    if (call.body.hasSecret === false && (call.body.jwksUrl ?? null) === null) faults.push(NOTHING_VERIFIES);
    if (faults.length > 0) return invalid(faults);
    const { app, secret } = await createApp(deps, { ...call.body, clientId: owner.value });
    noteChange(deps, call, { action: 'create', kind: 'app', id: app.id });
    return { status: 201, body: { ...show(app), secret }, etag: etagOf(app) };
  });

  const resource: Resource<'app'> = {
    kind: 'app',
    path: 'apps',
    noun: 'app',
    view: AppView,
    show,
    change: {
      body: AppChange,
      apply: (app, call) => {
        const changed = merged(app, call.body);
        const faults = faultsOf({ ...changed });
        if (!verifies(changed)) faults.push(NOTHING_VERIFIES);
        return Promise.resolve(faults.length > 0 ? refused(invalid(faults)) : found(changed));
      },
    },
    blocker: (app) => blockerOf(deps, app),
  };
  addResource(routes, deps, resource);
  addAppSecrets(routes, deps, resource);
}

function addAppSecrets(routes: Routes, deps: AdminDeps, resource: Resource<'app'>): void {
  const keep = async (app: App, call: Call, change: { secrets: string[]; action: string }): Promise<App> => {
    const changed = { ...app, secrets: change.secrets };
    await replaceObjects(deps, { kind: 'app', value: changed });
    noteChange(deps, call, { action: change.action, kind: 'app', id: app.id });
    return changed;
  };
  const ofApp = (work: (app: App, call: Call) => Promise<Answer>) => async (call: Call) => {
    const app = await findOwned(deps, call, 'app', call.params['id'] ?? '');
    return app === null ? notFound : work(app, call);
  };

  const rotate =
    'Makes a new secret, told only here. Tokens signed with the one before it are taken until that is retired.';
  routes.add(
    { method: 'POST', url: '/apps/:id/secrets/rotate', tag: TAG, summary: rotate, answer: AppCreated },
    ofApp(async (app, call) => {
      const secret = newAppSecret(deps.random);
      const secrets = [secret, ...app.secrets].slice(0, provisionLimits.secretsMax);
      const changed = await keep(app, call, { secrets, action: 'rotate-secret' });
      return { status: 200, body: { ...show(changed), secret }, etag: etagOf(changed) };
    }),
  );
  routes.add(
    {
      method: 'POST',
      url: '/apps/:id/secrets/retire',
      tag: TAG,
      summary: 'Drops all secrets but the newest.',
      answer: AppView,
    },
    ofApp(async (app, call) =>
      shown<'app'>(resource, await keep(app, call, { secrets: app.secrets.slice(0, 1), action: 'retire-secret' })),
    ),
  );
  routes.add(
    {
      method: 'DELETE',
      url: '/apps/:id/secrets',
      tag: TAG,
      summary: 'Drops all secrets: only the JWKS address counts.',
      answer: AppView,
    },
    ofApp(async (app, call) => {
      if (app.jwksUrl === null) return conflict('The app has no JWKS address: nothing could check its tokens.');
      return shown<'app'>(resource, await keep(app, call, { secrets: [], action: 'drop-secrets' }));
    }),
  );
}
