/** `Idempotency-Key`: one request, however often it is sent (docs/api.md, idempotency). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../support/clock.ts';
import { itemsOf, makeBody, refusalOf, startTestServer } from '../support/http-server.ts';
import type { TestServer } from '../support/http-server.ts';
import { seedTenant } from '../support/seed.ts';

let server: TestServer;
let clock: FakeClock;
beforeEach(async () => {
  clock = new FakeClock();
  server = await startTestServer({ clock });
});
afterEach(() => server.close());

const once = (key: string): { headers: Record<string, string> } => ({ headers: { 'idempotency-key': key } });
const waiting = async (): Promise<number> => (await server.store.counts(clock.now())).waiting;

describe('Idempotency-Key', () => {
  it('gives the stored answer for the same body', async () => {
    const first = await server.send(makeBody(), once('k1'));
    const second = await server.send(makeBody(), once('k1'));
    expect(second.status).toBe(200);
    expect(second.text).toBe(first.text);
    expect(second.headers['idempotency-replayed']).toBe('true');
    expect(first.headers['idempotency-replayed']).toBeUndefined();
    expect(await waiting()).toBe(1);
  });

  it('is 422 with another body, even one that says the same', async () => {
    await server.send(makeBody(), once('k1'));
    const answered = await server.send(`${JSON.stringify(makeBody())} `, once('k1'));
    expect(answered.status).toBe(422);
    expect(refusalOf(answered)).toMatchObject({ code: '7004' });
    expect(await waiting()).toBe(1);
  });

  it('makes one batch of 200 parallel calls', async () => {
    const answers = await Promise.all(Array.from({ length: 200 }, () => server.send(makeBody(), once('k1'))));
    const accepted = answers.filter((answer) => answer.status === 200);
    const inFlight = answers.filter((answer) => answer.status === 409);
    expect(accepted.length).toBeGreaterThan(0);
    expect(accepted.length + inFlight.length).toBe(200);
    expect(new Set(accepted.map((answer) => answer.text)).size).toBe(1);
    for (const answer of inFlight)
      expect([refusalOf(answer).code, answer.headers['retry-after']]).toEqual(['7004', '1']);
    expect(await waiting()).toBe(1);
  });

  it('is 409 while the first call is in flight, and free again when that one fails', async () => {
    let fail: ((error: Error) => void) | undefined;
    let started: (() => void) | undefined;
    const entered = new Promise<void>((resolve) => {
      started = resolve;
    });
    const slow = await startTestServer({
      writer: (writer) => {
        let calls = 0;
        return {
          accept: (unit) => {
            calls += 1;
            if (calls > 1) return writer.accept(unit);
            started?.();
            return new Promise((_resolve, reject) => {
              fail = reject;
            });
          },
        };
      },
    });
    try {
      const first = slow.send(makeBody(), once('k1'));
      await entered;
      expect((await slow.send(makeBody(), once('k1'))).status).toBe(409);
      expect(itemsOf(await slow.send(makeBody(), once('k2')))).toHaveLength(1);
      fail?.(new Error('planted'));
      expect((await first).status).toBe(500);
      expect(itemsOf(await slow.send(makeBody(), once('k1')))).toHaveLength(1);
    } finally {
      await slow.close();
    }
  });

  it('belongs to the service', async () => {
    const other = await seedTenant(server.store, { name: 'other' });
    const first = await server.send(makeBody(), once('k1'));
    const theirs = await server.send(makeBody(), { headers: { 'idempotency-key': 'k1', key: other.keyText } });
    expect(itemsOf(theirs)[0]!.transid).not.toBe(itemsOf(first)[0]!.transid);
  });

  it('is forgotten after 24 hours', async () => {
    const first = await server.send(makeBody(), once('k1'));
    clock.advance(86_400_000 - 1);
    expect((await server.send(makeBody(), once('k1'))).text).toBe(first.text);
    clock.advance(1);
    expect(itemsOf(await server.send(makeBody(), once('k1')))[0]!.transid).not.toBe(itemsOf(first)[0]!.transid);
  });

  it('remembers nothing of a refusal and nothing of a dry run', async () => {
    expect(refusalOf(await server.send(makeBody({ appid: 'nix' }), once('k1'))).code).toBe('7104');
    itemsOf(await server.send(makeBody(), { ...once('k1'), query: '?dryRun=true' }));
    expect(itemsOf(await server.send(makeBody(), once('k1')))).toHaveLength(1);
  });

  it('counts as none where it is empty, and is refused where it is too long', async () => {
    const texts = [await server.send(makeBody(), once('')), await server.send(makeBody(), once(''))];
    expect(texts[0]!.text).not.toBe(texts[1]!.text);
    expect(refusalOf(await server.send(makeBody(), once('k'.repeat(256)))).code).toBe('7004');
    expect(itemsOf(await server.send(makeBody(), once('k'.repeat(255))))).toHaveLength(1);
  });
});
