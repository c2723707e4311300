/** In `meta`: rows of another store are being copied into this database (core/transfer.ts), and not all are there. */
export const UNFINISHED_TRANSFER = 'migration';

/** The database holds half an installation. */
export class TransferUnfinished extends Error {
  constructor() {
    super('the database holds an unfinished migration: run `carillon migrate` again, or give another database');
    this.name = 'TransferUnfinished';
  }
}
