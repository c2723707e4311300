import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LogEntry, ReceiptSettlement, ReceiptWork, SessionOpened } from '../../src/core/ports.ts';
import { transidOf } from '../../src/core/transid.ts';
import { DAY_MS, destinationOf, MINUTE_MS, msisdn, userid } from '../support/builders.ts';
import { type ModelDevice, type ModelMessage, type ModelReceipt, StoreModel } from './model.ts';
import { type Command, type CommandOf, command, PRIORITIES, USERS } from './model-commands.ts';
import { LEASE_MS, makeFixture, type MakeStore, type StoreFixture, tidOf } from './store-fixture.ts';

/**
 * A store and a model of it under the same random commands, compared after each one:
 * a log has no hole; a delivery has the one state the model says; a device is owed what the model says; a receipt is
 * told at least once, in order, under one id; nothing comes out of nothing.
 */
export function storeModelSuite(makeStore: MakeStore): void {
  const runs = Number(process.env['MODEL_RUNS'] ?? 200);
  const seed = Number(process.env['MODEL_SEED'] ?? Date.now() & 0x7fffffff);

  describe('model', () => {
    it(
      `agrees with the model over ${runs} random histories`,
      async () => {
        console.info(`store model: MODEL_SEED=${seed} MODEL_RUNS=${runs}`);
        const property = fc.asyncProperty(fc.array(command, { maxLength: 40, size: 'max' }), async (commands) => {
          const fixture = await makeFixture(makeStore, { durable: commands.some((one) => one.type === 'reopen') });
          try {
            const pair = new Pair(fixture);
            for (const one of commands) await pair.run(one);
            await pair.finish();
          } finally {
            await fixture.harness.close();
          }
        });
        await fc.assert(property, { seed, numRuns: runs });
      },
      60_000 + runs * 300,
    );
  });
}

const RETENTION_MS = 30 * DAY_MS;
const ORDER_HOLD_MS = 35 * MINUTE_MS;
const UNKNOWN_MSISDN = '+4915100000000';

class Pair {
  private readonly model = new StoreModel();
  private readonly fixture: StoreFixture;
  private readonly sessions = new Map<string, SessionOpened>();
  private reopened = false;

  constructor(fixture: StoreFixture) {
    this.fixture = fixture;
  }

  async run(one: Command): Promise<void> {
    await this.step(one);
    await this.compare();
  }

  private async step(one: Command): Promise<void> {
    switch (one.type) {
      case 'accept':
        return this.accept(one);
      case 'settle':
        return this.settle(one);
      case 'acknowledge':
        return this.acknowledge(one);
      case 'connect':
        return this.connect(one);
      case 'disconnect':
        return this.disconnect(one);
      case 'recall':
        return this.recall(one);
      case 'advance':
        return this.fixture.clock.advance(one.ms);
      case 'expire':
        expect(await this.fixture.expireAll()).toBe(this.model.expireDue(this.now()));
        return undefined;
      case 'receipts':
        return this.receipts(one.outcomes);
      case 'purge':
        return this.purge();
      case 'reopen':
        this.reopened = true;
        // Connections end with the process; what was never closed is kept for its time from the start on.
        for (const { devices } of this.model.users.values()) {
          for (const device of devices.values()) device.keptUntil ??= this.now() + DAY_MS;
        }
        return one.crash ? this.fixture.crash() : this.fixture.reopen();
    }
  }

  private now(): number {
    return this.fixture.clock.now();
  }

  private message(index: number): ModelMessage | null {
    return this.model.messages.at(-1 - index) ?? null;
  }

  // ------------------------------------------------------------------------------------------ commands

  private async accept(one: CommandOf<'accept'>): Promise<void> {
    const { fixture, model } = this;
    const now = this.now();
    const extra = one.unroutable ? [msisdn(UNKNOWN_MSISDN)] : [];
    const destinations = one.users.map((names) => destinationOf(...names.map(userid), ...extra));
    const thread = one.thread === 'own' ? ({ type: 'Conversation', title: 'Orders' } as const) : { id: 'nowhere' };
    const unit = fixture.unit({ destinations, thread, priority: one.priority, expiry: now + one.validMs });
    const result = (await fixture.write({ accepts: [unit] })).accepts[0]!;
    if (result.kind !== 'accepted') throw new Error(`expected accepted, got ${result.kind}`);
    const failsAll = one.validMs === 0 || one.thread === 'unknown';
    const expected: unknown[] = [];
    for (const [index, names] of one.users.entries()) {
      const tid = transidOf(unit.uid, index);
      for (const name of names) {
        if (failsAll) model.refuse(tid, name, now);
        else {
          const made = model.accept({ tid, userid: name, expiry: unit.expiry, priority: one.priority, at: now });
          expected.push([name, made.n, tid]);
        }
      }
      if (one.unroutable) model.refuse(tid, UNKNOWN_MSISDN, now);
    }
    expect(
      await Promise.all(result.entries.map(async (entry) => [await this.nameOf(entry), entry.n, tidOf(entry)])),
    ).toEqual(expected);
  }

