/** Something with deadlines of its own, looked at when its slot of the wheel comes. */
export interface WheelItem {
  /** The slot the item is in; -1: none. Kept by the wheel; an entry in any other slot is stale. */
  wheelSlot: number;
  /** Acts on what is due and tells when to look again, monotonic ms; null: never. */
  onCheck(nowMs: number): number | null;
}

/**
 * One coarse wheel for the deadlines of all connections: a connection costs a place in an array and no timer. Slots of
 * a second; an item is looked at in the second after its deadline, never before it.
 */
export class TimerWheel {
  readonly #slots = new Map<number, WheelItem[]>();
  readonly #slotMs: number;
  #done: number;

  constructor(nowMs: number, slotMs = 1_000) {
    this.#slotMs = slotMs;
    this.#done = Math.floor(nowMs / slotMs);
  }

  /** The item is looked at no later than this; an earlier look that is planned already stays. */
  schedule(item: WheelItem, atMs: number): void {
    const slot = Math.max(Math.ceil(atMs / this.#slotMs), this.#done + 1);
    if (item.wheelSlot !== -1 && item.wheelSlot <= slot) return;
    item.wheelSlot = slot;
    const items = this.#slots.get(slot);
    if (items === undefined) this.#slots.set(slot, [item]);
    else items.push(item);
  }

  remove(item: WheelItem): void {
    item.wheelSlot = -1;
  }

  advance(nowMs: number): void {
    const current = Math.floor(nowMs / this.#slotMs);
    // After a long stop it is cheaper to look at the slots there are than to count through those passed.
    const due = [...this.#slots.keys()].filter((slot) => slot <= current).toSorted((a, b) => a - b);
    this.#done = Math.max(this.#done, current);
    for (const slot of due) {
      const items = this.#slots.get(slot) ?? [];
      this.#slots.delete(slot);
      for (const item of items) {
        if (item.wheelSlot !== slot) continue;
        item.wheelSlot = -1;
        const next = item.onCheck(nowMs);
        if (next !== null) this.schedule(item, next);
      }
    }
  }
}
