/** `POST /resources/v1/device-tokens`: tokens for devices, made for backends without a JWT library (contract §4). */
import { textFault } from '@carillon/protocol/fields.ts';
import { limits } from '@carillon/protocol/limits.ts';
import type { FaultDetail } from '@carillon/protocol/messaging.ts';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Refusal } from '../accept/answer.ts';
import type { HttpDeps, MintDeviceToken } from './deps.ts';
import { findHolder, readJson, sendRefusal } from './service-auth.ts';
import type { JsonObject } from './service-auth.ts';

const TTL_SECONDS_MAX = 86_400;

type Names = { [Name in 'userid' | 'customerid' | 'msisdn' | 'deviceid']?: string };

interface TokenRequest {
  readonly appid: string | null;
  readonly names: Names & { readonly userid: string };
  readonly ttlSeconds: number | null;
}

/** Unlike the original's calls this one is ours: its statuses say what happened. */
const STATUSES: Readonly<Partial<Record<Refusal['code'], number>>> = {
  '7000': 400,
  '7001': 401,
  '7002': 401,
  '7003': 400,
  '7004': 400,
  '7007': 403,
  '7104': 404,
};

function refuse(reply: FastifyReply, refusal: Refusal): FastifyReply {
  const status = STATUSES[refusal.code];
  return sendRefusal(reply, status === undefined ? refusal : { ...refusal, status });
}

function nameFault(value: unknown): string | undefined {
  if (typeof value !== 'string') return 'must be a string';
  if (Buffer.byteLength(value) > limits.identifierBytesMax)
    return `must be at most ${limits.identifierBytesMax} bytes of UTF-8`;
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for: a userid is part of a topic
  if (/[\u0000-\u001f\u007f-\u009f]/.test(value)) return 'must not contain control characters';
  return textFault(value);
}

type Read = { readonly ok: true; readonly value: TokenRequest } | { readonly ok: false; readonly refusal: Refusal };

function readTokenRequest(body: JsonObject): Read {
  const faults: FaultDetail[] = [];
  const names: Names = {};
  let appid: string | null = null;
  for (const key of ['appid', 'userid', 'customerid', 'msisdn', 'deviceid'] as const) {
    const value = body[key];
    if (value === undefined || value === null || value === '') continue;
    const message = nameFault(value);
    if (message !== undefined) faults.push({ path: `/${key}`, message });
    else if (key === 'appid') appid = value as string;
    else names[key] = value as string;
  }
  const ttl = body['ttl'] ?? null;
  // Number() alone would read true as a second and [60] as a minute.
  const isNumeric = typeof ttl === 'number' || (typeof ttl === 'string' && /^\d+$/.test(ttl));
  const ttlSeconds = ttl === null || ttl === '' ? null : isNumeric ? Number(ttl) : Number.NaN;
  if (ttlSeconds !== null && !(Number.isInteger(ttlSeconds) && ttlSeconds >= 1 && ttlSeconds <= TTL_SECONDS_MAX)) {
    faults.push({ path: '/ttl', message: `must be a whole number of seconds, from 1 to ${TTL_SECONDS_MAX}` });
  }
  const { userid } = names;
  if (userid === undefined && !faults.some((fault) => fault.path === '/userid')) {
    const missing = { path: '/userid', message: 'must be the user the token is for' };
    return { ok: false, refusal: { code: '7003', details: [missing, ...faults] } };
  }
  if (userid === undefined || faults.length > 0) return { ok: false, refusal: { code: '7004', details: faults } };
  return { ok: true, value: { appid, names: { ...names, userid }, ttlSeconds } };
}

/** The route; `appid` may be left out for the service's own app. */
export function registerDeviceTokens(app: FastifyInstance, deps: HttpDeps, mint: MintDeviceToken): void {
  app.post('/resources/v1/device-tokens', async (request, reply) => {
    const found = await findHolder(deps.directory, request);
    if (!found.ok) return refuse(reply, found.refusal);
    const { service, client } = found.holder;
    if (service.state !== 'live') {
      return refuse(reply, { code: '7007', details: [{ path: '', message: 'the service is suspended' }] });
    }
    const json = readJson(request);
    if (!json.ok) return refuse(reply, json.refusal);
    const read = readTokenRequest(json.value);
    if (!read.ok) return refuse(reply, read.refusal);
    const { appid, names, ttlSeconds } = read.value;
    const target = await deps.directory.app(appid ?? service.appId);
    if (target === null || target.clientId !== client.id) {
      return refuse(reply, { code: '7104', details: [{ path: '/appid', message: 'is no app of yours' }] });
    }
    const ttl = ttlSeconds === null ? undefined : { ttlSeconds };
    const minted = await mint({ app: target, now: deps.clock.now(), ...names, ...ttl });
    if (!minted.ok) return refuse(reply, { code: '7004', details: [{ path: '/appid', message: minted.message }] });
    return reply.send({ token: minted.token, expires: minted.expires });
  });
}
