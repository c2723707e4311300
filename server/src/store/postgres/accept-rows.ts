import type { Random } from '../../core/ports.ts';
import type { Accept } from './accept.ts';
import { Columns, unnest } from './columns.ts';
import type { Transaction } from './database.ts';

/** The figures of one link are kept in so many rows: nodes that send the same one do not wait for each other. */
const FIGURE_SHARDS = 16;

export function figureShard(random: Random): number {
  return Math.floor(random.unit() * FIGURE_SHARDS);
}

/** What accepted requests bring beside the logs: short links, their figures, correlationids. */
export function writeAcceptRows(transaction: Transaction, accept: Accept, random: Random): void {
  if (accept.links.length > 0) {
    const columns = new Columns(7);
    for (const { slug, linkid, url, request, user, n, expires } of accept.links) {
      columns.add(slug, linkid, url, request, user, n, expires);
    }
    void transaction.run(
      `INSERT INTO links (slug, linkid, url, request, user_id, n, expires)
       SELECT * FROM ${unnest('text', 'text', 'text', 'uuid', 'bigint', 'bigint', 'bigint')}`,
      columns.values,
    );
  }
  if (accept.minted.size > 0) {
    const columns = new Columns(3);
    const shard = figureShard(random);
    for (const [linkid, count] of [...accept.minted].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      columns.add(linkid, shard, count);
    }
    void transaction.run(
      `INSERT INTO link_figures AS f (linkid, shard, minted, visits, recipients)
       SELECT q.linkid, q.shard, q.minted, 0, 0 FROM ${unnest('text', 'smallint', 'bigint')} q(linkid, shard, minted)
       ON CONFLICT (linkid, shard) DO UPDATE SET minted = f.minted + excluded.minted`,
      columns.values,
    );
  }
  if (accept.correlations.length > 0) {
    const columns = new Columns(4);
    for (const { service, correlationid, request, destination } of accept.correlations) {
      columns.add(service, correlationid, request, destination);
    }
    void transaction.run(
      `INSERT INTO correlations (service, correlationid, request, destination)
       SELECT * FROM ${unnest('text', 'text', 'uuid', 'integer')} ON CONFLICT DO NOTHING`,
      columns.values,
    );
  }
}
