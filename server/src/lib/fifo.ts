/** First in, first out, with many taken at once: removing from the front of an array moves all that stays. */
export class Fifo<Item> {
  private items: Item[] = [];
  private taken = 0;

  get size(): number {
    return this.items.length - this.taken;
  }

  push(item: Item): void {
    this.items.push(item);
  }

  /** The first `count`, or all there are. */
  take(count: number): Item[] {
    if (count >= this.size) {
      const all = this.taken === 0 ? this.items : this.items.slice(this.taken);
      this.items = [];
      this.taken = 0;
      return all;
    }
    const some = this.items.slice(this.taken, this.taken + count);
    this.taken += count;
    // Every item is moved at most once for each one taken.
    if (this.taken * 2 > this.items.length) {
      this.items = this.items.slice(this.taken);
      this.taken = 0;
    }
    return some;
  }
}
