import type { DeviceIdentity } from '../../core/identity.ts';
import type { SessionOpened } from '../../core/ports.ts';
import type { Connection, Login } from '../connection.ts';
import type { GatewayContext } from '../context.ts';
import type { ConnectPacket } from '../decode.ts';
import { encodeConnack } from '../encode.ts';
import { REASON } from '../reasons.ts';
import type { ReasonCode } from '../reasons.ts';
import { Session } from '../session.ts';
import { isUserTopic, userTopic } from '../topics.ts';

/** The one method of AUTH, and what CONNECT may name (MQTT 5 §4.12): a JWT as the data. */
export const TOKEN_METHOD = 'token';

type Refusal = readonly [reason: ReasonCode, text: string, label?: string];

/**
 * CONNECT: who it is (the token alone says), which session, and the answer. Contract §4. Runs while the connection is
 * held, so the next packet of the device is read after the answer.
 */
export async function onConnect(connection: Connection, packet: ConnectPacket): Promise<void> {
  try {
    const login = await logIn(connection, packet);
    if (connection.isEnded) return;
    if ('refusal' in login) connection.refuse(...login.refusal);
    else await openSession(connection, packet, login);
  } catch (error) {
    connection.hub.context.observer.storeFailed({ operation: 'connect device', error });
    connection.refuse(REASON.serverUnavailable, 'the server cannot take it now, try again');
  }
  connection.release();
}

interface Entrance extends Login {
  readonly deviceid: string;
  readonly isAssigned: boolean;
}

async function logIn(connection: Connection, packet: ConnectPacket): Promise<Entrance | { refusal: Refusal }> {
  const { context } = connection.hub;
  const { properties, username } = packet;
  const method = properties.method ?? null;
  if (packet.hasWill) return { refusal: [REASON.notAuthorized, 'a will is not taken'] };
  if (method !== null && method !== TOKEN_METHOD) {
    return { refusal: [REASON.badMethod, `the authentication method is "${TOKEN_METHOD}"`] };
  }
  const token = method === null ? packet.password : (properties.data ?? packet.password);
  if (username === null || token === null || token.length === 0) {
    return { refusal: [REASON.badCredentials, 'user name <appid>/<userid> and a token as password are needed'] };
  }
  const verdict = await context.tokens.verify(token.toString('latin1'), context.clock.now());
  if (!verdict.ok) {
    const isLater = verdict.reason === 'unavailable';
    const reason = isLater ? REASON.serverUnavailable : REASON.badCredentials;
    return { refusal: [reason, verdict.message, `token-${verdict.reason}`] };
  }
  const { identity } = verdict;
  if (!isUserTopic(username, identity)) {
    return { refusal: [REASON.badCredentials, 'the user name is not the <appid>/<userid> of the token'] };
  }
  if (!(await isOriginAllowed(connection, identity.appId))) {
    return { refusal: [REASON.notAuthorized, 'the app does not allow connections from this origin'] };
  }
  const device = readDeviceid(packet, identity, context);
  if ('refusal' in device) return device;
  const userName = userTopic(identity.appId, identity.userid);
  const { deviceid, isAssigned } = device;
  return { identity, method, userName, sessionName: `${userName}/${deviceid}`, deviceid, isAssigned };
}

async function isOriginAllowed(connection: Connection, appId: string): Promise<boolean> {
  if (connection.origin === null) return true;
  const app = await connection.hub.context.apps.app(appId);
  return app !== null && (app.origins.length === 0 || app.origins.includes(connection.origin));
}

type DeviceidResult = { readonly deviceid: string; readonly isAssigned: boolean } | { readonly refusal: Refusal };

/**
 * The deviceid: the client id, or the third part of the original's `<appid>/<userid>/<deviceid>`; empty: the token's,
 * or one made up. A token that names a device is good for no other.
 */
function readDeviceid(packet: ConnectPacket, identity: DeviceIdentity, context: GatewayContext): DeviceidResult {
  const refuse = (text: string): DeviceidResult => ({ refusal: [REASON.badClientId, text] });
  const { clientId } = packet;
  if (clientId === '') {
    if (packet.version === 4 && !packet.clean) return refuse('a kept session needs a client id');
    return { deviceid: identity.deviceid ?? madeUpId(context), isAssigned: true };
  }
  if (Buffer.byteLength(clientId) > context.limits.clientIdBytesMax) {
    return refuse(`a client id is at most ${context.limits.clientIdBytesMax} bytes long`);
  }
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f-\u009f+#\ufeff]/.test(clientId))
    return refuse('a client id must not hold control characters, + or #');
  const deviceid = withoutUser(clientId, identity);
  if (deviceid === null) return refuse('the client id names another user');
  if (identity.deviceid !== null && identity.deviceid !== deviceid) {
    return refuse('the token is for another device');
  }
  return { deviceid, isAssigned: false };
}

function withoutUser(clientId: string, identity: DeviceIdentity): string | null {
  const end = clientId.lastIndexOf('/');
  if (end === -1 || !clientId.startsWith(`${identity.appId}/`) || end === identity.appId.length) return clientId;
  const user = clientId.slice(0, end);
  const isOwn = isUserTopic(user, identity) || user === `${identity.appId}/${identity.userid}`;
  const deviceid = clientId.slice(end + 1);
  return isOwn && deviceid !== '' ? deviceid : null;
}

