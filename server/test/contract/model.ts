/**
 * What a store has to know, in a few maps: logs, deliveries, devices, receipts due. No I/O, no clock of its own.
 * Rules: contract §3 and §4; `core/delivery-state.ts` for the moves.
 */
import {
  canMove,
  isWaiting,
  STATE,
  type StateName,
  type StateNumber,
  stateName,
} from '../../src/core/delivery-state.ts';
import type { Priority } from '../../src/core/model.ts';
import type { ReceiptKind } from '../../src/core/ports.ts';

export interface ModelEntry {
  readonly n: number;
  readonly priority: Priority;
  /** null: a state event. */
  readonly message: ModelMessage | null;
}

export interface ModelMessage {
  readonly tid: string;
  readonly userid: string;
  readonly n: number;
  readonly expiry: number;
  state: StateNumber;
  /** When nothing could follow any more but a read; null: it waits. */
  endedAt: number | null;
  clicked: boolean;
}

export interface ModelReceipt {
  readonly tid: string;
  readonly userid: string;
  readonly kind: ReceiptKind;
  readonly at: number;
  /** Known from the first claim on. */
  id: string | null;
  state: 'pending' | 'done' | 'dead';
  /** It was told once; what comes after it need not wait when a crash has it told again. */
  wasTaken: boolean;
  dueAt: number;
  leasedUntil: number;
  attempts: number;
}

export interface ModelDevice {
  readonly userid: string;
  readonly deviceid: string;
  base: number;
  floor: number;
  /** null: connected. */
  keptUntil: number | null;
  readonly acknowledged: Set<number>;
}

export interface ModelUser {
  head: number;
  readonly entries: Map<number, ModelEntry>;
  readonly devices: Map<string, ModelDevice>;
}

export class StoreModel {
  readonly users = new Map<string, ModelUser>();
  readonly messages: ModelMessage[] = [];
  /** By message and recipient, in the order in which they happened. */
  readonly receipts = new Map<string, ModelReceipt[]>();

  user(userid: string): ModelUser {
    const known = this.users.get(userid);
    if (known !== undefined) return known;
    const made: ModelUser = { head: 0, entries: new Map(), devices: new Map() };
    this.users.set(userid, made);
    return made;
  }

  waiting(): number {
    return this.messages.filter((message) => isWaiting(message.state)).length;
  }

  receiptsOf(state: ModelReceipt['state']): ModelReceipt[] {
    return [...this.receipts.values()].flat().filter((receipt) => receipt.state === state);
  }

  // ------------------------------------------------------------------------------------------ accepting

  /** Takes the next number of the user's log. */
  accept(message: { tid: string; userid: string; expiry: number; priority: Priority; at: number }): ModelMessage {
    const user = this.user(message.userid);
    user.head += 1;
    const { tid, userid, expiry, priority } = message;
    const made: ModelMessage = {
      tid,
      userid,
      expiry,
      n: user.head,
      state: STATE.queued,
      endedAt: null,
      clicked: false,
    };
    user.entries.set(user.head, { n: user.head, priority, message: made });
    this.messages.push(made);
    this.tell(made, 'submitted', message.at);
    return made;
  }

  /** Fails at once: receipts, and no number. */
  refuse(tid: string, destination: string, at: number): void {
    this.tell({ tid, userid: destination }, 'submitted', at);
    this.tell({ tid, userid: destination }, 'failed', at);
  }

  private tell(message: { tid: string; userid: string }, kind: ReceiptKind, at: number): void {
    const { tid, userid } = message;
    const key = `${tid} ${userid}`;
    const list = this.receipts.get(key) ?? [];
    this.receipts.set(key, list);
    list.push({
      tid,
      userid,
      kind,
      at,
      id: null,
      state: 'pending',
      wasTaken: false,
      dueAt: at,
      leasedUntil: 0,
      attempts: 0,
    });
  }

  private appendEvent(userid: string, priority: Priority = 2): number {
    const user = this.user(userid);
    user.head += 1;
    user.entries.set(user.head, { n: user.head, priority, message: null });
    return user.head;
  }

  // ------------------------------------------------------------------------------------------ settling

  private move(message: ModelMessage, to: StateName, at: number): boolean {
    if (!canMove(stateName(message.state), to)) return false;
    message.state = STATE[to];
    if (to !== 'sent') message.endedAt ??= at;
    return true;
  }

