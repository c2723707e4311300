import type { Clock, Random, ReceiptAttempt, ReceiptWork, Store } from '../core/ports.ts';
import type { Thread } from '../core/model.ts';
import { nextTry } from '../core/receipt-schedule.ts';
import type { NextTry, TryResult } from '../core/receipt-schedule.ts';
import { receiptHeaders } from '../core/signature.ts';
import type { GuardedFetch, GuardedResult } from '../lib/guarded-fetch.ts';
import { bodyOf } from './body.ts';
import type { Pace } from './lane.ts';
import type { ReceiptLimits } from './limits.ts';
import type { ServiceKeys } from './service-keys.ts';
import type { Target } from './route.ts';

export interface AttemptDeps {
  readonly fetch: Pick<GuardedFetch, 'send'>;
  readonly store: Pick<Store, 'getThread'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: ReceiptLimits;
  readonly keys: ServiceKeys;
  /** Ends the tries under way at a shutdown. */
  readonly signal: AbortSignal;
}

export type Tried =
  | { readonly kind: 'tried'; readonly next: NextTry; readonly attempt: ReceiptAttempt; readonly pace: Pace }
  /** Not the other side's doing: no room here, or a shutdown. Costs no attempt. */
  | { readonly kind: 'not-tried'; readonly waitMs: number };

/** One try of a receipt: built, signed with the time of this try, sent, judged. Rejects where the store does. */
export async function tryReceipt(work: ReceiptWork, target: Target, deps: AttemptDeps): Promise<Tried> {
  const thread = work.kind === 'postback' ? await threadOf(work, deps) : null;
  const keys = deps.keys.of(target.service);
  if (keys === null) {
    const error = 'the service has no usable receipt secret: rotate it to make one';
    return judge(work, { status: null, error, ms: 0, result: { kind: 'unanswered', permanent: false } }, deps);
  }
  const body = bodyOf(work, thread);
  const timestampSeconds = Math.floor(deps.clock.now() / 1_000);
  const result = await deps.fetch.send({
    url: target.url,
    method: 'POST',
    headers: { ...receiptHeaders({ id: work.id, timestampSeconds, body, keys }), 'user-agent': 'Carillon' },
    body,
    deadlineMs: deps.limits.tryMs,
    answerBytesMax: deps.limits.answerBytesMax,
    signal: deps.signal,
  });
  if (!result.ok && (result.reason === 'aborted' || result.reason === 'closed'))
    return { kind: 'not-tried', waitMs: 0 };
  if (!result.ok && result.reason === 'busy') return { kind: 'not-tried', waitMs: deps.limits.deferMs };
  return judge(work, outcomeOf(result), deps);
}

async function threadOf(work: ReceiptWork, deps: AttemptDeps): Promise<Thread | null> {
  const { facts } = work;
  return facts === null || facts.threadId === null ? null : deps.store.getThread(facts.appId, facts.threadId);
}

interface Outcome {
  readonly status: number | null;
  readonly error: string | null;
  readonly ms: number;
  readonly result: TryResult;
}

function outcomeOf(result: GuardedResult): Outcome {
  const ms = Math.round(result.ms);
  if (!result.ok) {
    // A wrong URL will not mend itself; a forbidden address may be allowed by the operator, so it goes on.
    const permanent = result.reason === 'bad-url';
    return { status: result.status, error: result.message, ms, result: { kind: 'unanswered', permanent } };
  }
  const { status } = result;
  const header = result.headers['retry-after'];
  const retryAfter = (Array.isArray(header) ? header[0] : header) ?? null;
  const error =
    status === 410 ? 'the URL answered 410: it is disabled for this service until it is enabled again' : null;
  return { status, error, ms, result: { kind: 'answered', status, retryAfter } };
}

function judge(work: ReceiptWork, outcome: Outcome, deps: AttemptDeps): Tried {
  const { status, error, ms, result } = outcome;
  const now = deps.clock.now();
  const next = nextTry({ attempts: work.attempts + 1, result, now, random: deps.random });
  return { kind: 'tried', next, attempt: { at: now, status, error, ms }, pace: paceOf(outcome, deps.limits) };
}

/** What a try says of its origin. */
function paceOf({ status, ms, result }: Outcome, limits: ReceiptLimits): Pace {
  if (result.kind === 'unanswered') return { kind: 'failed', ms };
  if (status === 429 || status === 503) return { kind: 'asked-for-less', ms };
  return { kind: ms <= limits.quickAnswerMs ? 'quick' : 'slow', ms };
}
