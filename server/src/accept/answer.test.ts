import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newUid, transidOf } from '../core/transid.ts';
import { acceptedBody, refusedAnswer, warningsExtra } from './answer.ts';

describe('acceptedBody', () => {
  it('is the JSON that serialising would make, for any labels', () => {
    const label = fc.option(fc.string({ unit: 'binary', maxLength: 20 }), { nil: null });
    fc.assert(
      fc.property(fc.array(label, { minLength: 1, maxLength: 50 }), (labels) => {
        const uid = newUid();
        const destinations = labels.map((correlationid) => ({ correlationid, identifiers: [] }));
        const response = labels.map((correlationid, index) => ({
          code: '1001',
          description: 'Queued',
          transid: transidOf(uid, index),
          ...(correlationid === null ? undefined : { correlationid }),
        }));
        expect(acceptedBody(uid, destinations)).toBe(JSON.stringify({ response }));
      }),
    );
  });

  it('has a transid of its own for the last of a thousand', () => {
    const uid = newUid();
    const destinations = Array.from({ length: 1_000 }, () => ({ correlationid: null, identifiers: [] }));
    const { response } = JSON.parse(acceptedBody(uid, destinations)) as { response: { transid: string }[] };
    expect(response.at(-1)!.transid).toBe(transidOf(uid, 999));
  });
});

describe('warningsExtra', () => {
  it('gives each item its own, and the first one the rest', () => {
    const extra = warningsExtra([
      { path: '/destination/2/x', message: 'a' },
      { path: '/x', message: 'b' },
      { path: '/destination', message: 'c' },
    ])!;
    expect(extra(0)).toBe(',"warnings":[{"path":"/x","message":"b"},{"path":"/destination","message":"c"}]');
    expect(extra(1)).toBe('');
    expect(extra(2)).toBe(',"warnings":[{"path":"/destination/2/x","message":"a"}]');
    expect(warningsExtra([])).toBeUndefined();
  });
});

describe('refusedAnswer', () => {
  it('takes its status from the refusal, else from the table, else 200', () => {
    expect(refusedAnswer({ code: '7004', details: [] }).status).toBe(200);
    expect(refusedAnswer({ code: '7020', details: [], retryAfterSeconds: 0.2 })).toMatchObject({
      status: 429,
      headers: { 'Retry-After': '1' },
    });
    expect(refusedAnswer({ code: '7006', details: [] }).status).toBe(500);
    expect(refusedAnswer({ code: '7004', details: [], status: 409 }).status).toBe(409);
  });

  it('has a new transid each time and no empty details', () => {
    const bodies = [1, 2].map(
      () => JSON.parse(refusedAnswer({ code: '7600', details: [] }).body) as { response: object },
    );
    expect(bodies[0]).not.toEqual(bodies[1]);
    expect(Object.keys(bodies[0]!.response)).toEqual(['code', 'description', 'transid']);
  });
});
