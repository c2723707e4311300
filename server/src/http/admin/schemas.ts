/** The shapes of `/admin/v1`, for validation, for the answers and for the OpenAPI document. */
import { Type } from 'typebox';
import type { Static, TSchema } from 'typebox';

const NAME_LENGTH_MAX = 100;
const URL_LENGTH_MAX = 2_048;
const TEXT_LENGTH_MAX = 4_096;
const ORIGINS_MAX = 100;
const RATE_MAX = 1_000_000;
const RETENTION_DAYS_MAX = 3_650;
/** Ten years. */
const EXPIRY_MS_MAX = 315_360_000_000;
const VALIDITY_MINUTES_MAX = 5_256_000;
const PAGE_LIMIT_MAX = 100;
const ID_LENGTH_MAX = 256;

const orNull = <Schema extends TSchema>(schema: Schema) => {
  const { type, ...rest } = schema as Schema & { type: string };
  return Type.Unsafe<Static<Schema> | null>({ ...rest, type: [type, 'null'] });
};
const closed = { additionalProperties: false } as const;
const words = <Word extends string>(...list: readonly Word[]) => Type.Unsafe<Word>({ type: 'string', enum: list });

const Id = Type.String({ maxLength: ID_LENGTH_MAX });
const Time = Type.String({ format: 'date-time', description: 'RFC 3339, UTC' });
const Name = Type.String({ minLength: 1, maxLength: NAME_LENGTH_MAX, pattern: '^[^\\u0000-\\u001f\\u007f]*$' });
const Url = Type.String({ maxLength: URL_LENGTH_MAX, description: 'http or https' });
const Priority = Type.Unsafe<1 | 2 | 3>({ type: 'integer', enum: [1, 2, 3], description: '1 low, 2 medium, 3 high' });
const RetentionDays = Type.Integer({ minimum: 1, maximum: RETENTION_DAYS_MAX });
const State = words('live', 'suspended');
const ReceiptStatus = words('Submitted', 'Delivered', 'Read', 'Clicked', 'Failed');
const ExpiryMs = orNull(Type.Integer({ minimum: 1_000, maximum: EXPIRY_MS_MAX, description: 'null: 30 days' }));
const Rate = orNull(
  Type.Integer({ minimum: 1, maximum: RATE_MAX, description: 'destinations a second; null: no limit' }),
);
const Statuses = Type.Array(ReceiptStatus, { uniqueItems: true, description: 'which receipts are sent' });
const Origins = Type.Array(Type.String({ maxLength: URL_LENGTH_MAX }), {
  maxItems: ORIGINS_MAX,
  uniqueItems: true,
  description: 'origins a browser may connect from; empty: any',
});
const Issuer = orNull(Type.String({ minLength: 1, maxLength: URL_LENGTH_MAX }));
const CustomeridMode = words('same', 'linked');
const TemplateText = Type.String({ minLength: 1, maxLength: TEXT_LENGTH_MAX, description: '`${name}` is a parameter' });
const Validity = orNull(Type.Integer({ minimum: 1, maximum: VALIDITY_MINUTES_MAX }));
const ClientId = Type.Optional(
  Type.String({ maxLength: ID_LENGTH_MAX, description: 'default: the token’s own client' }),
);

export const ErrorView = Type.Object({
  error: Type.Object({
    code: Type.String(),
    message: Type.String(),
    details: Type.Optional(Type.Array(Type.Object({ path: Type.String(), message: Type.String() }))),
  }),
});

export const pageQuery = {
  cursor: Type.Optional(Type.String({ maxLength: 512, description: '`next` of the page before' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: PAGE_LIMIT_MAX })),
};
export const ListQuery = Type.Object({ ...pageQuery, clientId: Type.Optional(Id) }, closed);
export const PageQuery = Type.Object(pageQuery, closed);

export const pageView = (item: TSchema) =>
  Type.Object({ items: Type.Array(item), next: orNull(Type.String({ description: 'null: no more' })) });

// ------------------------------------------------------------------------------------------------ clients

export const ClientView = Type.Object({
  id: Id,
  name: Type.String(),
  priority: Type.Integer(),
  retentionDays: Type.Integer(),
  createdAt: Time,
});
export const ClientCreate = Type.Object(
  { name: Name, priority: Type.Optional(Priority), retentionDays: Type.Optional(RetentionDays) },
  closed,
);
export const ClientChange = Type.Partial(ClientCreate, closed);

