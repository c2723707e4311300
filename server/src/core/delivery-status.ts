/** What people ask about a message: how it stands, what became of it, what a thread holds. */
import type { StateNumber } from './delivery-state.ts';
import type { Priority } from './model.ts';
import type { Identifier, LogEntry } from './ports.ts';

/** How one identifier of a transid stands; the rows of the status API. */
export interface DeliveryStatus {
  readonly destination: Identifier;
  readonly state: StateNumber;
  /** Code of the failure; null where none. */
  readonly code: string | null;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly userid: string | null;
  readonly steps: readonly DeliveryStep[];
}

export interface DeliveryStep {
  /** accepted, sent, delivered, read, clicked, pressed, displayed, dismissed, failed, expired, recalled, receipt … */
  readonly step: string;
  readonly at: number;
  readonly deviceid: string | null;
  readonly detail: Readonly<Record<string, unknown>> | null;
}

export interface RequestStatus {
  readonly transid: string;
  readonly clientId: string;
  readonly serviceId: string;
  readonly appId: string;
  readonly channelWord: string;
  readonly correlationid: string | null;
  readonly content: string;
  readonly expiry: number;
  readonly priority: Priority;
  readonly deliveries: readonly DeliveryStatus[];
}

export interface RecallResult {
  readonly destination: Identifier;
  readonly outcome: 'recalled' | 'read' | 'ended';
  readonly state: StateNumber;
  /** State events for the recipient's devices. */
  readonly entries: readonly LogEntry[];
}

/** A message as the thread API tells it (FACTS §6.3). */
export interface ThreadMessage {
  readonly tid: string;
  readonly n: number | null;
  readonly createdAt: number;
  readonly deliveredAt: number | null;
  readonly readAt: number | null;
  readonly fromUser: boolean;
  readonly state: StateNumber | null;
  /** JSON text: a request's content, or a reply's `{message, media}`. */
  readonly content: string;
}
