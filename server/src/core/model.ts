/**
 * The nouns of Carillon as the store keeps them. Pure data: no behaviour, no I/O.
 * Times are wall-clock milliseconds since 1970 unless a name says otherwise.
 */

export type Priority = 1 | 2 | 3;

/** A tenant. Everything else belongs to exactly one client. */
export interface Client {
  readonly id: string;
  readonly name: string;
  /** Used where a request gives none, or an invalid one. */
  readonly priority: Priority;
  /** How long a message is kept after its end. */
  readonly retentionDays: number;
  readonly createdAt: number;
}

/** States a receipt can tell; which of them a service wants is its setting. */
export type ReceiptStatus = 'Submitted' | 'Delivered' | 'Read' | 'Clicked' | 'Failed';

/** A sender's workspace: its keys call the messaging API. */
export interface Service {
  readonly id: string;
  readonly clientId: string;
  readonly name: string;
  readonly state: 'live' | 'suspended';
  /** The in-app app that messages go through unless the request names another of the same client. */
  readonly appId: string;
  readonly notifyUrl: string | null;
  /** Where MO, postback and typing events go. */
  readonly inboundUrl: string | null;
  /** Default time to live of a message; null: 30 days. */
  readonly expiryMs: number | null;
  /** Destinations a second; null: no limit. */
  readonly ratePerSecond: number | null;
  readonly statuses: readonly ReceiptStatus[];
  /** `whsec_…`, newest first, at most two while rotating. */
  readonly receiptSecrets: readonly string[];
  readonly createdAt: number;
}

/** A service key; its id is the SHA-256 of the key in hex, the key itself is shown once and never stored. */
export interface ServiceKey {
  readonly id: string;
  readonly clientId: string;
  readonly serviceId: string;
  /** The last four characters, for people to tell keys apart. */
  readonly hint: string;
  readonly state: 'active' | 'revoked';
  readonly createdAt: number;
}

/** A mobile or web app: the namespace of userids and the verifier of their tokens. */
export interface App {
  readonly id: string;
  readonly clientId: string;
  readonly name: string;
  /** HS256 secrets, newest first; empty: only JWKS tokens are taken. */
  readonly secrets: readonly string[];
  readonly jwksUrl: string | null;
  /** `iss` a JWKS token must carry; null: any. */
  readonly issuer: string | null;
  /** `same`: a user's customerid is the userid. `linked`: known by token claim or profile alone. */
  readonly customerid: 'same' | 'linked';
  /** Origins a browser may connect from; empty: any, since a token is always needed. */
  readonly origins: readonly string[];
  readonly createdAt: number;
}

export interface Template {
  readonly id: string;
  readonly clientId: string;
  readonly name: string;
  /** With `${name}` where a parameter goes. */
  readonly text: string;
  readonly createdAt: number;
}

export interface Smartlink {
  /** A decimal number as text; `linkid` of the request. */
  readonly id: string;
  readonly clientId: string;
  readonly name: string;
  readonly url: string;
  /** Default validity of a minted link; null: as long as its message is kept. */
  readonly validityMinutes: number | null;
  readonly createdAt: number;
}

/** A bearer of the admin API; its id is the SHA-256 of the token in hex. */
export interface AdminToken {
  readonly id: string;
  /** The client it is bound to; `*`: the whole installation. */
  readonly clientId: string;
  readonly name: string;
  readonly hint: string;
  readonly createdAt: number;
}

/** A notify or inbound URL that answered 410 to a service; id: SHA-256 of `<serviceId> <url>`. */
export interface DisabledEndpoint {
  readonly id: string;
  readonly clientId: string;
  readonly serviceId: string;
  readonly url: string;
  readonly createdAt: number;
}

/** What `/admin/v1` provisions, by kind. The ids are unique within a kind. */
export interface Objects {
  client: Client;
  service: Service;
  key: ServiceKey;
  app: App;
  template: Template;
  smartlink: Smartlink;
  token: AdminToken;
  endpoint: DisabledEndpoint;
}
export type ObjectKind = keyof Objects;

/** A person within an app. */
export interface Profile {
  readonly appId: string;
  readonly userid: string;
  readonly customerid: string | null;
  readonly msisdn: string | null;
  readonly createdAt: number;
}

export type ThreadType = 'Conversation' | 'Announcement';
export interface Thread {
  readonly id: string;
  readonly appId: string;
  readonly type: ThreadType;
  readonly title: string;
  readonly category: string | null;
  readonly externalid: string | null;
  readonly status: 'Active' | 'Closed';
  readonly extras: Record<string, unknown>;
  /** The service that made it or sent on it first; its inbound URL gets the replies. */
  readonly serviceId: string | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}
