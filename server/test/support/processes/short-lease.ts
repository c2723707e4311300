// Not a fault: receipts are leased for 6 s instead of 30, and what has to fit into a lease is shortened with it, so that a
// test can outlive one.
import { receiptLimits } from '../../../src/receipts/limits.ts';

Object.assign(receiptLimits, { leaseMs: 6_000, waitingMs: 1_500, tryMs: 4_000 });
