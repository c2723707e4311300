/** What became of a message, and taking it back (contract §2; FACTS of the original, §5.9). */
import { describe } from '@carillon/protocol/codes.ts';
import { limits } from '@carillon/protocol/limits.ts';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Refusal } from '../accept/answer.ts';
import { STATE, stateName } from '../core/delivery-state.ts';
import type { StateNumber } from '../core/delivery-state.ts';
import type { DeliveryStatus, RequestStatus } from '../core/delivery-status.ts';
import type { LogEntry, Store } from '../core/ports.ts';
import type { HttpDeps } from './deps.ts';
import { httpLimits } from './limits.ts';
import { findHolder, sendRefusal } from './service-auth.ts';

const STATUS_PATH = '/resources/v1/messaging/status';

/** The same for what does not exist and for what is another service's. */
const NO_RESULTS: Refusal = { code: '7600', details: [] };

/** `Mon, 16 Aug 2010 03:45:01 UTC`: what the original writes; RFC 1123 would say GMT. */
function dateText(at: number): string {
  return new Date(at).toUTCString().replace('GMT', 'UTC');
}

/** The word of the status API. What moved to a linked user's log still waits there. */
function statusWord(state: StateNumber): string {
  return state === STATE.moved ? 'queued' : stateName(state);
}

function eventsOf(delivery: DeliveryStatus): object[] {
  return delivery.steps.map(({ step, at, deviceid, detail }) => ({
    event: step,
    time: new Date(at).toISOString(),
    ...(deviceid === null ? undefined : { deviceid }),
    ...(detail === null ? undefined : { detail }),
  }));
}

function rowsOf(status: RequestStatus): object[] {
  return status.deliveries.map((delivery) => ({
    transactionid: status.transid,
    clientid: status.clientId,
    api_version: 'v1',
    type: 'outbound-api',
    from: status.appId,
    to: delivery.destination.value,
    to_type: delivery.destination.type,
    ...(status.correlationid === null ? undefined : { correlationid: status.correlationid }),
    body: status.content,
    channel: status.channelWord,
    status: statusWord(delivery.state),
    date_created: dateText(delivery.createdAt),
    last_updated: dateText(delivery.updatedAt),
    error_code: delivery.code,
    error_message: delivery.code === null ? null : (describe(delivery.code)?.description ?? null),
    events: eventsOf(delivery),
  }));
}

async function rowsByCorrelationid(store: Store, serviceId: string, correlationid: string): Promise<object[]> {
  const transids = await store.transidsByCorrelationid(serviceId, correlationid, httpLimits.statusTransidsMax);
  const rows: object[] = [];
  for (const transid of transids) {
    const status = await store.requestStatus(serviceId, transid);
    if (status !== null) rows.push(...rowsOf(status));
  }
  return rows;
}

/** Wakes the sessions of the users whose logs grew, with the entries at hand. */
export function publishEntries(bus: HttpDeps['bus'], entries: readonly LogEntry[]): void {
  if (entries.length > 0) bus.publishUsers(entries.map((entry) => ({ user: entry.user, head: entry.n, entry })));
}

interface StatusParams {
  readonly Params: { readonly transid: string };
}

/** Routes of the status API. */
export function registerStatus(app: FastifyInstance, deps: HttpDeps): void {
  const { store, directory } = deps;

  async function list(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const found = await findHolder(directory, request);
    if (!found.ok) return sendRefusal(reply, found.refusal);
    const correlationid = (request.query as Readonly<Record<string, unknown>>)['correlationid'];
    if (typeof correlationid !== 'string' || correlationid === '') {
      const message = `name a transid in the path (${STATUS_PATH}/<transid>) or ask with ?correlationid=`;
      return sendRefusal(reply, { code: '7003', details: [{ path: '', message }] });
    }
    if (Buffer.byteLength(correlationid) > limits.correlationidBytesMax) return sendRefusal(reply, NO_RESULTS);
    const rows = await rowsByCorrelationid(store, found.holder.service.id, correlationid);
    return rows.length === 0 ? sendRefusal(reply, NO_RESULTS) : reply.send(rows);
  }

  app.get(STATUS_PATH, (request, reply) => list(request, reply));
  app.get(`${STATUS_PATH}/`, (request, reply) => list(request, reply));

  app.get<StatusParams>(`${STATUS_PATH}/:transid`, async (request, reply) => {
    const found = await findHolder(directory, request);
    if (!found.ok) return sendRefusal(reply, found.refusal);
    const status = await store.requestStatus(found.holder.service.id, request.params.transid);
    return status === null ? sendRefusal(reply, NO_RESULTS) : reply.send(rowsOf(status));
  });

  app.delete<StatusParams>(`${STATUS_PATH}/:transid`, async (request, reply) => {
    const found = await findHolder(directory, request);
    if (!found.ok) return sendRefusal(reply, found.refusal);
    const { transid } = request.params;
    const results = await store.recall(found.holder.service.id, transid, deps.clock.now());
    if (results === null) return sendRefusal(reply, NO_RESULTS);
    publishEntries(
      deps.bus,
      results.flatMap((result) => result.entries),
    );
    const recalled = results.filter((result) => result.outcome === 'recalled').length;
    if (recalled > 0) deps.observer.settled({ kind: 'recalled', count: recalled });
    return reply.send(
      results.map(({ destination, outcome, state }) => ({
        transactionid: transid.toLowerCase(),
        to: destination.value,
        to_type: destination.type,
        outcome,
        status: statusWord(state),
      })),
    );
  });
}
