import type { Session } from './database.ts';

/**
 * The tables. Each migration runs in one transaction with its number, under an advisory lock: a crash leaves the version
 * before or the version after, and nodes that start together run it once.
 *
 * Rolling rule: version N-1 goes on working beside the tables of version N. So a migration only adds (tables, columns
 * with a default, indexes); what nobody uses any more is dropped one release later.
 *
 * Whatever hangs on a user is led by the user's number and changed only under the lock of its row in `heads`. Unique
 * keys are led by app, user or service; `slug`, `uid` and ids are random or global by themselves. So the tables can be
 * spread by hash of the user (docs/decisions/0018-postgresql.md).
 */
const VERSION_1 = `
CREATE TABLE meta (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE counters (name text PRIMARY KEY, value bigint NOT NULL);
-- Numbers of users, devices, threads and requests, given out to nodes in blocks of 1,000.
CREATE SEQUENCE ids AS bigint INCREMENT BY 1000;

-- started: which start of the node wrote it last. seen: the database's clock.
CREATE TABLE nodes (name text PRIMARY KEY, started bigint NOT NULL, seen bigint NOT NULL);
-- One row per connection that writes: its share of the counts, and a mark of its last commit.
CREATE TABLE slots (
  node text NOT NULL, slot integer NOT NULL, waiting bigint NOT NULL DEFAULT 0, users bigint NOT NULL DEFAULT 0,
  mark text NOT NULL DEFAULT '', PRIMARY KEY (node, slot)
) WITH (fillfactor = 20);

CREATE TABLE objects (
  kind text NOT NULL, id text COLLATE "C" NOT NULL, client text NOT NULL, body text NOT NULL, PRIMARY KEY (kind, id)
);
CREATE INDEX objects_client ON objects (kind, client, id);

-- userid is null for a customerid that no user was linked to yet: what waits for it waits here.
CREATE TABLE users (
  id bigint PRIMARY KEY, app text NOT NULL, userid text COLLATE "C", customerid text, msisdn text,
  created bigint NOT NULL
);
CREATE UNIQUE INDEX users_userid ON users (app, userid) WHERE userid IS NOT NULL;
CREATE UNIQUE INDEX users_customerid ON users (app, customerid) WHERE customerid IS NOT NULL;
CREATE UNIQUE INDEX users_msisdn ON users (app, msisdn) WHERE msisdn IS NOT NULL;
-- The lock of a user, and the head of its log. names grows when one of the identifiers came or went.
CREATE TABLE heads (
  user_id bigint PRIMARY KEY, head bigint NOT NULL DEFAULT 0, waiting integer NOT NULL DEFAULT 0,
  purged bigint NOT NULL DEFAULT 0, names integer NOT NULL DEFAULT 0, erased boolean NOT NULL DEFAULT false
) WITH (fillfactor = 70);

CREATE TABLE threads (
  id bigint PRIMARY KEY, uid text NOT NULL UNIQUE, app text NOT NULL, type text NOT NULL, title text NOT NULL,
  category text, externalid text, status text NOT NULL, extras text NOT NULL, service text,
  created bigint NOT NULL, updated bigint NOT NULL
);
CREATE INDEX threads_app ON threads (app, created, id);
-- key: C:<title> or A:<title> for the user's own open thread, #<thread> for any other one linked.
CREATE TABLE user_threads (
  user_id bigint NOT NULL, key text NOT NULL, thread bigint NOT NULL, uid text NOT NULL, PRIMARY KEY (user_id, key)
);
CREATE INDEX user_threads_thread ON user_threads (thread, user_id);

-- By time, since uid is a version 7 UUID: a partition that is empty is dropped with all its pages. What has no
-- partition of its own is in requests_rest.
CREATE TABLE requests (
  uid uuid PRIMARY KEY, key bigint NOT NULL, client text NOT NULL, service text NOT NULL, app text NOT NULL,
  accepted bigint NOT NULL, expiry bigint NOT NULL, priority smallint NOT NULL, word text NOT NULL,
  notify_url text, callback text, purge_at bigint, content text NOT NULL, members text NOT NULL
) PARTITION BY RANGE (uid);
CREATE INDEX requests_expiry ON requests (expiry) WHERE purge_at IS NULL;
CREATE INDEX requests_purge ON requests (purge_at) WHERE purge_at IS NOT NULL;
CREATE TABLE requests_rest PARTITION OF requests DEFAULT;

-- request null: a state event, its JSON in detail. at: when the state was entered. sent: handed to the device.
CREATE TABLE log (
  user_id bigint NOT NULL, n bigint NOT NULL, request uuid, destination integer, member integer,
  priority smallint NOT NULL, state smallint NOT NULL, thread bigint,
  device bigint, sent bigint, at bigint, read bigint, detail text,
  PRIMARY KEY (user_id, n)
) WITH (fillfactor = 80);

CREATE TABLE steps (
  user_id bigint NOT NULL, n bigint NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, step text NOT NULL,
  at bigint NOT NULL, device bigint, detail text, PRIMARY KEY (user_id, n, id)
);

-- node: holds the connection while until is null. incarnation: counts the opens; a close of an older one is void.
CREATE TABLE devices (
  user_id bigint NOT NULL, id bigint NOT NULL, deviceid text NOT NULL, keep_ms bigint NOT NULL, until bigint,
  subscribed boolean NOT NULL, base bigint, floor bigint NOT NULL, seen bigint NOT NULL, node text NOT NULL,
  incarnation bigint NOT NULL, PRIMARY KEY (user_id, id)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX devices_user ON devices (user_id, deviceid);
CREATE INDEX devices_open ON devices (node) WHERE until IS NULL AND keep_ms > 0;
CREATE TABLE device_acks (
  user_id bigint NOT NULL, device bigint NOT NULL, n bigint NOT NULL, PRIMARY KEY (user_id, device, n)
);

-- What happened and nobody was told of yet. Rows of one message are numbered in the order in which they happened.
CREATE TABLE feed (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind smallint NOT NULL, request uuid, user_id bigint, n bigint,
  device bigint, at bigint NOT NULL, detail text
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
-- state: 0 pending, 1 dead, 2 done. A lease is the due time moved on; fence tells its holder from those before.
-- shown: it did not succeed at once, and people are told of it.
CREATE TABLE receipts (
  id text COLLATE "C" PRIMARY KEY, rank bigint NOT NULL, client text NOT NULL, service text NOT NULL,
  kind text NOT NULL, transid text, order_key text NOT NULL, state smallint NOT NULL, shown boolean NOT NULL,
  attempts integer NOT NULL, due bigint NOT NULL, leased boolean NOT NULL, fence bigint NOT NULL,
  created bigint NOT NULL, work text NOT NULL, history text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX receipts_due ON receipts (due, rank) WHERE state = 0;
CREATE INDEX receipts_waiting ON receipts (created) WHERE state = 0;
CREATE INDEX receipts_dead ON receipts (id) WHERE state = 1;
CREATE INDEX receipts_order ON receipts (order_key, rank) WHERE state = 0;
CREATE INDEX receipts_transid ON receipts (transid) WHERE shown;
CREATE INDEX receipts_created ON receipts (created, id) WHERE shown;

CREATE TABLE links (
  slug text PRIMARY KEY, linkid text NOT NULL, url text NOT NULL, request uuid NOT NULL, user_id bigint NOT NULL,
  n bigint NOT NULL, expires bigint NOT NULL, visits bigint NOT NULL DEFAULT 0
);
CREATE INDEX links_request ON links (request);
CREATE INDEX links_user ON links (user_id);
-- shard: nodes that send the same link at the same time do not wait for each other.
CREATE TABLE link_figures (
  linkid text NOT NULL, shard smallint NOT NULL, minted bigint NOT NULL, visits bigint NOT NULL,
  recipients bigint NOT NULL, PRIMARY KEY (linkid, shard)
) WITH (fillfactor = 50);

CREATE TABLE idempotency (
  service text NOT NULL, key text NOT NULL, hash text NOT NULL, answer text NOT NULL, expires bigint NOT NULL,
  PRIMARY KEY (service, key)
);
CREATE INDEX idempotency_expires ON idempotency (expires);
CREATE TABLE correlations (
  service text NOT NULL, correlationid text NOT NULL, request uuid NOT NULL, destination integer NOT NULL,
  PRIMARY KEY (service, correlationid, request, destination)
);
CREATE INDEX correlations_request ON correlations (request);
CREATE TABLE once (user_id bigint NOT NULL, id text NOT NULL, at bigint NOT NULL, PRIMARY KEY (user_id, id));
CREATE INDEX once_at ON once (at);
CREATE TABLE replies (
  user_id bigint NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, thread bigint NOT NULL, tid text NOT NULL,
  content text NOT NULL, at bigint NOT NULL, PRIMARY KEY (user_id, id)
);
CREATE INDEX replies_user ON replies (user_id, thread, at);
CREATE INDEX replies_at ON replies (at);
`;

