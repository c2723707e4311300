/**
 * What an error of PostgreSQL or of its connection means for the work that met it. The codes are those of PostgreSQL's
 * appendix "Error Codes"; two letters stand for a whole class.
 */
export type Verdict =
  /** Others were in the way; the same work may succeed at once. */
  | 'retry'
  /** The database cannot take work now. */
  | 'unavailable'
  /** The same, and the connection is of no use any more. */
  | 'lost'
  /** The statement itself is wrong, or what it was given: it fails again however often. */
  | 'bug';

/** The most exact entry counts: a code of five before its class. */
const VERDICTS: Readonly<Record<string, Verdict>> = {
  // Connection exceptions.
  '08': 'lost',
  // Insufficient resources: disk full (53100), out of memory, too many connections (53300).
  '53': 'unavailable',
  '53300': 'lost',
  // A program limit (too many columns, a statement too complex) is in the statement.
  '54': 'bug',
  // Operator intervention: cancelled by a time limit (57014); the others end the session.
  '57': 'lost',
  '57014': 'unavailable',
  // System errors outside PostgreSQL: I/O (58030), a file that is not there.
  '58': 'unavailable',
  // Invalid authorization: the password was changed while this ran.
  '28': 'lost',
  // No such database, or none any more.
  '3D000': 'lost',
  // A standby, or a database set to read only.
  '25006': 'unavailable',
  // A transaction that stood idle too long was ended with its session.
  '25P03': 'lost',
  // Rolled back: serialization failure, deadlock.
  '40001': 'retry',
  '40P01': 'retry',
  // Whether the statement was done is not known (40003): what the lost connection says, too.
  '40003': 'lost',
  // A lock that was not there in time.
  '55P03': 'retry',
  // The tables changed under a prepared statement, as an upgrade beside this one does; or the statement is gone.
  '0A000': 'retry',
  '26000': 'retry',
  // Internal: corrupted data or index.
  XX: 'unavailable',
  // A wrong configuration file.
  F0: 'unavailable',
};

/** Two nodes made or linked the same user at the same moment. */
const RACED_CONSTRAINTS = new Set(['users_userid', 'users_customerid', 'users_msisdn', 'users_pkey']);

const NETWORK_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EACCES',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
]);

/** What the driver says where it has no code. */
const DRIVER_MESSAGES =
  /^(Connection terminated|Query read timeout|timeout exceeded when trying to connect|timeout expired|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end|The server does not support SSL|This socket has been ended)/;

/** Judges an error; what is none of PostgreSQL's or the network's is a bug. */
export function verdictOf(error: unknown): Verdict {
  if (!(error instanceof Error)) return 'bug';
  const { code, constraint } = error as { code?: unknown; constraint?: unknown };
  if (typeof code !== 'string') return DRIVER_MESSAGES.test(error.message) ? 'lost' : 'bug';
  if (NETWORK_CODES.has(code)) return 'lost';
  if (!/^[0-9A-Z]{5}$/.test(code)) return 'bug';
  if (code === '23505') return RACED_CONSTRAINTS.has(String(constraint)) ? 'retry' : 'bug';
  return VERDICTS[code] ?? VERDICTS[code.slice(0, 2)] ?? 'bug';
}
