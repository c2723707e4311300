/** From what the store knows to the body that is posted (contract §3, FACTS §3.3 and §4). Pure: a retry gives the same. */
import { createHash } from 'node:crypto';
import type { InboundEvent } from '@carillon/protocol/inbound.ts';
import type { Interactive, InteractiveAction } from '@carillon/protocol/messaging.ts';
import type { ReceiptStatus, Thread } from '../core/model.ts';
import type { ReceiptSource, ReceiptWork } from '../core/ports.ts';
import { buildInboundEvent, encodeBody, encodeReceipt, statusOf } from '../core/receipt.ts';
import type { ReceiptFacts } from '../core/receipt.ts';

/** The body of a work, as posted. `thread`: of the message, for postbacks. Throws where the store gave a work without its facts. */
export function bodyOf(work: ReceiptWork, thread: Thread | null): Uint8Array {
  if (work.inbound !== null) return encodeBody(work.inbound);
  const { facts } = work;
  const state = statusOf(work.kind);
  if (facts === null) throw new Error(`receipt ${work.id} has no facts`);
  return state === null ? encodeBody(postbackOf(work, facts, thread)) : encodeReceipt(factsOf(work, facts, state));
}

function factsOf(work: ReceiptWork, source: ReceiptSource, state: ReceiptStatus): ReceiptFacts {
  const interactive = work.kind === 'pressed' || work.kind === 'clicked' ? interactiveOf(source) : null;
  return {
    state,
    code: source.code,
    description: null,
    channelWord: source.channelWord,
    destination: source.destination,
    destinationType: source.destinationType,
    deviceId: source.deviceid,
    transid: source.transid,
    callbackData: source.callbackData ?? '',
    correlationid: source.correlationid ?? '',
    at: work.at,
    ...(work.kind === 'pressed' && {
      interaction: { button: source.identifier ?? '', pushref: interactive?.pushref ?? '' },
    }),
    ...(work.kind === 'clicked' && { interactiveData: openedOf(source, interactive) }),
  };
}

/** What was opened: the button where the identifier names one, else the address alone. */
function openedOf(
  source: ReceiptSource,
  interactive: Interactive | null,
): { identifier: string; title: string; url: string } {
  const action = actionOf(source, interactive);
  return {
    identifier: source.identifier ?? '',
    // Buttons carry no text of their own: their identifier is what a device shows.
    title: action?.identifier ?? '',
    url: source.url ?? action?.value ?? '',
  };
}

function postbackOf(work: ReceiptWork, source: ReceiptSource, thread: Thread | null): InboundEvent {
  const interactive = interactiveOf(source);
  const identifier = source.identifier ?? '';
  const pushref = interactive?.pushref ?? '';
  const action = actionOf(source, interactive)?.action;
  const isReply = source.text !== null || action === 'TRIVIAL_REPLY' || action === 'INLINE_REPLY';
  return buildInboundEvent({
    event: 'OnPostback',
    appId: source.appId,
    userId: source.userid,
    tid: uuidOf(work.id),
    at: work.at,
    deviceId: source.deviceid,
    thread,
    threadUnread: 0,
    message: source.text ?? identifier,
    pushref,
    relatedTid: source.transid,
    interactiveData: {
      reference: pushref,
      identifier,
      type: isReply ? 'quickReplyPostback' : 'templatePostback',
      title: identifier,
    },
    extras: {},
  });
}

function interactiveOf(source: ReceiptSource): Interactive | null {
  if (source.content === null) return null;
  const content = JSON.parse(source.content) as { notification?: { interactive?: Interactive } };
  return content.notification?.interactive ?? null;
}

function actionOf(source: ReceiptSource, interactive: Interactive | null): InteractiveAction | undefined {
  return interactive?.actions.find((action) => action.identifier === source.identifier);
}

/** A UUID (version 8) that is the same on every retry: the event has no id of its own in the store. */
function uuidOf(id: string): string {
  const bytes = createHash('sha256').update(id).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
