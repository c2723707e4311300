/** What became of messages: the timeline, the receipts, the endpoints that said 410. */
import { stateName } from '../../core/delivery-state.ts';
import type { DisabledEndpoint, Service } from '../../core/model.ts';
import type { RequestStatus } from '../../core/delivery-status.ts';
import type { ReceiptFilter, ReceiptRecord } from '../../core/ports.ts';
import { timeText } from './checks.ts';
import { findOwned, listScope, noteChange, notFound, nothing, ok, pageOf } from './context.ts';
import type { AdminDeps, Call, Routes } from './context.ts';
import { eachObject } from './provision.ts';
import { addResource } from './resources.ts';
import {
  EndpointView,
  MessageQuery,
  MessageView,
  pageView,
  ReceiptQuery,
  ReceiptView,
  TransidList,
} from './schemas.ts';

const TRANSIDS_MAX = 1_000;

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

/** The message, if a service that the token may see has sent it. */
async function findMessage(deps: AdminDeps, call: Call, transid: string): Promise<RequestStatus | null> {
  const clientId = call.scope.clientId === '*' ? null : call.scope.clientId;
  for await (const service of eachObject<'service'>(deps.store, 'service', clientId)) {
    const status = await deps.store.requestStatus((service satisfies Service).id, transid);
    if (status !== null) return status;
  }
  return null;
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
  const search = 'The transids a service got for a correlationid.';
  routes.add(
    { method: 'GET', url: '/messages', tag: 'messages', summary: search, query: MessageQuery, answer: TransidList },
    async (call) => {
      const service = await findOwned(deps, call, 'service', String(call.query['serviceId']));
      if (service === null) return notFound;
      const correlationid = String(call.query['correlationid']);
      return ok({ transids: await deps.store.transidsByCorrelationid(service.id, correlationid, TRANSIDS_MAX) });
    },
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
