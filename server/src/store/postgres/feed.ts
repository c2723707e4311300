import type { InboundEvent } from '@carillon/protocol/inbound.ts';
import type { ReceiptKind, ReceiptSource } from '../../core/ports.ts';
import { transidOf } from '../../core/transid.ts';
import { recordOf } from '../request-record.ts';
import type { Member, RequestRecord } from '../request-record.ts';
import { Columns, unnest } from './columns.ts';
import type { Row, Transaction } from './database.ts';
import { FEED_KINDS, placeKey } from './ledger.ts';
import type { FeedKind } from './ledger.ts';
import { RECORD_COLUMNS } from './requests.ts';

/** A receipt as the feed tells it, before it has a lease. */
export interface FeedWork {
  readonly id: string;
  /** Rank among the receipts of one message: what comes first has the smaller one. */
  readonly rank: number;
  readonly client: string;
  readonly kind: ReceiptKind;
  readonly serviceId: string;
  readonly url: string | null;
  readonly orderKey: string;
  readonly at: number;
  readonly facts: ReceiptSource | null;
  readonly inbound: InboundEvent | null;
}

export interface FeedItem {
  readonly seq: number;
  readonly kind: FeedKind;
  readonly request: string | null;
  readonly user: number | null;
  readonly n: number | null;
  readonly device: number | null;
  readonly at: number;
  readonly detail: string | null;
}

export function feedItem(row: Row): FeedItem {
  const kind = FEED_KINDS[Number(row['kind'])];
  if (kind === undefined) throw new Error(`the feed has a row of unknown kind ${String(row['kind'])}`);
  return {
    seq: Number(row['seq']),
    kind,
    request: row['request'] as string | null,
    user: row['user_id'] as number | null,
    n: row['n'] as number | null,
    device: row['device'] as number | null,
    at: Number(row['at']),
    detail: row['detail'] as string | null,
  };
}

interface MessagePlace {
  readonly record: RequestRecord;
  readonly member: Member;
  readonly index: number;
  /** uid of the message's thread; null: it took no number. */
  readonly threadUid: string | null;
}

interface Owner {
  readonly serviceId: string;
  readonly client: string;
}

/** Turns rows of the feed into receipts: one row for a request is one receipt per identifier. */
export class FeedReader {
  private readonly transaction: Pick<Transaction, 'all'>;
  private readonly records = new Map<string, RequestRecord>();
  private readonly contents = new Map<string, string>();
  private readonly places = new Map<string, { member: number; threadUid: string | null }>();
  private readonly deviceids = new Map<number, string>();
  private readonly userids = new Map<number, string>();
  private readonly apps = new Map<number, string>();
  /** Services by id, and by app: the first one that listens. */
  private readonly owners = new Map<string, Owner>();

  constructor(transaction: Pick<Transaction, 'all'>) {
    this.transaction = transaction;
  }

  /** Reads what {@link works} needs for these rows, in a fixed number of statements. */
  async load(items: readonly FeedItem[]): Promise<void> {
    const interactions = items.filter(({ kind }) => isInteraction(kind));
    const inbound = items.filter(({ kind }) => kind === 'inbound');
    await Promise.all([
      this.loadRecords(items, interactions),
      this.loadPlaces(items),
      this.loadDevices(items),
      this.loadUsers([...interactions, ...inbound]),
    ]);
    if (inbound.length > 0) await this.loadOwners(inbound);
  }

  private async loadRecords(items: readonly FeedItem[], interactions: readonly FeedItem[]): Promise<void> {
    const uids = [...new Set(items.flatMap(({ request }) => request ?? []))];
    if (uids.length === 0) return;
    const labelled = [...new Set(interactions.flatMap(({ request }) => request ?? []))];
    const [rows, contents] = await Promise.all([
      this.transaction.all(`SELECT ${RECORD_COLUMNS} FROM unnest($1::uuid[]) q(uid) JOIN requests r ON r.uid = q.uid`, [
        uids,
      ]),
      labelled.length === 0
        ? []
        : this.transaction.all(
            'SELECT r.uid, r.content FROM unnest($1::uuid[]) q(uid) JOIN requests r ON r.uid = q.uid',
            [labelled],
          ),
    ]);
    for (const row of rows) this.records.set(String(row['uid']), recordOf(row));
    for (const row of contents) this.contents.set(String(row['uid']), String(row['content']));
  }

