/**
 * `POST /resources/v1/messaging`, by hand on node:http: through the framework the one hot route took 40 % more time.
 * The body is read as JSON whatever its content type (contract §2).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { limits } from '@carillon/protocol/limits.ts';
import type { Accepter, AcceptCall } from '../accept/accepter.ts';
import { refusedAnswer } from '../accept/answer.ts';
import type { Answer, Refusal } from '../accept/answer.ts';
import type { Observer } from '../core/observer.ts';
import { httpLimits } from './limits.ts';
import { writeAnswer } from './wire.ts';

export const MESSAGING_PATH = '/resources/v1/messaging';

/** The query of a call of the messaging route; null: another route. */
export function messagingQuery(request: IncomingMessage): string | null {
  const { url = '' } = request;
  if (request.method !== 'POST' || !url.startsWith(MESSAGING_PATH)) return null;
  const rest = url.slice(MESSAGING_PATH.length);
  if (rest === '' || rest === '/') return '';
  const query = rest.startsWith('/?') ? rest.slice(1) : rest;
  return query.startsWith('?') ? query.slice(1) : null;
}

const WARNINGS = /(?:^|[,;\s])warnings(?:$|[,;=\s])/i;

/** A header as one text; node joins repeated ones, so two keys are a key nobody has. */
function header(request: IncomingMessage, name: string): string | null {
  const value = request.headers[name];
  return value === undefined ? null : String(value);
}

function tooLarge(): Refusal {
  const message = `the body must take at most ${limits.bodyBytesMax} bytes`;
  return { code: '7004', status: 413, details: [{ path: '', message }] };
}

function encoded(): Refusal {
  const message = 'the body must be sent as it is, without a content encoding';
  return { code: '7004', status: 415, details: [{ path: '', message }] };
}

function noRoom(): Refusal {
  const message = 'too many requests are being received; nothing of this one was read';
  return { code: '7006', status: 503, retryAfterSeconds: 1, details: [{ path: '', message }] };
}

/** Whether the body is sent in another form than its own; tells by the headers alone. */
function isEncoded(request: IncomingMessage): boolean {
  const encoding = request.headers['content-encoding'];
  return encoding !== undefined && encoding.trim() !== '' && encoding.trim().toLowerCase() !== 'identity';
}

/** What the headers alone forbid, so that not a byte of the body needs to come. */
export function refuseByHeaders(request: IncomingMessage): Refusal | null {
  // Declared too large is enough to refuse; declared small enough is not believed but counted.
  if (Number(request.headers['content-length'] ?? 0) > limits.bodyBytesMax) return tooLarge();
  return isEncoded(request) ? encoded() : null;
}

interface ReceivingOptions {
  readonly accepter: Accepter;
  readonly observer: Observer;
}

/** Receives the bodies of all calls of the hot route and has them answered. */
export class MessagingRoute {
  private readonly accepter: Accepter;
  private readonly observer: Observer;
  /** Bytes of bodies being received, all requests together. */
  private receivingBytes = 0;

  constructor(options: ReceivingOptions) {
    this.accepter = options.accepter;
    this.observer = options.observer;
  }

  handle(request: IncomingMessage, response: ServerResponse, query: string): void {
    const early = refuseByHeaders(request);
    let refusal = early;
    let chunks: Uint8Array[] = [];
    let bytes = 0;
    let held = 0;
    const drop = (): void => {
      this.receivingBytes -= held;
      held = 0;
      chunks = [];
    };
    request.on('data', (chunk: Uint8Array) => {
      bytes += chunk.length;
      if (refusal === null && bytes > limits.bodyBytesMax) refusal = tooLarge();
      if (refusal === null && this.receivingBytes + chunk.length > httpLimits.bodiesBytesMax) refusal = noRoom();
      if (refusal === null) {
        chunks.push(chunk);
        held += chunk.length;
        this.receivingBytes += chunk.length;
        return;
      }
      drop();
      if (bytes > httpLimits.discardedBytesMax && !response.headersSent) this.refuse(response, refusal, true);
    });
    request.on('end', () => {
      const body = chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
      drop();
      if (refusal === null) this.answer(request, response, { body, query });
      else if (!response.headersSent) this.refuse(response, refusal, false);
    });
    // The sender is gone: nobody is left to answer. After `end` there is nothing to drop.
    request.on('close', drop);
    request.on('error', drop);
  }

  /** The answer before the body, for a sender that asked `Expect: 100-continue` or declared far too much. */
  refuse(response: ServerResponse, refusal: Refusal, cut: boolean): void {
    const answer = refusedAnswer(refusal);
    this.observer.requestRefused({ serviceId: null, code: answer.code, status: answer.status, ms: 0 });
    writeAnswer(response, cut ? { ...answer, headers: { ...answer.headers, Connection: 'close' } } : answer);
  }

  private answer(
    request: IncomingMessage,
    response: ServerResponse,
    received: { body: Uint8Array; query: string },
  ): void {
    const { query, body } = received;
    const prefer = header(request, 'prefer');
    const call: AcceptCall = {
      keyText: header(request, 'key'),
      body,
      idempotencyKey: header(request, 'idempotency-key'),
      dryRun: query !== '' && new URLSearchParams(query).get('dryRun') === 'true',
      preferWarnings: prefer !== null && WARNINGS.test(prefer),
    };
    this.accepter.accept(call).then(
      (answer: Answer) => writeAnswer(response, answer),
      // Accepting answers its own failures; what comes here is one in telling about it.
      (error: unknown) => {
        this.observer.warning({ what: 'answering failed', error });
        writeAnswer(response, refusedAnswer({ code: '7006', details: [] }));
      },
    );
  }
}
