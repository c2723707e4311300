import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/clock.ts';
import { Events } from './events.ts';
import { Log } from './log.ts';
import type { LogLevel } from './log.ts';
import { Metrics } from './metrics.ts';

function observed(level: LogLevel = 'info'): {
  events: Events;
  log: Log;
  metrics: Metrics;
  clock: FakeClock;
  lines: string[];
} {
  const lines: string[] = [];
  const clock = new FakeClock();
  const log = new Log({ level, clock, destination: { write: (line: string) => void lines.push(line) } });
  const metrics = new Metrics({
    counts: () =>
      Promise.resolve({ waiting: 7, users: 3, receiptsPending: 2, receiptsDead: 1, receiptsOldestMs: 1500 }),
  });
  return { events: new Events({ log, metrics, clock }), log, metrics, clock, lines };
}

const parse = (line: string | undefined): Record<string, unknown> => JSON.parse(line ?? '') as Record<string, unknown>;

describe('Log', () => {
  it('writes one JSON object a line and names the event', () => {
    const { events, lines } = observed();
    events.requestRefused({ serviceId: null, code: '7001', status: 200, ms: 1 });
    expect(lines).toHaveLength(1);
    expect(lines[0]?.endsWith('}\n')).toBe(true);
    expect(parse(lines[0])).toMatchObject({ level: 'info', event: 'request refused', code: '7001' });
  });

  it('lets no control character and no text direction through to a terminal', () => {
    const { log, lines } = observed();
    const hostile = 'a\u001b[2J\u009b2Jb\r\n\u202ec\u2028d\u007f"';
    log.info('x', { hostile });
    // oxlint-disable-next-line no-control-regex -- what must not be there
    expect(lines[0]?.trimEnd()).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e]/u);
    expect(parse(lines[0])['hostile']).toBe(hostile);
  });

  it('bounds the lines of a flood and says how many it dropped', () => {
    const { events, log, clock, lines } = observed();
    const refused = (): void => events.requestRefused({ serviceId: null, code: '7001', status: 200, ms: 1 });
    for (let index = 0; index < 1_000; index += 1) refused();
    expect(lines).toHaveLength(100);
    log.warn('something else');
    expect(lines).toHaveLength(101);
    clock.advance(1_000);
    refused();
    expect(parse(lines.at(-1))).toMatchObject({ event: 'request refused', dropped: 900 });
    refused();
    expect(parse(lines.at(-1))).not.toHaveProperty('dropped');
  });

  it('keeps to its level', () => {
    const { log, lines } = observed('warn');
    log.info('a');
    log.debug('b');
    log.warn('c', { error: new Error('why') });
    expect(lines.map((line) => parse(line)['event'])).toEqual(['c']);
    expect(parse(lines[0])['error']).toMatchObject({ type: 'Error', message: 'why' });
  });
});

describe('Metrics', () => {
  it('counts what the events tell', async () => {
    const { events, metrics } = observed();
    events.requestAccepted({ serviceId: 's', clientId: 'c', transid: 't', destinations: 3, ms: 4 });
    events.requestRefused({ serviceId: null, code: '7004', status: 200, ms: 1 });
    events.committed({ accepts: 2, deliveries: 5, settlements: 1, ms: 0.4 });
    events.delivered({ appId: 'a', latencyMs: 1_500 });
    events.settled({ kind: 'read', count: 4 });
    events.sessionOpened({ appId: 'a', protocol: 'mqtt5', transport: 'ws', present: false });
    events.sessionOpened({ appId: 'a', protocol: 'mqtt4', transport: 'tcp', present: true });
    events.sessionClosed({ appId: 'a', reason: 'client', durationMs: 1 });
    events.sessionClosed({ appId: null, reason: 'no-connect', durationMs: 1 });
    const receipt = { serviceId: 's', id: 'r', origin: 'https://x', status: 500, error: null, attempt: 1, ms: 9 };
    events.receiptTried({ ...receipt, result: 'dead' });
    const text = (await metrics.render()).body;
    for (const line of [
      'carillon_requests_accepted_total 1',
      'carillon_destinations_accepted_total 3',
      'carillon_requests_refused_total{code="7004"} 1',
      'carillon_accept_seconds_count 2',
      'carillon_commit_units_sum 3',
      'carillon_deliveries_total 5',
      'carillon_delivery_seconds_sum 1.5',
      'carillon_settled_total{kind="read"} 4',
      'carillon_sessions 1',
      'carillon_sessions_opened_total{protocol="mqtt5/ws"} 1',
      'carillon_receipts_total{result="dead"} 1',
      'carillon_messages_waiting 7',
      'carillon_receipts_oldest_seconds 1.5',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
    expect(text).toContain('nodejs_eventloop_lag_p99_seconds');
  });

  it('bounds the series of a label', async () => {
    const { events, metrics } = observed('silent');
    for (let index = 0; index < 1_000; index += 1) events.deviceRefused({ reason: `r${index}` });
    const series = (await metrics.render()).body
      .split('\n')
      .filter((line) => line.startsWith('carillon_devices_refused_total{'));
    expect(series).toHaveLength(65);
    expect(series).toContain('carillon_devices_refused_total{reason="other"} 936');
  });

  it('leaves the figures of a store out that does not answer, and reads gauges at the scrape', async () => {
    const metrics = new Metrics({ counts: () => Promise.reject(new Error('locked')) });
    let depth = 1;
    metrics.addGauge('carillon_depth', 'Depth.', () => depth);
    depth = 5;
    const lines = (await metrics.render()).body.split('\n');
    expect(lines.filter((line) => line.startsWith('carillon_messages_waiting'))).toEqual([]);
    expect(lines).toContain('carillon_depth 5');
  });
});
