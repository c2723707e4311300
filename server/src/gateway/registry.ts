import type { SessionClose, Writer } from '../core/ports.ts';
import type { Observer } from '../core/observer.ts';

/** Who holds a session: the connection, as far as the registry cares. */
export interface Holder {
  /** The same session was opened elsewhere. */
  onTakenOver(): void;
}

/**
 * The sessions that are open here, by (appid, userid, client id): one holder each, the newest wins. A session is
 * stored as closed before it is opened again, since a close that came later would undo the opening.
 */
export class Registry {
  readonly #holders = new Map<string, Holder>();
  readonly #closing = new Map<string, Promise<void>>();
  readonly #perUser = new Map<string, number>();
  readonly #writer: Writer;
  readonly #observer: Observer;

  constructor(options: { writer: Writer; observer: Observer }) {
    this.#writer = options.writer;
    this.#observer = options.observer;
  }

  /** Sessions of the user, and whether this one is among them. */
  countOf(userName: string): number {
    return this.#perUser.get(userName) ?? 0;
  }

  isHeld(name: string): boolean {
    return this.#holders.has(name);
  }

  holds(name: string, holder: Holder): boolean {
    return this.#holders.get(name) === holder;
  }

  /** Takes the session over; resolves when it may be opened. */
  async claim(name: string, userName: string, holder: Holder): Promise<void> {
    const older = this.#holders.get(name);
    this.#holders.set(name, holder);
    if (older === undefined) this.#perUser.set(userName, this.countOf(userName) + 1);
    else older.onTakenOver();
    await this.#closing.get(name);
  }

  /** The holder is gone without having opened anything. */
  forget(name: string, userName: string, holder: Holder): void {
    if (!this.holds(name, holder)) return;
    this.#holders.delete(name);
    const count = this.countOf(userName) - 1;
    if (count > 0) this.#perUser.set(userName, count);
    else this.#perUser.delete(userName);
  }

  /** The holder is gone; what it knew is stored, unless another one has the session by now. */
  release(name: string, userName: string, options: { holder: Holder; close: SessionClose }): void {
    if (!this.holds(name, options.holder)) return;
    this.forget(name, userName, options.holder);
    const closing = this.#writer
      .close(options.close)
      .catch((error: unknown) => this.#observer.storeFailed({ operation: 'close session', error }))
      .finally(() => {
        if (this.#closing.get(name) === closing) this.#closing.delete(name);
      });
    this.#closing.set(name, closing);
  }

  /** Resolves when every session that was released is stored. */
  async settled(): Promise<void> {
    while (this.#closing.size > 0) await Promise.all(this.#closing.values());
  }
}
