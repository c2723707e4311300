/** Status and recall of messages over a real socket (docs/api.md, status). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { UserHint } from '../../src/core/ports.ts';
import { FakeClock } from '../support/clock.ts';
import { itemsOf, makeBody, refusalOf, startTestServer } from '../support/http-server.ts';
import type { Answered, TestServer } from '../support/http-server.ts';
import { seedTenant } from '../support/seed.ts';

let server: TestServer;
let clock: FakeClock;
beforeEach(async () => {
  clock = new FakeClock();
  server = await startTestServer({ clock });
});
afterEach(() => server.close());

const PATH = '/resources/v1/messaging/status';
const ask = (what: string, method = 'GET', key = server.tenant.keyText): Promise<Answered> =>
  server.call({ method, path: `${PATH}${what}`, headers: { key } });
type Rows = Record<string, unknown>[];

async function sendOne(body = makeBody()): Promise<string> {
  return itemsOf(await server.send(body))[0]!.transid;
}

describe('status by transid', () => {
  it('is the bare array of the original, one item per identifier, with the steps', async () => {
    const transid = await sendOne(makeBody({ destination: [{ userid: ['ann', 'bob'], correlationid: 'o-1' }] }));
    const answered = await ask(`/${transid}`);
    expect(answered.status).toBe(200);
    const rows = answered.json as Rows;
    expect(rows.map((row) => row['to'])).toEqual(['ann', 'bob']);
    expect(rows[0]).toEqual({
      transactionid: transid,
      clientid: 'acme-client',
      api_version: 'v1',
      type: 'outbound-api',
      from: 'acme-app',
      to: 'ann',
      to_type: 'userid',
      correlationid: 'o-1',
      body: '{"message":"Hello","media":[]}',
      channel: 'appmessaging',
      status: 'queued',
      date_created: 'Thu, 01 Jan 2026 00:00:00 UTC',
      last_updated: 'Thu, 01 Jan 2026 00:00:00 UTC',
      error_code: null,
      error_message: null,
      events: [{ event: 'accepted', time: '2026-01-01T00:00:00.000Z' }],
    });
  });

  it('tells failures with their code: past expiry and no such profile', async () => {
    const past = (await ask(`/${await sendOne(makeBody({ expiry: '2020-01-01T00:00:00Z' }))}`)).json as Rows;
    expect(past[0]).toMatchObject({ status: 'expired', error_code: '7301', error_message: 'Message expired' });
    const nobody = (await ask(`/${await sendOne(makeBody({ destination: [{ msisdn: ['+4915112345678'] }] }))}`))
      .json as Rows;
    expect(nobody[0]).toMatchObject({
      status: 'failed',
      error_code: '7105',
      error_message: 'Customer profile not found',
    });
  });

  it('takes a transid in any letter case', async () => {
    const transid = await sendOne();
    expect((await ask(`/${transid.toUpperCase()}`)).json).toHaveLength(1);
  });

  it("answers another service's and an unknown one alike: 7600", async () => {
    const other = await seedTenant(server.store, { name: 'other' });
    const transid = await sendOne();
    const shape = (answered: Answered): unknown => [answered.status, { ...refusalOf(answered), transid: '' }];
    const foreign = shape(await ask(`/${transid}`, 'GET', other.keyText));
    expect(foreign).toEqual([200, { code: '7600', description: 'no results found', transid: '' }]);
    const unknown = ['/01a20df1-1d81-746c-b378-dd1a832b3000', '/nix', '/%00', `/${'x'.repeat(1_000)}`, `/${transid}0`];
    for (const what of unknown) expect(shape(await ask(what))).toEqual(foreign);
    for (const what of [`/${transid}`, '/nix'])
      expect(shape(await ask(what, 'DELETE', other.keyText))).toEqual(foreign);
    expect((await ask(`/${transid}`)).json).toMatchObject([{ status: 'queued' }]);
  });

  it('needs a key', async () => {
    for (const method of ['GET', 'DELETE']) {
      expect(refusalOf(await ask('/nix', method, '')).code).toBe('7002');
      expect(refusalOf(await ask('/nix', method, 'nobody')).code).toBe('7001');
    }
  });

  it('can be asked by a suspended service: what it sent goes on', async () => {
    const transid = await sendOne();
    const service = (await server.store.getObject('service', server.tenant.serviceId))!;
    await server.store.putObjects([{ kind: 'service', value: { ...service, state: 'suspended' } }], 'replace');
    server.bus.publish('objects');
    expect((await ask(`/${transid}`)).json).toHaveLength(1);
  });
});

describe('status by correlationid', () => {
  it('lists every message with it, newest first, of this service alone', async () => {
    const other = await seedTenant(server.store, { name: 'other' });
    const first = await sendOne(makeBody({ correlationid: 'order 7&=' }));
    const second = await sendOne(makeBody({ correlationid: 'order 7&=' }));
    await server.send(makeBody({ correlationid: 'order 7&=' }), { headers: { key: other.keyText } });
    const answered = await ask(`?correlationid=${encodeURIComponent('order 7&=')}`);
    expect((answered.json as Rows).map((row) => row['transactionid'])).toEqual([second, first]);
  });

  it('is 7600 for none and 7003 without one', async () => {
    expect(refusalOf(await ask('?correlationid=nix')).code).toBe('7600');
    expect(refusalOf(await ask(`?correlationid=${'x'.repeat(51)}`)).code).toBe('7600');
    for (const what of ['', '/', '?correlationid=', '?correlationid=a&correlationid=b']) {
      expect(refusalOf(await ask(what)).code).toBe('7003');
    }
  });
});

describe('recall', () => {
  it('takes a message back from all who have not read it and tells their devices', async () => {
    const transid = await sendOne(makeBody({ destination: [{ userid: ['ann', 'bob'] }] }));
    const user = (await server.store.findUser(server.tenant.appId, 'ann'))!;
    const hints: UserHint[] = [];
    server.bus.watch(user, (hint) => hints.push(hint));
    clock.advance(1_000);
    const answered = await ask(`/${transid}`, 'DELETE');
    expect(answered.json).toEqual(
      ['ann', 'bob'].map((to) => ({
        transactionid: transid,
        to,
        to_type: 'userid',
        outcome: 'recalled',
        status: 'recalled',
      })),
    );
    expect(hints).toMatchObject([{ head: 2, entry: { n: 2, event: { type: 'recalled', tid: transid } } }]);
    const rows = (await ask(`/${transid}`)).json as Rows;
    expect(rows.map((row) => row['status'])).toEqual(['recalled', 'recalled']);
    expect(rows[0]!['events']).toContainEqual({ event: 'recalled', time: '2026-01-01T00:00:01.000Z' });
  });

  it('leaves what is read or ended, and says so', async () => {
    const transid = await sendOne();
    const user = (await server.store.findUser(server.tenant.appId, 'ann'))!;
    await server.store.write({
      opens: [],
      accepts: [],
      settlements: [{ kind: 'read', user, at: clock.now(), device: null, ref: { tid: transid } }],
      closes: [],
    });
    expect((await ask(`/${transid}`, 'DELETE')).json).toMatchObject([{ outcome: 'read', status: 'read' }]);
    const past = await sendOne(makeBody({ expiry: '2020-01-01T00:00:00Z' }));
    expect((await ask(`/${past}`, 'DELETE')).json).toMatchObject([{ outcome: 'ended', status: 'expired' }]);
  });
});
