import { isUtf8 } from 'node:buffer';
import { parseUpEvent } from '@carillon/protocol/device.ts';
import type { UpEvent, UpEventParseResult } from '@carillon/protocol/device.ts';
import { inboundSettlement, messageSettlements, needsThread, threadRefusal } from '../../core/up-events.ts';
import type { Connection } from '../connection.ts';
import type { PublishPacket } from '../decode.ts';
import { encodePuback, encodePubackReason } from '../encode.ts';
import { REASON } from '../reasons.ts';
import type { ReasonCode } from '../reasons.ts';
import type { Session } from '../session.ts';
import { isUpTopic } from '../topics.ts';

/** PUBLISH: an event from the device, acknowledged after its commit (contract §4, `up`). */
export function onPublish(connection: Connection, session: Session, packet: PublishPacket): void {
  const fault = faultOf(packet);
  if (fault !== null) {
    connection.end(...fault);
    return;
  }
  if (!isUpTopic(packet.topic, session.options)) {
    onForeignTopic(connection, packet);
    return;
  }
  connection.enterGate();
  const parsed = parsePayload(packet.payload);
  if (!parsed.ok) {
    connection.hub.context.observer.deviceRefused({ reason: 'bad-event' });
    complain(connection, session, { packet, reason: REASON.badPayload, text: parsed.message });
    connection.leaveGate();
    return;
  }
  void take(connection, session, { packet, event: parsed.event });
}

function faultOf(packet: PublishPacket): [ReasonCode, string] | null {
  if (packet.properties.topicAlias !== undefined) return [REASON.topicAlias, 'topic aliases are not used here'];
  if (packet.qos === 2) return [REASON.qosUnsupported, 'events are sent with QoS 0 or 1'];
  if (packet.retain) return [REASON.retainUnsupported, 'nothing is retained here'];
  if (packet.topic === '' || /[+#]/.test(packet.topic))
    return [REASON.badTopic, 'the topic name is empty or has wildcards'];
  return null;
}

/** 3.1.1 has no way to refuse a PUBLISH but to close (§3.3.5). */
function onForeignTopic(connection: Connection, packet: PublishPacket): void {
  const text = 'events are sent to <appid>/<userid>/up';
  if (connection.version === 4) {
    connection.end(REASON.notAuthorized, text);
    return;
  }
  connection.hub.context.observer.deviceRefused({ reason: 'foreign-topic' });
  if (packet.qos === 0) return;
  connection.send(
    encodePubackReason(packet.packetId, {
      version: 5,
      reason: REASON.notAuthorized,
      text: reasonText(connection, text),
    }),
  );
}

function reasonText(connection: Connection, text: string): string | undefined {
  return connection.wantsReasons ? text : undefined;
}

function parsePayload(payload: Buffer): UpEventParseResult {
  if (!isUtf8(payload)) return { ok: false, message: 'an event must be UTF-8' };
  let value: unknown;
  try {
    value = JSON.parse(payload.toString('utf8'));
  } catch {
    return { ok: false, message: 'an event must be JSON' };
  }
  return parseUpEvent(value);
}

interface Taken {
  readonly packet: PublishPacket;
  readonly event: UpEvent;
}

async function take(connection: Connection, session: Session, taken: Taken): Promise<void> {
  const { packet, event } = taken;
  try {
    const refusal = await settleEvent(connection, session, event);
    if (refusal !== null) {
      complain(connection, session, { packet, reason: REASON.refused, text: refusal, ...idOf(event) });
    } else if (packet.qos === 1) {
      connection.send(encodePuback(packet.packetId));
    }
  } catch (error) {
    // Not acknowledged: the device sends it again at its next connection.
    connection.hub.context.observer.storeFailed({ operation: 'take event of device', error });
    connection.finish(REASON.serverBusy, 'store-unavailable', 'the server cannot take events now, try again');
  }
  connection.flush();
  connection.leaveGate();
}

function idOf(event: UpEvent): { id?: string } {
  return event.id === undefined ? {} : { id: event.id };
}

/** Null: taken, or taken before. A text: why it was not. */
async function settleEvent(connection: Connection, session: Session, event: UpEvent): Promise<string | null> {
  const { clock, store, writer } = connection.hub.context;
  const { user, device, appId, userid, deviceid } = session.options;
  const source = { user, device, appId, userid, deviceid, at: clock.now() };
  if (!needsThread(event)) {
    const settlements = messageSettlements(event, source);
    const results = await Promise.all(settlements.map((settlement) => writer.settle(settlement)));
    return results.every(({ outcome }) => outcome === 'unknown') ? 'no such message' : null;
  }
  const thread = await store.getThread(appId, event.thread.id);
  if (thread === null) return 'no such thread';
  const refusal = threadRefusal(event, thread);
  if (refusal !== null) return refusal;
  const { outcome } = await writer.settle(inboundSettlement(event, thread, source));
  return outcome === 'unknown' ? 'no such thread' : null;
}

interface Complaint {
  readonly packet: PublishPacket;
  readonly reason: ReasonCode;
  readonly text: string;
  readonly id?: string;
}

/** MQTT 5 refuses in the PUBACK; where there is none, or it cannot refuse, an `error` event goes down. */
function complain(connection: Connection, session: Session, complaint: Complaint): void {
  const { packet, reason, text, id } = complaint;
  if (packet.qos === 1) {
    const answer = { version: connection.version, reason, text: reasonText(connection, text) };
    connection.send(encodePubackReason(packet.packetId, answer));
    if (connection.version === 5) return;
  }
  session.tellError(id === undefined ? { message: text } : { message: text, id });
}
