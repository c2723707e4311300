import { isUtf8 } from 'node:buffer';

/** A packet that breaks the standard; caught in decode.ts, where it becomes a value. */
export class BadPacket extends Error {
  readonly isMalformed: boolean;
  constructor(message: string, isMalformed = true) {
    super(message);
    this.isMalformed = isMalformed;
  }
}

/** Reads the fields of one packet in order, within its bounds. Every method throws {@link BadPacket} at the end. */
export class PacketReader {
  readonly #bytes: Buffer;
  #at: number;
  #end: number;

  constructor(bytes: Buffer, start: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = bytes.length;
  }

  get remaining(): number {
    return this.#end - this.#at;
  }

  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.#end) throw new BadPacket('the packet is shorter than its fields');
    this.#at = at + count;
    return at;
  }

  byte(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  twoBytes(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  fourBytes(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  /** Variable byte integer, §1.5.5. */
  varint(): number {
    let value = 0;
    for (let count = 0; count < 4; count += 1) {
      const byte = this.byte();
      value += (byte & 0x7f) * 128 ** count;
      if (byte < 0x80) return value;
    }
    throw new BadPacket('a variable byte integer has five bytes');
  }

  binary(): Buffer {
    const length = this.twoBytes();
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** UTF-8 without U+0000 and without surrogates, §1.5.4. */
  text(): string {
    const bytes = this.binary();
    if (!isUtf8(bytes) || bytes.includes(0)) throw new BadPacket('a text is not UTF-8, or holds U+0000');
    return bytes.toString('utf8');
  }

  rest(): Buffer {
    const length = this.remaining;
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** Reads a part of `length` bytes with a reader of its own, which must use all of them. */
  part(length: number, read: (part: PacketReader) => void): void {
    const end = this.#end;
    const at = this.#take(length);
    this.#end = at + length;
    this.#at = at;
    read(this);
    if (this.#at !== this.#end) throw new BadPacket('a part of the packet is longer than its fields');
    this.#end = end;
  }

  done(): void {
    if (this.remaining > 0) throw new BadPacket('the packet is longer than its fields');
  }
}
