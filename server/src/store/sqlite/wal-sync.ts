import { closeSync, fdatasync, fdatasyncSync, ftruncateSync, openSync, readSync } from 'node:fs';
import { StoreUnavailable } from '../../core/ports.ts';

/** Layout of a write-ahead log, https://www.sqlite.org/fileformat2.html#walformat, bytes. */
const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const PAGE_SIZE_AT = 8;
const SALTS_AT = 16;
const SALTS_BYTES = 8;

/** Asks the system to put a file's bytes on the disk, off this thread. */
export type SyncFile = (file: number, done: (error: Error | null) => void) => void;

export interface WalSyncOptions {
  /** The log's file; it is there. */
  readonly path: string;
  /** How many frames of the log are in force now. */
  readonly frames: () => number;
  /** So many frames are on the disk. */
  readonly onSynced: (frames: number) => void;
  /** What was committed since the last sync that succeeded must be undone: see {@link WalSync.cut}. */
  readonly onFailed: () => void;
  readonly sync?: SyncFile | undefined;
}

/** A length of the log; its salts tell one round through the file from the next. */
interface Position {
  readonly frames: number;
  readonly salts: string;
}

interface Waiters {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Puts the write-ahead log of one handle on the disk, off the main thread: SQLite commits without a sync
 * (`synchronous = NORMAL`), and nobody is told of a commit before a sync that began after it. What is committed while a
 * sync is under way is covered by the next. After one that failed, nothing that was not synced before counts: the log
 * is cut back to there, as if these commits had never been.
 */
export class WalSync {
  private readonly options: WalSyncOptions;
  private readonly sync: SyncFile;
  private readonly file: number;
  private readonly salts = Buffer.alloc(SALTS_BYTES);
  /** Commits made, and how many of them are on the disk. */
  private committedCount = 0;
  private syncedCount = 0;
  /** Commits that the sync under way puts there. */
  private covered = 0;
  private synced: Position;
  private current: Waiters | null = null;
  private next: Waiters | null = null;
  private isBusy = false;
  private hasFailed = false;
  private isRetired = false;
  private isClosed = false;

  constructor(options: WalSyncOptions) {
    this.options = options;
    this.sync = options.sync ?? fdatasync;
    this.file = openSync(options.path, 'r+');
    this.synced = this.position();
  }

  /** A commit failed to reach the disk, and {@link cut} has not undone it yet. */
  get isFailed(): boolean {
    return this.hasFailed;
  }

  /** A commit was made. */
  committed(): void {
    this.committedCount += 1;
    if (!this.isBusy && !this.hasFailed) this.begin();
  }

  /** Resolves when everything committed until now is on the disk; null: it is. Rejects with StoreUnavailable. */
  pending(): Promise<void> | null {
    if (this.syncedCount === this.committedCount) return null;
    if (this.hasFailed) return Promise.reject(new StoreUnavailable('the disk refused, and has not taken it since'));
    if (this.covered === this.committedCount) return (this.current ??= newWaiters()).promise;
    return (this.next ??= newWaiters()).promise;
  }

  /** Everything committed until now is on the disk by another way: a checkpoint synced it. */
  allSynced(): void {
    this.synced = this.position();
    this.syncedCount = this.committedCount;
  }

  private begin(): void {
    this.isBusy = true;
    this.covered = this.committedCount;
    this.current = this.next;
    this.next = null;
    let position = this.synced;
    const done = (error: Error | null): void => {
      this.isBusy = false;
      if (error === null) this.succeeded(position);
      else this.failed(error);
      this.closeWhenDone();
    };
    try {
      if (!this.isRetired) position = this.position();
    } catch (error) {
      // Later, as a sync would fail: the commit is still being made.
      setImmediate(done, error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.sync(this.file, done);
  }

  private succeeded(position: Position): void {
    // A checkpoint may have been ahead of it.
    if (this.covered > this.syncedCount) {
      this.syncedCount = this.covered;
      this.synced = position;
    }
    this.current?.resolve();
    this.current = null;
    if (this.syncedCount < this.committedCount) {
      this.begin();
    } else {
      this.next?.resolve();
      this.next = null;
    }
    if (!this.isRetired) this.options.onSynced(position.frames);
  }

  private failed(error: Error): void {
    const refused = new StoreUnavailable(`the disk refused: ${error.message}`, { cause: error });
    const { current, next } = this;
    const isCurrentSynced = this.covered <= this.syncedCount;
    this.current = null;
    this.next = null;
    if (!this.isRetired) {
      this.hasFailed = true;
      this.options.onFailed();
    }
    if (isCurrentSynced) current?.resolve();
    else current?.reject(refused);
    next?.reject(refused);
  }

  /**
   * Makes the file end after the last frame that counts, and puts this on the disk: after a failed sync the last one
   * synced, else the last one committed, so that nothing of a commit that failed half-way stands behind it. The handle
   * must be closed next: it still believes in what is gone. Throws StoreUnavailable where the disk refuses this too.
   */
  cut(): void {
    // Of two syncs at once on one file either may be told of an error that concerns the other.
    if (this.isBusy) throw new StoreUnavailable('the disk has not answered yet');
    try {
      const now = this.hasFailed ? this.readSalts() : null;
      const position = this.hasFailed ? this.synced : this.position();
      // Other salts: all that was synced has been moved into the database, and the log began anew.
      const isSameRound = now === null || now === position.salts;
      ftruncateSync(this.file, isSameRound ? this.bytesOf(position.frames) : 0);
      fdatasyncSync(this.file);
    } catch (error) {
      throw new StoreUnavailable(`the disk refused: ${(error as Error).message}`, { cause: error });
    }
    this.hasFailed = false;
    this.syncedCount = this.committedCount;
  }

  /** Its handle is closed. Ends by itself when what is under way has ended. */
  retire(): void {
    this.isRetired = true;
    this.closeWhenDone();
  }

  private closeWhenDone(): void {
    if (!this.isRetired || this.isBusy || this.isClosed) return;
    this.isClosed = true;
    closeSync(this.file);
  }

  private position(): Position {
    return { frames: this.options.frames(), salts: this.readSalts() };
  }

  private readSalts(): string {
    const count = readSync(this.file, this.salts, 0, SALTS_BYTES, SALTS_AT);
    return this.salts.toString('latin1', 0, count);
  }

  private bytesOf(frames: number): number {
    if (frames === 0) return 0;
    const size = Buffer.alloc(4);
    readSync(this.file, size, 0, 4, PAGE_SIZE_AT);
    return HEADER_BYTES + frames * (FRAME_HEADER_BYTES + size.readUInt32BE(0));
  }
}

function newWaiters(): Waiters {
  const waiters = Promise.withResolvers<void>();
  // Whoever does not ask is not concerned.
  waiters.promise.catch(() => undefined);
  return waiters;
}
