/** Collects what is wrong with a request and what of it was ignored. */
import { limits } from './limits.ts';
import type { FaultDetail, MessagingFaultCode, Warning } from './messaging.ts';

/** In the order that decides which one a refused request gets. */
const codeOrder: readonly MessagingFaultCode[] = ['7000', '7009', '7003', '7004'];

/** One token of a JSON pointer, escaped (RFC 6901 §3). */
export function pointerToken(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}

/**
 * The faults and warnings of one request. Paths come in two parts (the pointer of the parent and a key), so that a
 * request without a fault never builds one.
 */
export class Faults {
  readonly warnings: Warning[] = [];
  readonly #details: { code: MessagingFaultCode; detail: FaultDetail }[] = [];
  #untold = 0;

  get any(): boolean {
    return this.#details.length > 0;
  }

  /** 7003: absent, null or empty. `parent` is a pointer, `key` one of its members. */
  missing(parent: string, key: string | number, message: string): void {
    this.add('7003', parent, key, message);
  }

  /** 7004: there and wrong. */
  invalid(parent: string, key: string | number, message: string): void {
    this.add('7004', parent, key, message);
  }

  add(code: MessagingFaultCode, parent: string, key: string | number, message: string): void {
    if (this.#details.length >= limits.faultDetailsMax) {
      this.#untold += 1;
      return;
    }
    const path = `${parent}/${pointerToken(String(key))}`;
    this.#details.push({ code, detail: { path, message } });
  }

  /** Something ignored. */
  warn(parent: string, key: string | number, message: string): void {
    if (this.warnings.length < limits.warningsMax) {
      this.warnings.push({ path: `${parent}/${pointerToken(String(key))}`, message });
    }
  }

  /** The code that decides and every fault, those of the deciding code first. Only where there is a fault. */
  outcome(): { code: MessagingFaultCode; details: FaultDetail[] } {
    const details: FaultDetail[] = [];
    let decisive: MessagingFaultCode | undefined;
    for (const code of codeOrder) {
      for (const fault of this.#details) {
        if (fault.code === code) {
          decisive ??= code;
          details.push(fault.detail);
        }
      }
    }
    if (this.#untold > 0) {
      details.push({ path: '', message: `${this.#untold} more faults are not listed` });
    }
    return { code: decisive ?? '7004', details };
  }
}
