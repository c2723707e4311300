/** Requests of the messaging API as the bytes that go over the socket, made before the clock starts. */

/** How a request names many users: one object of `destination` (and one transid) each, or one object for all. */
export type DestinationShape = 'objects' | 'identifiers';

/** The userid of a number: 16 characters, like a customer number. */
export function useridOf(index: number): string {
  return `customer-${String(index).padStart(7, '0')}`;
}

/** The body of a plain message to these users. */
export function messageBody(users: readonly number[], shape: DestinationShape): string {
  const userids = users.map(useridOf);
  return JSON.stringify({
    deliverychannel: 'appmessaging',
    destination: shape === 'objects' ? userids.map((userid) => ({ userid: [userid] })) : [{ userid: userids }],
    channels: {
      appmessaging: {
        thread_type: 'Conversation',
        thread_title: 'Orders',
        message: { text: 'Your order 4711 has left our house and will be with you tomorrow before noon.' },
        notification: { title: 'On its way', text: 'Your order comes tomorrow before noon.' },
      },
    },
  });
}

/** A whole POST of the messaging API. */
export function messageRequest(key: string, body: string): Buffer {
  const head = `POST /resources/v1/messaging HTTP/1.1\r\nHost: 127.0.0.1\r\nkey: ${key}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
  return Buffer.from(head + body);
}
