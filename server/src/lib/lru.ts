/**
 * A map of at most `entriesMax` entries that forgets what was used longest ago, roughly: two generations, and what the
 * older one still gives is moved to the younger. No list to keep, so a hit on the younger costs one look-up.
 */
export class Lru<Key, Value> {
  private young = new Map<Key, Value>();
  private old = new Map<Key, Value>();
  private readonly generationMax: number;

  constructor(entriesMax: number) {
    this.generationMax = Math.max(1, Math.ceil(entriesMax / 2));
  }

  get(key: Key): Value | undefined {
    const value = this.young.get(key);
    if (value !== undefined) return value;
    const older = this.old.get(key);
    if (older !== undefined) this.set(key, older);
    return older;
  }

  set(key: Key, value: Value): void {
    this.young.set(key, value);
    if (this.young.size < this.generationMax) return;
    this.old = this.young;
    this.young = new Map();
  }

  delete(key: Key): void {
    this.young.delete(key);
    this.old.delete(key);
  }

  clear(): void {
    this.young.clear();
    this.old.clear();
  }

  get size(): number {
    return this.young.size + this.old.size;
  }
}

/** For whom a cache is handed in (`core`, which does not import this folder). */
export function makeLru<Key, Value>(entriesMax: number): Lru<Key, Value> {
  return new Lru(entriesMax);
}
