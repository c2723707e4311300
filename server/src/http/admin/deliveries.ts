/** What became of messages: the timeline, the receipts, the endpoints that said 410. */
import type { Static } from 'typebox';
import { stateName } from '../../core/delivery-state.ts';
import type { DisabledEndpoint } from '../../core/model.ts';
import type { RequestStatus } from '../../core/delivery-status.ts';
import type { MessageMark, ReceiptFilter, ReceiptRecord } from '../../core/ports.ts';
import { timeText } from './checks.ts';
import { findOwned, invalid, listScope, noteChange, notFound, nothing, ok, pageOf } from './context.ts';
import type { AdminDeps, Answer, Call, Routes } from './context.ts';
import { addResource } from './resources.ts';
import { EndpointView, FoundView, MessageQuery, MessageView, pageView, ReceiptQuery, ReceiptView } from './schemas.ts';

const FOUND_DEFAULT = 100;

function showMessage(status: RequestStatus): unknown {
  const { transid, clientId, serviceId, appId, channelWord, correlationid, priority } = status;
  const deliveries = status.deliveries.map((delivery) => ({
    ...delivery,
    state: stateName(delivery.state),
    createdAt: timeText(delivery.createdAt),
    updatedAt: timeText(delivery.updatedAt),
    steps: delivery.steps.map((step) => ({ ...step, at: timeText(step.at) })),
  }));
  const expiry = timeText(status.expiry);
  return {
    transid,
    clientId,
    serviceId,
    appId,
    deliverychannel: channelWord,
    correlationid,
    priority,
    expiry,
    deliveries,
  };
}

const scopeOf = (call: Call): string | null => (call.scope.clientId === '*' ? null : call.scope.clientId);

/** The message, if the token may see the service that sent it. */
async function findMessage(deps: AdminDeps, call: Call, transid: string): Promise<RequestStatus | null> {
  const mark = { kind: 'transid', transid } as const;
  const [found] = await deps.store.findMessages({ clientId: scopeOf(call), serviceId: null, mark, limit: 1 });
  return found === undefined ? null : deps.store.requestStatus(found.serviceId, transid);
}

/** What is searched by; a sentence where it is not exactly one thing. */
function markOf(query: Static<typeof MessageQuery>): MessageMark | string {
  const marks: MessageMark[] = [];
  const { transid, correlationid, appId } = query;
  if (transid !== undefined) marks.push({ kind: 'transid', transid });
  if (correlationid !== undefined) marks.push({ kind: 'correlationid', correlationid });
  for (const type of ['userid', 'customerid', 'msisdn'] as const) {
    const value = query[type];
    if (value === undefined) continue;
    if (appId === undefined) return `${type} needs appId beside it: who it is depends on the app`;
    marks.push({ kind: 'user', appId, identifier: { type, value } });
  }
  const [mark] = marks;
  return mark !== undefined && marks.length === 1
    ? mark
    : 'search by exactly one of transid, correlationid, userid, customerid, msisdn';
}

async function search(deps: AdminDeps, call: Call): Promise<Answer> {
  const query = call.query as Static<typeof MessageQuery>;
  const mark = markOf(query);
  if (typeof mark === 'string') return invalid([{ path: '', message: mark }]);
  const { serviceId = null, appId, limit = FOUND_DEFAULT } = query;
  if (serviceId !== null && (await findOwned(deps, call, 'service', serviceId)) === null) return notFound;
  if (appId !== undefined && (await findOwned(deps, call, 'app', appId)) === null) return notFound;
  const found = await deps.store.findMessages({ clientId: scopeOf(call), serviceId, mark, limit });
  const items = found.map((message) => ({ ...message, acceptedAt: timeText(message.acceptedAt) }));
  return ok({ items, next: null });
}

export function addMessages(routes: Routes, deps: AdminDeps): void {
  const timeline = 'How a message stands for each of its recipients, and every step on the way.';
  routes.add(
    { method: 'GET', url: '/messages/:transid', tag: 'messages', summary: timeline, answer: MessageView },
    async (call) => {
      const status = await findMessage(deps, call, call.params['transid'] ?? '');
      return status === null ? notFound : ok(showMessage(status));
    },
  );
  const summary = 'Finds messages by transid, by correlationid or by user, the newest first.';
  routes.add(
    { method: 'GET', url: '/messages', tag: 'messages', summary, query: MessageQuery, answer: pageView(FoundView) },
    (call) => search(deps, call),
  );
}

function showReceipt(receipt: ReceiptRecord): unknown {
  return {
    ...receipt,
    dueAt: timeText(receipt.dueAt),
    createdAt: timeText(receipt.createdAt),
    history: receipt.history.map((attempt) => ({ ...attempt, at: timeText(attempt.at) })),
  };
}

export function addReceipts(routes: Routes, deps: AdminDeps): void {
  const list = 'Receipts that were not taken at the first try, with their attempts.';
  routes.add(
    {
      method: 'GET',
      url: '/receipts',
      tag: 'receipts',
      summary: list,
      query: ReceiptQuery,
      answer: pageView(ReceiptView),
    },
    async (call) => {
      const scope = await listScope(deps, call);
      if (!scope.ok) return scope.answer;
      const { serviceId, transid, state } = call.query as Partial<
        Pick<ReceiptFilter, 'serviceId' | 'transid' | 'state'>
      >;
      if (serviceId !== undefined && (await findOwned(deps, call, 'service', serviceId)) === null) return notFound;
      const page = await deps.store.listReceipts({
        clientId: scope.value,
        ...pageOf(call),
        ...(serviceId === undefined ? undefined : { serviceId }),
        ...(transid === undefined ? undefined : { transid }),
        ...(state === undefined ? undefined : { state }),
      });
      return ok({ items: page.items.map(showReceipt), next: page.next });
    },
  );
  const replay = 'Sends a receipt again, with the same webhook-id.';
  routes.add(
    { method: 'POST', url: '/receipts/:id/replay', tag: 'receipts', summary: replay, answer: null },
    async (call) => {
      const id = call.params['id'] ?? '';
      if (!(await deps.store.replayReceipt(call.scope.clientId, id, deps.clock.now()))) return notFound;
      deps.bus.publish('receipts');
      noteChange(deps, call, { action: 'replay', kind: 'receipt', id });
      return nothing;
    },
  );
}

/** Removing the note that an address answered 410 enables it again. */
export function addEndpoints(routes: Routes, deps: AdminDeps): void {
  addResource(routes, deps, {
    kind: 'endpoint',
    path: 'disabled-endpoints',
    noun: 'disabled endpoint, which enables it again',
    view: EndpointView,
    show: (endpoint: DisabledEndpoint) => ({ ...endpoint, createdAt: timeText(endpoint.createdAt) }),
    blocker: () => Promise.resolve(null),
  });
}
