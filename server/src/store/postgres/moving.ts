import type { RequestContent, UserKey } from '../../core/ports.ts';
import type { Transaction } from './database.ts';
import type { Entry, Ledger } from './ledger.ts';
import { loadContents, loadWaiting } from './loading.ts';
import type { ThreadBook } from './thread-book.ts';

/** Apps in which a customerid is known by token or profile alone. */
export async function readLinkedApps(
  transaction: Pick<Transaction, 'all'>,
  apps: Iterable<string>,
): Promise<Set<string>> {
  const ids = [...apps];
  if (ids.length === 0) return new Set();
  const rows = await transaction.all(
    "SELECT id FROM objects WHERE kind = 'app' AND id = ANY($1::text[]) AND body::json ->> 'customerid' = 'linked'",
    [ids],
  );
  return new Set(rows.map((row) => String(row['id'])));
}

/** What waits in the logs of users without a userid, and the threads of all of these users. All of them are locked. */
export async function readMoving(
  transaction: Transaction,
  ledger: Ledger,
  threads: ThreadBook,
  users: readonly UserKey[],
): Promise<{ waiting: Map<UserKey, Entry[]>; contents: Map<string, RequestContent> }> {
  const nameless = users.filter((user) => ledger.people.get(user)?.names.userid === null);
  const [entries, links] = await Promise.all([
    loadWaiting(transaction, ledger, nameless),
    transaction.all('SELECT user_id, key, thread, uid FROM user_threads WHERE user_id = ANY($1::bigint[])', [users]),
  ]);
  threads.learnLinks(links);
  const [contents, refs] = await Promise.all([
    loadContents(
      transaction,
      entries.flatMap((entry) => entry.request ?? []),
    ),
    transaction.all('SELECT id, uid, title, type FROM threads WHERE id = ANY($1::bigint[])', [
      [...new Set(entries.map((entry) => entry.thread ?? 0))],
    ]),
  ]);
  threads.learnRefs(refs);
  return { waiting: Map.groupBy(entries, (entry) => entry.user), contents };
}
