import { describe, expect, it } from 'vitest';
import { within } from './deadline.ts';

const never = new Promise<number>(() => undefined);

describe('within', () => {
  it('gives the value in time, and says when the time is over', async () => {
    expect(await within(Promise.resolve(5), 1_000)).toEqual({ done: true, value: 5 });
    expect(await within(never, 1)).toEqual({ done: false });
  });

  it('rejects with the promise, and swallows a rejection that comes later', async () => {
    await expect(within(Promise.reject(new Error('planted')), 1_000)).rejects.toThrow('planted');
    let fail: ((error: Error) => void) | undefined;
    const late = new Promise<number>((_resolve, reject) => {
      fail = reject;
    });
    expect(await within(late, 1)).toEqual({ done: false });
    fail?.(new Error('nobody listens'));
  });
});
