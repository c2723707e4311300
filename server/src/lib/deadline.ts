export type InTime<Value> = { readonly done: true; readonly value: Value } | { readonly done: false };

/**
 * Waits for a promise at most so long; the work itself goes on. Rejects where the promise does so in time; a rejection
 * that comes later is swallowed, since nobody listens any more.
 */
export async function within<Value>(promise: Promise<Value>, ms: number): Promise<InTime<Value>> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<InTime<Value>>((resolve) => {
    timer = setTimeout(() => resolve({ done: false }), ms);
  });
  try {
    return await Promise.race([promise.then((value): InTime<Value> => ({ done: true, value })), timeout]);
  } finally {
    clearTimeout(timer);
  }
}
