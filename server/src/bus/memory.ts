import type { Bus, BusTopic, UserHint, UserKey } from '../core/ports.ts';

type HintListener = (hint: UserHint) => void;

/** The bus of one process: a call. Hints carry their entry, so a live session needs no read. */
export class MemoryBus implements Bus {
  private readonly watchers = new Map<UserKey, HintListener | HintListener[]>();
  private readonly topics = new Map<BusTopic, Set<() => void>>();

  publishUsers(hints: readonly UserHint[]): void {
    for (const hint of hints) this.tell(hint);
  }

  tell(hint: UserHint): void {
    const listeners = this.watchers.get(hint.user);
    if (listeners === undefined) return;
    if (typeof listeners === 'function') listeners(hint);
    // A copy: a listener may unwatch, or close a session that does.
    else for (const listener of [...listeners]) listener(hint);
  }

  isWatched(user: UserKey): boolean {
    return this.watchers.has(user);
  }

  /** One function per user is by far the commonest; an array is made only for the second device (memory per session). */
  watch(user: UserKey, onHint: HintListener): () => void {
    const present = this.watchers.get(user);
    if (present === undefined) this.watchers.set(user, onHint);
    else if (typeof present === 'function') this.watchers.set(user, [present, onHint]);
    else present.push(onHint);
    let watching = true;
    return () => {
      if (!watching) return;
      watching = false;
      this.unwatch(user, onHint);
    };
  }

  private unwatch(user: UserKey, onHint: HintListener): void {
    const present = this.watchers.get(user);
    if (present === onHint) this.watchers.delete(user);
    if (!Array.isArray(present)) return;
    const rest = [...present];
    rest.splice(rest.indexOf(onHint), 1);
    if (rest.length === 1) this.watchers.set(user, rest[0] as HintListener);
    else this.watchers.set(user, rest);
  }

  publish(topic: BusTopic): void {
    for (const listener of [...(this.topics.get(topic) ?? [])]) listener();
  }

  subscribe(topic: BusTopic, onHint: () => void): () => void {
    const listeners = this.topics.get(topic) ?? new Set();
    this.topics.set(topic, listeners);
    // Wrapped, so that the same function subscribed twice is two subscriptions.
    const listener = (): void => onHint();
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }

  close(): Promise<void> {
    this.watchers.clear();
    this.topics.clear();
    return Promise.resolve();
  }
}
