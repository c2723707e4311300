/** Bounds of token verification, each with its unit. */
export const identityLimits = {
  /** A longer token is not looked at. */
  tokenBytesMax: 8_192,
  /** Clocks of issuers and of this machine may differ by so much. */
  leewaySeconds: 60,
  /** userid, customerid, msisdn, deviceid, UTF-8. */
  claimBytesMax: 256,
  /** Audiences of one token that are looked up. */
  audiencesMax: 5,
  /** Verified tokens remembered, for storms of reconnects. */
  verifiedTokensMax: 10_000,
  /** Key sets held, one per app and address. */
  keySetsMax: 1_000,
  /** A longer answer of a JWKS address is not read. */
  keySetBytesMax: 65_536,
  keysPerSetMax: 100,
  keySetDeadlineMs: 5_000,
  /** From then on a key set is fetched again before it is used. */
  keySetFreshMs: 600_000,
  /** While its address fails, a key set is used for so long. */
  keySetStaleMs: 3_600_000,
  /** At most one fetch per app and address in this time, whatever kids come. */
  keySetFetchEveryMs: 10_000,
  /** Device tokens minted by the API. */
  mintedTtlSecondsMax: 86_400,
  mintedTtlSecondsDefault: 3_600,
} as const;
