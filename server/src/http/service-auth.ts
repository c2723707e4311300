/** Routes for backends: the `key` header, JSON of any content type, and the original's shape of a refusal. */
import { parseJsonBody } from '@carillon/protocol/body.ts';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { refusedAnswer } from '../accept/answer.ts';
import type { Refusal } from '../accept/answer.ts';
import type { Directory, KeyHolder } from '../core/directory.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** Takes the body of any content type as bytes: what it says is for {@link readJson}. */
export function takeAnyBody(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
}

export type JsonResult =
  | { readonly ok: true; readonly value: JsonObject }
  | { readonly ok: false; readonly refusal: Refusal };

export function readJson(request: FastifyRequest): JsonResult {
  const body = request.body instanceof Uint8Array ? request.body : new Uint8Array();
  const parsed = parseJsonBody(body);
  if (parsed.ok) return parsed;
  return { ok: false, refusal: { code: '7000', details: [{ path: '', message: parsed.message }] } };
}

export type HolderResult =
  | { readonly ok: true; readonly holder: KeyHolder }
  | { readonly ok: false; readonly refusal: Refusal };

/** Whose key the request carries. A suspended service passes: what it sent before can still be asked about. */
export async function findHolder(directory: Directory, request: FastifyRequest): Promise<HolderResult> {
  const key = String(request.headers['key'] ?? '');
  if (key === '') {
    const message = 'the header key must hold the service key';
    return { ok: false, refusal: { code: '7002', details: [{ path: '', message }] } };
  }
  const holder = directory.peekServiceByKey(key) ?? (await directory.serviceByKey(key));
  if (holder !== null) return { ok: true, holder };
  return {
    ok: false,
    refusal: { code: '7001', details: [{ path: '', message: 'the service key is unknown or revoked' }] },
  };
}

/** Answers in the shape of the messaging API; the status is 200 for documented codes, as the original has it. */
export function sendRefusal(reply: FastifyReply, refusal: Refusal): FastifyReply {
  const answer = refusedAnswer(refusal);
  return reply.code(answer.status).headers(answer.headers).type('application/json; charset=utf-8').send(answer.body);
}
