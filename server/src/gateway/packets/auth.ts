import type { Connection, Login } from '../connection.ts';
import type { ClientPacket } from '../decode.ts';
import { encodeAuthSuccess } from '../encode.ts';
import { REASON } from '../reasons.ts';
import { TOKEN_METHOD } from './connect.ts';

/**
 * AUTH: a fresh token for a connection that goes on (MQTT 5 §4.12.1), method `token`, the JWT as data. Taken also
 * where CONNECT named no method, since the token came as its password. The identity must stay the same; a token
 * that links another customerid does so at the next CONNECT.
 */
export function onAuth(connection: Connection, packet: Extract<ClientPacket, { kind: 'auth' }>): void {
  const { login } = connection;
  const { method, data } = packet.properties;
  if (packet.reason !== REASON.reauthenticate || login === null) {
    connection.end(REASON.protocolError, 'AUTH is for re-authentication (0x19)');
    return;
  }
  if (method !== TOKEN_METHOD || data === undefined) {
    // 0x8C is not among the reasons of DISCONNECT (MQTT 5 §3.14.2.1).
    connection.end(REASON.protocolError, `AUTH needs the method "${TOKEN_METHOD}" and a token as data`);
    return;
  }
  connection.hold();
  void reauthenticate(connection, login, data.toString('latin1'));
}

async function reauthenticate(connection: Connection, login: Login, token: string): Promise<void> {
  const { clock, observer, tokens } = connection.hub.context;
  try {
    const verdict = await tokens.verify(token, clock.now());
    if (!verdict.ok) {
      connection.end(REASON.notAuthorized, verdict.message);
      return;
    }
    const { appId, userid, deviceid } = verdict.identity;
    const deviceidNow = connection.session?.options.deviceid;
    if (
      appId !== login.identity.appId ||
      userid !== login.identity.userid ||
      (deviceid ?? deviceidNow) !== deviceidNow
    ) {
      connection.end(REASON.notAuthorized, 'the fresh token is of another user or device');
      return;
    }
    connection.login = { ...login, identity: verdict.identity };
    connection.send(encodeAuthSuccess(TOKEN_METHOD));
    connection.flush();
    connection.reschedule();
    connection.release();
  } catch (error) {
    observer.storeFailed({ operation: 'look up app', error });
    connection.finish(REASON.serverBusy, 'store-unavailable', 'the token cannot be checked now, try again');
  }
}
