import type { FoundMessage, MessageSearch } from '../../core/ports.ts';
import { splitTransid } from '../../core/transid.ts';
import { recordOf } from '../request-record.ts';
import { foundMessageOf } from '../rows.ts';
import { columnOf } from './accept.ts';
import type { Database } from './database.ts';
import { readLinkedApps } from './moving.ts';
import { RECORD_COLUMNS } from './requests.ts';

const COLUMNS = 'r.uid, r.client, r.service, r.app, r.accepted';

/** Messages by what an operator has in hand; each way is found by an index. */
export class Search {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  find(search: MessageSearch): Promise<FoundMessage[]> {
    const { mark } = search;
    switch (mark.kind) {
      case 'transid':
        return this.byTransid(search, mark.transid);
      case 'correlationid':
        return this.byCorrelationid(search, mark.correlationid);
      case 'user':
        return this.byUser(search, mark);
    }
  }

  private async byTransid({ clientId, serviceId }: MessageSearch, transid: string): Promise<FoundMessage[]> {
    const parts = splitTransid(transid);
    if (parts === null) return [];
    const row = await this.database.one(`SELECT ${RECORD_COLUMNS} FROM requests r WHERE r.uid = $1`, [parts.uid]);
    if (row === undefined) return [];
    const { client, service, members } = recordOf(row);
    if ((clientId !== null && client !== clientId) || (serviceId !== null && service !== serviceId)) return [];
    if (!members.some((member) => member.destination === parts.destination)) return [];
    return [foundMessageOf({ ...row, destination: parts.destination })];
  }

  /** The labels are kept by service: one descent of their table for each of the services that are asked. */
  private async byCorrelationid(
    { clientId, serviceId, limit }: MessageSearch,
    correlationid: string,
  ): Promise<FoundMessage[]> {
    const rows = await this.database.all(
      `SELECT ${COLUMNS}, c.destination FROM objects o
       CROSS JOIN LATERAL (SELECT request, destination FROM correlations WHERE service = o.id AND correlationid = $3
         ORDER BY request DESC, destination LIMIT $4) c
       JOIN requests r ON r.uid = c.request
       WHERE o.kind = 'service' AND ($1::text IS NULL OR o.client = $1) AND ($2::text IS NULL OR o.id = $2)
       ORDER BY c.request DESC, c.destination LIMIT $4`,
      [clientId, serviceId, correlationid, limit],
    );
    return rows.map(foundMessageOf);
  }

  /** The user's log from its end. */
  private async byUser(
    { clientId, serviceId, limit }: MessageSearch,
    { appId, identifier }: Extract<MessageSearch['mark'], { kind: 'user' }>,
  ): Promise<FoundMessage[]> {
    const linkedApps = await readLinkedApps(this.database, [appId]);
    const column = columnOf(linkedApps, appId, identifier.type);
    const user = await this.database.one(`SELECT id FROM users WHERE app = $1 AND ${column} = $2`, [
      appId,
      identifier.value,
    ]);
    if (user === undefined) return [];
    const rows = await this.database.all(
      `SELECT ${COLUMNS}, l.destination FROM log l JOIN requests r ON r.uid = l.request
       WHERE l.user_id = $1 AND ($2::text IS NULL OR r.client = $2) AND ($3::text IS NULL OR r.service = $3)
       ORDER BY l.n DESC LIMIT $4`,
      [user['id'], clientId, serviceId, limit],
    );
    return rows.map(foundMessageOf);
  }
}
