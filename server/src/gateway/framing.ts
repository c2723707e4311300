/**
 * From a stream of bytes to MQTT packets (§2.1.4 of the standard: one byte of type and flags, the remaining length in
 * one to four bytes). Holds no more than one unfinished packet, and nothing at all between packets: a connection that
 * rests costs no buffer.
 */
export type Frame =
  /** `bytes`: the whole packet; `start`: where what follows the remaining length begins. */
  | { readonly kind: 'packet'; readonly bytes: Buffer; readonly start: number }
  | { readonly kind: 'more' }
  | { readonly kind: 'too-large' | 'bad-length' };

const MORE: Frame = { kind: 'more' };

export class Framer {
  #chunk: Buffer | null = null;
  #at = 0;
  /** The unfinished packet, in a buffer of its size once that is known. */
  #partial: Buffer | null = null;
  #filled = 0;

  /** Bytes held. */
  get heldBytes(): number {
    return this.#filled + (this.#chunk === null ? 0 : this.#chunk.length - this.#at);
  }

  /** Takes bytes as they come; {@link next} is then called until it wants more. */
  append(chunk: Buffer): void {
    const rest = this.#chunk;
    this.#chunk = rest === null ? chunk : Buffer.concat([rest.subarray(this.#at), chunk]);
    this.#at = 0;
  }

  /** The next packet of at most `bytesMax` bytes. After `too-large` or `bad-length` the stream cannot go on. */
  next(bytesMax: number): Frame {
    const chunk = this.#chunk;
    if (chunk === null) return MORE;
    if (this.#partial !== null) return this.#complete(chunk, bytesMax);
    const header = readHeader(chunk, this.#at);
    if (header === null) return this.#keep(chunk);
    if (header.start < 0) return { kind: 'bad-length' };
    const total = header.start - this.#at + header.length;
    if (total > bytesMax) return { kind: 'too-large' };
    if (this.#at + total > chunk.length) return this.#keepSized(chunk, total);
    const bytes = chunk.subarray(this.#at, this.#at + total);
    const start = header.start - this.#at;
    this.#advance(chunk, total);
    return { kind: 'packet', bytes, start };
  }

  #advance(chunk: Buffer, count: number): void {
    this.#at += count;
    if (this.#at < chunk.length) return;
    this.#chunk = null;
    this.#at = 0;
  }

  /** Less than a whole header is left: at most four bytes, copied so that the chunk can be freed. */
  #keep(chunk: Buffer): Frame {
    this.#partial = Buffer.from(chunk.subarray(this.#at));
    this.#filled = this.#partial.length;
    this.#advance(chunk, this.#filled);
    return MORE;
  }

  #keepSized(chunk: Buffer, total: number): Frame {
    const partial = Buffer.allocUnsafeSlow(total);
    this.#filled = chunk.copy(partial, 0, this.#at);
    this.#partial = partial;
    this.#advance(chunk, this.#filled);
    return MORE;
  }

  #complete(chunk: Buffer, bytesMax: number): Frame {
    const partial = this.#partial ?? chunk;
    if (this.#filled === partial.length) {
      // An unfinished header: join it with what came and begin again.
      this.#chunk = Buffer.concat([partial, chunk.subarray(this.#at)]);
      this.#at = 0;
      this.#partial = null;
      this.#filled = 0;
      return this.next(bytesMax);
    }
    const taken = chunk.copy(partial, this.#filled, this.#at);
    this.#filled += taken;
    this.#advance(chunk, taken);
    if (this.#filled < partial.length) return MORE;
    this.#partial = null;
    this.#filled = 0;
    const header = readHeader(partial, 0);
    return { kind: 'packet', bytes: partial, start: header?.start ?? 2 };
  }
}

/** Null: not all there yet. `start` -1: five bytes of length. */
function readHeader(bytes: Buffer, at: number): { start: number; length: number } | null {
  let length = 0;
  for (let count = 0; count < 4; count += 1) {
    const byte = bytes[at + 1 + count];
    if (byte === undefined) return null;
    length += (byte & 0x7f) * 128 ** count;
    if (byte < 0x80) return { start: at + 2 + count, length };
  }
  return { start: -1, length: 0 };
}
