import type { Static } from 'typebox';
import type { AdminToken } from '../../core/model.ts';
import { timeText } from './checks.ts';
import { created, findOwner, noteChange } from './context.ts';
import type { AdminDeps, Routes } from './context.ts';
import { createAdminToken } from './provision.ts';
import { addResource } from './resources.ts';
import { TokenCreate, TokenCreated, TokenView } from './schemas.ts';

const show = (token: AdminToken): Record<string, unknown> => ({ ...token, createdAt: timeText(token.createdAt) });

export function addTokens(routes: Routes, deps: AdminDeps): void {
  const create = { url: '/tokens', body: TokenCreate, answer: TokenCreated, status: 201 } as const;
  const summary = 'Makes an admin token, told only here. A token for one client makes only tokens for that client.';
  routes.add<Static<typeof TokenCreate>>({ ...create, method: 'POST', tag: 'tokens', summary }, async (call) => {
    const wanted = call.body.clientId ?? call.scope.clientId;
    // A token never makes one that sees more than itself.
    const isWhole = wanted === '*' && call.scope.clientId === '*';
    const owner = isWhole ? ({ ok: true, value: '*' } as const) : await findOwner(deps, call, wanted);
    if (!owner.ok) return owner.answer;
    const { token, text } = await createAdminToken(deps, { clientId: owner.value, name: call.body.name });
    noteChange(deps, call, { action: 'create', kind: 'token', id: token.id });
    return created({ ...show(token), token: text });
  });
  addResource(routes, deps, {
    kind: 'token',
    path: 'tokens',
    noun: 'token',
    view: TokenView,
    show,
    blocker: (token, call) =>
      Promise.resolve(token.id === call.scope.tokenId ? 'A token cannot remove itself: use another one.' : null),
  });
}
