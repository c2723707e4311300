import type { State } from './state.ts';

/** Minted links: each slug belongs to one recipient of one message. */
export class Links {
  private readonly state: State;

  constructor(state: State) {
    this.state = state;
  }

  /** Where a slug leads; reads only, so that guessing costs nothing to write. */
  find(
    slug: string,
    now: number,
  ):
    | { visit: { kind: 'open'; url: string }; place: { user: number; n: number; linkid: string; visits: number } }
    | { visit: { kind: 'expired' } | { kind: 'unknown' }; place: null } {
    const row = this.state.db.get('SELECT linkid, url, user, n, expires, visits FROM links WHERE slug = ?', slug);
    if (row === undefined) return { visit: { kind: 'unknown' }, place: null };
    if (Number(row['expires']) <= now) return { visit: { kind: 'expired' }, place: null };
    const place = {
      user: Number(row['user']),
      n: Number(row['n']),
      linkid: String(row['linkid']),
      visits: Number(row['visits']),
    };
    return { visit: { kind: 'open', url: String(row['url']) }, place };
  }

  count(slug: string, place: { linkid: string; visits: number }): void {
    this.state.db.run('UPDATE links SET visits = visits + 1 WHERE slug = ?', slug);
    this.state.db.run(
      'UPDATE link_figures SET visits = visits + 1, recipients = recipients + ? WHERE linkid = ?',
      place.visits === 0 ? 1 : 0,
      place.linkid,
    );
  }

  figures(linkid: string): { minted: number; visits: number; recipients: number } {
    const row = this.state.db.get('SELECT minted, visits, recipients FROM link_figures WHERE linkid = ?', linkid);
    return {
      minted: Number(row?.['minted'] ?? 0),
      visits: Number(row?.['visits'] ?? 0),
      recipients: Number(row?.['recipients'] ?? 0),
    };
  }
}
