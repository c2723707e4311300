import type { Clock } from '../core/ports.ts';
import { Lane } from './lane.ts';
import type { Pace } from './lane.ts';
import type { ReceiptLimits } from './limits.ts';

export interface LanesOptions<Item> {
  readonly limits: ReceiptLimits;
  readonly clock: Clock;
  /** Everything held in memory, waiting for a lane or not. */
  readonly held: () => number;
  /** Asked when it is an item's turn: false, and it is passed over. */
  readonly mayStart: (item: Item) => boolean;
  /** One try; must not reject. Null: it says nothing of the origin. */
  readonly start: (item: Item) => Promise<Pace | null>;
  /** The lane has no room: to come again at `at`, wall ms. */
  readonly giveBack: (item: Item, at: number) => void;
  /** {@link Lanes.congested} ended. */
  readonly onRoom: () => void;
}

/**
 * A lane per origin, and two shares of the tries under way: all of them for origins that answer quickly, a part for the
 * rest. So a thousand origins that hang hold their share and nothing else.
 */
export class Lanes<Item> {
  private readonly options: LanesOptions<Item>;
  /** By origin, the least recently used first. */
  private readonly lanes = new Map<string, Lane<Item>>();
  /** Lanes with something to start and no share left to start it in. */
  private readonly blockedQuick = new Set<Lane<Item>>();
  private readonly blockedSlow = new Set<Lane<Item>>();
  private readonly full = new Set<Lane<Item>>();
  private inFlight = 0;
  private slowInFlight = 0;

  constructor(options: LanesOptions<Item>) {
    this.options = options;
  }

  /** A quick origin has more waiting than it should: better no new claims until it has worked that off. */
  get congested(): boolean {
    for (const lane of this.full) if (!lane.worthWaiting(this.options.clock.now())) this.full.delete(lane);
    return this.full.size > 0;
  }

  /** Takes an item, or gives it back at once. */
  offer(origin: string, item: Item): void {
    const { limits, clock } = this.options;
    const lane = this.lane(origin);
    const now = clock.now();
    const held = this.options.held();
    const isCrowded = !lane.quick && held >= limits.slowHeldMax && !lane.idle;
    if (isCrowded || lane.waiting.length >= lane.capacity(held < limits.plentyHeldMax, now)) {
      this.options.giveBack(item, lane.deferAt(now));
      return;
    }
    lane.waiting.push(item);
    if (lane.waiting.length >= lane.fullFrom && lane.worthWaiting(now)) this.full.add(lane);
    this.pump(lane);
  }

  private lane(origin: string): Lane<Item> {
    const known = this.lanes.get(origin);
    if (known !== undefined) this.lanes.delete(origin);
    else if (this.lanes.size >= this.options.limits.originsMax) this.forgetOne();
    const lane = known ?? new Lane<Item>(origin, this.options.limits);
    this.lanes.set(origin, lane);
    return lane;
  }

  private forgetOne(): void {
    for (const [origin, lane] of this.lanes) {
      if (!lane.idle) continue;
      this.lanes.delete(origin);
      return;
    }
  }

  private pump(lane: Lane<Item>): void {
    while (lane.waiting.length > 0 && lane.inFlight < lane.window) {
      if (!this.hasShare(lane.quick)) {
        (lane.quick ? this.blockedQuick : this.blockedSlow).add(lane);
        return;
      }
      const item = lane.waiting.shift() as Item;
      if (this.options.mayStart(item)) void this.run(lane, item);
    }
  }

  private hasShare(quick: boolean): boolean {
    const { limits } = this.options;
    return this.inFlight < limits.inFlightMax && (quick || this.slowInFlight < limits.slowInFlightMax);
  }

  private async run(lane: Lane<Item>, item: Item): Promise<void> {
    const isSlow = !lane.quick;
    lane.noteStart(this.options.clock.now());
    this.inFlight += 1;
    if (isSlow) this.slowInFlight += 1;
    const pace = await this.options.start(item);
    lane.noteEnd(pace, this.options.clock.now());
    this.inFlight -= 1;
    if (isSlow) this.slowInFlight -= 1;
    this.trim(lane);
    this.pump(lane);
    this.pumpBlocked(this.blockedQuick, true);
    this.pumpBlocked(this.blockedSlow, false);
    this.noteRoom(lane);
  }

  private pumpBlocked(blocked: Set<Lane<Item>>, quick: boolean): void {
    while (this.hasShare(quick)) {
      const first = blocked.values().next();
      if (first.done === true) return;
      blocked.delete(first.value);
      this.pump(first.value);
    }
  }

  /** An origin that fell into trouble keeps no more in memory than it is now worth. */
  private trim(lane: Lane<Item>): void {
    if (!lane.troubled) return;
    const now = this.options.clock.now();
    for (const item of lane.waiting.splice(lane.capacity(true, now))) this.options.giveBack(item, lane.deferAt(now));
  }

  private noteRoom(lane: Lane<Item>): void {
    if (!this.full.has(lane)) return;
    if (lane.worthWaiting(this.options.clock.now()) && lane.waiting.length > lane.fullFrom / 2) return;
    this.full.delete(lane);
    if (!this.congested) this.options.onRoom();
  }
}
