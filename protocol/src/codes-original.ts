/**
 * Codes the original documents and this server never says: other channels, other APIs, other carriers.
 * Kept as text, a line each (code, kind, name, description), because that is how people look them up.
 */
export interface OriginalCode {
  readonly code: string;
  readonly kind: 'request' | 'receipt';
  readonly name: string;
  readonly description: string;
}

const lines = `
1000 request success | Success
1002 request event-queued | Queued
7005 request request-expired | Request expired
7008 request inactive-profile | Inactive Profile
7010 request address-not-allowed | Source IP is not in the allowed list
7011 request unknown-exception | Unknown Exception
7012 request profile-batch-too-large | Batch size 100 exceeded
7013 request master-store-not-found | Master store not found
7014 request customer-profile-missing | Customer profile not found
7015 request profile-exists | Profile already exists
7016 request profile-unknown-error | Unknown error
7017 request attribute-missing | Attribute doesn't exist
7018 request invalid-app-profile | Invalid app profile
7019 request event-request-expired | Request expired
7025 request custom-parameters-missing | Mandatory custom parameters missing
7026 request parameters-too-large | Request Json parameter size exceeded 4 KB
7027 request malformed-xml | Malformed XML
7028 request invalid-signature | Invalid signature
7029 request missing-signature | Missing signature
7034 request too-many-elements | Maximum number of elements (8) exceeded
7101 receipt invalid-sender-id | Invalid Sender ID
7102 receipt invalid-address | Invalid address
7103 receipt not-enough-credits | Not enough credits
7106 receipt channel-not-configured | Channel not configured
7107 receipt message-too-long | Message length exceeded
7109 receipt do-not-disturb | User in DnD
7110 receipt user-not-active | User is not active
7111 receipt spam | Spam content detected
7112 receipt invalid-message-type | Invalid message type
7113 receipt social-hours | Social hours
7114 receipt configuration-error | Configuration Error. Please contact admin.
7115 receipt rate-plan-missing | Rate plan not defined
7116 receipt profile-not-verified | Destination profile is not verified
7120 receipt voice-parameters-too-long | Voice params length exceeded
7200 receipt unknown | Unknown
7201 receipt failed-at-operator | Failed at operator
7202 receipt failed-at-platform | Failed at platform
7203 receipt unknown-subscriber | Unknown subscriber
7204 receipt operator-credits | Not enough credits
7205 receipt binary-failed | Binary message failed
7206 receipt sim-full | SIM full
7207 receipt out-of-coverage | Out of coverage
7208 receipt sms-expired | Message expired
7209 receipt multipart-failed | Multipart message failed
7210 receipt billing-failed | Billing failed
7211 receipt billing-refused | Billing refused
7212 receipt invalid-registration | Invalid registration
7213 receipt unregistered | Unregistered
7214 receipt cloud-failure | Cloud failure
7302 receipt rate-limit-exceeded | Rate limit exceeded
7303 receipt expired-notification | Delivery notification of a message expired
7304 receipt invalid-app-credentials | Invalid app credentials (OAuth)
7305 receipt invalid-user-credentials | Invalid user credentials
7306 receipt duplicate-message | Duplicate message
7308 receipt invalid-topic | Invalid topic
7309 receipt no-topic-subscribers | No topic subscribers found
7310 receipt no-segment | No segment found
7313 receipt no-inbound-message | Inbound message not received from user
7316 receipt invalid-application | Invalid application details
7401 receipt no-answer | No answer
7402 receipt busy | Busy
7403 receipt rejected | Rejected
7404 receipt others | Others
7509 receipt push-too-many-for-customer | Too many concurrent requests for same customer
7519 receipt call-answered | Call answered
7520 receipt email-bounce | Bounced
7521 receipt email-complaint | Complaint
7522 receipt email-not-verified | Not verified
7523 receipt email-invalid | Invalid
7524 receipt email-too-long | Too long
7601 request transaction-of-another-service | transaction is not under this service or service key is invalid
7602 request presence-failure | User presence failure
7603 request user-verification-failed | Validation or user verification failed
7703 request too-many-buttons | Too many buttons
7704 request duplicate-identifier | Duplicate identifier
7706 request too-many-quick-replies | Too many quick replies
7708 request too-many-images | Too many images
`;

function parseLine(line: string): OriginalCode {
  const bar = line.indexOf(' | ');
  const [code = '', kind = '', name = ''] = line.slice(0, bar).split(' ');
  return {
    code,
    kind: kind === 'request' ? 'request' : 'receipt',
    name,
    description: line.slice(bar + 3),
  };
}

export const codesOfTheOriginal: readonly OriginalCode[] = lines.trim().split('\n').map(parseLine);

export const rangesOfTheOriginal = [
  { from: '7537', to: '7551', description: 'Huawei push errors' },
  { from: '7560', to: '7578', description: 'FCM and APNs errors' },
  { from: '7608', to: '7643', description: 'Media limits of WeChat and Twitter' },
  { from: '7880', to: '7892', description: 'FCM and APNs errors' },
  { from: '9000', to: '9010', description: 'Contact policy' },
] as const;
