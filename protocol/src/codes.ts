/**
 * The one table of codes: what answers and receipts can say, and what the original documents besides.
 * Source: the Messaging API page's table of response codes, docs/api.md. docs/codes.md is generated from here.
 */
import { codesOfTheOriginal, rangesOfTheOriginal } from './codes-original.ts';

/** Codes of an answer to a call of the messaging API. */
export type RequestCode =
  | '1001'
  | '7000'
  | '7001'
  | '7002'
  | '7003'
  | '7004'
  | '7006'
  | '7007'
  | '7009'
  | '7020'
  | '7104'
  | '7108'
  | '7121'
  | '7600';

/** Codes this server puts into receipts. */
export type ReceiptCode =
  | '7104'
  | '7105'
  | '7117'
  | '7118'
  | '7119'
  | '7301'
  | '7307'
  | '7311'
  | '7312'
  | '7500'
  | '7501'
  | '7502'
  | '7503'
  | '7504'
  | '7505'
  | '7506'
  | '7507'
  | '7508'
  | '7510'
  | '7511'
  | '7512'
  | '7513'
  | '7514'
  | '7515'
  | '7516'
  | '7517'
  | '7518'
  | '7528';

export interface CodeEntry {
  readonly code: string;
  /** Stable, for logs and metrics. */
  readonly name: string;
  /** The word of the wire, in the page's own words. */
  readonly description: string;
  /** HTTP status where it is not 200. */
  readonly http?: number;
  /** Where it is seen first: in the answer to a call, or in a receipt. */
  readonly kind: 'request' | 'receipt';
  /** Whether the same request can succeed when sent again later without a change. */
  readonly retryable: boolean;
  /** False: documented by the original, never said by this server. */
  readonly used: boolean;
  /** A sentence for people. */
  readonly explanation: string;
}

type Entry = Omit<CodeEntry, 'used' | 'kind'>;

const requestCodes: readonly Entry[] = [
  {
    code: '1001',
    name: 'queued',
    description: 'Queued',
    retryable: false,
    explanation:
      'The request is accepted: every destination is committed and synced to disk. What happens next is told by receipts.',
  },
  {
    code: '7000',
    name: 'invalid-json',
    description: 'Invalid JSON',
    retryable: false,
    explanation: 'The body is not a JSON object in UTF-8, or its objects and arrays are nested more than 32 deep.',
  },
  {
    code: '7001',
    name: 'authentication-failed',
    description: 'Authentication failed',
    retryable: false,
    explanation: 'The service key belongs to no service, or it is revoked.',
  },
  {
    code: '7002',
    name: 'service-key-missing',
    description: 'Service key missing',
    retryable: false,
    explanation: 'The request has no key header, or an empty one.',
  },
  {
    code: '7003',
    name: 'mandatory-parameters-missing',
    description: 'Mandatory parameters missing',
    retryable: false,
    explanation: 'A mandatory parameter is absent, null or empty; details names each one and says what belongs there.',
  },
  {
    code: '7004',
    name: 'invalid-parameters',
    description: 'Invalid parameters',
    retryable: false,
    explanation:
      'A parameter is there and wrong: its type, its range or its value; details names each one and says what would be right.',
  },
  {
    code: '7006',
    name: 'internal-error',
    description: 'Internal error occurred',
    // A fault of ours; where there is only no room at the moment the answer is 503 with Retry-After.
    http: 500,
    retryable: true,
    explanation:
      'A fault of the server (HTTP 500), or no room at the moment (HTTP 503 with Retry-After). Nothing was stored.',
  },
  {
    code: '7007',
    name: 'service-inactive',
    description: 'Service inactive',
    retryable: false,
    explanation:
      'The service is suspended. What was accepted before goes on; new requests are taken once it is live again.',
  },
  {
    code: '7009',
    name: 'too-many-destinations',
    description: 'Max number of destinations',
    retryable: false,
    explanation: 'The request holds more than 1,000 objects in destination, or more than 1,000 identifiers in total.',
  },
  {
    code: '7020',
    name: 'rate-limit-reached',
    description: 'You have reached maximum transaction limit',
    http: 429,
    retryable: true,
    explanation: "The service's rate of destinations a second is used up; Retry-After says when there is room again.",
  },
  {
    code: '7104',
    name: 'invalid-app-id',
    description: 'Invalid app id',
    retryable: false,
    explanation: 'The appid is unknown or belongs to another client.',
  },
  {
    code: '7108',
    name: 'invalid-template',
    description: 'Invalid template',
    retryable: false,
    explanation: 'No template of the client has this id.',
  },
  {
    code: '7121',
    name: 'template-parameter-missing',
    description: 'Replaceable params could not be fetched',
    retryable: false,
    explanation: 'The template names a parameter that the request gives no value for.',
  },
  {
    code: '7600',
    name: 'no-results',
    description: 'no results found',
    retryable: false,
    explanation: 'No message of this service has the transid or correlationid asked for.',
  },
];

