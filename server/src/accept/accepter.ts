/** Accepting a request: every check in the order of the codes, one commit, one answer (contract §2). */
import { hash } from 'node:crypto';
import { parseJsonBody } from '@carillon/protocol/body.ts';
import { parseMessagingRequest } from '@carillon/protocol/messaging.ts';
import type { MessagingRequest, Warning } from '@carillon/protocol/messaging.ts';
import type { Directory, KeyHolder } from '../core/directory.ts';
import type { Observer } from '../core/observer.ts';
import { StoreUnavailable } from '../core/ports.ts';
import type { AcceptUnit, Clock, Writer } from '../core/ports.ts';
import { newUid, transidOf } from '../core/transid.ts';
import { acceptedAnswer, acceptedBody, refusedAnswer, warningsExtra } from './answer.ts';
import type { Answer, Refusal } from './answer.ts';
import { dryRunBody } from './dry-run.ts';
import { prepare } from './prepare.ts';
import type { AcceptLimits, PreparedUnit } from './prepare.ts';
import { RateLimiter } from './rate.ts';

export interface AcceptCall {
  /** The `key` header; null or empty: missing. */
  readonly keyText: string | null;
  /** At most `limits.bodyBytesMax`: the caller has cut longer ones off. */
  readonly body: Uint8Array;
  /** The `Idempotency-Key` header; null or empty: none. */
  readonly idempotencyKey: string | null;
  readonly dryRun: boolean;
  /** `Prefer: warnings`. */
  readonly preferWarnings: boolean;
}

export interface AccepterOptions {
  readonly directory: Directory;
  readonly writer: Pick<Writer, 'accept'>;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly limits: AcceptLimits;
  /** Base of short links, without a slash at its end. */
  readonly publicUrl: () => string;
}

/** Longest Idempotency-Key, UTF-16 units of the header as it came. */
const IDEMPOTENCY_KEY_LENGTH_MAX = 255;
const IDEMPOTENCY_KEEP_MS = 86_400_000;
/** What waits does not go away in a second. */
const FULL_RETRY_SECONDS = 10;

interface Admitted extends KeyHolder {
  readonly request: MessagingRequest;
  readonly body: Readonly<Record<string, unknown>>;
  readonly warnings: readonly Warning[];
  readonly now: number;
}

type Admission = { readonly ok: true; readonly admitted: Admitted } | { readonly ok: false; readonly refusal: Refusal };

function refuse(
  code: Refusal['code'],
  message: string,
  path: string = '',
): { readonly ok: false; readonly refusal: Refusal } {
  return { ok: false, refusal: { code, details: [{ path, message }] } };
}

const FULL_MESSAGES = {
  user: 'too many messages wait for one of the recipients; nothing of the request was stored',
  total: 'too many messages wait; nothing of the request was stored',
} as const;

/** Where a request ends up, with what is told about it. */
interface Verdict {
  readonly answer: Answer;
  /** Set where the request was committed by this call. */
  readonly unit: PreparedUnit | null;
}

/** The way in of the messaging API. Never throws: a fault of ours is an answer too. */
export class Accepter {
  private readonly options: AccepterOptions;
  private readonly rate: RateLimiter;
  /** Idempotency keys in flight, by service; as many as requests in flight. */
  private readonly inFlight = new Set<string>();

  constructor(options: AccepterOptions) {
    this.options = options;
    this.rate = new RateLimiter(options.clock);
  }

  async accept(call: AcceptCall): Promise<Answer> {
    const { clock, observer } = this.options;
    const startedAt = clock.monotonic();
    let holder: KeyHolder | null = null;
    let verdict: Verdict;
    try {
      const found = await this.findHolder(call.keyText);
      holder = 'code' in found ? null : found;
      verdict = 'code' in found ? refused(found) : await this.acceptFor(found, call);
    } catch (error) {
      verdict = refused(this.failure(error));
    }
    const ms = clock.monotonic() - startedAt;
    const serviceId = holder?.service.id ?? null;
    const { answer, unit } = verdict;
    if (unit !== null) {
      const transid = transidOf(unit.uid, 0);
      const destinations = unit.destinations.length;
      observer.requestAccepted({ serviceId: unit.serviceId, clientId: unit.clientId, transid, destinations, ms });
    } else if (answer.code !== '1001') {
      observer.requestRefused({ serviceId, code: answer.code, status: answer.status, ms });
    }
    return answer;
  }

  /** 7002 and 7001; a holder from memory needs no promise of its own. */
  private async findHolder(keyText: string | null): Promise<KeyHolder | Refusal> {
    const { directory } = this.options;
    if (keyText === null || keyText === '') {
      return refuse('7002', 'the header key must hold the service key').refusal;
    }
    const holder = directory.peekServiceByKey(keyText) ?? (await directory.serviceByKey(keyText));
    return holder ?? refuse('7001', 'the service key is unknown or revoked').refusal;
  }

