import type { Clock } from '../core/ports.ts';
import type { GatewayLimits } from './limits.ts';
import type { Transport } from './transport.ts';

export type FlushResult = 'taken' | 'blocked' | 'overflow';

/** Joins what is sent in one turn into one write, and knows since when the other side has taken nothing. */
export class PacketWriter {
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #limits: GatewayLimits;
  /** Made when there is something: a connection that rests holds no array. */
  #packets: Buffer[] | null = null;
  #bytes = 0;
  /** Monotonic ms; null: the socket takes more. */
  #blockedAt: number | null = null;

  constructor(transport: Transport, clock: Clock, limits: GatewayLimits) {
    this.#transport = transport;
    this.#clock = clock;
    this.#limits = limits;
  }

  get isBlocked(): boolean {
    return this.#blockedAt !== null || this.#bytes > this.#limits.batchBytesMax;
  }

  /** When the connection counts as stalled, monotonic ms; Infinity: it does not wait. */
  get stalledAt(): number {
    return this.#blockedAt === null ? Number.POSITIVE_INFINITY : this.#blockedAt + this.#limits.stalledMs;
  }

  add(packet: Buffer): void {
    this.#packets ??= [];
    this.#packets.push(packet);
    this.#bytes += packet.length;
  }

  flush(): FlushResult {
    const packets = this.#packets;
    if (packets === null) return this.#blockedAt === null ? 'taken' : 'blocked';
    const [first] = packets;
    const bytes = packets.length === 1 && first !== undefined ? first : Buffer.concat(packets, this.#bytes);
    this.#packets = null;
    this.#bytes = 0;
    if (!this.#transport.write(bytes)) this.#blockedAt ??= this.#clock.monotonic();
    if (this.#transport.bufferedBytes > this.#limits.outgoingBytesMax) return 'overflow';
    return this.#blockedAt === null ? 'taken' : 'blocked';
  }

  onDrain(): void {
    this.#blockedAt = null;
  }
}
