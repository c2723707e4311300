import type { Page, ReceiptFilter, ReceiptKind, ReceiptRecord } from '../../core/ports.ts';
import { splitTransid } from '../../core/transid.ts';
import { reachedIn } from '../feed-work.ts';
import type { FeedWork } from '../feed-work.ts';
import { recordOf } from '../request-record.ts';
import type { Member, RequestRecord } from '../request-record.ts';
import { RECEIPT_STATES, receiptRecordOf } from '../rows.ts';
import type { Database, Transaction } from './database.ts';
import { FeedReader } from './feed.ts';
import type { FeedItem } from './feed.ts';
import { follow } from './loading.ts';
import { DEAD, PENDING } from './receipts.ts';
import type { Receipts } from './receipts.ts';
import { RECORD_COLUMNS } from './requests.ts';

/** What people see of receipts, and telling one once more. */
export class ReceiptList {
  private readonly database: Database;
  private readonly receipts: Receipts;

  constructor(database: Database, receipts: Receipts) {
    this.database = database;
    this.receipts = receipts;
  }

  async list(filter: ReceiptFilter): Promise<Page<ReceiptRecord>> {
    const where: string[] = ['shown'];
    const values: unknown[] = [];
    const add = (condition: string, ...given: unknown[]): void => {
      where.push(condition.replaceAll('?', () => `$${values.push(given.shift())}`));
    };
    if (filter.clientId !== null) add('client = ?', filter.clientId);
    if (filter.serviceId !== undefined) add('service = ?', filter.serviceId);
    if (filter.transid !== undefined) add('transid = ?', filter.transid.toLowerCase());
    if (filter.state !== undefined) add('state = ?', RECEIPT_STATES.indexOf(filter.state));
    const [, created, id] = /^(\d{1,16}) (.*)$/s.exec(filter.cursor ?? '') ?? [];
    if (created !== undefined && id !== undefined) add('(created, id) < (?, ?)', Number(created), id);
    values.push(filter.limit + 1);
    const rows = await this.database.all(
      `SELECT * FROM receipts WHERE ${where.join(' AND ')} ORDER BY created DESC, id DESC LIMIT $${values.length}`,
      values,
    );
    const items = rows.slice(0, filter.limit).map(receiptRecordOf);
    const last = items.at(-1);
    return { items, next: rows.length > filter.limit && last !== undefined ? `${last.createdAt} ${last.id}` : null };
  }

  replay(clientId: string, id: string, now: number): Promise<boolean> {
    return this.database.transaction(async (transaction) => {
      const row = await transaction.one('SELECT client FROM receipts WHERE id = $1 FOR NO KEY UPDATE', [id]);
      if (row === undefined) return this.replayTaken(transaction, clientId, id, now);
      if (clientId !== '*' && row['client'] !== clientId) return false;
      await transaction.run(
        `UPDATE receipts SET state = ${PENDING}, attempts = 0, due = $2, leased = false, fence = fence + 1, shown = true WHERE id = $1`,
        [id, now],
      );
      return true;
    });
  }

  /** A receipt that was taken at once has no row: it is made from the state reached. */
  private async replayTaken(transaction: Transaction, clientId: string, id: string, now: number): Promise<boolean> {
    const [, transid = '', index = '', kind = ''] =
      /^([0-9a-f-]{36})_(\d+)_(submitted|delivered|read|failed|expired)$/.exec(id) ?? [];
    const parts = splitTransid(transid);
    if (parts === null) return false;
    const row = await transaction.one(`SELECT ${RECORD_COLUMNS} FROM requests r WHERE r.uid = $1`, [parts.uid]);
    const record = row === undefined ? null : recordOf(row);
    const member = record?.members[Number(index)];
    if (record === null || member === undefined || (clientId !== '*' && record.client !== clientId)) return false;
    const work = await rebuild(transaction, record, { member, kind: kind as ReceiptKind, id });
    if (work === null) return false;
    // Before whatever of the message is still to be told.
    const rank = { submitted: 0, delivered: 1, failed: 1, expired: 1, read: 2 }[kind as 'submitted'];
    await this.receipts.add(transaction, { ...work, rank }, now);
    return true;
  }

  async counts(now: number): Promise<{ pending: number; dead: number; oldestMs: number }> {
    const row = await this.database.one(
      `SELECT (SELECT count(*) FROM feed) AS untaken, (SELECT at FROM feed ORDER BY seq LIMIT 1) AS first,
         (SELECT count(*) FROM receipts WHERE state = ${PENDING}) AS pending,
         (SELECT count(*) FROM receipts WHERE state = ${DEAD}) AS dead,
         (SELECT min(created) FROM receipts WHERE state = ${PENDING}) AS created`,
    );
    const oldest = Math.min(Number(row?.['first'] ?? now), Number(row?.['created'] ?? now));
    return {
      // A row of the feed counts as one, however many receipts it will be.
      pending: Number(row?.['untaken'] ?? 0) + Number(row?.['pending'] ?? 0),
      dead: Number(row?.['dead'] ?? 0),
      oldestMs: Math.max(0, now - oldest),
    };
  }
}

async function rebuild(
  transaction: Transaction,
  record: RequestRecord,
  { member, kind, id }: { member: Member; kind: ReceiptKind; id: string },
): Promise<FeedWork | null> {
  const places = await follow(transaction, [member]);
  const place = places.values().next().value ?? null;
  const base = {
    seq: 0,
    request: record.uid,
    user: place?.user ?? null,
    n: place?.n ?? null,
    device: null,
    detail: null,
  };
  const find = async (item: FeedItem): Promise<FeedWork | null> => {
    const reader = new FeedReader(transaction);
    await reader.load([item]);
    return reader.works(item).find((work) => work.id === id) ?? null;
  };
  if (kind === 'submitted' || place === null) return find({ ...base, kind: 'submitted', at: record.accepted });
  const row = await transaction.one('SELECT state, device, at, read, detail FROM log WHERE user_id = $1 AND n = $2', [
    place.user,
    place.n,
  ]);
  const reached = reachedIn(row, kind);
  return reached === null ? null : find({ ...base, ...reached, kind });
}
