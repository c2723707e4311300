/**
 * Readers of single members: absent means absent (undefined, null and the empty string alike), wrong means a fault and
 * undefined. Every reader takes the JSON pointer of the object it reads from.
 */
import type { Faults } from './faults.ts';
import { limits } from './limits.ts';

export type Json = Record<string, unknown>;

/** An object that is being read, with its pointer and where faults go. */
export interface Source {
  readonly object: Json;
  readonly path: string;
  readonly faults: Faults;
}

/** Whether the value counts as not given. */
export function isAbsent(value: unknown): value is undefined | null | '' {
  return value === undefined || value === null || value === '';
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a value is, in words of JSON, for messages. */
export function kindOf(value: unknown): string {
  if (value === null) {
    return 'null';
  }
  if (Array.isArray(value)) {
    return 'an array';
  }
  if (typeof value === 'object') {
    return 'an object';
  }
  return typeof value === 'boolean' ? 'a boolean' : `a ${typeof value}`;
}

/** Whether the text takes at most so many bytes of UTF-8; counts only where the length leaves it open. */
export function fitsBytes(text: string, bytesMax: number): boolean {
  if (text.length * 3 <= bytesMax) {
    return true;
  }
  if (text.length > bytesMax) {
    return false;
  }
  let bytes = 0;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit < 0x80) {
      bytes += 1;
    } else if (unit < 0x800 || (unit >= 0xd800 && unit < 0xe000)) {
      // A surrogate is one of a pair, and a pair takes four bytes.
      bytes += 2;
    } else {
      bytes += 3;
    }
  }
  return bytes <= bytesMax;
}

/** Whether the text has at most so many code points. */
export function fitsCharacters(text: string, charactersMax: number): boolean {
  if (text.length <= charactersMax) {
    return true;
  }
  if (text.length > charactersMax * 2) {
    return false;
  }
  let characters = 0;
  for (let index = 0; index < text.length; characters += 1) {
    // A pair of surrogates is one character.
    index += (text.codePointAt(index) ?? 0) > 0xffff ? 2 : 1;
  }
  return characters <= charactersMax;
}

/**
 * What is wrong with a text that becomes part of a key, a topic or a row: not well-formed, or with a NUL, neither of
 * which survives storing and MQTT unchanged.
 */
export function textFault(text: string): string | undefined {
  if (text.includes('\u0000')) {
    return 'must not contain the character U+0000';
  }
  return text.isWellFormed() ? undefined : 'is not well-formed Unicode: half of a surrogate pair';
}

/** A text of any length, or undefined where it is absent or wrong. */
export function readString(source: Source, key: string): string | undefined {
  const value = source.object[key];
  if (isAbsent(value)) {
    return undefined;
  }
  if (typeof value !== 'string') {
    source.faults.invalid(source.path, key, `must be a string, not ${kindOf(value)}`);
    return undefined;
  }
  const fault = textFault(value);
  if (fault !== undefined) {
    source.faults.invalid(source.path, key, fault);
    return undefined;
  }
  return value;
}

/** A text of at most so many bytes of UTF-8. */
export function readLabel(source: Source, key: string, bytesMax: number = limits.nameBytesMax): string | undefined {
  const text = readString(source, key);
  if (text !== undefined && !fitsBytes(text, bytesMax)) {
    source.faults.invalid(source.path, key, `must be at most ${bytesMax} bytes of UTF-8`);
    return undefined;
  }
  return text;
}

/** A text of at most so many code points. */
export function readText(source: Source, key: string, charactersMax: number): string | undefined {
  const text = readString(source, key);
  if (text !== undefined && !fitsCharacters(text, charactersMax)) {
    source.faults.invalid(source.path, key, `must be at most ${charactersMax} characters`);
    return undefined;
  }
  return text;
}

/** A string, or a number taken as one. */
export function readStringOrNumber(source: Source, key: string): string | undefined {
  const value = source.object[key];
  return typeof value === 'number' ? String(value) : readString(source, key);
}

const numberPattern = /^[+-]?\d{1,20}(?:\.\d{1,20})?$/;

/** The number a number or a numeric string stands for; undefined for anything else. */
export function toNumber(value: unknown): number | undefined {
  if (typeof value === 'number') {
    return value;
  }
  return typeof value === 'string' && numberPattern.test(value) ? Number(value) : undefined;
}

export interface NumberRange {
  readonly min: number;
  readonly max: number;
  readonly whole: boolean;
  /** What it is, for the message: `a number of seconds`. */
  readonly what: string;
}

/** A number, or a string that holds one, within a range. */
export function readNumber(source: Source, key: string, range: NumberRange): number | undefined {
  const value = source.object[key];
  if (isAbsent(value)) {
    return undefined;
  }
  const number = toNumber(value);
  const inRange = number !== undefined && number >= range.min && number <= range.max;
  if (!inRange || (range.whole && !Number.isInteger(number))) {
    const whole = range.whole ? ', whole' : '';
    const message = `must be ${range.what}${whole}, from ${range.min} to ${range.max}`;
    source.faults.invalid(source.path, key, message);
    return undefined;
  }
  return number;
}

/** An object, or undefined where it is absent or something else. */
export function readObject(source: Source, key: string): Json | undefined {
  const value = source.object[key];
  if (isAbsent(value)) {
    return undefined;
  }
  if (!isObject(value)) {
    source.faults.invalid(source.path, key, `must be an object, not ${kindOf(value)}`);
    return undefined;
  }
  return value;
}

/** The object at a key as a source of its own, or undefined where it is absent or something else. */
export function readSource(source: Source, key: string): Source | undefined {
  const object = readObject(source, key);
  return object === undefined ? undefined : { object, path: `${source.path}/${key}`, faults: source.faults };
}

/** An array; an empty one is absent. */
export function readArray(source: Source, key: string): unknown[] | undefined {
  const value = source.object[key];
  if (isAbsent(value)) {
    return undefined;
  }
  if (!Array.isArray(value)) {
    source.faults.invalid(source.path, key, `must be an array, not ${kindOf(value)}`);
    return undefined;
  }
  return value.length === 0 ? undefined : value;
}

/** Warns of every member that is not known. */
export function warnUnknown(source: Source, known: ReadonlySet<string>): void {
  for (const key of Object.keys(source.object)) {
    if (!known.has(key)) {
      source.faults.warn(source.path, key, 'is not a known parameter and is ignored');
    }
  }
}

/** Reports 7003 where a mandatory member is absent; true where it is there, right or wrong. */
export function demand(source: Source, key: string, message: string): boolean {
  if (isAbsent(source.object[key])) {
    source.faults.missing(source.path, key, message);
    return false;
  }
  return true;
}

/** The members that are there, so that what is absent is not a key. */
export function present<T extends object>(members: { readonly [K in keyof T]: T[K] | undefined }): T {
  // Copied, not deleted from: deleting turns an object into a slow one.
  const result: Json = {};
  for (const [key, value] of Object.entries(members)) {
    if (value !== undefined) {
      result[key] = value;
    }
  }
  return result as T;
}
