import { formatPosition } from '@carillon/protocol/device.ts';
import type { CountsDown } from '@carillon/protocol/device.ts';
import type { Connection } from '../connection.ts';
import type { SubscribePacket, UnsubscribePacket } from '../decode.ts';
import { encodePublish, encodeSuback, encodeUnsuback, topicField } from '../encode.ts';
import { REASON } from '../reasons.ts';
import type { Session } from '../session.ts';
import { filterKind, isUserTopic } from '../topics.ts';

const FAILURE_OF_3_1_1 = 0x80;

/**
 * SUBSCRIBE: the user's own topic and nothing else (contract §4). Delivery begins after the answer, which tells where
 * the log stands. `since`: from which position everything is told again; `counts`: `on`: how many there are.
 */
export function onSubscribe(connection: Connection, session: Session, packet: SubscribePacket): void {
  if (packet.properties.subscriptionId !== undefined) {
    connection.end(REASON.subscriptionIdsUnsupported, 'subscription identifiers are not used here');
    return;
  }
  const granted = packet.filters.map(({ filter, qos }) => grant(connection, session, { filter, qos }));
  const index = granted.findLastIndex((code) => code <= 1);
  const own = packet.filters[index];
  if (own === undefined) {
    answer(connection, packet, { granted, position: null });
    return;
  }
  const { hub } = connection;
  const { store, observer } = hub.context;
  const asked = new Map(packet.properties.user);
  const since = asked.get('since') ?? null;
  // Held, so that a second SUBSCRIBE cannot overtake the first one.
  connection.hold();
  session.watch(() => hub.wake(session));
  // A QoS 0 subscription is a view and ends with its connection, also where that ends by a crash of the server.
  const { user, device } = session.options;
  const subscribed = store.subscribe(user, device, own.qos !== 0);
  const counted = asked.get('counts') === 'on' ? subscribed.then(() => store.countMessages(user)) : null;
  Promise.all([subscribed, counted]).then(
    ([{ base, head, purgedTo }, counts]) => {
      const epoch = store.epoch();
      answer(connection, packet, { granted, position: formatPosition({ epoch, number: head }) });
      if (counts !== null) tellCounts(connection, own.filter, { epoch, ...counts });
      const subscription = { topic: own.filter, qos: own.qos === 0 ? 0 : 1, since } as const;
      session.start(subscription, { base, head, epoch, purgedTo });
      connection.release();
    },
    (error: unknown) => {
      observer.storeFailed({ operation: 'subscribe', error });
      connection.finish(REASON.serverBusy, 'store-unavailable', 'the server cannot take it now, try again');
    },
  );
}

/** The QoS granted, or a reason code. */
function grant(connection: Connection, session: Session, wanted: { filter: string; qos: 0 | 1 | 2 }): number {
  if (isUserTopic(wanted.filter, session.options)) return wanted.qos === 0 ? 0 : 1;
  connection.hub.context.observer.deviceRefused({ reason: 'foreign-topic' });
  if (connection.version === 4) return FAILURE_OF_3_1_1;
  switch (filterKind(wanted.filter)) {
    case 'shared':
      return REASON.sharedUnsupported;
    case 'wildcard':
      return REASON.wildcardsUnsupported;
    case 'invalid':
      return REASON.badFilter;
    case 'plain':
      return REASON.notAuthorized;
  }
}

function answer(
  connection: Connection,
  packet: SubscribePacket,
  result: { granted: readonly number[]; position: string | null },
): void {
  const { version, packetBytesMax } = connection;
  const suback = encodeSuback({ version, packetId: packet.packetId, ...result });
  if (suback.length <= packetBytesMax) connection.send(suback);
  // User properties are left out where the client could not take them.
  else connection.send(encodeSuback({ version, packetId: packet.packetId, ...result, position: null }));
  connection.flush();
}

/** Before the first message and at QoS 0: whoever asked reads it there, nobody else ever gets one (decision 0017). */
function tellCounts(
  connection: Connection,
  topic: string,
  counts: { epoch: string; head: number; unread: number; total: number },
): void {
  const { epoch, head, unread, total } = counts;
  const event: CountsDown = { type: 'counts', position: formatPosition({ epoch, number: head }), unread, total };
  const payload = { head: JSON.stringify(event), tail: Buffer.alloc(0) };
  const { version } = connection;
  connection.send(encodePublish({ version, topic: topicField(topic), packetId: 0, expirySeconds: 0, payload }));
}

/** UNSUBSCRIBE: delivery stops, which is stored before it is answered; what was sent may still be acknowledged. */
export function onUnsubscribe(connection: Connection, session: Session, packet: UnsubscribePacket): void {
  const { store, observer } = connection.hub.context;
  const codes = packet.filters.map((filter) => {
    if (!session.isSubscribed || !isUserTopic(filter, session.options)) return REASON.noSubscription;
    session.stop();
    return REASON.success;
  });
  const unsuback = encodeUnsuback(connection.version, packet.packetId, codes);
  if (!codes.includes(REASON.success) || session.keepMs === 0) {
    connection.send(unsuback);
    return;
  }
  connection.hold();
  store.unsubscribe(session.options.user, session.options.device).then(
    () => {
      connection.send(unsuback);
      connection.flush();
      connection.release();
    },
    (error: unknown) => {
      observer.storeFailed({ operation: 'unsubscribe', error });
      connection.finish(REASON.serverBusy, 'store-unavailable', 'the server cannot take it now, try again');
    },
  );
}
