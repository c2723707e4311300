import { Columns, unnest } from './columns.ts';
import { Overtaken } from './database.ts';
import type { Transaction } from './database.ts';
import type { Ledger } from './ledger.ts';
import type { ThreadBook } from './thread-book.ts';

/**
 * Writes what changed, in one statement per table whatever the number of rows; tables without changes cost nothing. The
 * statements go out without waiting for each other.
 */
export async function flush(transaction: Transaction, ledger: Ledger, threads?: ThreadBook): Promise<void> {
  transaction.waitingChange += ledger.waitingChange;
  await writePeople(transaction, ledger);
  writeHeads(transaction, ledger);
  if (threads !== undefined) writeThreads(transaction, threads);
  writeRequests(transaction, ledger);
  writeLog(transaction, ledger);
  writeMovedLinks(transaction, ledger);
  writeDevices(transaction, ledger);
  writeFacts(transaction, ledger);
}

/** By name, so that two nodes that make the same users do not wait for each other in a circle. */
async function writePeople(transaction: Transaction, ledger: Ledger): Promise<void> {
  const renamed = [...ledger.renamed].filter((id) => ledger.people.get(id)?.isNew === false).toSorted((a, b) => a - b);
  // Taken first, then given.
  if (renamed.length > 0) {
    void transaction.run(
      'UPDATE users SET userid = NULL, customerid = NULL, msisdn = NULL WHERE id = ANY($1::bigint[])',
      [renamed],
    );
  }
  await writeNewPeople(transaction, ledger);
  if (renamed.length === 0) return;
  const columns = new Columns(4);
  for (const id of renamed) {
    const names = ledger.people.get(id)?.names;
    columns.add(id, names?.userid, names?.customerid, names?.msisdn);
  }
  void transaction.run(
    `UPDATE users u SET userid = q.userid, customerid = q.customerid, msisdn = q.msisdn
     FROM ${unnest('bigint', 'text', 'text', 'text')} q(id, userid, customerid, msisdn) WHERE u.id = q.id`,
    columns.values,
  );
}

async function writeNewPeople(transaction: Transaction, ledger: Ledger): Promise<void> {
  const made = [...ledger.people.values()].filter((person) => person.isNew);
  if (made.length === 0) return;
  const columns = new Columns(6);
  const byName = made.toSorted((a, b) => compare(sortKey(a.names), sortKey(b.names)));
  for (const { id, names, created } of byName) {
    columns.add(id, names.app, names.userid, names.customerid, names.msisdn, created);
  }
  const count = await transaction.run(
    `INSERT INTO users (id, app, userid, customerid, msisdn, created) SELECT * FROM ${unnest('bigint', 'text', 'text', 'text', 'text', 'bigint')} ON CONFLICT DO NOTHING`,
    columns.values,
  );
  // Another node made one of them meanwhile: its log is the one that counts.
  if (count !== made.length) throw new Overtaken();
  transaction.usersChange += made.length;
}