/** In order; never edited once released, only added to. */
export const MIGRATIONS: readonly string[] = [VERSION_1];

/** Any number that nothing else in the database locks by: the letters "crln". */
const MIGRATION_LOCK = 0x63_72_6c_6e;

/** The tables are of a newer Carillon than this one can work beside. */
export class SchemaTooNew extends Error {
  constructor(version: number, known: number) {
    super(`the database has tables of version ${version}, and this carillon knows those up to ${known}: upgrade it`);
    this.name = 'SchemaTooNew';
  }
}

/** Brings the tables up to date; returns the version. One more than known is version N beside N-1: worked with. */
export async function migrate(session: Session): Promise<number> {
  await session.all('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
  try {
    await session.exec('CREATE TABLE IF NOT EXISTS migrations (version integer PRIMARY KEY, at timestamptz NOT NULL)');
    const rows = await session.all('SELECT coalesce(max(version), 0) AS version FROM migrations');
    let version = Number(rows[0]?.['version'] ?? 0);
    if (version > MIGRATIONS.length + 1) throw new SchemaTooNew(version, MIGRATIONS.length);
    for (; version < MIGRATIONS.length; version += 1) {
      await session.exec(
        `BEGIN; ${MIGRATIONS[version] ?? ''}; INSERT INTO migrations VALUES (${version + 1}, clock_timestamp()); COMMIT`,
      );
    }
    return version;
  } catch (error) {
    await session.exec('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    await session.all('SELECT pg_advisory_unlock($1)', [MIGRATION_LOCK]).catch(() => undefined);
  }
}