const receiptCodes: readonly Entry[] = [
  {
    code: '7105',
    name: 'profile-not-found',
    description: 'Customer profile not found',
    retryable: false,
    explanation: 'No user of the app has this msisdn or profile.',
  },
  {
    code: '7117',
    name: 'messaging-not-enabled',
    description: 'RTM is not enabled for this app',
    retryable: false,
    explanation: 'In-app messaging is turned off for the app.',
  },
  {
    code: '7118',
    name: 'push-not-enabled',
    description: 'push is not enabled for this app',
    retryable: false,
    explanation: 'The app has no push credentials for the platform of the device.',
  },
  {
    code: '7119',
    name: 'no-os-details',
    description: "Destination profile doesn't have OS details",
    retryable: false,
    explanation: 'The device was registered without a platform, so that no push provider can be chosen.',
  },
  {
    code: '7301',
    name: 'expired',
    description: 'Message expired',
    retryable: false,
    explanation: 'The expiry was reached before any device acknowledged the message.',
  },
  {
    code: '7307',
    name: 'endpoint-not-reachable',
    description: 'End point not reachable',
    retryable: true,
    explanation: 'The push provider could not be reached for as long as the message was valid.',
  },
  {
    code: '7311',
    name: 'thread-required',
    description: 'Thread or streamname required',
    retryable: false,
    explanation: 'The message names no thread and none could be made.',
  },
  {
    code: '7312',
    name: 'invalid-thread',
    description: 'Invalid thread id',
    retryable: false,
    explanation: 'The thread is unknown to the app, or closed.',
  },
  {
    code: '7500',
    name: 'delivered',
    description: 'Delivered',
    retryable: false,
    explanation: 'The first device of the recipient acknowledged or stored the message.',
  },
  {
    code: '7501',
    name: 'submitted',
    description: 'Submitted',
    retryable: false,
    explanation: 'The message is committed for this recipient.',
  },
  {
    code: '7502',
    name: 'read',
    description: 'Read',
    retryable: false,
    explanation: 'The message was read for the first time, or, where interaction is given, a button of it was pressed.',
  },
  {
    code: '7503',
    name: 'expired-before-attempt',
    description: 'Message expired before delivery attempt',
    retryable: false,
    explanation: 'The expiry was reached before the push provider was tried.',
  },
  {
    code: '7504',
    name: 'push-authentication-error',
    description: 'Authentication error',
    retryable: false,
    explanation: "The push provider refused the app's credentials.",
  },
  {
    code: '7505',
    name: 'push-too-large-android',
    description: 'Too large payload (Android)',
    retryable: false,
    explanation: 'The notification is larger than the provider for Android takes.',
  },
  {
    code: '7506',
    name: 'push-invalid-ttl-android',
    description: 'Invalid ttl (Android)',
    retryable: false,
    explanation: 'The provider for Android refused the remaining time to live.',
  },
  {
    code: '7507',
    name: 'push-too-many-for-app',
    description: 'Too many requests for the App',
    retryable: true,
    explanation: 'The push provider limits the rate of the app.',
  },
  {
    code: '7508',
    name: 'push-server-error-android',
    description: 'GCM server error',
    retryable: true,
    explanation: 'The provider for Android failed.',
  },
  {
    code: '7510',
    name: 'push-too-large-ios',
    description: 'Too big payload (iOS)',
    retryable: false,
    explanation: 'The notification is larger than the provider for iOS takes.',
  },
  {
    code: '7511',
    name: 'push-invalid-ttl-ios',
    description: 'Invalid ttl (iOS)',
    retryable: false,
    explanation: 'The provider for iOS refused the remaining time to live.',
  },
  {
    code: '7512',
    name: 'push-invalid-id',
    description: 'Invalid push id',
    retryable: false,
    explanation: 'The push provider does not know the form of the token.',
  },
  {
    code: '7513',
    name: 'push-unregistered-device',
    description: 'Unregistered Device',
    retryable: false,
    explanation: 'The app was removed from the device, or its token is no longer valid.',
  },
  {
    code: '7514',
    name: 'push-wrong-apns-gateway',
    description: 'Wrong apns gateway',
    retryable: false,
    explanation: 'A production token met the sandbox of APNs, or the other way round.',
  },
  {
    code: '7515',
    name: 'push-bad-apns-certificate',
    description: 'Bad apns certificate',
    retryable: false,
    explanation: 'APNs refused the certificate or the signing key of the app.',
  },
  {
    code: '7516',
    name: 'push-too-many-for-device',
    description: 'Too many request for the same device',
    retryable: true,
    explanation: 'The push provider limits the rate of this device.',
  },
  {
    code: '7517',
    name: 'push-server-error-ios',
    description: 'APNS server error',
    retryable: true,
    explanation: 'The provider for iOS failed.',
  },
  {
    code: '7518',
    name: 'push-unknown',
    description: 'Unknown',
    retryable: false,
    explanation: 'The push provider gave an answer that is not documented.',
  },
  {
    code: '7528',
    name: 'clicked',
    description: 'Clicked',
    retryable: false,
    explanation: 'A link, a smartlink or the button that opens one was followed.',
  },
];

function compareCodes(left: CodeEntry, right: CodeEntry): number {
  return Number(left.code) - Number(right.code);
}

/** All codes, in ascending order. */
export const codes: readonly CodeEntry[] = [
  ...requestCodes.map((entry): CodeEntry => ({ ...entry, kind: 'request', used: true })),
  ...receiptCodes.map((entry): CodeEntry => ({ ...entry, kind: 'receipt', used: true })),
  ...codesOfTheOriginal.map((entry): CodeEntry => ({
    ...entry,
    retryable: false,
    used: false,
    explanation: 'Documented by the original; this server does not say it.',
  })),
].toSorted(compareCodes);

/** Blocks of codes the original documents only as a block. */
export const codeRanges: readonly { from: string; to: string; description: string }[] = rangesOfTheOriginal;

const byCode = new Map(codes.map((entry) => [entry.code, entry]));

/**
 * The table's entry of a code. Codes of this server are always found; undefined only for a string that is no code.
 */
export function describe(code: RequestCode | ReceiptCode): CodeEntry;
export function describe(code: string): CodeEntry | undefined;
export function describe(code: string): CodeEntry | undefined {
  return byCode.get(code);
}
