import type { Profile } from '../../core/model.ts';
import type { LogEntry, Page } from '../../core/ports.ts';
import { profileOf } from '../rows.ts';
import type { Database, Transaction } from './database.ts';
import { flush } from './flush.ts';
import type { Ids } from './ids.ts';
import { Ledger } from './ledger.ts';
import { findPeople, lockUsers, Wanted } from './loading.ts';
import type { NamesRead } from './loading.ts';
import { Sessions } from './sessions.ts';
import { ThreadBook } from './thread-book.ts';
import { readLinkedApps, readMoving } from './moving.ts';

export type PutProfile =
  | { readonly kind: 'ok'; readonly entries: readonly LogEntry[] }
  | { readonly kind: 'taken'; readonly field: 'customerid' | 'msisdn' };

/** Profiles: who the users are. */
export class People {
  private readonly database: Database;
  private readonly ids: Ids;

  constructor(database: Database, ids: Ids) {
    this.database = database;
    this.ids = ids;
  }

  put(profile: Omit<Profile, 'createdAt'>, now: number): Promise<PutProfile> {
    return this.database.transaction((transaction) => this.putOne(transaction, profile, now));
  }

  private async putOne(
    transaction: Transaction,
    profile: Omit<Profile, 'createdAt'>,
    now: number,
  ): Promise<PutProfile> {
    const { appId: app, userid } = profile;
    const ledger = new Ledger();
    const threads = new ThreadBook();
    const wanted = new Wanted();
    const read: NamesRead = new Map();
    wanted.add('userid', app, userid);
    for (const field of ['customerid', 'msisdn'] as const) {
      const value = profile[field];
      if (value !== null) wanted.add(field, app, value);
    }
    const [linkedApps, , numbers] = await Promise.all([
      readLinkedApps(transaction, [app]),
      findPeople(transaction, ledger, wanted, read),
      this.ids.reserve(transaction, 1),
    ]);
    await lockUsers(transaction, ledger, read.keys(), read);
    for (const field of ['customerid', 'msisdn'] as const) {
      const value = profile[field];
      const holder = value === null ? null : ledger.personBy(field, app, value);
      const name = holder?.names.userid ?? null;
      if (name !== null && name !== userid) return { kind: 'taken', field };
    }
    // After the checks: a refusal must not leave a user behind.
    const person =
      ledger.personBy('userid', app, userid) ??
      ledger.makePerson(numbers.take(), 'userid', { app, value: userid, now });
    numbers.giveBack();
    if (profile.msisdn === null) ledger.dropName(person, 'msisdn');
    if (profile.customerid === null) ledger.dropName(person, 'customerid');
    const moving = await readMoving(transaction, ledger, threads, [...ledger.users.keys()]);
    const sources = { threads, linkedApps, ...moving, firstWaiting: new Map(), node: this.database.node };
    const sessions = new Sessions(ledger, { ...sources, nextId: () => numbers.take() });
    const entries = sessions.claim(person, profile);
    // In a `same` app the customerid is the userid and the field only a note.
    if (!linkedApps.has(app) && profile.customerid !== null) {
      ledger.takeOver(person, 'customerid', profile.customerid);
    }
    await flush(transaction, ledger, threads);
    return { kind: 'ok', entries };
  }

  async get(app: string, userid: string): Promise<Profile | null> {
    const row = await this.database.one('SELECT * FROM users WHERE app = $1 AND userid = $2', [app, userid]);
    return row === undefined ? null : profileOf(row);
  }

  async find(app: string, userid: string): Promise<number | null> {
    const row = await this.database.one('SELECT id FROM users WHERE app = $1 AND userid = $2', [app, userid]);
    return row === undefined ? null : Number(row['id']);
  }

  async list(app: string, cursor: string | null, limit: number): Promise<Page<Profile>> {
    const rows = await this.database.all(
      'SELECT * FROM users WHERE app = $1 AND userid IS NOT NULL AND userid > $2 ORDER BY userid LIMIT $3',
      [app, cursor ?? '', limit + 1],
    );
    const items = rows.slice(0, limit).map(profileOf);
    return { items, next: rows.length > limit ? (items.at(-1)?.userid ?? null) : null };
  }

  /** Erases the log and the devices; the requests keep the identifier until they are purged with their receipts. */
  delete(app: string, userid: string): Promise<boolean> {
    return this.database.transaction(async (transaction) => {
      const ledger = new Ledger();
      const wanted = new Wanted();
      const read: NamesRead = new Map();
      wanted.add('userid', app, userid);
      await findPeople(transaction, ledger, wanted, read);
      await lockUsers(transaction, ledger, read.keys(), read);
      const person = ledger.personBy('userid', app, userid);
      if (person === null) return false;
      const user = ledger.user(person.id);
      ledger.countWaiting(person.id, -user.waiting);
      // The row stays without a name, so that its number and head are never given again.
      for (const column of ['userid', 'customerid', 'msisdn'] as const) ledger.dropName(person, column);
      user.purged = user.head;
      for (const table of ['log', 'steps', 'replies', 'user_threads', 'once', 'links', 'device_acks', 'devices']) {
        void transaction.run(`DELETE FROM ${table} WHERE user_id = $1`, [person.id]);
      }
      await flush(transaction, ledger);
      void transaction.run('UPDATE heads SET erased = true WHERE user_id = $1', [person.id]);
      return true;
    });
  }
}
