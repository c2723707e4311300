import { parseMessagingRequest, type MessagingParseResult, type MessagingRequest } from '../src/messaging.ts';

export const now = Date.UTC(2030, 0, 1);

type Json = Record<string, unknown>;

/** The smallest accepted channel block, with members put over it; `undefined` takes one out. */
export function block(members: Json = {}): Json {
  return { message: { text: 'Hello' }, thread_type: 'conversation', thread_title: 'Orders', ...members };
}

/** The smallest accepted body, with members put over it. */
export function body(members: Json = {}, blockMembers: Json = {}): Json {
  return {
    deliverychannel: 'appmessaging',
    channels: { appmessaging: block(blockMembers) },
    destination: [{ userid: ['ada'] }],
    ...members,
  };
}

/** As it comes over the wire: `undefined` members are gone, `__proto__` is a member like any other. */
export function parse(value: unknown): MessagingParseResult {
  return parseMessagingRequest(JSON.parse(JSON.stringify(value)), { now });
}

export function accepted(value: unknown): MessagingRequest {
  const result = parse(value);
  if (!result.ok) {
    throw new Error(`refused with ${result.code}: ${JSON.stringify(result.details)}`);
  }
  return result.request;
}

export function warnings(value: unknown): string[] {
  const result = parse(value);
  if (!result.ok) {
    throw new Error(`refused with ${result.code}: ${JSON.stringify(result.details)}`);
  }
  return result.warnings.map((warning) => warning.path);
}

/** The code and the pointers of a refusal, as one line: `7004 /destination/0/userid/0`. */
export function refusal(value: unknown): string {
  const result = parse(value);
  return result.ok ? 'accepted' : [result.code, ...result.details.map((detail) => detail.path)].join(' ');
}