// ----------------------------------------------------------------------------------------------- services

export const ServiceView = Type.Object({
  id: Id,
  clientId: Id,
  name: Type.String(),
  state: State,
  appId: Id,
  notifyUrl: orNull(Type.String()),
  inboundUrl: orNull(Type.String()),
  expiryMs: orNull(Type.Integer()),
  ratePerSecond: orNull(Type.Integer()),
  statuses: Type.Array(ReceiptStatus),
  createdAt: Time,
});
const serviceFields = {
  name: Name,
  appId: Id,
  state: State,
  notifyUrl: orNull(Url),
  inboundUrl: orNull(Url),
  expiryMs: ExpiryMs,
  ratePerSecond: Rate,
  statuses: Statuses,
};
export const ServiceChange = Type.Partial(Type.Object(serviceFields), closed);
export const ServiceCreate = Type.Object(
  { ...ServiceChange.properties, name: Name, appId: Id, clientId: ClientId },
  closed,
);
export const ServiceCreated = Type.Object({
  ...ServiceView.properties,
  key: Type.String({ description: 'the service key; told once' }),
  keyId: Id,
  receiptSecret: Type.String({ description: 'the secret receipts are signed with' }),
});
export const KeyView = Type.Object({
  id: Id,
  serviceId: Id,
  hint: Type.String({ description: 'the last four characters' }),
  state: words('active', 'revoked'),
  createdAt: Time,
});
export const KeyCreated = Type.Object({ ...KeyView.properties, key: Type.String({ description: 'told once' }) });
export const ReceiptSecrets = Type.Object({
  secrets: Type.Array(Type.String(), { description: 'newest first; receipts are signed with each' }),
});

// --------------------------------------------------------------------------------------------------- apps

export const AppView = Type.Object({
  id: Id,
  clientId: Id,
  name: Type.String(),
  secretHints: Type.Array(Type.String(), { description: 'the last four characters of each secret, newest first' }),
  jwksUrl: orNull(Type.String()),
  issuer: orNull(Type.String()),
  customerid: CustomeridMode,
  origins: Type.Array(Type.String()),
  createdAt: Time,
});
export const AppChange = Type.Object(
  {
    name: Type.Optional(Name),
    jwksUrl: Type.Optional(orNull(Url)),
    issuer: Type.Optional(Issuer),
    origins: Type.Optional(Origins),
  },
  closed,
);
export const AppCreate = Type.Object(
  {
    ...AppChange.properties,
    name: Name,
    clientId: ClientId,
    customerid: Type.Optional(CustomeridMode),
    hasSecret: Type.Optional(Type.Boolean({ description: 'false: only tokens of the JWKS address are taken' })),
  },
  closed,
);
export const AppCreated = Type.Object({
  ...AppView.properties,
  secret: orNull(Type.String({ description: 'the HS256 secret; told once' })),
});

// ------------------------------------------------------------------------------- templates and smartlinks

export const TemplateView = Type.Object({
  id: Id,
  clientId: Id,
  name: Type.String(),
  text: Type.String(),
  createdAt: Time,
});
export const TemplateCreate = Type.Object({ name: Name, text: TemplateText, clientId: ClientId }, closed);
export const TemplateChange = Type.Object({ name: Type.Optional(Name), text: Type.Optional(TemplateText) }, closed);

export const SmartlinkView = Type.Object({
  id: Id,
  clientId: Id,
  name: Type.String(),
  url: Type.String(),
  validityMinutes: orNull(Type.Integer()),
  figures: Type.Object({
    minted: Type.Integer({ description: 'links made, one per recipient' }),
    visits: Type.Integer({ description: 'visits that count' }),
    recipients: Type.Integer({ description: 'recipients who followed theirs' }),
  }),
  createdAt: Time,
});
const smartlinkFields = { name: Name, url: Url, validityMinutes: Validity };
export const SmartlinkChange = Type.Partial(Type.Object(smartlinkFields), closed);
export const SmartlinkCreate = Type.Object(
  { ...SmartlinkChange.properties, name: Name, url: Url, clientId: ClientId },
  closed,
);

// ------------------------------------------------------------------------------------- people and threads

