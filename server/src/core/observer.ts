/**
 * What the parts tell about themselves: one call per business event, which feeds the log line, the counter and the
 * histogram of it (observe/events.ts). Calls are cheap, never throw and never carry message text or secrets.
 */
export interface Observer {
  requestAccepted(event: {
    readonly serviceId: string;
    readonly clientId: string;
    readonly transid: string;
    readonly destinations: number;
    readonly ms: number;
  }): void;
  requestRefused(event: {
    readonly serviceId: string | null;
    readonly code: string;
    readonly status: number;
    readonly ms: number;
  }): void;
  /** One commit of the writer. */
  committed(event: {
    readonly accepts: number;
    readonly deliveries: number;
    readonly settlements: number;
    readonly ms: number;
  }): void;
  storeFailed(event: { readonly operation: string; readonly error: unknown }): void;
  /** A device acknowledged a message. `latencyMs`: from acceptance to acknowledgement. Counted, one debug line at most. */
  delivered(event: { readonly appId: string; readonly latencyMs: number }): void;
  /** A message was read, clicked, pressed, expired, recalled, failed. */
  settled(event: { readonly kind: string; readonly count: number }): void;
  sessionOpened(event: {
    readonly appId: string;
    readonly protocol: 'mqtt4' | 'mqtt5';
    readonly transport: 'tcp' | 'ws';
    readonly present: boolean;
  }): void;
  sessionClosed(event: { readonly appId: string | null; readonly reason: string; readonly durationMs: number }): void;
  /** A CONNECT or a packet that was refused, with the reason. */
  deviceRefused(event: { readonly reason: string }): void;
  receiptTried(event: {
    readonly serviceId: string;
    readonly id: string;
    readonly origin: string;
    readonly result: 'done' | 'retry' | 'dead' | 'disabled';
    readonly status: number | null;
    readonly error: string | null;
    readonly attempt: number;
    readonly ms: number;
  }): void;
  receiptSkipped(event: {
    readonly serviceId: string;
    readonly reason: 'no-url' | 'not-wanted' | 'disabled';
    /** Things that happened; a request counts once. */
    readonly count: number;
  }): void;
  linkVisited(event: { readonly outcome: 'open' | 'expired' | 'unknown'; readonly counted: boolean }): void;
  adminChanged(event: {
    readonly tokenId: string;
    readonly action: string;
    readonly kind: string;
    readonly id: string;
  }): void;
  /** Something an operator should look at. */
  warning(event: { readonly what: string; readonly error?: unknown } & Readonly<Record<string, unknown>>): void;
}
