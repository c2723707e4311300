import type { ThreadType } from '../../core/model.ts';
import type { UserKey } from '../../core/ports.ts';
import type { ThreadRef } from '../rows.ts';
import type { Row } from './database.ts';

export interface NewThread extends ThreadRef {
  readonly app: string;
  readonly service: string;
  readonly now: number;
}

interface Link {
  readonly thread: number;
  readonly uid: string;
}

/** The name of a user's own open thread in `user_threads`. */
export function ownKey(type: ThreadType, title: string): string {
  return `${type === 'Conversation' ? 'C' : 'A'}:${title}`;
}

/** The threads that one transaction works with: what it read of them, and what it makes. */
export class ThreadBook {
  /** `<app> <uid>` → an open thread. */
  private readonly open = new Map<string, ThreadRef>();
  private readonly refs = new Map<number, ThreadRef>();
  private readonly links = new Map<UserKey, Map<string, Link>>();
  readonly newThreads: NewThread[] = [];
  readonly newLinks: { readonly user: UserKey; readonly key: string; readonly thread: number; readonly uid: string }[] =
    [];

  /** Columns id, uid, title, type, app: threads that are open. */
  learnOpen(rows: readonly Row[]): void {
    for (const row of rows) {
      const ref = refOf(row);
      this.open.set(`${String(row['app'])} ${ref.id}`, ref);
      this.refs.set(ref.key, ref);
    }
  }

  learnRefs(rows: readonly Row[]): void {
    for (const row of rows) this.refs.set(Number(row['id']), refOf(row));
  }

  /** Columns user_id, key, thread, uid. */
  learnLinks(rows: readonly Row[]): void {
    for (const row of rows) {
      const link = { thread: Number(row['thread']), uid: String(row['uid']) };
      this.linksOf(Number(row['user_id'])).set(String(row['key']), link);
    }
  }

  linksOf(user: UserKey): Map<string, Link> {
    const known = this.links.get(user);
    if (known !== undefined) return known;
    const made = new Map<string, Link>();
    this.links.set(user, made);
    return made;
  }

  ref(key: number): ThreadRef {
    const ref = this.refs.get(key);
    if (ref === undefined) throw new Error(`the log names thread ${key}, which is not there`);
    return ref;
  }

  openById(app: string, uid: string): ThreadRef | null {
    return this.open.get(`${app} ${uid}`) ?? null;
  }

  /** From then on it is in the user's list and the user may reply on it. */
  link(user: UserKey, thread: { readonly key: number; readonly id: string }): void {
    const links = this.linksOf(user);
    for (const link of links.values()) if (link.thread === thread.key) return;
    this.addLink(user, `#${thread.key}`, { thread: thread.key, uid: thread.id });
  }

  private addLink(user: UserKey, key: string, link: Link): void {
    this.linksOf(user).set(key, link);
    this.newLinks.push({ user, key, ...link });
  }

  /** The recipient's own open thread of that type and title, made where there is none. */
  own(
    user: UserKey,
    wanted: { type: ThreadType; title: string; app: string; service: string; now: number },
    make: () => { key: number; id: string },
  ): ThreadRef {
    const { type, title, app, service, now } = wanted;
    const key = ownKey(type, title);
    const link = this.linksOf(user).get(key);
    // The key of an own thread follows its title, so nothing more need be read.
    if (link !== undefined) return { key: link.thread, id: link.uid, title, type };
    const thread: NewThread = { ...make(), type, title, app, service, now };
    this.newThreads.push(thread);
    this.refs.set(thread.key, thread);
    this.addLink(user, key, { thread: thread.key, uid: thread.id });
    return thread;
  }

  /** What one user is linked to, the other one is from now on, too. */
  copyLinks(from: UserKey, to: UserKey): void {
    const target = this.linksOf(to);
    for (const [key, link] of this.linksOf(from)) {
      if (!target.has(key)) this.addLink(to, key, link);
      // An own thread whose title the user has already keeps being linked, under its number.
      else this.link(to, { key: link.thread, id: link.uid });
    }
  }
}

function refOf(row: Row): ThreadRef {
  return {
    key: Number(row['id']),
    id: String(row['uid']),
    title: String(row['title']),
    type: row['type'] as ThreadType,
  };
}
