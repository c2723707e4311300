/**
 * Events of devices (contract §4, `up`) as facts for the writer; the same for MQTT and for the device API.
 */
import type { DeliveredUp, ReadUp, ReplyUp, TypingUp, UpEvent } from '@carillon/protocol/device.ts';
import type { InboundEvent } from '@carillon/protocol/inbound.ts';
import type { Thread } from './model.ts';
import type { DeviceKey, Settlement, UserKey } from './ports.ts';
import { buildInboundEvent } from './receipt.ts';
import { newUid } from './transid.ts';

export interface EventSource {
  readonly user: UserKey;
  readonly device: DeviceKey;
  readonly appId: string;
  readonly userid: string;
  readonly deviceid: string;
  /** Wall ms. */
  readonly at: number;
}

/** The event needs its thread to become a settlement: see {@link inboundSettlement}. */
export function needsThread(event: UpEvent): event is ReplyUp | TypingUp {
  return event.type === 'reply' || event.type === 'typing';
}

/** The settlements of an event about messages. */
export function messageSettlements(
  event: Exclude<UpEvent, ReplyUp | TypingUp>,
  source: EventSource,
): readonly Settlement[] {
  const base = { user: source.user, device: source.device, at: source.at };
  const once = event.id ?? null;
  switch (event.type) {
    case 'delivered':
    case 'read':
      return manySettlements(event, base);
    case 'clicked': {
      const { identifier = null, url = null } = event;
      return [{ ...base, kind: 'clicked', ref: { tid: event.tid }, once, identifier, url }];
    }
    case 'pressed': {
      const { identifier, text = null } = event;
      return [{ ...base, kind: 'pressed', ref: { tid: event.tid }, once, identifier, text }];
    }
  }
}

function manySettlements(
  event: DeliveredUp | ReadUp,
  base: Pick<Settlement, 'user' | 'device' | 'at'>,
): readonly Settlement[] {
  return event.tids.map((tid) =>
    event.type === 'delivered'
      ? { ...base, kind: 'delivered', ref: { tid }, sentAt: null }
      : { ...base, kind: 'read', ref: { tid } },
  );
}

/** Why an event cannot go to its thread; null: it can. The store would pass over it in silence. */
export function threadRefusal(event: ReplyUp | TypingUp, thread: Thread): string | null {
  if (thread.status !== 'Active') return 'the thread is closed';
  if (event.type === 'reply' && thread.type === 'Announcement') return 'an announcement takes no replies';
  return null;
}

/** The settlement of a reply or of typing in a thread that the user is in. Unread messages are not counted for it. */
export function inboundSettlement(event: ReplyUp | TypingUp, thread: Thread, source: EventSource): Settlement {
  const facts = {
    appId: source.appId,
    userId: source.userid,
    deviceId: source.deviceid,
    tid: newUid(),
    at: source.at,
    thread,
    threadUnread: 0,
  };
  const inbound: InboundEvent =
    event.type === 'typing'
      ? buildInboundEvent({ ...facts, event: 'TypingIndicator', on: event.on })
      : buildInboundEvent({
          ...facts,
          event: 'MO',
          message: event.message,
          attachments: event.attachments ?? [],
          replyTo: `${source.appId}/${source.userid}`,
          extras: {},
        });
  return {
    user: source.user,
    device: source.device,
    at: source.at,
    kind: 'inbound',
    once: event.id ?? null,
    threadId: thread.id,
    event: inbound,
  };
}
