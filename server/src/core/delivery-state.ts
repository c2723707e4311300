/**
 * The states of a delivery (one message for one recipient) and the moves between them.
 *
 * ```
 * queued ─► sent ─► delivered ─► read
 *    └───────┴─► expired | recalled | failed
 *                    (delivered ─► recalled too: what nobody read can be recalled)
 * ```
 * The numbers are what the stores keep: an advance is a larger number, so "change state only from a state
 * held" is one comparison. `sent` is a fact about a socket and is kept only where nothing better followed.
 */
export const STATE = {
  queued: 0,
  sent: 1,
  delivered: 2,
  read: 3,
  failed: 4,
  expired: 5,
  recalled: 6,
  /** The entry went to another user's log when a customerid was linked; its detail says where. */
  moved: 7,
} as const;
export type StateName = keyof typeof STATE;
export type StateNumber = (typeof STATE)[StateName];

const NAMES = Object.keys(STATE) as StateName[];

/** The word for a kept state. Throws on a number that is no state: that is corruption, not input. */
export function stateName(state: number): StateName {
  const name = NAMES[state];
  if (name === undefined) throw new Error(`no such delivery state: ${state}`);
  return name;
}

/** No device has acknowledged it and nothing has ended it: it waits. */
export function isWaiting(state: number): boolean {
  return state <= STATE.sent;
}

/** Nothing can follow but, for `delivered`, the read and, for what is unread, the recall. */
export function isTerminal(state: number): boolean {
  return state >= STATE.delivered;
}

const MOVES: Record<StateName, readonly StateName[]> = {
  queued: ['sent', 'delivered', 'read', 'failed', 'expired', 'recalled', 'moved'],
  sent: ['delivered', 'read', 'failed', 'expired', 'recalled', 'moved'],
  delivered: ['read', 'recalled'],
  read: [],
  failed: [],
  expired: [],
  recalled: [],
  moved: [],
};

/** Whether a delivery in `from` may go to `to`. */
export function canMove(from: StateName, to: StateName): boolean {
  return MOVES[from].includes(to);
}
