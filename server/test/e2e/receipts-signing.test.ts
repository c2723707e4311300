import { createHmac } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { expect, it } from 'vitest';
import { newReceiptSecret } from '../../src/core/signature.ts';
import { seededRandom } from '../support/random.ts';
import { openSink, openWorld } from '../support/receipt-world.ts';
import type { Arrival } from '../support/receipt-world.ts';

function verify(arrival: Arrival, secret: string): unknown {
  return new Webhook(secret).verify(arrival.text, arrival.headers as Record<string, string>);
}

it('signs so that the Standard Webhooks library and a hand-made check agree', async () => {
  const sink = await openSink();
  const world = await openWorld({ service: { notifyUrl: sink.url() } });
  const { tid } = await world.send();
  await sink.got(1);
  const [arrival] = sink.arrivals;
  const { headers, text } = arrival!;
  expect(verify(arrival!, world.tenant.receiptSecret)).toMatchObject({ deliveryInfoNotification: { transid: tid } });

  const key = Buffer.from(world.tenant.receiptSecret.slice('whsec_'.length), 'base64');
  const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${text}`;
  expect(headers['webhook-signature']).toBe(`v1,${createHmac('sha256', key).update(signed).digest('base64')}`);
  const hub = createHmac('sha256', world.tenant.receiptSecret).update(text).digest('hex');
  expect(headers['x-hub-signature']).toBe(`sha256=${hub}`);
  expect(headers['content-type']).toBe('application/json');
  expect(headers['user-agent']).toBe('Carillon');
  // The parts of the signed text are joined by full stops: one inside the id could be taken for another id.
  expect(headers['webhook-id']).toMatch(/^[^.]+$/);
});

it('refuses a changed body, a changed id, a shortened signature and another secret', async () => {
  const sink = await openSink();
  const world = await openWorld({ service: { notifyUrl: sink.url() } });
  await world.send();
  await sink.got(1);
  const arrival = sink.arrivals[0]!;
  const secret = world.tenant.receiptSecret;
  const withHeader = (name: string, value: string): Arrival => ({
    ...arrival,
    headers: { ...arrival.headers, [name]: value },
  });
  expect(() => verify({ ...arrival, text: `${arrival.text} ` }, secret)).toThrow();
  expect(() => verify(withHeader('webhook-id', 'other'), secret)).toThrow();
  expect(() => verify(withHeader('webhook-signature', 'v1,'), secret)).toThrow();
  expect(() => verify(withHeader('webhook-timestamp', '1'), secret)).toThrow();
  expect(() => verify(arrival, newReceiptSecret(seededRandom(3)))).toThrow();
});

it('signs with both secrets while they are rotated', async () => {
  const sink = await openSink();
  const world = await openWorld({ service: { notifyUrl: sink.url() } });
  const [older, newer] = [world.tenant.receiptSecret, newReceiptSecret(seededRandom(4))];
  await world.changeService({ receiptSecrets: [newer, older] });
  await world.send();
  await sink.got(1);
  for (const secret of [older, newer]) expect(() => verify(sink.arrivals[0]!, secret)).not.toThrow();
  expect(String(sink.arrivals[0]!.headers['webhook-signature']).split(' ')).toHaveLength(2);
  await world.changeService({ receiptSecrets: [newer] });
  await world.send();
  await sink.got(2);
  expect(() => verify(sink.arrivals[1]!, newer)).not.toThrow();
  expect(() => verify(sink.arrivals[1]!, older)).toThrow();
});
