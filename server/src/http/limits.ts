/** Bounds of the HTTP port, each with its unit. */
export const httpLimits = {
  /** From the connection, or the end of the answer before, to the end of the headers. */
  headersTimeoutMs: 10_000,
  /** To the end of the body: 10 s for the headers and 20 s for the body. */
  requestTimeoutMs: 30_000,
  /** How often the two above are looked at. */
  timeoutCheckMs: 1_000,
  keepAliveTimeoutMs: 65_000,
  /** All headers together; beyond: 431. */
  headerBytesMax: 16_384,
  headersMax: 100,
  connectionsMax: 100_000,
  /** Bodies being received, all requests together; beyond: 503 with 7006. */
  bodiesBytesMax: 67_108_864,
  /** What is read of a body that is too large, so that its sender sees the answer; then the connection is cut. */
  discardedBytesMax: 8_388_608,
  /** One parameter in a path. */
  pathParameterLengthMax: 1_024,
  /** How long a stop waits for requests in hand. */
  closeGraceMs: 5_000,
  /** The store has to answer the readiness check in this time. */
  probeTimeoutMs: 2_000,
  /** For so long a readiness check answers from the one before: anyone may ask, and each costs the store a write. */
  probeFreshMs: 1_000,
  /** Transids told of one correlationid, newest first. */
  statusTransidsMax: 100,
  threadsPageMax: 100,
  threadsPageDefault: 20,
  /** JSON of the extras of a thread. */
  threadExtrasBytesMax: 16_384,
  /** Unknown short links that one address may ask for, a second and at once. */
  linkGuessesPerSecond: 10,
  linkGuessAddressesMax: 10_000,
} as const;
