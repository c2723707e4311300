/** Every bound of the receipt worker, in one place. */
export const receiptLimits = {
  /** One try, from waiting for a connection to the last byte of the answer (contract §3). */
  tryMs: 10_000,
  /** Of an answer's body; the rest is cut off. */
  answerBytesMax: 65_536,
  /** Receipts held in memory, those under way included. */
  heldMax: 4_096,
  /** Of these, how many may wait for origins that have not lately answered quickly: the rest is kept for those that do. */
  slowHeldMax: 3_072,
  /** Waiting in memory for one origin that answers quickly, … */
  quickWaitingMax: 512,
  /** … for one that does not, or is new, while memory is plenty … */
  slowWaitingMax: 256,
  /** … and when it is not, or for one in trouble. */
  troubledWaitingMax: 1,
  /** Up to here memory is plenty. */
  plentyHeldMax: 2_048,
  /** Receipts of one message, or inbound events of one user, waiting in memory behind each other. */
  chainMax: 16,
  /** Tries under way at one origin. */
  originInFlightMax: 64,
  /** Tries under way in all … */
  inFlightMax: 2_048,
  /** … and at origins not known to be quick, so that those which answer always find room. */
  slowInFlightMax: 1_536,
  /** Origins whose pace is remembered. */
  originsMax: 8_192,
  /** An answer within this time makes an origin quick. */
  quickAnswerMs: 2_000,
  /**
   * A queue that its origin works off in this time is waited for, with no claims meanwhile; a longer one goes back to the
   * store, which costs about as much as sending it.
   */
  drainMs: 1_000,
  /** So long the queue of a new origin is waited for, until it first answers. */
  doubtMs: 250,
  /** Asked of the store at once. */
  claimMax: 256,
  /** How long a claim is ours: a waiting time and a try, and time to write the outcome. */
  leaseMs: 30_000,
  /** A receipt that waited so long in memory goes back: its lease must outlive its try. */
  waitingMs: 15_000,
  /** Settlements in one call of the store … */
  settleMax: 512,
  /** … which gathers them for so long. */
  gatherMs: 10,
  /** The poll below the hints. */
  pollMs: 1_000,
  /** Between tries of a store that cannot take work: first, and at most. */
  backOffMs: 100,
  backOffMaxMs: 5_000,
  /** A receipt given back for want of room comes again after this, the later the longer the origin has been in trouble … */
  deferMs: 1_000,
  /** … and at most after this: an origin that is well again is noticed so soon. */
  deferMaxMs: 60_000,
  /** Of one origin they come again so far apart: giving back once more costs two writes of the store. */
  deferSpacingMs: 1,
  /** URLs whose standing (410 or not) is remembered, and for how long. */
  endpointsMax: 10_000,
  endpointFreshMs: 1_000,
} as const;

/** What the guarded fetch must take at once, so that it is never the bound that hung origins fill. */
export const receiptFetchLimits = {
  inFlightMax: 2 * receiptLimits.inFlightMax,
  originsMax: 2 * receiptLimits.inFlightMax,
  connectionsPerOriginMax: receiptLimits.originInFlightMax,
} as const;

export type ReceiptLimits = { readonly [Name in keyof typeof receiptLimits]: number };