function sortKey(names: { app: string; userid: string | null; customerid: string | null }): string {
  return `${names.app} ${names.userid === null ? `c ${names.customerid ?? ''}` : `u ${names.userid}`}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function writeHeads(transaction: Transaction, ledger: Ledger): void {
  const made = new Columns(4);
  const changed = new Columns(5);
  for (const user of ledger.users.values()) {
    if (user.isNew) made.add(user.id, user.head, user.waiting, user.purged);
    else if (user.isChanged) {
      changed.add(user.id, user.head, user.waiting, user.purged, ledger.renamed.has(user.id) ? 1 : 0);
    }
  }
  if (!made.isEmpty) {
    void transaction.run(
      `INSERT INTO heads (user_id, head, waiting, purged) SELECT * FROM ${unnest('bigint', 'bigint', 'integer', 'bigint')}`,
      made.values,
    );
  }
  if (!changed.isEmpty) {
    void transaction.run(
      `UPDATE heads h SET head = q.head, waiting = q.waiting, purged = q.purged, names = h.names + q.renamed
       FROM ${unnest('bigint', 'bigint', 'integer', 'bigint', 'integer')} q(id, head, waiting, purged, renamed) WHERE h.user_id = q.id`,
      changed.values,
    );
  }
}

function writeThreads(transaction: Transaction, threads: ThreadBook): void {
  if (threads.newThreads.length > 0) {
    const columns = new Columns(7);
    for (const { key, id, app, type, title, service, now } of threads.newThreads) {
      columns.add(key, id, app, type, title, service, now);
    }
    void transaction.run(
      `INSERT INTO threads (id, uid, app, type, title, status, extras, service, created, updated)
       SELECT q.id, q.uid, q.app, q.type, q.title, 'Active', '{}', q.service, q.now, q.now
       FROM ${unnest('bigint', 'text', 'text', 'text', 'text', 'text', 'bigint')} q(id, uid, app, type, title, service, now)`,
      columns.values,
    );
  }
  if (threads.newLinks.length > 0) {
    const columns = new Columns(4);
    for (const { user, key, thread, uid } of threads.newLinks) columns.add(user, key, thread, uid);
    void transaction.run(
      `INSERT INTO user_threads (user_id, key, thread, uid) SELECT * FROM ${unnest('bigint', 'text', 'bigint', 'text')} ON CONFLICT DO NOTHING`,
      columns.values,
    );
  }
}

function writeRequests(transaction: Transaction, ledger: Ledger): void {
  if (ledger.requests.length === 0) return;
  const columns = new Columns(13);
  for (const { content, client, word, notifyUrl, callback, members } of ledger.requests) {
    const { uid, key, serviceId, appId, acceptedAt, expiry, priority } = content;
    columns.add(
      uid,
      key,
      client,
      serviceId,
      appId,
      acceptedAt,
      expiry,
      priority,
      word,
      notifyUrl,
      callback,
      content.content,
      members,
    );
  }
  void transaction.run(
    `INSERT INTO requests (uid, key, client, service, app, accepted, expiry, priority, word, notify_url, callback, content, members)
     SELECT * FROM ${unnest('uuid', 'bigint', 'text', 'text', 'text', 'bigint', 'bigint', 'smallint', 'text', 'text', 'text', 'text', 'text')}`,
    columns.values,
  );
}

function writeLog(transaction: Transaction, ledger: Ledger): void {
  const made = new Columns(13);
  for (const entry of ledger.newEntries) {
    const { user, n, request, destination, member, priority, state, thread, device, sent, at, read, detail } = entry;
    made.add(user, n, request, destination, member, priority, state, thread, device, sent, at, read, detail);
  }
  if (!made.isEmpty) {
    void transaction.run(
      `INSERT INTO log (user_id, n, request, destination, member, priority, state, thread, device, sent, at, read, detail)
       SELECT * FROM ${unnest('bigint', 'bigint', 'uuid', 'integer', 'integer', 'smallint', 'smallint', 'bigint', 'bigint', 'bigint', 'bigint', 'bigint', 'text')}`,
      made.values,
    );
  }
  const changed = new Columns(8);
  for (const { isNew, isChanged, user, n, state, device, sent, at, read, detail } of ledger.entries.values()) {
    if (isChanged && !isNew) changed.add(user, n, state, device, sent, at, read, detail);
  }
  if (changed.isEmpty) return;
  void transaction.run(
    `UPDATE log l SET state = q.state, device = q.device, sent = q.sent, at = q.at, read = q.read, detail = q.detail
     FROM ${unnest('bigint', 'bigint', 'smallint', 'bigint', 'bigint', 'bigint', 'bigint', 'text')} q(u, n, state, device, sent, at, read, detail)
     WHERE l.user_id = q.u AND l.n = q.n`,
    changed.values,
  );
}

function writeMovedLinks(transaction: Transaction, ledger: Ledger): void {
  if (ledger.movedLinks.length === 0) return;
  const columns = new Columns(4);
  for (const { from, to } of ledger.movedLinks) columns.add(from.user, from.n, to.user, to.n);
  void transaction.run(
    `UPDATE links l SET user_id = q.to_user, n = q.to_n FROM ${unnest('bigint', 'bigint', 'bigint', 'bigint')} q(u, n, to_user, to_n)
     WHERE l.user_id = q.u AND l.n = q.n`,
    columns.values,
  );
}

function writeDevices(transaction: Transaction, ledger: Ledger): void {
  const columns = new Columns(11);
  for (const device of ledger.devices.values()) {
    if (!device.isNew && !device.isChanged) continue;
    const { user, id, deviceid, keepMs, until, subscribed, base, floor, seen, node, incarnation } = device;
    columns.add(user, id, deviceid, keepMs, until, subscribed, base, floor, seen, node, incarnation);
  }
  if (!columns.isEmpty) {
    void transaction.run(
      `INSERT INTO devices (user_id, id, deviceid, keep_ms, until, subscribed, base, floor, seen, node, incarnation)
       SELECT * FROM ${unnest('bigint', 'bigint', 'text', 'bigint', 'bigint', 'boolean', 'bigint', 'bigint', 'bigint', 'text', 'bigint')}
       ON CONFLICT (user_id, id) DO UPDATE SET keep_ms = excluded.keep_ms, until = excluded.until,
         subscribed = excluded.subscribed, base = excluded.base, floor = excluded.floor, seen = excluded.seen,
         node = excluded.node, incarnation = excluded.incarnation`,
      columns.values,
    );
  }
  writeAcks(transaction, ledger);
}

function writeAcks(transaction: Transaction, ledger: Ledger): void {
  const dropped = new Columns(3);
  for (const [id, upTo] of ledger.droppedAcks) dropped.add(ledger.devices.get(id)?.user, id, upTo);
  if (!dropped.isEmpty) {
    void transaction.run(
      `DELETE FROM device_acks a USING ${unnest('bigint', 'bigint', 'bigint')} q(u, device, upto)
       WHERE a.user_id = q.u AND a.device = q.device AND a.n <= q.upto`,
      dropped.values,
    );
  }
  const made = new Columns(3);
  for (const [id, numbers] of ledger.newAcks) {
    for (const n of numbers) made.add(ledger.devices.get(id)?.user, id, n);
  }
  if (made.isEmpty) return;
  void transaction.run(
    `INSERT INTO device_acks (user_id, device, n) SELECT * FROM ${unnest('bigint', 'bigint', 'bigint')} ON CONFLICT DO NOTHING`,
    made.values,
  );
}

function writeFacts(transaction: Transaction, ledger: Ledger): void {
  const steps = new Columns(6);
  for (const { user, n, step } of ledger.newSteps) steps.add(user, n, step.step, step.at, step.device, step.detail);
  if (!steps.isEmpty) {
    void transaction.run(
      `INSERT INTO steps (user_id, n, step, at, device, detail) SELECT * FROM ${unnest('bigint', 'bigint', 'text', 'bigint', 'bigint', 'text')}`,
      steps.values,
    );
  }
  const onces = new Columns(3);
  for (const { user, id, at } of ledger.newOnces) onces.add(user, id, at);
  if (!onces.isEmpty) {
    void transaction.run(
      `INSERT INTO once (user_id, id, at) SELECT * FROM ${unnest('bigint', 'text', 'bigint')} ON CONFLICT DO NOTHING`,
      onces.values,
    );
  }
  const replies = new Columns(5);
  for (const { user, thread, tid, content, at } of ledger.replies) replies.add(user, thread, tid, content, at);
  if (!replies.isEmpty) {
    void transaction.run(
      `INSERT INTO replies (user_id, thread, tid, content, at) SELECT * FROM ${unnest('bigint', 'bigint', 'text', 'text', 'bigint')}`,
      replies.values,
    );
  }
  const feed = new Columns(7);
  for (const { kind, request, user, n, device, at, detail } of ledger.feed) {
    feed.add(kind, request, user, n, device, at, detail);
  }
  if (feed.isEmpty) return;
  void transaction.run(
    `INSERT INTO feed (kind, request, user_id, n, device, at, detail)
     SELECT * FROM ${unnest('smallint', 'uuid', 'bigint', 'bigint', 'bigint', 'bigint', 'text')}`,
    feed.values,
  );
}
