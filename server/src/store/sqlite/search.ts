import type { FoundMessage, MessageSearch } from '../../core/ports.ts';
import { splitTransid, transidOf } from '../../core/transid.ts';
import { foundMessageOf } from '../rows.ts';
import type { State } from './state.ts';

const COLUMNS = 'r.uid, r.client, r.service, r.app, r.accepted';

/** Messages by what an operator has in hand; each way is found by an index. */
export class Search {
  private readonly state: State;

  constructor(state: State) {
    this.state = state;
  }

  find(search: MessageSearch): FoundMessage[] {
    const { mark } = search;
    switch (mark.kind) {
      case 'transid':
        return this.byTransid(search, mark.transid);
      case 'correlationid':
        return this.byCorrelationid(search, mark.correlationid);
      case 'user': {
        const user = this.state.users.find(mark.appId, mark.identifier);
        return user === null ? [] : this.byUser(search, user.id);
      }
    }
  }

  private byTransid({ clientId, serviceId }: MessageSearch, transid: string): FoundMessage[] {
    const parts = splitTransid(transid);
    const key = parts === null ? null : this.state.requests.keyOf(parts.uid);
    const record = key === null ? null : this.state.requests.record(key);
    if (parts === null || record === null) return [];
    if (clientId !== null && record.client !== clientId) return [];
    if (serviceId !== null && record.service !== serviceId) return [];
    if (!record.members.some((member) => member.destination === parts.destination)) return [];
    return [
      {
        transid: transidOf(record.uid, parts.destination),
        clientId: record.client,
        serviceId: record.service,
        appId: record.app,
        acceptedAt: record.accepted,
      },
    ];
  }

  /** The labels are kept by service: one descent of their table for each of the services that are asked. */
  private byCorrelationid({ clientId, serviceId, limit }: MessageSearch, correlationid: string): FoundMessage[] {
    return this.state.db
      .all(
        `SELECT ${COLUMNS}, c.destination FROM correlations c JOIN requests r ON r.id = c.request
         WHERE c.service IN (SELECT id FROM objects WHERE kind = 'service' AND (?1 IS NULL OR client = ?1) AND (?2 IS NULL OR id = ?2))
         AND c.correlationid = ?3 ORDER BY c.request DESC, c.destination LIMIT ?4`,
        clientId,
        serviceId,
        correlationid,
        limit,
      )
      .map(foundMessageOf);
  }

  /** The user's log from its end. */
  private byUser({ clientId, serviceId, limit }: MessageSearch, user: number): FoundMessage[] {
    this.state.ripen(user);
    return this.state.db
      .all(
        `SELECT ${COLUMNS}, l.destination FROM log l JOIN requests r ON r.id = l.request
         WHERE l.user = ?1 AND (?2 IS NULL OR r.client = ?2) AND (?3 IS NULL OR r.service = ?3)
         ORDER BY l.n DESC LIMIT ?4`,
        user,
        clientId,
        serviceId,
        limit,
      )
      .map(foundMessageOf);
  }
}
