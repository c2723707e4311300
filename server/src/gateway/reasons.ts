/** Reason codes of MQTT 5 (§2.4) that this server says, by what they mean here. */
export const REASON = {
  success: 0x00,
  noSubscription: 0x11,
  reauthenticate: 0x19,
  malformed: 0x81,
  protocolError: 0x82,
  /** The event is about nothing that this user has. */
  refused: 0x83,
  unsupportedVersion: 0x84,
  badClientId: 0x85,
  badCredentials: 0x86,
  /** A foreign topic; and, in DISCONNECT, a token that ended: nothing else closes a connection with it. */
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  shuttingDown: 0x8b,
  badMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  takenOver: 0x8e,
  badFilter: 0x8f,
  badTopic: 0x90,
  topicAlias: 0x94,
  packetTooLarge: 0x95,
  messageRate: 0x96,
  quotaExceeded: 0x97,
  administrative: 0x98,
  badPayload: 0x99,
  retainUnsupported: 0x9a,
  qosUnsupported: 0x9b,
  sharedUnsupported: 0x9e,
  subscriptionIdsUnsupported: 0xa1,
  wildcardsUnsupported: 0xa2,
} as const;
export type ReasonCode = (typeof REASON)[keyof typeof REASON];

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(REASON).map(([name, code]) => [code, name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)]),
);

/** The reason as a word for figures and logs: `bad-credentials`. */
export function reasonName(reason: ReasonCode): string {
  return NAMES.get(reason) ?? 'other';
}

/** CONNACK return codes of MQTT 3.1.1 (§3.2.2.3). */
const RETURN = { version: 1, clientId: 2, unavailable: 3, credentials: 4, notAuthorized: 5 } as const;

/** The 3.1.1 return code nearest to a reason code of 5. */
export function returnCodeOf(reason: ReasonCode): number {
  switch (reason) {
    case REASON.success:
      return 0;
    case REASON.unsupportedVersion:
      return RETURN.version;
    case REASON.badClientId:
      return RETURN.clientId;
    case REASON.badCredentials:
      return RETURN.credentials;
    case REASON.serverUnavailable:
    case REASON.serverBusy:
    case REASON.quotaExceeded:
      return RETURN.unavailable;
    default:
      return RETURN.notAuthorized;
  }
}