  /** 7007, 7020, and what the body says: 7000, 7009, 7003, 7004. Synchronous, so that a taken rate is taken at once. */
  private admit(holder: KeyHolder, call: AcceptCall): Admission {
    const { service } = holder;
    if (service.state !== 'live') return refuse('7007', 'the service is suspended; its operator can set it live again');
    const waitSeconds = this.rate.waitSeconds(service.id, service.ratePerSecond);
    if (waitSeconds > 0) {
      const message = `the service may send to ${service.ratePerSecond} destinations a second`;
      return { ok: false, refusal: { code: '7020', details: [{ path: '', message }], retryAfterSeconds: waitSeconds } };
    }
    const parsed = parseJsonBody(call.body);
    if (!parsed.ok) return refuse('7000', parsed.message);
    const now = this.options.clock.now();
    const result = parseMessagingRequest(parsed.value, { now });
    if (!result.ok) return { ok: false, refusal: { code: result.code, details: result.details } };
    if ((call.idempotencyKey?.length ?? 0) > IDEMPOTENCY_KEY_LENGTH_MAX) {
      return refuse('7004', `the header Idempotency-Key must have at most ${IDEMPOTENCY_KEY_LENGTH_MAX} characters`);
    }
    const { request, warnings } = result;
    return { ok: true, admitted: { ...holder, request, warnings, body: parsed.value, now } };
  }

  private async acceptFor(holder: KeyHolder, call: AcceptCall): Promise<Verdict> {
    const admission = this.admit(holder, call);
    if (!admission.ok) return refused(admission.refusal);
    const { admitted } = admission;
    if (call.dryRun) return this.store(admitted, call);
    const { id, ratePerSecond } = admitted.service;
    const count = countIdentifiers(admitted.request);
    this.rate.take(id, ratePerSecond, count);
    let unit: PreparedUnit | null = null;
    try {
      const verdict = await this.store(admitted, call);
      unit = verdict.unit;
      return verdict;
    } finally {
      // What was not committed went to no destination.
      if (unit === null) this.rate.take(id, ratePerSecond, -count);
    }
  }

  /** Looks up, renders, commits (or tells what would be committed). */
  private async store(admitted: Admitted, call: AcceptCall): Promise<Verdict> {
    const { directory, limits } = this.options;
    const { service, client, body, now } = admitted;
    const publicUrl = this.options.publicUrl();
    const context = { directory, limits, publicUrl, service, client, body, now, uid: newUid() };
    const prepared = await prepare(admitted.request, context);
    if (!prepared.ok) return refused(prepared.refusal);
    const { unit } = prepared;
    const warnings = prepared.warnings.length === 0 ? admitted.warnings : [...admitted.warnings, ...prepared.warnings];
    if (call.dryRun) return { answer: acceptedAnswer(dryRunBody(unit, warnings, publicUrl)), unit: null };
    const extra = call.preferWarnings ? warningsExtra(warnings) : undefined;
    const answerBody = acceptedBody(unit.uid, unit.destinations, extra);
    const headers = call.preferWarnings ? { 'Preference-Applied': 'warnings' } : undefined;
    const answer = acceptedAnswer(answerBody, headers);
    if (call.idempotencyKey === null || call.idempotencyKey === '') {
      return this.commit({ ...unit, idempotency: null }, answer);
    }
    return this.commitOnce(unit, { key: call.idempotencyKey, bodyHash: hash('sha256', call.body, 'hex'), answer });
  }

  private async commitOnce(
    unit: PreparedUnit,
    once: { key: string; bodyHash: string; answer: Answer },
  ): Promise<Verdict> {
    const mark = `${unit.serviceId}\n${once.key}`;
    if (this.inFlight.has(mark)) {
      const { refusal } = refuse(
        '7004',
        'a request with this Idempotency-Key is in flight; ask again when it is answered',
      );
      return refused({ ...refusal, status: 409, retryAfterSeconds: 1 });
    }
    this.inFlight.add(mark);
    try {
      const expiresAt = unit.acceptedAt + IDEMPOTENCY_KEEP_MS;
      const idempotency = { key: once.key, bodyHash: once.bodyHash, answer: once.answer.body, expiresAt };
      return await this.commit({ ...unit, idempotency }, once.answer);
    } finally {
      this.inFlight.delete(mark);
    }
  }

  private async commit(unit: AcceptUnit, answer: Answer): Promise<Verdict> {
    const result = await this.options.writer.accept(unit);
    switch (result.kind) {
      case 'accepted':
        return { answer, unit };
      case 'repeated': {
        if (result.answer !== null) {
          return { answer: acceptedAnswer(result.answer, { 'Idempotency-Replayed': 'true' }), unit: null };
        }
        const { refusal } = refuse('7004', 'this Idempotency-Key was used with another body; take a new one');
        return refused({ ...refusal, status: 422 });
      }
      case 'full': {
        const { refusal } = refuse('7006', FULL_MESSAGES[result.bound]);
        return refused({ ...refusal, status: 503, retryAfterSeconds: FULL_RETRY_SECONDS });
      }
    }
  }

  private failure(error: unknown): Refusal {
    const { observer } = this.options;
    if (error instanceof StoreUnavailable) {
      const { refusal } = refuse('7006', 'the store cannot take the request now; nothing of it was stored');
      return { ...refusal, status: 503, retryAfterSeconds: error.retryAfterSeconds };
    }
    observer.warning({ what: 'accepting failed', error });
    return { code: '7006', details: [] };
  }
}

function refused(refusal: Refusal): Verdict {
  return { answer: refusedAnswer(refusal), unit: null };
}

function countIdentifiers(request: MessagingRequest): number {
  let count = 0;
  for (const { identifiers } of request.destinations) count += identifiers.length;
  return count;
}
