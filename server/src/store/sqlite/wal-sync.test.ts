import { copyFileSync, existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AcceptResult } from '../../core/ports.ts';
import { StoreUnavailable } from '../../core/ports.ts';
import { destinationOf, makeUnit, userid } from '../../../test/support/builders.ts';
import { FakeClock } from '../../../test/support/clock.ts';
import { seededRandom } from '../../../test/support/random.ts';
import { seedTenant } from '../../../test/support/seed.ts';
import { SqliteStore } from './store.ts';

const NOTHING = { opens: [], accepts: [], settlements: [], closes: [] };
const DISK_ERROR = new Error('EIO: i/o error, fdatasync');

/** A disk that answers each sync when, and as, the test says. */
class Disk {
  isHeld = false;
  private readonly waiting: ((error: Error | null) => void)[] = [];
  private wake: (() => void) | null = null;

  readonly sync = (_file: number, done: (error: Error | null) => void): void => {
    if (!this.isHeld) {
      setImmediate(done, null);
      return;
    }
    this.waiting.push(done);
    this.wake?.();
  };

  /** Answers the oldest sync that was asked for, when there is one. */
  async answer(error: Error | null): Promise<void> {
    if (this.waiting.length === 0) await new Promise<void>((resolve) => (this.wake = resolve));
    this.waiting.shift()!(error);
  }

  release(): void {
    this.isHeld = false;
    for (const done of this.waiting.splice(0)) done(null);
  }
}

describe('the sync of commits', () => {
  let folder = '';
  let disk: Disk;
  let store: SqliteStore;
  const clock = new FakeClock();
  const make = (name = 'one.db', sync = disk.sync): SqliteStore =>
    new SqliteStore({ path: join(folder, name), clock, random: seededRandom(1), sync });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'carillon-sync-'));
    disk = new Disk();
    store = make();
    await seedTenant(store);
    await send('ann');
  });
  afterEach(async () => {
    disk.release();
    await store.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function send(...names: string[]): Promise<number[]> {
    const unit = makeUnit({ acceptedAt: clock.now(), destinations: names.map((name) => destinationOf(userid(name))) });
    const [result] = (await store.write({ ...NOTHING, accepts: [unit] })).accepts as [AcceptResult];
    if (result.kind !== 'accepted') throw new Error('not accepted');
    return result.entries.map((entry) => entry.n);
  }

  /** Whether a promise is settled by now, and how. */
  async function stateOf(promise: Promise<unknown>): Promise<string> {
    let state = 'pending';
    promise.then(
      () => (state = 'resolved'),
      (error: unknown) => (state = error instanceof StoreUnavailable ? 'refused' : 'broken'),
    );
    await new Promise((resolve) => setImmediate(resolve));
    return state;
  }

  /** Fails the sync under way; these must be told so. */
  async function fail(refused: Promise<unknown>[]): Promise<void> {
    const told = Promise.all(refused.map((one) => expect(one).rejects.toBeInstanceOf(StoreUnavailable)));
    await disk.answer(DISK_ERROR);
    await told;
    disk.release();
  }

  async function headOf(name: string): Promise<number> {
    const user = await store.findUser('acme-app', name);
    return user === null ? 0 : store.head(user);
  }

  it('is waited for by the write, and by a read that may have seen it', async () => {
    disk.isHeld = true;
    const written = send('ann');
    const read = headOf('ann');
    expect([await stateOf(written), await stateOf(read)]).toEqual(['pending', 'pending']);
    await disk.answer(null);
    expect([await written, await stateOf(read)]).toEqual([[2], 'resolved']);
  });

  it('covers what was committed before it began, not what came meanwhile', async () => {
    disk.isHeld = true;
    const first = send('ann');
    const second = send('ann');
    await disk.answer(null);
    expect([await stateOf(first), await stateOf(second)]).toEqual(['resolved', 'pending']);
    await disk.answer(null);
    expect(await second).toEqual([3]);
  });

  it('undoes every commit since the last one that succeeded when one fails, and numbers go on without a hole', async () => {
    await send('bob', 'cid');
    disk.isHeld = true;
    await fail([send('ann'), send('ann', 'dee'), headOf('ann')]);
    expect([await headOf('ann'), await headOf('bob'), await headOf('dee')]).toEqual([1, 1, 0]);
    expect(await send('ann', 'dee')).toEqual([2, 1]);
    await store.close();
    store = make();
    expect([await headOf('ann'), await headOf('dee')]).toEqual([2, 1]);
  });

  it('leaves nothing of what it undid in the file, whatever was moved into the database before', async () => {
    // A first round through the log is moved as a whole, so that the failing commits stand in a new one.
    const names = Array.from({ length: 3000 }, (_, index) => `user-${index}`);
    for (let from = 0; from < names.length; from += 500) await send(...names.slice(from, from + 500));
    for (const pause of [0, 1, 2]) {
      for (let count = 0; count < pause; count += 1) await send('ann');
      const before = await headOf('ann');
      disk.isHeld = true;
      await fail([send('ann'), send('ann', 'eve')]);
      for (const suffix of ['', '-wal']) {
        const from = join(folder, `one.db${suffix}`);
        if (existsSync(from)) copyFileSync(from, join(folder, `copy-${pause}.db${suffix}`));
      }
      const copy = make(`copy-${pause}.db`);
      const user = await copy.findUser('acme-app', 'ann');
      expect([await copy.head(user!), await copy.findUser('acme-app', 'eve')]).toEqual([before, null]);
      await copy.close();
      expect(await headOf('ann')).toBe(before);
    }
  });

  it('tells of nothing that was undone, and passes over nothing that came in its place', async () => {
    const claim = () => store.claimReceipts({ limit: 10, leaseMs: 30_000, now: clock.now() });
    await claim();
    disk.isHeld = true;
    await fail([send('ann'), claim()]);
    await send('bob');
    // That of ann's first message had not been taken: it comes again.
    expect((await claim()).map(({ facts }) => facts?.destination)).toEqual(['ann', 'bob']);
  });

  it('goes on after failures one after the other', async () => {
    for (let round = 0; round < 5; round += 1) {
      disk.isHeld = true;
      await fail([send('ann')]);
    }
    expect(await send('ann')).toEqual([2]);
  });
});
