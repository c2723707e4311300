import { expect, test } from 'vitest';
import { silentObserver } from '../../test/support/silent-observer.ts';
import type { SessionClose, Writer } from '../core/ports.ts';
import { Registry } from './registry.ts';
import type { Holder } from './registry.ts';

/** The door to the writer, held open or shut by the test; nothing else of it is used here. */
class HeldWriter implements Writer {
  readonly closes: { close: SessionClose; finish: () => void; fail: () => void }[] = [];
  accept = (): never => this.#unused();
  settle = (): never => this.#unused();
  open = (): never => this.#unused();
  close(close: SessionClose): Promise<void> {
    return new Promise((resolve, reject) => {
      this.closes.push({ close, finish: resolve, fail: () => reject(new Error('disk full')) });
    });
  }
  #unused(): never {
    throw new Error('not used by the registry');
  }
}

class TestHolder implements Holder {
  takenOver = 0;
  onTakenOver(): void {
    this.takenOver += 1;
  }
}

const close: SessionClose = { user: 1, device: 1, subscribed: true, floor: 0, keepMs: 0, at: 0 };

test('a session is opened again only after it was stored as closed, or that failed', async () => {
  const writer = new HeldWriter();
  const registry = new Registry({ writer, observer: silentObserver });
  for (const end of ['finish', 'fail'] as const) {
    const [first, second] = [new TestHolder(), new TestHolder()];
    await registry.claim('s', 'u', first);
    registry.release('s', 'u', { holder: first, close });
    let isOpen = false;
    const claimed = registry.claim('s', 'u', second).then(() => (isOpen = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(isOpen).toBe(false);
    writer.closes.at(-1)?.[end]();
    await claimed;
    expect(first.takenOver).toBe(0);
    registry.forget('s', 'u', second);
  }
  await registry.settled();
  expect(registry.countOf('u')).toBe(0);
});

test('a take-over counts once, and the older one stores nothing any more', async () => {
  const writer = new HeldWriter();
  const registry = new Registry({ writer, observer: silentObserver });
  const [first, second] = [new TestHolder(), new TestHolder()];
  await registry.claim('s', 'u', first);
  await registry.claim('s', 'u', second);
  expect([first.takenOver, second.takenOver, registry.countOf('u')]).toEqual([1, 0, 1]);
  registry.release('s', 'u', { holder: first, close });
  expect(writer.closes).toEqual([]);
  expect(registry.holds('s', second)).toBe(true);
});
