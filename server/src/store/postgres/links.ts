import type { LinkVisit, Random } from '../../core/ports.ts';
import { figureShard } from './accept-rows.ts';
import type { Database, Transaction } from './database.ts';
import { flush } from './flush.ts';
import { Ledger } from './ledger.ts';
import { loadEntries, lockUsers } from './loading.ts';
import { Settle } from './settle.ts';

const FIND = 'SELECT linkid, url, user_id, n, expires FROM links WHERE slug = $1';

/** Minted links: each slug belongs to one recipient of one message. */
export class Links {
  private readonly database: Database;
  private readonly random: Random;

  constructor(database: Database, random: Random) {
    this.database = database;
    this.random = random;
  }

  /** Guessing costs a read and nothing to write. */
  async visit(slug: string, visit: { now: number; count: boolean }): Promise<LinkVisit> {
    const row = await this.database.one(FIND, [slug]);
    if (row === undefined) return { kind: 'unknown' };
    if (Number(row['expires']) <= visit.now) return { kind: 'expired' };
    const url = String(row['url']);
    if (!visit.count) return { kind: 'open', url, entries: [] };
    return this.database.transaction((transaction) => this.count(transaction, slug, visit.now));
  }

  private async count(transaction: Transaction, slug: string, now: number): Promise<LinkVisit> {
    // Again, for this transaction: its message may have moved to another log.
    const row = await transaction.one(FIND, [slug]);
    if (row === undefined) return { kind: 'unknown' };
    const place = { user: Number(row['user_id']), n: Number(row['n']) };
    const url = String(row['url']);
    const linkid = String(row['linkid']);
    const ledger = new Ledger();
    await lockUsers(transaction, ledger, [place.user]);
    const once = `link ${slug}`;
    const [, known, steps, visits] = await Promise.all([
      loadEntries(transaction, ledger, [place]),
      transaction.all('SELECT 1 AS yes FROM once WHERE user_id = $1 AND id = $2', [place.user, once]),
      transaction.all("SELECT 1 AS yes FROM steps WHERE user_id = $1 AND n = $2 AND step = 'clicked' LIMIT 1", [
        place.user,
        place.n,
      ]),
      transaction.all('UPDATE links SET visits = visits + 1 WHERE slug = $1 RETURNING visits', [slug]),
    ]);
    if (known.length > 0) ledger.onces.add(`${place.user} ${once}`);
    if (steps.length > 0) {
      ledger.learnStep(place.user, place.n, { step: 'clicked', at: 0, device: null, detail: null });
    }
    void transaction.run(
      `INSERT INTO link_figures AS f (linkid, shard, minted, visits, recipients) VALUES ($1, $2, 0, 1, $3)
       ON CONFLICT (linkid, shard) DO UPDATE SET visits = f.visits + 1, recipients = f.recipients + excluded.recipients`,
      [linkid, figureShard(this.random), visits[0]?.['visits'] === 1 ? 1 : 0],
    );
    const settle = new Settle(ledger, { places: new Map(), contents: new Map(), threads: new Map() });
    const about = { user: place.user, at: now, device: null, ref: { n: place.n }, once };
    const { entries } = settle.settle({ kind: 'clicked', ...about, identifier: `link_${linkid}`, url });
    await flush(transaction, ledger);
    return { kind: 'open', url, entries };
  }

  async figures(linkid: string): Promise<{ minted: number; visits: number; recipients: number }> {
    const row = await this.database.one(
      'SELECT sum(minted)::bigint AS minted, sum(visits)::bigint AS visits, sum(recipients)::bigint AS recipients FROM link_figures WHERE linkid = $1',
      [linkid],
    );
    return {
      minted: Number(row?.['minted'] ?? 0),
      visits: Number(row?.['visits'] ?? 0),
      recipients: Number(row?.['recipients'] ?? 0),
    };
  }
}
