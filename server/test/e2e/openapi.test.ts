import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAdmin } from '../../src/http/admin/admin.ts';
import { renderDocsPage } from '../../src/http/docs-page.ts';
import { registerOpenapi } from '../../src/http/openapi.ts';
import { mintDeviceToken } from '../../src/identity/mint.ts';
import { openAdminWorld } from '../support/admin-world.ts';
import type { AdminWorld } from '../support/admin-world.ts';
import { startTestServer } from '../support/http-server.ts';
import { silentObserver } from '../support/silent-observer.ts';

let world: AdminWorld;
beforeAll(async () => {
  world = await openAdminWorld();
});
afterAll(() => world.close());

describe('GET /openapi.json', () => {
  it('describes the messaging API and the admin API, and nothing that hides', async () => {
    const { body } = await world.call('GET', '/openapi.json');
    const document = body as { openapi: string; paths: Record<string, Record<string, Record<string, unknown>>> };
    expect(document.openapi).toBe('3.1.0');
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining(['/resources/v1/messaging', '/resources/v1/device-tokens', '/admin/v1/services/{id}']),
    );
    expect(document.paths).not.toHaveProperty('/docs');
    for (const [path, operations] of Object.entries(document.paths)) {
      for (const [method, operation] of Object.entries(operations)) {
        const name = `${method} ${path}`;
        expect({ name, summary: operation['summary'] }).toEqual({ name, summary: expect.stringMatching(/\.$/u) });
        expect(operation['security'], name).not.toHaveLength(0);
        const named = [...path.matchAll(/\{(\w+)\}/gu)].map(([, parameter]) => parameter);
        const told = (operation['parameters'] ?? []) as { name: string; in: string }[];
        const inPath = told.filter((parameter) => parameter.in === 'path').map((parameter) => parameter.name);
        expect(inPath, name).toEqual(named);
      }
    }
  });
});

/** Served and not described: the description itself, and an address for those who forget the transid. */
const NOT_DESCRIBED = new Set(['/openapi.json', '/docs', '/resources/v1/messaging/status/']);

describe('the routes and the document', () => {
  it('hold the same addresses and methods', async () => {
    const server = await startTestServer({
      deps: {
        mintDeviceToken,
        metrics: { token: null, render: () => Promise.resolve({ contentType: 'text/plain', body: '' }) },
        registerAdmin: async (fastify) => {
          await registerOpenapi(fastify);
          await fastify.register(createAdmin({ ...world.at, bus: world.bus, observer: silentObserver }));
        },
      },
    });
    try {
      const { json } = await server.call({ path: '/openapi.json' });
      const { paths } = json as { paths: Record<string, Record<string, unknown>> };
      const described = Object.entries(paths).flatMap(([path, operations]) =>
        Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
      );
      const served = [...server.http.routes].flatMap(([url, methods]) => {
        const path = url.replaceAll(/:(\w+)/gu, '{$1}');
        // HEAD comes along with GET; it is described where it means something else.
        const own = [...methods].filter((method) => method !== 'HEAD' || paths[path]?.['head'] !== undefined);
        return NOT_DESCRIBED.has(url) ? [] : own.map((method) => `${method} ${path}`);
      });
      expect(described.toSorted()).toEqual(served.toSorted());
      expect(described).toEqual(expect.arrayContaining(['HEAD /l/{slug}', 'POST /resources/v1/messaging']));
    } finally {
      await server.close();
    }
  });
});

describe('GET /docs', () => {
  it('is one page that fetches and runs nothing', async () => {
    const { status, text: page, headers } = await world.call('GET', '/docs');
    const text = page.replaceAll('<wbr>', '');
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('text/html; charset=utf-8');
    expect(text).toContain('<code>/resources/v1/messaging</code>');
    expect(text).toContain('<code>channels.appmessaging.message.text</code>');
    expect(text).toContain('<code>/admin/v1/services/{id}/keys</code>');
    expect(text).toContain('<td><code>warnings</code> lists what was ignored</td>');
    expect(text).toContain('Needs: <code>serviceKey</code> or <code>appSecret</code>');
    expect(text).not.toMatch(/<script|<link|<img|<iframe|\son\w+=|@import|url\(|style="/iu);
    expect(text.match(/(?:src|href)="(?!#|\/openapi\.json")/u)).toBeNull();
    const style = /<style>(?<style>[\s\S]*?)<\/style>/u.exec(text)?.groups?.['style'] ?? '';
    const hash = createHash('sha256').update(style).digest('base64');
    expect(headers['content-security-policy']).toContain(`default-src 'none'; style-src 'sha256-${hash}'`);
  });

  it('escapes every text of the document', () => {
    const hostile = '<img src=x onerror="alert(1)">\'&';
    const operation = {
      tags: [hostile],
      summary: hostile,
      description: hostile,
      responses: { [hostile]: { description: hostile } },
    };
    const parameters = [
      { name: hostile, in: hostile, description: hostile, schema: { type: hostile, enum: [hostile] } },
    ];
    const page = renderDocsPage({
      info: { title: hostile, version: hostile, description: hostile },
      paths: { [hostile]: { [hostile]: { ...operation, parameters } } },
    });
    expect(page).not.toContain('<img');
    expect(page).not.toMatch(/<[^>]*\sonerror="alert/u);
  });
});
