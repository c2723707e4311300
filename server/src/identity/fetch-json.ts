import type { GuardedFetch } from '../lib/guarded-fetch.ts';
import type { JsonFetch } from './key-sets.ts';
import { identityLimits } from './limits.ts';

/** Fetches key sets through the guarded client: forbidden addresses refused, redirects not followed, size bounded. */
export function jsonFetchOver(guarded: GuardedFetch): JsonFetch {
  return async (url) => {
    const answer = await guarded.send({
      url,
      method: 'GET',
      headers: { accept: 'application/jwk-set+json, application/json' },
      deadlineMs: identityLimits.keySetDeadlineMs,
      answerBytesMax: identityLimits.keySetBytesMax,
    });
    if (!answer.ok) return { ok: false, message: answer.message };
    if (answer.status !== 200) return { ok: false, message: `it answered ${answer.status}` };
    if (answer.truncated) return { ok: false, message: `it is over ${identityLimits.keySetBytesMax} bytes` };
    try {
      return { ok: true, json: JSON.parse(answer.body.toString('utf8')) };
    } catch {
      return { ok: false, message: 'it is not JSON' };
    }
  };
}
