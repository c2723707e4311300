/** Short links over a real socket (docs/api.md, smartlinks). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newSlug } from '../../src/core/links.ts';
import { FakeClock } from '../support/clock.ts';
import { itemsOf, makeBody, startTestServer } from '../support/http-server.ts';
import type { Answered, TestServer } from '../support/http-server.ts';
import { systemRandom } from '../support/random.ts';

let server: TestServer;
let clock: FakeClock;

async function start(url = 'https://shop.example/offer?a=1'): Promise<void> {
  clock = new FakeClock();
  server = await startTestServer({ clock });
  const value = { id: '5', clientId: server.tenant.clientId, name: 'l', url, validityMinutes: 10, createdAt: 0 };
  await server.store.putObjects([{ kind: 'smartlink', value }], 'create');
}
beforeEach(() => start());
afterEach(() => server.close());

const PHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1';

const visit = (slug: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answered> =>
  server.call({ method, path: `/l/${slug}`, headers: { 'user-agent': PHONE, ...headers } });

/** The slugs of a message to these users. */
async function slugsFor(...users: string[]): Promise<string[]> {
  const body = makeBody(
    { destination: [{ userid: users }], smartlinks: [{ linkid: 5 }] },
    { message: { text: '{{link_5}}' } },
  );
  itemsOf(await server.send(body));
  const slugs: string[] = [];
  for (const userid of users) {
    const user = (await server.store.findUser(server.tenant.appId, userid))!;
    const entries = await server.store.readLog(user, 0, 10);
    slugs.push(entries.at(-1)!.message!.links!['5']!);
  }
  return slugs;
}

describe('GET /l/<slug>', () => {
  it('sends the recipient on, and nobody learns from where', async () => {
    const [slug] = await slugsFor('ann');
    const answered = await visit(slug!);
    expect(answered.status).toBe(302);
    expect(answered.headers.location).toBe('https://shop.example/offer?a=1');
    expect(answered.headers['referrer-policy']).toBe('no-referrer');
    expect(answered.headers['x-robots-tag']).toBe('noindex');
    expect(answered.headers['cache-control']).toBe('no-store');
  });

  it('is each recipient’s own', async () => {
    const slugs = await slugsFor('ann', 'bob', 'cy');
    expect(new Set(slugs).size).toBe(3);
  });

  it('counts visits of people, not of HEAD, prefetch and previews', async () => {
    const [slug, other] = await slugsFor('ann', 'bob');
    await visit(slug!, {}, 'HEAD');
    await visit(slug!, { purpose: 'prefetch' });
    await visit(slug!, { 'sec-purpose': 'prefetch;prerender' });
    for (const agent of [
      'Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)',
      'WhatsApp/2.23.20.0',
      'facebookexternalhit/1.1',
      'TelegramBot (like TwitterBot)',
      'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
    ]) {
      expect((await visit(slug!, { 'user-agent': agent })).status).toBe(302);
    }
    expect(await server.store.linkFigures('5')).toMatchObject({ minted: 2, visits: 0, recipients: 0 });
    await visit(slug!);
    await visit(slug!);
    await visit(other!);
    expect(await server.store.linkFigures('5')).toMatchObject({ minted: 2, visits: 3, recipients: 2 });
  });

  it('is 410 when it has expired', async () => {
    const [slug] = await slugsFor('ann');
    clock.advance(600_000 - 1);
    expect((await visit(slug!)).status).toBe(302);
    clock.advance(1);
    const answered = await visit(slug!);
    expect([answered.status, answered.headers.location]).toEqual([410, undefined]);
    expect(answered.headers['x-robots-tag']).toBe('noindex');
  });

  it('is 404 for what is no link', async () => {
    for (const slug of [newSlug(systemRandom), 'x', '%0d%0aSet-Cookie:a', 'a'.repeat(500), '..%2f..%2fetc']) {
      expect((await visit(slug)).status).toBe(404);
    }
  });

  it('never leads anywhere else: parameters and paths decide nothing', async () => {
    const [slug] = await slugsFor('ann');
    for (const tail of ['?url=https://evil.example', '?next=//evil.example', '#x']) {
      expect((await visit(`${slug}${tail}`)).headers.location).toBe('https://shop.example/offer?a=1');
    }
    for (const tail of ['/https://evil.example', '%2f%2fevil.example', '//evil.example']) {
      expect((await visit(`${slug}${tail}`)).status).toBe(404);
    }
  });

  it('does not follow an address that no browser should be sent to, however it came into the store', async () => {
    await server.close();
    await start('javascript:alert(1)');
    const [slug] = await slugsFor('ann');
    expect((await visit(slug!)).status).toBe(404);
  });

  it('lets an address guess only so often, while known links still work after a moment', async () => {
    const [slug] = await slugsFor('ann');
    const statuses: number[] = [];
    for (let index = 0; index < 12; index += 1) statuses.push((await visit(newSlug(systemRandom))).status);
    expect(statuses.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 404));
    expect(statuses.slice(10)).toEqual([429, 429]);
    expect((await visit(slug!)).status).toBe(429);
    clock.advance(100);
    expect((await visit(slug!)).status).toBe(302);
    for (let index = 0; index < 20; index += 1) expect((await visit(slug!)).status).toBe(302);
  });

  it('does not believe a forwarded address from anyone', async () => {
    for (let index = 0; index < 10; index += 1) {
      await visit(newSlug(systemRandom), { 'x-forwarded-for': `203.0.113.${index}` });
    }
    expect((await visit(newSlug(systemRandom), { 'x-forwarded-for': '203.0.113.99' })).status).toBe(429);
  });
});
