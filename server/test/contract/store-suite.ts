import { describe } from 'vitest';
import { storeAcceptSuite } from './store-accept.ts';
import { storeChoresSuite } from './store-chores.ts';
import type { MakeStore } from './store-fixture.ts';
import { storeHouseSuite } from './store-house.ts';
import { storeModelSuite } from './store-model.ts';
import { storePeopleSuite } from './store-people.ts';
import { storeReadingSuite } from './store-reading.ts';
import { storeReceiptWorkSuite } from './store-receipt-work.ts';
import { storeReceiptsSuite } from './store-receipts.ts';
import { storeReceiptsUnwantedSuite } from './store-receipts-unwanted.ts';
import { storeSessionsSuite } from './store-sessions.ts';
import { storeSettleSuite } from './store-settle.ts';

/** What every Store must pass. The adapters are kept alike by this alone. */
export function storeSuite(name: string, makeStore: MakeStore): void {
  describe(`store: ${name}`, () => {
    storeAcceptSuite(makeStore);
    storeSettleSuite(makeStore);
    storeSessionsSuite(makeStore);
    storeChoresSuite(makeStore);
    storeReceiptsSuite(makeStore);
    storeReceiptWorkSuite(makeStore);
    storeReceiptsUnwantedSuite(makeStore);
    storeReadingSuite(makeStore);
    storePeopleSuite(makeStore);
    storeHouseSuite(makeStore);
    storeModelSuite(makeStore);
  });
}
