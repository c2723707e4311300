/**
 * The messaging API for the OpenAPI document. Its routes read their bodies themselves (one code per answer, every fault by
 * JSON pointer), so they have no schema that could be collected; these entries say the same in OpenAPI's words.
 */
import { limits } from '@carillon/protocol/limits.ts';
import { answer, inHeader, inPath, inQuery, json, list, object, text } from './openapi-words.ts';
import type { Json } from './openapi-words.ts';

const KEY_SECURITY = [{ serviceKey: [] }];
const NUMBER_OR_TEXT = ['integer', 'string'];

const interactive = object(
  {
    category: text('one of the 21 categories, such as DOUBLE_YES_NO; any letter case'),
    pushref: text('told back when a button is pressed'),
    actions: list(
      object(
        {
          pos: { type: NUMBER_OR_TEXT, description: '1 or 2' },
          action: text('DISMISS, OPEN_URL, OPEN_APP, DEEPLINK, OPEN_WEBVIEW, SHARE, TRIVIAL_REPLY, INLINE_REPLY'),
          value: text('needed by OPEN_URL, DEEPLINK, OPEN_WEBVIEW, SHARE'),
          identifier: text('default: the part of the category’s name'),
        },
        ['pos', 'action'],
      ),
    ),
  },
  ['category', 'actions'],
);

const notification = object(
  {
    title: text(''),
    text: text(''),
    android_extras: { type: 'object' },
    ios_extras: { type: 'object' },
    windows_extras: { type: 'object' },
    web_extras: { type: 'object' },
    interactive,
  },
  ['title', 'text'],
);

const attachment = object(
  {
    contentType: text('file, image, video, audio, location, or a MIME type'),
    file: text('URL; needed but for location'),
    preview: text('URL; needed for video'),
    size: { type: NUMBER_OR_TEXT, description: 'bytes' },
    duration: { type: NUMBER_OR_TEXT, description: 'seconds; needed for audio and video' },
    latitude: { type: ['number', 'string'] },
    longitude: { type: ['number', 'string'] },
  },
  ['contentType'],
);

const message = object({
  text: text(`up to ${limits.textCharactersMax} characters; needed unless there is an attachment or a template`),
  template: text('id of a template'),
  parameters: { type: 'object', additionalProperties: { type: 'string' } },
  attachment,
});

const thread = {
  thread_id: text('an open thread of the app'),
  thread_type: text('conversation or announcement; needed without thread_id'),
  thread_title: text('needed without thread_id'),
};

const layer = {
  expiry: text('RFC 3339; default: the service’s, else 30 days'),
  priority: { type: NUMBER_OR_TEXT, description: '1 low, 2 medium, 3 high' },
  notifyurl: text('where receipts go; default: the service’s'),
  callbackData: text(`up to ${limits.callbackDataCharactersMax} characters, echoed in receipts`),
  smartlinks: list(object({ linkid: { type: NUMBER_OR_TEXT }, validity: { type: NUMBER_OR_TEXT } }, ['linkid'])),
};

const request = object(
  {
    deliverychannel: text('appmessaging (or rt)'),
    destination: list(
      object({
        customerid: list({ type: 'string' }),
        msisdn: list({ type: 'string' }),
        userid: list({ type: 'string' }),
        correlationid: text(`up to ${limits.correlationidBytesMax} bytes`),
      }),
    ),
    channels: object(
      { appmessaging: object({ ...layer, message, ...thread, notification, extras: { type: 'object' } }, ['message']) },
      ['appmessaging'],
    ),
    appid: text('another app of the same client'),
    correlationid: text(`up to ${limits.correlationidBytesMax} bytes, echoed in answer and receipts`),
    message: object({ template: text('id of a template'), parameters: { type: 'object' } }),
    ...layer,
  },
  ['deliverychannel', 'destination', 'channels'],
);

/** A refusal in the shape of the messaging API. */
export const refusal = object({
  response: object({
    code: text('see docs/codes.md'),
    description: text(''),
    transid: text(''),
    details: list(object({ path: text('JSON pointer'), message: text('what is wrong and what would be right') })),
  }),
});
const accepted = object({
  response: list(
    object({ code: text('1001'), description: text('Queued'), transid: text(''), correlationid: text('if given') }),
  ),
});

const send = {
  tags: ['messaging'],
  summary: 'Sends a message to users of an app.',
  description:
    'Accepted whole or refused whole. Documented refusals come with status 200 and a code, as clients of this API expect.',
  security: KEY_SECURITY,
  parameters: [
    inHeader('Idempotency-Key', 'the same key and body within 24 hours gives the stored answer'),
    inHeader('Prefer', '`warnings` lists what was ignored'),
    inQuery('dryRun', '`true`: what would happen; nothing is stored'),
  ],
  requestBody: { required: true, content: json(request) },
  responses: {
    200: answer('Accepted (1001), one item per object of `destination`, or refused with a 70xx code.', {
      anyOf: [accepted, refusal],
    }),
    409: answer('A request with this Idempotency-Key is under way.', refusal),
    413: answer('The body is over 1 MiB.', refusal),
    415: answer('The body has a content encoding.', refusal),
    422: answer('The Idempotency-Key was used with another body.', refusal),
    429: answer('7020: over the service’s rate; see Retry-After.', refusal),
    500: answer('7006: a fault of the server.', refusal),
    503: answer('7006: the store cannot take it now, or a bound is reached; see Retry-After.', refusal),
  },
};

const statusItem = object({
  transactionid: text(''),
  to: text('the identifier'),
  status: text('queued, sent, delivered, read, failed, expired, recalled'),
  date_created: text(''),
  last_updated: text(''),
  error_code: { type: ['string', 'null'] },
  error_message: { type: ['string', 'null'] },
  events: list({ type: 'object' }),
});

const status = {
  tags: ['messaging'],
  summary: 'How a message stands, one item per identifier.',
  security: KEY_SECURITY,
  responses: { 200: answer('The items, or code 7600 where there are none.', { anyOf: [list(statusItem), refusal] }) },
};

const TRANSID = inPath('transid', 'from the answer of the call');

/** Paths of the OpenAPI document that no route brings along. */
export const messagingPaths: Record<string, Json> = {
  '/resources/v1/messaging': { post: send },
  '/resources/v1/messaging/status': {
    get: { ...status, parameters: [inQuery('correlationid', 'every message with this label')] },
  },
  '/resources/v1/messaging/status/{transid}': {
    get: { ...status, parameters: [TRANSID] },
    delete: {
      tags: ['messaging'],
      summary: 'Recalls a message for every recipient who has not read it.',
      security: KEY_SECURITY,
      parameters: [TRANSID],
      responses: { 200: answer('What became of it, one item per identifier.', list({ type: 'object' })) },
    },
  },
  '/resources/v1/device-tokens': {
    post: {
      tags: ['messaging'],
      summary: 'Makes a token for a device, for backends without a JWT library.',
      security: KEY_SECURITY,
      requestBody: {
        required: true,
        content: json(
          object(
            {
              appid: text(''),
              userid: text(''),
              customerid: text(''),
              msisdn: text(''),
              deviceid: text(''),
              ttl: { type: 'integer', description: 'seconds, up to 86400' },
            },
            ['appid', 'userid'],
          ),
        ),
      },
      responses: { 200: answer('The token.', object({ token: text(''), expires: text('RFC 3339') })) },
    },
  },
};
