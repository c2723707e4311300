import type { ObjectKind, Objects as ObjectTypes } from '../../core/model.ts';
import type { Page, StoredObject } from '../../core/ports.ts';
import type { State } from './state.ts';

/** Provisioning: small objects as JSON, by kind and id. */
export class Objects {
  private readonly state: State;

  constructor(state: State) {
    this.state = state;
  }

  get<Kind extends ObjectKind>(kind: Kind, id: string): ObjectTypes[Kind] | null {
    const row = this.state.db.get('SELECT body FROM objects WHERE kind = ? AND id = ?', kind, id);
    return row === undefined ? null : (JSON.parse(String(row['body'])) as ObjectTypes[Kind]);
  }

  list<Kind extends ObjectKind>(
    kind: Kind,
    query: { clientId: string | null; cursor: string | null; limit: number },
  ): Page<ObjectTypes[Kind]> {
    const { db } = this.state;
    const after = query.cursor ?? '';
    const rows =
      query.clientId === null
        ? db.all(
            'SELECT id, body FROM objects WHERE kind = ? AND id > ? ORDER BY id LIMIT ?',
            kind,
            after,
            query.limit + 1,
          )
        : db.all(
            'SELECT id, body FROM objects WHERE kind = ? AND client = ? AND id > ? ORDER BY id LIMIT ?',
            kind,
            query.clientId,
            after,
            query.limit + 1,
          );
    const page = rows.slice(0, query.limit);
    return {
      items: page.map((row) => JSON.parse(String(row['body'])) as ObjectTypes[Kind]),
      next: rows.length > query.limit ? String(page.at(-1)?.['id']) : null,
    };
  }

  /** False: with `create`, one of the ids exists; nothing was written. */
  put(objects: readonly StoredObject[], mode: 'create' | 'replace'): boolean {
    const { db } = this.state;
    if (mode === 'create') {
      for (const { kind, value } of objects) {
        if (db.get('SELECT 1 AS yes FROM objects WHERE kind = ? AND id = ?', kind, value.id) !== undefined)
          return false;
      }
    }
    for (const { kind, value } of objects) {
      const client = kind === 'client' ? value.id : (value as { clientId: string }).clientId;
      db.run(
        'INSERT INTO objects (kind, id, client, body) VALUES (?, ?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET client = excluded.client, body = excluded.body',
        kind,
        value.id,
        client,
        JSON.stringify(value),
      );
    }
    this.changed();
    return true;
  }

  delete(kind: ObjectKind, id: string): boolean {
    const changed = this.state.db.run('DELETE FROM objects WHERE kind = ? AND id = ?', kind, id) === 1;
    if (changed) this.changed();
    return changed;
  }

  private changed(): void {
    this.state.setMeta('revision', this.revision() + 1);
    this.state.users.forgetModes();
    this.state.objectsChanged();
  }

  revision(): number {
    return Number(this.state.meta('revision') ?? 0);
  }

  nextNumber(name: string): number {
    const key = `number:${name}`;
    const next = Number(this.state.meta(key) ?? 0) + 1;
    this.state.setMeta(key, next);
    return next;
  }
}
