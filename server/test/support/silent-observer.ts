import type { Observer } from '../../src/core/observer.ts';

const ignore = (): void => undefined;

/** For tests that look at outcomes, not at what is told about them. */
export const silentObserver: Observer = {
  requestAccepted: ignore,
  requestRefused: ignore,
  committed: ignore,
  storeFailed: ignore,
  delivered: ignore,
  settled: ignore,
  sessionOpened: ignore,
  sessionClosed: ignore,
  deviceRefused: ignore,
  receiptTried: ignore,
  receiptSkipped: ignore,
  linkVisited: ignore,
  adminChanged: ignore,
  warning: ignore,
};