export const ProfileView = Type.Object({
  appId: Id,
  userid: Type.String(),
  customerid: orNull(Type.String()),
  msisdn: orNull(Type.String()),
  createdAt: Time,
});
const PersonName = Type.String({ minLength: 1, maxLength: ID_LENGTH_MAX });
export const ProfilePut = Type.Object(
  { customerid: Type.Optional(orNull(PersonName)), msisdn: Type.Optional(orNull(PersonName)) },
  closed,
);
export const ThreadView = Type.Object({
  id: Id,
  appId: Id,
  type: words('Conversation', 'Announcement'),
  title: Type.String(),
  category: orNull(Type.String()),
  externalid: orNull(Type.String()),
  status: words('Active', 'Closed'),
  extras: Type.Unsafe<Record<string, unknown>>({ type: 'object', additionalProperties: true }),
  serviceId: orNull(Type.String()),
  createdAt: Time,
  updatedAt: Time,
});
export const ThreadQuery = Type.Object({ ...pageQuery, userid: Type.Optional(PersonName) }, closed);

// --------------------------------------------------------------------------------- receipts and endpoints

export const ReceiptView = Type.Object({
  id: Id,
  clientId: Id,
  serviceId: Id,
  kind: Type.String(),
  transid: orNull(Type.String()),
  state: words('pending', 'dead', 'done'),
  attempts: Type.Integer(),
  dueAt: Time,
  createdAt: Time,
  history: Type.Array(
    Type.Object({
      at: Time,
      status: orNull(Type.Integer({ description: 'HTTP status; null: no answer' })),
      error: orNull(Type.String()),
      ms: Type.Number(),
    }),
  ),
});
export const ReceiptQuery = Type.Object(
  {
    ...pageQuery,
    clientId: Type.Optional(Id),
    serviceId: Type.Optional(Id),
    transid: Type.Optional(Id),
    state: Type.Optional(words('pending', 'dead', 'done')),
  },
  closed,
);
export const EndpointView = Type.Object({
  id: Id,
  clientId: Id,
  serviceId: Id,
  url: Type.String({ description: 'answered 410 Gone; nothing is sent there until it is enabled again' }),
  createdAt: Time,
});

// ---------------------------------------------------------------------------------------------- messages

const DeliveryView = Type.Object({
  destination: Type.Object({ type: words('customerid', 'msisdn', 'userid'), value: Type.String() }),
  userid: orNull(Type.String()),
  state: Type.String(),
  code: orNull(Type.String({ description: 'why it failed' })),
  createdAt: Time,
  updatedAt: Time,
  steps: Type.Array(
    Type.Object({
      step: Type.String(),
      at: Time,
      deviceid: orNull(Type.String()),
      detail: Type.Unsafe<Record<string, unknown> | null>({ type: ['object', 'null'], additionalProperties: true }),
    }),
  ),
});
export const MessageView = Type.Object({
  transid: Id,
  clientId: Id,
  serviceId: Id,
  appId: Id,
  deliverychannel: Type.String(),
  correlationid: orNull(Type.String()),
  priority: Type.Integer(),
  expiry: Time,
  deliveries: Type.Array(DeliveryView),
});
const Mark = (description: string) => Type.Optional(Type.String({ minLength: 1, maxLength: 256, description }));
export const MessageQuery = Type.Object(
  {
    transid: Mark('of any service'),
    correlationid: Mark('the label of a request or destination'),
    appId: Mark('the app of the user; needed with userid, customerid and msisdn'),
    userid: Mark('a user’s messages, from the end of the log'),
    customerid: Mark('the same'),
    msisdn: Mark('the same'),
    serviceId: Mark('of this service only'),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, description: 'default 100' })),
  },
  closed,
);
export const FoundView = Type.Object({ transid: Id, clientId: Id, serviceId: Id, appId: Id, acceptedAt: Time });

// ------------------------------------------------------------------------------------------------- tokens

export const TokenView = Type.Object({
  id: Id,
  clientId: Type.String({ description: 'the client it is bound to; *: the whole installation' }),
  name: Type.String(),
  hint: Type.String({ description: 'the last four characters' }),
  createdAt: Time,
});
export const TokenCreate = Type.Object(
  {
    name: Name,
    clientId: Type.Optional(Type.String({ maxLength: ID_LENGTH_MAX, description: 'default: as the calling token' })),
  },
  closed,
);
export const TokenCreated = Type.Object({ ...TokenView.properties, token: Type.String({ description: 'told once' }) });
