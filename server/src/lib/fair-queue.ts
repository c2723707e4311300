/**
 * A queue in which higher priority goes first and, within one, groups take turns: a group with much to do delays the
 * others by one of its items, not by all of them. Within a group first in is first out.
 */
interface Group<Item> {
  items: Item[];
  /** Index of the first item not taken: shifting an array is linear. */
  taken: number;
}

const COMPACT_ABOVE = 1024;

export class FairQueue<Item> {
  private readonly levels = new Map<number, Map<string, Group<Item>>>();
  private order: number[] = [];
  private count = 0;

  get size(): number {
    return this.count;
  }

  push(priority: number, groupName: string, item: Item): void {
    let groups = this.levels.get(priority);
    if (groups === undefined) {
      groups = new Map();
      this.levels.set(priority, groups);
      this.order = [...this.levels.keys()].toSorted((a, b) => b - a);
    }
    const group = groups.get(groupName);
    if (group === undefined) groups.set(groupName, { items: [item], taken: 0 });
    else group.items.push(item);
    this.count += 1;
  }

  /** The next item, or undefined. */
  take(): Item | undefined {
    for (const priority of this.order) {
      const groups = this.levels.get(priority);
      const first = groups?.entries().next();
      if (groups === undefined || first === undefined || first.done === true) continue;
      const [name, group] = first.value;
      const item = group.items[group.taken] as Item;
      group.taken += 1;
      this.count -= 1;
      // To the back of the line, or out of it.
      groups.delete(name);
      if (group.taken < group.items.length) {
        compact(group);
        groups.set(name, group);
      }
      return item;
    }
    return undefined;
  }
}

function compact<Item>(group: Group<Item>): void {
  if (group.taken < COMPACT_ABOVE || group.taken * 2 < group.items.length) return;
  group.items = group.items.slice(group.taken);
  group.taken = 0;
}
