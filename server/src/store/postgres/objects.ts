import type { ObjectKind, Objects as ObjectTypes } from '../../core/model.ts';
import type { Page, StoredObject } from '../../core/ports.ts';
import { Columns, unnest } from './columns.ts';
import type { Database, Transaction } from './database.ts';

/** Any number that nothing else in the database locks by: the letters "objs". */
const OBJECTS_LOCK = 0x6f_62_6a_73;
const COUNT = `INSERT INTO counters AS c (name, value) VALUES ($1, 1)
  ON CONFLICT (name) DO UPDATE SET value = c.value + 1 RETURNING value`;

/** Provisioning: small objects as JSON, by kind and id. */
export class Objects {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  async get<Kind extends ObjectKind>(kind: Kind, id: string): Promise<ObjectTypes[Kind] | null> {
    const row = await this.database.one('SELECT body FROM objects WHERE kind = $1 AND id = $2', [kind, id]);
    return row === undefined ? null : (JSON.parse(String(row['body'])) as ObjectTypes[Kind]);
  }

  async list<Kind extends ObjectKind>(
    kind: Kind,
    query: { clientId: string | null; cursor: string | null; limit: number },
  ): Promise<Page<ObjectTypes[Kind]>> {
    const { clientId, cursor, limit } = query;
    const rows =
      clientId === null
        ? await this.database.all('SELECT id, body FROM objects WHERE kind = $1 AND id > $2 ORDER BY id LIMIT $3', [
            kind,
            cursor ?? '',
            limit + 1,
          ])
        : await this.database.all(
            'SELECT id, body FROM objects WHERE kind = $1 AND id > $2 AND client = $4 ORDER BY id LIMIT $3',
            [kind, cursor ?? '', limit + 1, clientId],
          );
    const page = rows.slice(0, limit);
    return {
      items: page.map((row) => JSON.parse(String(row['body'])) as ObjectTypes[Kind]),
      next: rows.length > limit ? String(page.at(-1)?.['id']) : null,
    };
  }

  /** False: with `create`, one of the ids exists; nothing was written. */
  put(objects: readonly StoredObject[], mode: 'create' | 'replace'): Promise<boolean> {
    const columns = new Columns(4);
    // The last one counts where an id is there twice; a statement may not change a row twice.
    const last = new Map(objects.map((object) => [`${object.kind} ${object.value.id}`, object]));
    for (const { kind, value } of last.values()) {
      const client = kind === 'client' ? value.id : (value as { clientId: string }).clientId;
      columns.add(kind, value.id, client, JSON.stringify(value));
    }
    return this.database.transaction(async (transaction) => {
      await transaction.all('SELECT pg_advisory_xact_lock($1)', [OBJECTS_LOCK]);
      if (mode === 'create') {
        const there = await transaction.one(
          `SELECT 1 AS yes FROM ${unnest('text', 'text')} q(kind, id) JOIN objects o ON o.kind = q.kind AND o.id = q.id LIMIT 1`,
          columns.values.slice(0, 2),
        );
        if (there !== undefined) return false;
      }
      void transaction.run(
        `INSERT INTO objects (kind, id, client, body) SELECT * FROM ${unnest('text', 'text', 'text', 'text')}
         ON CONFLICT (kind, id) DO UPDATE SET client = excluded.client, body = excluded.body`,
        columns.values,
      );
      changed(transaction);
      return true;
    });
  }

  delete(kind: ObjectKind, id: string): Promise<boolean> {
    return this.database.transaction(async (transaction) => {
      await transaction.all('SELECT pg_advisory_xact_lock($1)', [OBJECTS_LOCK]);
      const count = await transaction.run('DELETE FROM objects WHERE kind = $1 AND id = $2', [kind, id]);
      if (count === 0) return false;
      changed(transaction);
      return true;
    });
  }

  async revision(): Promise<number> {
    const row = await this.database.one("SELECT value FROM counters WHERE name = 'revision'");
    return Number(row?.['value'] ?? 0);
  }

  nextNumber(name: string): Promise<number> {
    return this.database.transaction(async (transaction) => {
      const row = await transaction.one(COUNT, [`number:${name}`]);
      return Number(row?.['value']);
    });
  }
}

function changed(transaction: Transaction): void {
  void transaction.run(COUNT, ['revision']);
}
