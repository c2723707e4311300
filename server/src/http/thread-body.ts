/** Bodies of the thread API: what makes a thread and what changes one. */
import { fitsBytes, isObject, kindOf, textFault } from '@carillon/protocol/fields.ts';
import { limits } from '@carillon/protocol/limits.ts';
import type { FaultDetail } from '@carillon/protocol/messaging.ts';
import type { ThreadType } from '../core/model.ts';
import type { ThreadPatch } from '../core/ports.ts';
import { httpLimits } from './limits.ts';
import type { JsonObject } from './service-auth.ts';

export type Read<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly code: '7003' | '7004'; readonly details: readonly FaultDetail[] };

export interface ThreadCreate {
  readonly type: ThreadType;
  readonly title: string;
  readonly category: string | null;
  readonly externalid: string | null;
  readonly extras: Record<string, unknown>;
}

/** Reads members; undefined where absent (undefined, null) or wrong, which leaves a fault. */
class Reader {
  readonly faults: FaultDetail[] = [];
  private readonly body: JsonObject;

  constructor(body: JsonObject) {
    this.body = body;
  }

  text(key: string, bytesMax: number): string | undefined {
    const value = this.body[key];
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'string') return this.wrong(key, `must be a string, not ${kindOf(value)}`);
    if (!fitsBytes(value, bytesMax)) return this.wrong(key, `must be at most ${bytesMax} bytes of UTF-8`);
    const fault = textFault(value);
    return fault === undefined ? value : this.wrong(key, fault);
  }

  extras(): Record<string, unknown> | undefined {
    const value = this.body['extras'];
    if (value === undefined || value === null || value === '') return undefined;
    if (!isObject(value)) return this.wrong('extras', `must be an object, not ${kindOf(value)}`);
    if (Buffer.byteLength(JSON.stringify(value)) > httpLimits.threadExtrasBytesMax) {
      return this.wrong('extras', `must take at most ${httpLimits.threadExtrasBytesMax} bytes`);
    }
    return value;
  }

  /** One of some words, in any letter case; an empty text is absent. */
  word<Word extends string>(key: string, words: readonly Word[]): Word | undefined {
    const text = this.text(key, limits.nameBytesMax)?.trim().toLowerCase();
    if (text === undefined || text === '') return undefined;
    const found = words.find((word) => word.toLowerCase() === text);
    return found ?? this.wrong(key, `must be ${words.join(' or ')}`);
  }

  wrong(key: string, message: string): undefined {
    this.faults.push({ path: `/${key}`, message });
    return undefined;
  }
}

const TYPES: readonly ThreadType[] = ['Conversation', 'Announcement'];
const STATUSES = ['Active', 'Closed'] as const;

/** `{type, title?, category?, externalid?, extras?}`. */
export function readThreadCreate(body: JsonObject): Read<ThreadCreate> {
  const reader = new Reader(body);
  const type = reader.word('type', TYPES);
  const value = {
    title: reader.text('title', limits.threadTitleBytesMax) ?? '',
    category: reader.text('category', limits.nameBytesMax) || null,
    externalid: reader.text('externalid', limits.nameBytesMax) || null,
    extras: reader.extras() ?? {},
  };
  if (type === undefined && !reader.faults.some((fault) => fault.path === '/type')) {
    const missing = { path: '/type', message: 'must be Conversation or Announcement' };
    return { ok: false, code: '7003', details: [missing, ...reader.faults] };
  }
  if (type === undefined || reader.faults.length > 0) return { ok: false, code: '7004', details: reader.faults };
  return { ok: true, value: { type, ...value } };
}

/** `{status?, title?, category?, externalid?, extras?}`; what is not given stays, an empty text clears. */
export function readThreadPatch(body: JsonObject): Read<ThreadPatch> {
  const reader = new Reader(body);
  const status = reader.word('status', STATUSES);
  const title = reader.text('title', limits.threadTitleBytesMax);
  const category = reader.text('category', limits.nameBytesMax);
  const externalid = reader.text('externalid', limits.nameBytesMax);
  const extras = reader.extras();
  if (reader.faults.length > 0) return { ok: false, code: '7004', details: reader.faults };
  const value: ThreadPatch = {
    ...(status === undefined ? undefined : { status }),
    ...(title === undefined ? undefined : { title }),
    ...(category === undefined ? undefined : { category: category || null }),
    ...(externalid === undefined ? undefined : { externalid: externalid || null }),
    ...(extras === undefined ? undefined : { extras }),
  };
  if (Object.keys(value).length > 0) return { ok: true, value };
  const message = 'give at least one of status, title, category, externalid, extras';
  return { ok: false, code: '7003', details: [{ path: '', message }] };
}