  sent(message: ModelMessage, at: number): boolean {
    return this.move(message, 'sent', at);
  }

  /** An acknowledgement at or after expiry is none: expiry came first. */
  delivered(message: ModelMessage, at: number): boolean {
    if (isWaiting(message.state) && message.expiry <= at) {
      this.expire(message, at);
      return false;
    }
    const moved = this.move(message, 'delivered', at);
    if (moved) this.tell(message, 'delivered', at);
    return moved;
  }

  read(message: ModelMessage, at: number): boolean {
    if (isWaiting(message.state)) this.delivered(message, at);
    const moved = message.state === STATE.delivered && this.move(message, 'read', at);
    if (moved) this.tell(message, 'read', at);
    if (moved) this.appendEvent(message.userid);
    return moved;
  }

  clicked(message: ModelMessage, at: number): boolean {
    if (isWaiting(message.state)) this.delivered(message, at);
    if (message.state !== STATE.delivered && message.state !== STATE.read) return false;
    if (!message.clicked) this.tell(message, 'clicked', at);
    message.clicked = true;
    this.appendEvent(message.userid);
    return true;
  }

  failed(message: ModelMessage, at: number): boolean {
    const moved = this.move(message, 'failed', at);
    if (moved) this.tell(message, 'failed', at);
    return moved;
  }

  private expire(message: ModelMessage, at: number): void {
    if (this.move(message, 'expired', at)) this.tell(message, 'expired', at);
  }

  expireDue(now: number): number {
    const due = this.messages.filter((message) => isWaiting(message.state) && message.expiry <= now);
    for (const message of due) this.expire(message, now);
    return due.length;
  }

  recall(message: ModelMessage, at: number): 'recalled' | 'read' | 'ended' {
    if (this.move(message, 'recalled', at)) return 'recalled';
    return message.state === STATE.read ? 'read' : 'ended';
  }

  /** The store told this user's devices of something the model leaves open (a recall): it took a number. */
  noteEvent(userid: string): void {
    this.appendEvent(userid);
  }

  // ------------------------------------------------------------------------------------------ devices

  /** The kept session, or null where a new one begins. */
  kept(userid: string, deviceid: string, now: number): ModelDevice | null {
    const device = this.user(userid).devices.get(deviceid);
    return device !== undefined && (device.keptUntil === null || device.keptUntil > now) ? device : null;
  }

  begin(userid: string, deviceid: string, opened: { base: number; floor: number }): ModelDevice {
    const device: ModelDevice = { userid, deviceid, ...opened, keptUntil: null, acknowledged: new Set() };
    this.user(userid).devices.set(deviceid, device);
    return device;
  }

  acknowledge(device: ModelDevice, n: number, at: number): void {
    const entry = this.user(device.userid).entries.get(n);
    if (entry === undefined) return;
    if (entry.message !== null) this.delivered(entry.message, at);
    device.acknowledged.add(n);
  }

  /** Numbers after `after` that the device is owed, in number order. */
  owed(device: ModelDevice, priority: Priority, after: number): number[] {
    const entries = [...this.user(device.userid).entries.values()];
    const isOwed = ({ n, message }: ModelEntry): boolean => {
      if (message !== null && isWaiting(message.state)) return true;
      if (n <= device.base || device.acknowledged.has(n)) return false;
      return message === null || message.state === STATE.delivered || message.state === STATE.read;
    };
    return entries
      .filter((entry) => entry.priority === priority && entry.n > after && isOwed(entry))
      .map((entry) => entry.n)
      .toSorted((left, right) => left - right);
  }

  /** Everything up to it is dealt with for the device. */
  floorOf(device: ModelDevice): number {
    const owed = ([1, 2, 3] as const).flatMap((priority) => this.owed(device, priority, device.floor));
    return Math.max(device.floor, owed.length === 0 ? this.user(device.userid).head : Math.min(...owed) - 1);
  }

  // ------------------------------------------------------------------------------------------ purging

  /** Whether an entry may be gone at `now`. Events go with the messages around them. */
  mayBePurged(entry: ModelEntry, now: number, retentionMs: number): boolean {
    if (entry.message === null) return true;
    return entry.message.endedAt !== null && now >= entry.message.endedAt + retentionMs;
  }

  forget(userid: string, n: number): void {
    this.user(userid).entries.delete(n);
  }
}
