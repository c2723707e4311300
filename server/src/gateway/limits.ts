/** Every bound of the MQTT gateway, with its unit. A test or an operator may pass smaller ones. */
export interface GatewayLimits {
  /** Connections of all kinds together; further ones are closed at once. */
  readonly connectionsMax: number;
  /** Sessions of one user at the same time; a further CONNECT is refused with 0x97. */
  readonly sessionsPerUserMax: number;
  /** What a socket may send before its CONNECT is taken. */
  readonly loginBytesMax: number;
  /** From the first byte to the CONNECT. */
  readonly loginMs: number;
  /** From the CONNECT to its answer: key sets, the store. */
  readonly openingMs: number;
  /** A packet from a device, told in CONNACK. */
  readonly packetBytesMax: number;
  /** One WebSocket message: it may hold several packets. */
  readonly frameBytesMax: number;
  /** What waits in the server for one device; more: it is cut. */
  readonly outgoingBytesMax: number;
  /** Packets joined for one write. */
  readonly batchBytesMax: number;
  /** A device that takes nothing for so long while data waits for it is cut. */
  readonly stalledMs: number;
  /** Messages sent and not acknowledged, per session; the device may ask for less. */
  readonly inFlightMax: number;
  /** Entries read ahead, per priority. */
  readonly laneEntriesMax: number;
  /** Longest time a session is kept after its connection. */
  readonly keepSecondsMax: number;
  /** Events from a device: so many at once … */
  readonly upEventsBurst: number;
  /** … and so many a second after that; a faster device is read more slowly. */
  readonly upEventsPerSecond: number;
  /** Events of one device on their way to the store. */
  readonly upEventsPendingMax: number;
  /** A client id, UTF-8. */
  readonly clientIdBytesMax: number;
  /** A user name or a topic, UTF-8. */
  readonly topicBytesMax: number;
  /** Acknowledgements after which a kept session's floor is stored. */
  readonly floorEvery: number;
  /** How often lost hints are looked for. */
  readonly pollMs: number;
  /** Users asked for in one step of that poll. */
  readonly pollUsersMax: number;
  /** How long a closing connection may take to read the last packet. */
  readonly lingerMs: number;
  /** Longest time between two looks at a connection's deadlines: a jump of the wall clock is noticed within it. */
  readonly checkMs: number;
  /** Sessions served before other work gets its turn. */
  readonly sessionsPerTurn: number;
}

export const gatewayLimits: GatewayLimits = {
  connectionsMax: 100_000,
  sessionsPerUserMax: 100,
  loginBytesMax: 4_096,
  loginMs: 5_000,
  openingMs: 15_000,
  packetBytesMax: 65_536,
  frameBytesMax: 131_072,
  outgoingBytesMax: 262_144,
  batchBytesMax: 65_536,
  stalledMs: 30_000,
  inFlightMax: 64,
  laneEntriesMax: 64,
  keepSecondsMax: 30 * 86_400,
  upEventsBurst: 500,
  upEventsPerSecond: 100,
  upEventsPendingMax: 64,
  clientIdBytesMax: 256,
  topicBytesMax: 1_024,
  floorEvery: 64,
  pollMs: 5_000,
  pollUsersMax: 500,
  lingerMs: 2_000,
  checkMs: 15_000,
  sessionsPerTurn: 256,
};