  private async nameOf(entry: LogEntry): Promise<string> {
    for (const name of USERS) {
      if ((await this.fixture.store.findUser(this.fixture.tenant.appId, name)) === entry.user) return name;
    }
    throw new Error(`entry of unknown user ${entry.user}`);
  }

  private async settle(one: CommandOf<'settle'>): Promise<void> {
    const message = this.message(one.pick);
    if (message === null || !this.model.user(message.userid).entries.has(message.n)) return;
    const { fixture, model } = this;
    const at = this.now();
    const user = await fixture.userOf(message.userid);
    const about = { user, ref: one.byTid ? { tid: message.tid } : { n: message.n } };
    const head = model.user(message.userid).head;
    const facts = {
      sent: () => [fixture.settle({ kind: 'sent', ...about }), model.sent(message, at)] as const,
      read: () => [fixture.settle({ kind: 'read', ...about }), model.read(message, at)] as const,
      clicked: () =>
        [
          fixture.settle({ kind: 'clicked', ...about, once: null, identifier: null, url: null }),
          model.clicked(message, at),
        ] as const,
      failed: () => [fixture.settle({ kind: 'failed', ...about, code: '7513' }), model.failed(message, at)] as const,
    };
    const [promise, moved] = facts[one.kind]();
    const result = await promise;
    expect(result.outcome).toBe(moved ? 'done' : 'stale');
    expect(result.entries.map((entry) => entry.n)).toEqual(
      model.user(message.userid).head > head ? [model.user(message.userid).head] : [],
    );
  }

  private async acknowledge(one: CommandOf<'acknowledge'>): Promise<void> {
    const device = this.connected(one);
    if (device === null) return;
    const { user, device: key } = this.session(device);
    const { head } = this.model.user(one.who);
    const numbers = one.numbers.map((back) => head - back).filter((n) => this.model.user(one.who).entries.has(n));
    const facts = numbers.map((n) =>
      this.fixture.settlement({ kind: 'delivered', user, device: key, ref: { n }, sentAt: null }),
    );
    await this.fixture.write({ settlements: facts });
    for (const n of numbers) this.model.acknowledge(device, n, this.now());
  }

  private connected(at: { who: string; device: string }): ModelDevice | null {
    const device = this.model.user(at.who).devices.get(at.device);
    return device === undefined || device.keptUntil !== null ? null : device;
  }

  private session(device: ModelDevice): SessionOpened {
    const session = this.sessions.get(`${device.userid} ${device.deviceid}`);
    if (session === undefined) throw new Error('a device of the model without a session');
    return session;
  }

  private async connect(one: CommandOf<'connect'>): Promise<void> {
    const kept = one.clean ? null : this.model.kept(one.who, one.device, this.now());
    const session = await this.fixture.connect({
      userid: one.who,
      deviceid: one.device,
      clean: one.clean,
      keepMs: DAY_MS,
    });
    expect({ present: session.present, subscribed: session.subscribed, head: session.head }).toEqual({
      present: kept !== null,
      subscribed: kept !== null,
      head: this.model.user(one.who).head,
    });
    this.sessions.set(`${one.who} ${one.device}`, session);
    if (kept === null) {
      expect(session.base).toBe(session.head);
      this.model.begin(one.who, one.device, { base: session.base, floor: 0 }).floor = session.floor;
    } else {
      expect({ base: session.base, floor: session.floor }).toEqual({ base: kept.base, floor: kept.floor });
      kept.keptUntil = null;
    }
  }

  private async disconnect(one: CommandOf<'disconnect'>): Promise<void> {
    const device = this.connected(one);
    if (device === null) return;
    device.floor = this.model.floorOf(device);
    await this.fixture.disconnect(this.session(device), { keepMs: one.keepMs, floor: device.floor });
    device.keptUntil = this.now() + one.keepMs;
  }

