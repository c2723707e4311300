/** A repeatable sequence of whole numbers below `bound` (mulberry32): two runs send the same requests. */
export function sequence(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296) * bound);
  };
}

/** Times gathered without garbage. */
export class Times {
  #values = new Float64Array(1024);
  #length = 0;

  add(ms: number): void {
    if (this.#length === this.#values.length) {
      const grown = new Float64Array(this.#length * 2);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.#length] = ms;
    this.#length += 1;
  }

  sorted(): Float64Array {
    return this.#values.subarray(0, this.#length).toSorted();
  }
}
