/**
 * Threads for backends for the OpenAPI document; like the messaging API they read and check what comes by
 * hand, so that no schema could be collected from their routes (openapi-messaging.ts).
 */
import { limits } from '@carillon/protocol/limits.ts';
import { httpLimits } from './limits.ts';
import { answer, inPath, inQuery, json, list, object, text } from './openapi-words.ts';
import type { Json } from './openapi-words.ts';

/** Either of the two: a service key, or the secret of the app. */
const SECURITY = [{ serviceKey: [] }, { appSecret: [] }];

const failure = object({
  code: text('7000, 7001, 7002, 7003, 7004, 7104 or 7312; see docs/codes.md'),
  description: text(''),
  details: list(object({ path: text('JSON pointer'), message: text('what is wrong and what would be right') })),
});
const succeeded = (members: Json): Json =>
  object({ code: text('0'), description: text('success'), ...members }, ['code', 'description']);
const responses = (description: string, members: Json): Json => ({
  200: answer(`${description} A refusal comes with status 200 too, and a code other than 0.`, {
    anyOf: [succeeded(members), failure],
  }),
  413: answer('The body is over 1 MiB.'),
  415: answer('The body has a content encoding.'),
  503: answer('The store cannot answer now; see Retry-After.'),
});

const PAGE = [
  inQuery('start', 'how many to pass over; default 0'),
  inQuery('limit', `default ${httpLimits.threadsPageDefault}, at most ${httpLimits.threadsPageMax}`),
];
const TOTALS = { total: { type: 'integer' }, count: { type: 'integer', description: 'of them in this answer' } };

const APP = inPath('appId', 'the app');
const USER = inPath('userid', 'a user of the app');
const THREAD = inPath('threadId', 'the thread');

const settable = {
  title: text(`up to ${limits.threadTitleBytesMax} bytes`),
  category: text(`up to ${limits.nameBytesMax} bytes`),
  externalid: text(`up to ${limits.nameBytesMax} bytes`),
  extras: { type: 'object', description: `up to ${httpLimits.threadExtrasBytesMax} bytes of JSON` },
};

const thread = object({
  id: text(''),
  title: text(''),
  type: { type: 'string', enum: ['Conversation', 'Announcement'] },
  category: text(''),
  externalid: text(''),
  status: { type: 'string', enum: ['Active', 'Closed'] },
  extras: { type: 'object' },
  created_on: text('RFC 3339'),
  updated_on: text('RFC 3339'),
});

const message = object({
  payload_type: { type: 'string', enum: ['sentToUser', 'sentByUser'] },
  tid: text(''),
  userId: text(''),
  appid: text(''),
  thread: object({ id: text('') }),
  message: text(''),
  media: list({ type: 'object' }),
  extras: { type: 'object' },
  status: text('submited (so spelt), sent, delivered, read, failed, expired, recalled'),
  created_on: text('RFC 3339'),
  delivered_at: text('RFC 3339; empty: not yet'),
  read_at: text('RFC 3339; empty: not yet'),
});

const create = {
  tags: ['threads'],
  summary: 'Makes a thread.',
  security: SECURITY,
  parameters: [APP],
  requestBody: {
    required: true,
    content: json(object({ type: text('Conversation or Announcement, in any letter case'), ...settable }, ['type'])),
  },
  responses: responses('The thread.', { thread: object({ id: text(''), created_on: text('RFC 3339') }) }),
};

const listThreads = (summary: string, parameters: readonly Json[]): Json => ({
  tags: ['threads'],
  summary,
  security: SECURITY,
  parameters: [...parameters, ...PAGE],
  responses: responses('The threads.', { ...TOTALS, threads: list(thread) }),
});

const update = (parameters: readonly Json[]): Json => ({
  tags: ['threads'],
  summary: 'Changes or closes a thread, for all its users.',
  description:
    'What is not given stays; an empty text clears. At least one is needed. A closed thread takes no message.',
  security: SECURITY,
  parameters,
  requestBody: {
    required: true,
    content: json(object({ status: text('Active or Closed, in any letter case'), ...settable })),
  },
  responses: responses('The change.', { thread: object({ id: text(''), updated_on: text('RFC 3339') }) }),
});

const messages = {
  tags: ['threads'],
  summary: 'The messages of a user in a thread, both ways.',
  security: SECURITY,
  parameters: [APP, USER, THREAD, ...PAGE],
  responses: responses('The messages.', { ...TOTALS, messages: list(message) }),
};

function threadPathsAt(base: string): Record<string, Json> {
  const threads = `${base}/apps/{appId}/threads`;
  const userThreads = `${base}/apps/{appId}/user/{userid}/threads`;
  return {
    [threads]: { post: create, get: listThreads('The threads of an app.', [APP]) },
    [`${threads}/{threadId}`]: { put: update([APP, THREAD]) },
    [userThreads]: { get: listThreads('The threads that a user is linked to.', [APP, USER]) },
    [`${userThreads}/{threadId}`]: { put: update([APP, USER, THREAD]) },
    [`${userThreads}/{threadId}/messages`]: { get: messages },
  };
}

/** Paths of the thread API, under each of its base paths. */
export function threadPaths(bases: readonly string[]): Record<string, Json> {
  return Object.assign({}, ...bases.map(threadPathsAt)) as Record<string, Json>;
}