  private async loadPlaces(items: readonly FeedItem[]): Promise<void> {
    const columns = new Columns(2);
    for (const { user, n } of items) if (user !== null && n !== null) columns.add(user, n);
    if (columns.isEmpty) return;
    const rows = await this.transaction.all(
      `SELECT l.user_id, l.n, l.member, t.uid AS thread_uid FROM ${unnest('bigint', 'bigint')} q(u, n)
       JOIN log l ON l.user_id = q.u AND l.n = q.n AND l.request IS NOT NULL LEFT JOIN threads t ON t.id = l.thread`,
      columns.values,
    );
    for (const row of rows) {
      this.places.set(placeKey(Number(row['user_id']), Number(row['n'])), {
        member: Number(row['member']),
        threadUid: row['thread_uid'] as string | null,
      });
    }
  }

  private async loadDevices(items: readonly FeedItem[]): Promise<void> {
    const columns = new Columns(2);
    for (const { user, device } of items) if (user !== null && device !== null) columns.add(user, device);
    if (columns.isEmpty) return;
    const rows = await this.transaction.all(
      `SELECT d.id, d.deviceid FROM ${unnest('bigint', 'bigint')} q(u, id) JOIN devices d ON d.user_id = q.u AND d.id = q.id`,
      columns.values,
    );
    for (const row of rows) this.deviceids.set(Number(row['id']), String(row['deviceid']));
  }

  private async loadUsers(items: readonly FeedItem[]): Promise<void> {
    const users = [...new Set(items.flatMap(({ user }) => user ?? []))];
    if (users.length === 0) return;
    const rows = await this.transaction.all('SELECT id, app, userid FROM users WHERE id = ANY($1::bigint[])', [users]);
    for (const row of rows) {
      this.userids.set(Number(row['id']), String(row['userid'] ?? ''));
      this.apps.set(Number(row['id']), String(row['app']));
    }
  }

  /** A thread made without a service (by the app's own secret): the first service of the app that listens. */
  private async loadOwners(inbound: readonly FeedItem[]): Promise<void> {
    const services = inbound.flatMap(({ detail }) => inboundOf(detail).service ?? []);
    const apps = inbound.flatMap(({ user }) => (user === null ? [] : (this.apps.get(user) ?? [])));
    const [byId, byApp] = await Promise.all([
      this.transaction.all("SELECT id, client FROM objects WHERE kind = 'service' AND id = ANY($1::text[])", [
        [...new Set(services)],
      ]),
      this.transaction.all(
        `SELECT DISTINCT ON (body::json ->> 'appId') body::json ->> 'appId' AS app, id, client FROM objects
         WHERE kind = 'service' AND body::json ->> 'appId' = ANY($1::text[]) AND body::json ->> 'inboundUrl' IS NOT NULL
         ORDER BY body::json ->> 'appId', id`,
        [[...new Set(apps)]],
      ),
    ]);
    for (const row of byId) this.owners.set(`id ${String(row['id'])}`, ownerOf(row));
    for (const row of byApp) this.owners.set(`app ${String(row['app'])}`, ownerOf(row));
  }

  works(item: FeedItem): FeedWork[] {
    if (item.kind === 'submitted') return this.submitted(item);
    if (item.kind === 'inbound') return this.inbound(item);
    const place = this.place(item);
    // Purged or erased since: nobody can be told about it any more.
    return place === null ? [] : [this.work(item, place, item.kind)];
  }

  /** Submitted for every identifier, and at once the failure of those that could not be routed. */
  private submitted(item: FeedItem): FeedWork[] {
    const record = this.records.get(item.request ?? '');
    if (record === undefined) return [];
    const works: FeedWork[] = [];
    record.members.forEach((member, index) => {
      if (member.shared) return;
      const place = { record, member, index, threadUid: null };
      works.push(this.work(item, place, 'submitted'));
      if (member.code !== null) works.push(this.work(item, place, 'failed', member.code));
    });
    return works;
  }

