/**
 * The tables. `PRAGMA user_version` counts the migrations that ran; each runs in one transaction with its number, so
 * that a crash leaves the version before or the version after.
 *
 * What decides the speed is how little is written per delivery: one row in `log`, clustered by (user, number), and
 * nothing else at acceptance; at acknowledgement that row again and one row appended to `feed`. Content, expiry and
 * the list of who it was for (`members`) stand once, in the request.
 */
const VERSION_1 = `
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE objects (
  kind TEXT NOT NULL, id TEXT NOT NULL, client TEXT NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX objects_client ON objects (kind, client, id);

-- userid is null for a customerid that no user was linked to yet: what waits for it waits here.
CREATE TABLE users (
  id INTEGER PRIMARY KEY, app TEXT NOT NULL, userid TEXT, customerid TEXT, msisdn TEXT,
  purged INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL
);
CREATE UNIQUE INDEX users_userid ON users (app, userid) WHERE userid IS NOT NULL;
CREATE UNIQUE INDEX users_customerid ON users (app, customerid) WHERE customerid IS NOT NULL;
CREATE UNIQUE INDEX users_msisdn ON users (app, msisdn) WHERE msisdn IS NOT NULL;

CREATE TABLE threads (
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, app TEXT NOT NULL, type TEXT NOT NULL, title TEXT NOT NULL,
  category TEXT, externalid TEXT, status TEXT NOT NULL, extras TEXT NOT NULL, service TEXT,
  created INTEGER NOT NULL, updated INTEGER NOT NULL
);
CREATE INDEX threads_app ON threads (app, id);
-- key: C:<title> or A:<title> for the user's own open thread, #<thread> for any other one linked.
CREATE TABLE user_threads (
  user INTEGER NOT NULL, key TEXT NOT NULL, thread INTEGER NOT NULL, PRIMARY KEY (user, key)
) WITHOUT ROWID;
CREATE INDEX user_threads_thread ON user_threads (thread);

CREATE TABLE requests (
  id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, client TEXT NOT NULL, service TEXT NOT NULL, app TEXT NOT NULL,
  accepted INTEGER NOT NULL, expiry INTEGER NOT NULL, priority INTEGER NOT NULL, word TEXT NOT NULL,
  notify_url TEXT, callback TEXT, purge_at INTEGER, content TEXT NOT NULL, members TEXT NOT NULL
);
CREATE INDEX requests_expiry ON requests (expiry) WHERE purge_at IS NULL;
CREATE INDEX requests_purge ON requests (purge_at) WHERE purge_at IS NOT NULL;

-- request null: a state event, its JSON in detail. at: when the state was entered. sent: handed to the device.
CREATE TABLE log (
  user INTEGER NOT NULL, n INTEGER NOT NULL, request INTEGER, destination INTEGER, member INTEGER,
  priority INTEGER NOT NULL, state INTEGER NOT NULL, thread INTEGER,
  device INTEGER, sent INTEGER, at INTEGER, read INTEGER, detail TEXT,
  PRIMARY KEY (user, n)
) WITHOUT ROWID;

CREATE TABLE steps (
  id INTEGER PRIMARY KEY, user INTEGER NOT NULL, n INTEGER NOT NULL, step TEXT NOT NULL, at INTEGER NOT NULL,
  device INTEGER, detail TEXT
);
CREATE INDEX steps_entry ON steps (user, n);

CREATE TABLE devices (
  id INTEGER PRIMARY KEY, user INTEGER NOT NULL, deviceid TEXT NOT NULL,
  keep_ms INTEGER NOT NULL, until INTEGER, subscribed INTEGER NOT NULL, base INTEGER, floor INTEGER NOT NULL,
  seen INTEGER NOT NULL
);
CREATE UNIQUE INDEX devices_user ON devices (user, deviceid);
-- Connected, or not closed before a crash.
CREATE INDEX devices_open ON devices (id) WHERE until IS NULL AND keep_ms > 0;
CREATE TABLE device_acks (device INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (device, n)) WITHOUT ROWID;

CREATE TABLE feed (
  seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, request INTEGER, user INTEGER, n INTEGER, device INTEGER,
  at INTEGER NOT NULL, detail TEXT
);
CREATE TABLE receipts (
  id TEXT PRIMARY KEY, rank INTEGER NOT NULL, client TEXT NOT NULL, service TEXT NOT NULL, kind TEXT NOT NULL,
  transid TEXT, order_key TEXT NOT NULL, state INTEGER NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL,
  leased INTEGER NOT NULL DEFAULT 0,
  created INTEGER NOT NULL, work TEXT NOT NULL, history TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX receipts_due ON receipts (due) WHERE state = 0;
CREATE INDEX receipts_waiting ON receipts (created) WHERE state = 0;
CREATE INDEX receipts_dead ON receipts (id) WHERE state = 1;
CREATE INDEX receipts_order ON receipts (order_key, rank) WHERE state = 0;
CREATE INDEX receipts_leased ON receipts (id) WHERE leased = 1;
CREATE INDEX receipts_transid ON receipts (transid);
CREATE INDEX receipts_created ON receipts (created);

CREATE TABLE links (
  slug TEXT PRIMARY KEY, linkid TEXT NOT NULL, url TEXT NOT NULL, request INTEGER NOT NULL, user INTEGER NOT NULL,
  n INTEGER NOT NULL, expires INTEGER NOT NULL, visits INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX links_request ON links (request);
CREATE TABLE link_figures (
  linkid TEXT PRIMARY KEY, minted INTEGER NOT NULL, visits INTEGER NOT NULL, recipients INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE idempotency (
  service TEXT NOT NULL, key TEXT NOT NULL, hash TEXT NOT NULL, answer TEXT NOT NULL, expires INTEGER NOT NULL,
  PRIMARY KEY (service, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_expires ON idempotency (expires);
CREATE TABLE correlations (
  service TEXT NOT NULL, correlationid TEXT NOT NULL, request INTEGER NOT NULL, destination INTEGER NOT NULL,
  PRIMARY KEY (service, correlationid, request, destination)
) WITHOUT ROWID;
CREATE INDEX correlations_request ON correlations (request);
CREATE TABLE once (user INTEGER NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (user, id)) WITHOUT ROWID;
CREATE INDEX once_at ON once (at);
CREATE TABLE replies (
  id INTEGER PRIMARY KEY, user INTEGER NOT NULL, thread INTEGER NOT NULL, tid TEXT NOT NULL, content TEXT NOT NULL,
  at INTEGER NOT NULL
);
CREATE INDEX replies_user ON replies (user, thread, at);
`;

/** Counts the opens of a device: a close that comes after the next open is void. */
const VERSION_2 = 'ALTER TABLE devices ADD COLUMN incarnation INTEGER NOT NULL DEFAULT 0';

/** In order; never edited once released, only added to. */
export const MIGRATIONS: readonly string[] = [VERSION_1, VERSION_2];
