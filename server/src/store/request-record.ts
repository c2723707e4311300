/** What both stores keep of a request, and how its recipients are written: as one text, once. */
import type { Priority } from '../core/model.ts';
import type { AcceptUnit, IdentifierType, RequestContent, RequestKey, UserKey } from '../core/ports.ts';
import type { Row } from './rows.ts';

/** One identifier of a request: where it went. `n` null: nowhere, and `code` says why. */
export interface Member {
  readonly destination: number;
  readonly correlationid: string | null;
  readonly type: IdentifierType;
  readonly value: string;
  readonly user: UserKey | null;
  readonly n: number | null;
  readonly code: string | null;
  /** The store's number of the thread its entry is on; null with `n`. */
  readonly thread: number | null;
  /** An earlier identifier of the same object meant the same user: this one shares its entry. */
  readonly shared: boolean;
}

/** What receipts and status need beside the content. */
export interface RequestRecord {
  readonly uid: string;
  readonly client: string;
  readonly service: string;
  readonly app: string;
  readonly accepted: number;
  readonly expiry: number;
  readonly priority: Priority;
  readonly word: string;
  readonly notifyUrl: string | null;
  readonly callback: string | null;
  readonly members: readonly Member[];
}

const TYPES: readonly IdentifierType[] = ['customerid', 'msisdn', 'userid'];

/** Compact JSON: `[destination, correlationid|0, type, value, user|0, n|0, code|0, shared, thread|0]` per identifier. */
export function encodeMembers(members: readonly Member[]): string {
  const parts: string[] = [];
  for (const member of members) {
    const label = member.correlationid === null ? '0' : JSON.stringify(member.correlationid);
    const code = member.code === null ? '0' : `"${member.code}"`;
    parts.push(
      `[${member.destination},${label},${TYPES.indexOf(member.type)},${JSON.stringify(member.value)},` +
        `${member.user ?? 0},${member.n ?? 0},${code},${member.shared ? 1 : 0},${member.thread ?? 0}]`,
    );
  }
  return `[${parts.join(',')}]`;
}

type Packed = [number, string | 0, number, string, number, number, string | 0, 0 | 1, number];

export function decodeMembers(text: string): Member[] {
  return (JSON.parse(text) as Packed[]).map(([destination, label, type, value, user, n, code, shared, thread]) => ({
    destination,
    correlationid: label === 0 ? null : label,
    type: TYPES[type] ?? 'customerid',
    value,
    user: user === 0 ? null : user,
    n: n === 0 ? null : n,
    code: code === 0 ? null : code,
    shared: shared === 1,
    thread: thread === 0 ? null : thread,
  }));
}

/** A row with the columns uid, client, service, app, accepted, expiry, priority, word, notify_url, callback, members. */
export function recordOf(row: Row): RequestRecord {
  return {
    uid: String(row['uid']),
    client: String(row['client']),
    service: String(row['service']),
    app: String(row['app']),
    accepted: Number(row['accepted']),
    expiry: Number(row['expiry']),
    priority: Number(row['priority']) as Priority,
    word: String(row['word']),
    notifyUrl: row['notify_url'] as string | null,
    callback: row['callback'] as string | null,
    members: decodeMembers(String(row['members'])),
  };
}

/** A row with the columns key, uid, service, app, accepted, expiry, priority, content. */
export function contentOf(row: Row): RequestContent {
  return {
    key: Number(row['key']),
    uid: String(row['uid']),
    serviceId: String(row['service']),
    appId: String(row['app']),
    acceptedAt: Number(row['accepted']),
    expiry: Number(row['expiry']),
    priority: Number(row['priority']) as Priority,
    content: String(row['content']),
  };
}

/** What all recipients of a request share, at its acceptance. */
export function contentOfUnit(unit: AcceptUnit, key: RequestKey): RequestContent {
  return {
    key,
    uid: unit.uid,
    serviceId: unit.serviceId,
    appId: unit.appId,
    acceptedAt: unit.acceptedAt,
    expiry: unit.expiry,
    priority: unit.priority,
    content: unit.content,
  };
}