  private work(item: FeedItem, place: MessagePlace, kind: Exclude<FeedKind, 'inbound'>, failure?: string): FeedWork {
    const { record, member, index } = place;
    const transid = transidOf(record.uid, member.destination);
    const { seq } = item;
    // Presses may be many; every other state is told once, so its name alone is its id.
    const suffix = kind === 'pressed' || kind === 'postback' ? `_${seq}` : '';
    return {
      // No full stop: the signed text of a receipt (Standard Webhooks) joins its parts with one.
      id: `${transid}_${index}_${kind}${suffix}`,
      // One row can give two receipts of a message: Submitted and, behind it, the failure.
      rank: seq * 2 + (failure === undefined ? 0 : 1),
      client: record.client,
      kind,
      serviceId: record.service,
      url: kind === 'postback' ? null : record.notifyUrl,
      orderKey: `${kind === 'postback' ? 'postback ' : ''}${transid}.${index}`,
      at: item.at,
      facts: this.facts(item, place, { kind, transid, code: failure ?? codeOf(kind, item) }),
      inbound: null,
    };
  }

  private facts(
    item: FeedItem,
    place: MessagePlace,
    about: { kind: FeedKind; transid: string; code: string },
  ): ReceiptSource {
    const { record, member } = place;
    const interacts = isInteraction(about.kind);
    const detail = interacts
      ? (JSON.parse(item.detail ?? '{}') as { identifier?: string | null; url?: string | null; text?: string | null })
      : {};
    return {
      transid: about.transid,
      correlationid: member.correlationid,
      callbackData: record.callback,
      channelWord: record.word,
      destination: member.value,
      destinationType: member.type,
      deviceid: item.device === null ? '' : (this.deviceids.get(item.device) ?? ''),
      code: about.code,
      content: interacts ? (this.contents.get(record.uid) ?? null) : null,
      appId: record.app,
      userid: interacts && member.user !== null && item.user !== null ? (this.userids.get(item.user) ?? '') : '',
      threadId: about.kind === 'postback' ? place.threadUid : null,
      identifier: detail.identifier ?? null,
      url: detail.url ?? null,
      text: detail.text ?? null,
    };
  }

  private inbound({ seq, user, at, detail }: FeedItem): FeedWork[] {
    if (user === null) return [];
    const { service, event } = inboundOf(detail);
    const owner =
      service === null
        ? this.owners.get(`app ${this.apps.get(user) ?? ''}`)
        : (this.owners.get(`id ${service}`) ?? { serviceId: service, client: '' });
    if (owner === undefined) return [];
    return [
      {
        id: `inbound_${event.tid}_${event.event}_${seq}`,
        rank: seq * 2,
        client: owner.client,
        kind: 'inbound',
        serviceId: owner.serviceId,
        url: null,
        orderKey: `inbound ${user}`,
        at,
        facts: null,
        inbound: event,
      },
    ];
  }

  private place({ user, n, request }: FeedItem): MessagePlace | null {
    const row = user === null || n === null ? undefined : this.places.get(placeKey(user, n));
    const record = this.records.get(request ?? '');
    const member = row === undefined ? undefined : record?.members[row.member];
    if (row === undefined || record === undefined || member === undefined) return null;
    return { record, member, index: row.member, threadUid: row.threadUid };
  }
}

function isInteraction(kind: FeedKind): boolean {
  return kind === 'pressed' || kind === 'clicked' || kind === 'postback';
}

function codeOf(kind: FeedKind, item: FeedItem): string {
  if (kind === 'expired') return '7301';
  return kind === 'failed' ? (item.detail ?? '7011') : '';
}

function inboundOf(detail: string | null): { service: string | null; event: InboundEvent } {
  return JSON.parse(String(detail)) as { service: string | null; event: InboundEvent };
}

function ownerOf(row: Row): Owner {
  return { serviceId: String(row['id']), client: String(row['client']) };
}