  private async recall(one: CommandOf<'recall'>): Promise<void> {
    const message = this.message(one.pick);
    if (message === null || !this.model.user(message.userid).entries.has(message.n)) return;
    const { fixture, model } = this;
    const all = model.messages.filter(({ tid }) => tid === message.tid);
    const results = await fixture.store.recall(fixture.tenant.serviceId, message.tid, this.now());
    for (const one of all) {
      const result = results?.find(({ destination }) => destination.value === one.userid);
      const before = one.state;
      const outcome = model.recall(one, this.now());
      expect(result?.state).toBe(one.state);
      if (before !== one.state) expect(result?.outcome).toBe(outcome);
      for (const entry of result?.entries ?? []) {
        model.noteEvent(one.userid);
        expect(entry.n).toBe(model.user(one.userid).head);
      }
    }
  }

  /** A month goes by with the receipts taken in time, as the retention is longer than the last try. */
  private async purge(): Promise<void> {
    await this.drain();
    this.fixture.clock.advance(RETENTION_MS + DAY_MS);
    expect(await this.fixture.expireAll()).toBe(this.model.expireDue(this.now()));
    await this.drain();
    await this.fixture.purgeAll();
    // The dead are kept as long as their messages.
    for (const receipt of this.model.receiptsOf('dead')) receipt.state = 'done';
    for (const [name, user] of this.model.users) {
      const key = await this.fixture.store.findUser(this.fixture.tenant.appId, name);
      if (key === null) continue;
      const present = new Set((await this.fixture.store.readLog(key, 0, 10_000)).map((entry) => entry.n));
      for (const entry of [...user.entries.values()].filter(({ n }) => !present.has(n))) {
        expect(this.model.mayBePurged(entry, this.now(), RETENTION_MS)).toBe(true);
        this.model.forget(name, entry.n);
      }
    }
  }

  // ------------------------------------------------------------------------------------------ receipts

  private async receipts(outcomes: readonly string[]): Promise<void> {
    const works = await this.fixture.claim(10_000);
    const claimed = this.checkClaim(works);
    const settlements: ReceiptSettlement[] = [];
    for (const [index, [work, receipt]] of claimed.entries()) {
      const outcome = outcomes[index % outcomes.length]!;
      const before = this.earlier(receipt).filter(({ state }) => state === 'pending');
      // Nothing is said of a receipt before something was said of the one before it.
      const isOpen = before.some(({ leasedUntil }) => leasedUntil > this.now());
      const settlement = this.verdict(work, isOpen ? 'lost' : before.length > 0 ? 'defer' : outcome);
      if (settlement === null) continue;
      settlements.push(settlement);
      receipt.leasedUntil = 0;
      if (settlement.kind === 'done' || settlement.kind === 'dead') receipt.state = settlement.kind;
      receipt.wasTaken ||= settlement.kind === 'done';
      if (settlement.kind === 'retry') receipt.attempts += 1;
      if ('at' in settlement) receipt.dueAt = settlement.at;
    }
    await this.fixture.store.settleReceipts(settlements);
  }

  private verdict(work: ReceiptWork, outcome: string): ReceiptSettlement | null {
    const now = this.now();
    const attempt = { at: now, status: 500, error: null, ms: 1 };
    if (outcome === 'lost') return null;
    if (outcome === 'retry') return { kind: 'retry', work, at: now + 5 * MINUTE_MS, attempt };
    if (outcome === 'defer') return { kind: 'defer', work, at: now };
    return { kind: outcome === 'dead' ? 'dead' : 'done', work, attempt };
  }

  private earlier(receipt: ModelReceipt): ModelReceipt[] {
    const list = this.model.receipts.get(`${receipt.tid} ${receipt.userid}`) ?? [];
    return list.slice(0, list.indexOf(receipt));
  }

  /** Each work is one the model has due, in order; whatever has nothing before it and is due, is here. */
  private checkClaim(works: readonly ReceiptWork[]): (readonly [ReceiptWork, ModelReceipt])[] {
    const now = this.now();
    const must = this.model.receiptsOf('pending').filter((receipt) => {
      const isFree = receipt.dueAt <= now && receipt.leasedUntil <= now;
      return isFree && this.earlier(receipt).every((before) => before.state !== 'pending');
    });
    const pairs = works.map((work) => [work, this.claimOne(work, now)] as const);
    const seen = new Set(pairs.map(([, receipt]) => receipt));
    expect(seen.size).toBe(works.length);
    for (const receipt of must) expect(seen.has(receipt), `due and not claimed: ${JSON.stringify(receipt)}`).toBe(true);
    return pairs;
  }

