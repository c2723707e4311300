/** Several processes on one PostgreSQL database and one NATS server do what one process does on a data folder. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { request } from 'undici';
import { Cluster, findClusterServers } from '../support/cluster.ts';
import type { ServerProcess } from '../support/server-process.ts';
import { Device, Devices } from '../faults/device.ts';
import { ReceiptSink } from '../faults/receipt-sink.ts';

const bin = findClusterServers();
const SOON_MS = 10_000;

async function send(node: ServerProcess, user: string, text: string, notifyurl?: string): Promise<string> {
  const answer = await request(`${node.http}/resources/v1/messaging`, {
    method: 'POST',
    headers: { key: node.demo().serviceKey, 'content-type': 'application/json' },
    body: JSON.stringify({
      deliverychannel: 'appmessaging',
      destination: [{ userid: [user] }],
      ...(notifyurl !== undefined && { notifyurl }),
      channels: { appmessaging: { message: { text }, thread_type: 'conversation', thread_title: 'Orders' } },
    }),
  });
  expect(answer.statusCode).toBe(200);
  const { response } = (await answer.body.json()) as { response: { code: string; transid: string }[] };
  expect(response[0]?.code).toBe('1001');
  return response[0]?.transid ?? '';
}

describe.skipIf(bin === null)('several nodes on one database', () => {
  let cluster: Cluster;
  let sink: ReceiptSink;
  const nodes: ServerProcess[] = [];
  beforeAll(async () => {
    cluster = await Cluster.open(bin!);
    sink = await ReceiptSink.open();
    for (const name of ['one', 'two', 'three']) nodes.push(await cluster.start(name));
  }, 120_000);
  afterAll(async () => {
    await cluster?.close();
    await sink?.close();
  }, 60_000);

  test('what one node accepts, a device on another gets at once, and one of them tells the sender', async () => {
    const devices = new Devices(['ann', 'bob']);
    await devices.get('ann').connect(nodes[1]!);
    await devices.get('bob').connect(nodes[2]!);
    const tids = await Promise.all([
      send(nodes[0]!, 'ann', 'for ann', sink.url),
      send(nodes[0]!, 'bob', 'for bob', sink.url),
    ]);
    const isThere = (): boolean => devices.get('ann').texts.has('for ann') && devices.get('bob').texts.has('for bob');
    expect(await devices.until(isThere, SOON_MS)).toBe(true);
    expect(devices.get('ann').received.map(({ tid }) => tid)).toEqual([tids[0]]);
    expect(await sink.until(() => tids.every((tid) => sink.statusesOf(tid).length >= 2), SOON_MS)).toBe(true);
    for (const tid of tids) expect(sink.statusesOf(tid)).toEqual(['Submitted', 'Delivered']);
    await devices.disconnect();
  });

  test('a session opened on another node is taken over there and ends here', async () => {
    const here = new Device('cid');
    const there = new Device('cid');
    await here.connect(nodes[0]!);
    await there.connect(nodes[1]!);
    await here.until(() => !here.isConnected);
    expect(here.disconnects).toEqual([0x8e]);
    // The close of the old connection does not end the new one.
    await send(nodes[2]!, 'cid', 'still there');
    await there.until(() => there.texts.has('still there'));
    expect(there.isConnected).toBe(true);
    await Promise.all([here.disconnect(), there.disconnect()]);
  });

  test('a user who is erased on one node is gone from the others', async () => {
    const device = new Device('gus');
    await device.connect(nodes[1]!);
    const { appid, adminToken } = nodes[0]!.demo();
    const erased = await request(`${nodes[0]!.http}/admin/v1/apps/${appid}/profiles/gus`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${adminToken}` },
    });
    expect(erased.statusCode).toBe(204);
    await device.until(() => !device.isConnected);
    expect(device.disconnects).toEqual([0x98]);
    await device.disconnect();
  });

  test('an Idempotency-Key counts on every node', async () => {
    const body = JSON.stringify({
      deliverychannel: 'appmessaging',
      destination: [{ userid: ['dee'] }],
      channels: { appmessaging: { message: { text: 'once' }, thread_type: 'conversation', thread_title: 'Orders' } },
    });
    const answers = await Promise.all(
      Array.from({ length: 30 }, async (_, index) => {
        const node = nodes[index % nodes.length]!;
        const headers = { key: node.demo().serviceKey, 'content-type': 'application/json', 'idempotency-key': 'k1' };
        const answer = await request(`${node.http}/resources/v1/messaging`, { method: 'POST', headers, body });
        return answer.body.text();
      }),
    );
    // Each node says of a second call at the same time that one is in flight; whoever gets 1001 gets the same answer.
    const accepted = answers.filter((answer) => answer.includes('"1001"'));
    expect(accepted.length).toBeGreaterThanOrEqual(nodes.length);
    expect([...new Set(accepted)]).toHaveLength(1);
    const device = new Device('dee');
    await device.connect(nodes[0]!);
    await send(nodes[1]!, 'dee', 'last');
    await device.until(() => device.texts.has('last'));
    expect(device.received.map(({ text }) => text)).toEqual(['once', 'last']);
    await device.disconnect();
  });

  test('a process does what its roles are, and no more', { timeout: 60_000 }, async () => {
    const [api, gateway] = await Promise.all([
      cluster.start('api', { args: ['--roles', 'api'] }),
      cluster.start('gateway', { args: ['--roles', 'gateway'] }),
    ]);
    expect(api.mqtt).toBe('off');
    expect(gateway.mqtt).toMatch(/^mqtt:/u);
    for (const node of [api, gateway]) expect((await request(`${node.http}/health/ready`)).statusCode).toBe(200);
    const refused = await request(`${gateway.http}/resources/v1/messaging`, { method: 'POST', body: '{}' });
    expect(refused.statusCode).toBe(404);
    const device = new Device('eva');
    // The device's token comes from a node that takes calls, its connection goes to one that serves devices.
    await device.connect({ http: api.http, mqtt: gateway.mqtt, demo: () => api.demo() });
    await send(api, 'eva', 'by roles');
    await device.until(() => device.texts.has('by roles'));
    await device.disconnect();
    const exits = await Promise.all([api.stop(), gateway.stop()]);
    expect(exits.map(({ code }) => code)).toEqual([0, 0]);
  });
});