function madeUpId(context: GatewayContext): string {
  return `d-${Buffer.from(context.random.bytes(12)).toString('hex')}`;
}

function keepMsOf(packet: ConnectPacket, context: GatewayContext): number {
  const { keepSecondsMax } = context.limits;
  if (packet.version === 4) return packet.clean ? 0 : keepSecondsMax * 1_000;
  return Math.min(packet.properties.sessionExpirySeconds ?? 0, keepSecondsMax) * 1_000;
}

async function openSession(connection: Connection, packet: ConnectPacket, entrance: Entrance): Promise<void> {
  const { hub } = connection;
  const { context, registry } = hub;
  const { identity, sessionName, userName, deviceid } = entrance;
  if (!registry.isHeld(sessionName) && registry.countOf(userName) >= context.limits.sessionsPerUserMax) {
    connection.refuse(REASON.quotaExceeded, 'the user has too many sessions');
    return;
  }
  connection.login = entrance;
  const keepMs = keepMsOf(packet, context);
  let opened: SessionOpened;
  try {
    await registry.claim(sessionName, userName, connection);
    if (connection.isEnded) {
      registry.forget(sessionName, userName, connection);
      return;
    }
    const { appId, userid, customerid, msisdn } = identity;
    const at = context.clock.now();
    opened = await context.writer.open({
      appId,
      userid,
      customerid,
      msisdn,
      deviceid,
      clean: packet.clean,
      keepMs,
      at,
    });
  } catch (error) {
    registry.forget(sessionName, userName, connection);
    throw error;
  }
  if (connection.isEnded) {
    const { user, device, incarnation, floor, subscribed } = opened;
    const close = { user, device, incarnation, floor, subscribed, keepMs, at: context.clock.now() };
    registry.release(sessionName, userName, { holder: connection, close });
    return;
  }
  welcome(connection, packet, { entrance, opened, keepMs });
}

function welcome(
  connection: Connection,
  packet: ConnectPacket,
  result: { entrance: Entrance; opened: SessionOpened; keepMs: number },
): void {
  const { context } = connection.hub;
  const { entrance, opened, keepMs } = result;
  const session = new Session(context, connection, {
    appId: entrance.identity.appId,
    userid: entrance.identity.userid,
    deviceid: entrance.deviceid,
    user: opened.user,
    device: opened.device,
    incarnation: opened.incarnation,
    base: opened.base,
    floor: opened.floor,
    receiveMaximum: Math.min(packet.properties.receiveMaximum ?? Number.POSITIVE_INFINITY, context.limits.inFlightMax),
    packetBytesMax: connection.packetBytesMax,
    keepMs,
  });
  connection.session = session;
  connection.opened();
  connection.send(
    encodeConnack({ version: packet.version, present: opened.present, properties: told(packet, result, context) }),
  );
  context.observer.sessionOpened({
    appId: entrance.identity.appId,
    protocol: packet.version === 5 ? 'mqtt5' : 'mqtt4',
    transport: connection.transport.kind,
    present: opened.present,
  });
  if (opened.subscribed) resume(connection, session, opened);
}

/** What CONNACK tells a client of MQTT 5 about this server. */
function told(
  packet: ConnectPacket,
  result: { entrance: Entrance; keepMs: number },
  context: GatewayContext,
): Parameters<typeof encodeConnack>[0]['properties'] {
  const keepSeconds = result.keepMs / 1_000;
  const { limits } = context;
  return {
    receiveMaximum: limits.upEventsPendingMax,
    maximumQoS: 1,
    retainAvailable: false,
    maximumPacketSize: limits.packetBytesMax,
    wildcardSubscriptionAvailable: false,
    subscriptionIdentifiersAvailable: false,
    sharedSubscriptionAvailable: false,
    ...(keepSeconds === (packet.properties.sessionExpirySeconds ?? 0)
      ? undefined
      : { sessionExpiryInterval: keepSeconds }),
    ...(result.entrance.isAssigned ? { assignedClientIdentifier: result.entrance.deviceid } : undefined),
    ...(result.entrance.method === null ? undefined : { authenticationMethod: result.entrance.method }),
  };
}

/** A kept session that had subscribed: delivery goes on by itself, on the user's topic, at QoS 1. */
function resume(connection: Connection, session: Session, opened: SessionOpened): void {
  const { hub } = connection;
  const { store } = hub.context;
  const { appId, userid } = session.options;
  session.watch(() => hub.wake(session));
  store.head(opened.user).then(
    (head) => {
      const topic = userTopic(appId, userid);
      const stand = { base: opened.base, head, epoch: store.epoch(), purgedTo: 0 };
      if (!session.isSubscribed) session.start({ topic, qos: 1, since: null }, stand);
    },
    (error: unknown) => {
      hub.context.observer.storeFailed({ operation: 'resume session', error });
      connection.finish(REASON.serverBusy, 'store-unavailable', 'the server cannot read the log now, try again');
    },
  );
}