  private claimOne(work: ReceiptWork, now: number): ModelReceipt {
    const list = this.model.receipts.get(`${work.facts?.transid} ${work.facts?.destination}`) ?? [];
    const receipt = list.find(
      ({ kind }) => kind === work.kind || (kind === 'failed' && work.facts?.code === '7301' && work.kind === 'expired'),
    );
    if (receipt === undefined) throw new Error(`nobody owes ${JSON.stringify(work)}`);
    expect(work.id).toBe(receipt.id ?? work.id);
    expect(receipt.state).not.toBe('dead');
    // What was taken just before a crash may come once more, under its id.
    if (receipt.state === 'done') expect(this.reopened, 'told again without a crash').toBe(true);
    if (receipt.leasedUntil > now) expect(this.reopened, 'two leases at a time').toBe(true);
    const ahead = this.earlier(receipt).filter(
      (before) => before.state === 'pending' && !before.wasTaken && before.leasedUntil <= now,
    );
    for (const before of ahead) {
      expect(now - before.at, `${work.kind} overtakes ${before.kind}`).toBeGreaterThanOrEqual(ORDER_HOLD_MS);
    }
    if (receipt.state === 'pending') expect(work.attempts).toBe(receipt.attempts);
    receipt.state = 'pending';
    receipt.id = work.id;
    receipt.leasedUntil = now + LEASE_MS;
    return receipt;
  }

  private async drain(): Promise<void> {
    for (let rounds = 0; this.model.receiptsOf('pending').length > 0; rounds += 1) {
      expect(rounds, 'receipts that never come').toBeLessThan(100);
      this.fixture.clock.advance(LEASE_MS + 5 * MINUTE_MS);
      await this.receipts(['done']);
    }
  }

  /** Everything ends: expired or acknowledged, told, and then quiet. */
  async finish(): Promise<void> {
    await this.drain();
    this.fixture.clock.advance(4 * DAY_MS);
    expect(await this.fixture.expireAll()).toBe(this.model.expireDue(this.now()));
    expect(this.model.waiting()).toBe(0);
    await this.drain();
    await this.compare();
    const ids = [...this.model.receipts.values()].flat().map((receipt) => receipt.id);
    expect(new Set(ids).size).toBe(ids.length);
  }

  // ------------------------------------------------------------------------------------------ comparing

  private async compare(): Promise<void> {
    const { fixture, model } = this;
    for (const [name, user] of model.users) {
      const key = await fixture.store.findUser(fixture.tenant.appId, name);
      if (key === null) {
        expect(user.head).toBe(0);
        continue;
      }
      expect(await fixture.store.head(key)).toBe(user.head);
      const log = await fixture.store.readLog(key, 0, 10_000);
      expect(log.map(entryOf)).toEqual(
        [...user.entries.values()].map(({ n, message, priority }) => [
          n,
          message?.tid ?? 'event',
          message?.state ?? 'event',
          priority,
        ]),
      );
      for (const device of user.devices.values()) await this.compareOwed(device);
    }
    const counts = await fixture.store.counts(this.now());
    expect([counts.waiting, counts.receiptsDead]).toEqual([model.waiting(), model.receiptsOf('dead').length]);
  }

  private async compareOwed(device: ModelDevice): Promise<void> {
    if (device.keptUntil !== null && device.keptUntil <= this.now()) return;
    const { user, device: key } = this.session(device);
    for (const priority of PRIORITIES) {
      const query = { user, device: key, base: device.base, priority, after: device.floor, limit: 10_000 };
      const owed = await this.fixture.store.readOwed(query);
      expect(owed.map((entry) => entry.n)).toEqual(this.model.owed(device, priority, device.floor));
      // A floor is never ahead of the truth.
      expect(this.model.owed(device, priority, 0).filter((n) => n <= device.floor)).toEqual([]);
    }
  }
}

function entryOf(entry: LogEntry): unknown[] {
  const isEvent = entry.message === null;
  return [entry.n, isEvent ? 'event' : tidOf(entry), isEvent ? 'event' : entry.state, entry.priority];
}
