/** Who uses an app, and the threads of their messages. */
import type { Static } from 'typebox';
import type { App, Profile, Thread } from '../../core/model.ts';
import { isPersonName, timeText } from './checks.ts';
import { conflict, findOwned, invalid, noteChange, notFound, nothing, ok, pageOf } from './context.ts';
import type { AdminDeps, Answer, Call, FaultDetail, Routes } from './context.ts';
import { pageView, PageQuery, ProfilePut, ProfileView, ThreadQuery, ThreadView } from './schemas.ts';

const showProfile = (profile: Profile): unknown => ({ ...profile, createdAt: timeText(profile.createdAt) });

function showThread(thread: Thread): unknown {
  return { ...thread, createdAt: timeText(thread.createdAt), updatedAt: timeText(thread.updatedAt) };
}

type OfApp = (work: (app: App, call: Call) => Promise<Answer>) => (call: Call) => Promise<Answer>;

export function addPeople(routes: Routes, deps: AdminDeps): void {
  const ofApp: OfApp = (work) => async (call) => {
    const app = await findOwned(deps, call, 'app', call.params['id'] ?? '');
    return app === null ? notFound : work(app, call);
  };
  addProfiles(routes, deps, ofApp);
  addProfileChanges(routes, deps, ofApp);
  addThreads(routes, deps, ofApp);
}

const PROFILES = '/apps/:id/profiles';
const PROFILE = `${PROFILES}/:userid`;

function addProfiles(routes: Routes, deps: AdminDeps, ofApp: OfApp): void {
  routes.add(
    {
      method: 'GET',
      url: PROFILES,
      tag: 'profiles',
      summary: 'Lists the users of an app.',
      query: PageQuery,
      answer: pageView(ProfileView),
    },
    ofApp(async (app, call) => {
      const { cursor, limit } = pageOf(call);
      const page = await deps.store.listProfiles(app.id, cursor, limit);
      return ok({ items: page.items.map(showProfile), next: page.next });
    }),
  );
  routes.add(
    { method: 'GET', url: PROFILE, tag: 'profiles', summary: 'Reads a user of an app.', answer: ProfileView },
    ofApp(async (app, call) => {
      const profile = await deps.store.getProfile(app.id, call.params['userid'] ?? '');
      return profile === null ? notFound : ok(showProfile(profile));
    }),
  );
}

function profileFaults(app: App, userid: string, body: Static<typeof ProfilePut>): FaultDetail[] {
  const faults: FaultDetail[] = [];
  const message = 'must be 1 to 256 bytes without control characters';
  if (!isPersonName(userid)) faults.push({ path: '', message: `the userid ${message}` });
  for (const field of ['customerid', 'msisdn'] as const) {
    const value = body[field] ?? null;
    if (value !== null && !isPersonName(value)) faults.push({ path: `/${field}`, message });
  }
  const customerid = body.customerid ?? null;
  if (app.customerid === 'same' && customerid !== null && customerid !== userid) {
    faults.push({
      path: '/customerid',
      message: 'is the userid in this app; only an app made with customerid `linked` has others',
    });
  }
  return faults;
}

function addProfileChanges(routes: Routes, deps: AdminDeps, ofApp: OfApp): void {
  const put = 'Makes a user of an app or replaces what is known of one. Linking a customerid moves what waits for it.';
  routes.add(
    { method: 'PUT', url: PROFILE, tag: 'profiles', summary: put, body: ProfilePut, answer: ProfileView },
    ofApp(async (app, call) => {
      const userid = call.params['userid'] ?? '';
      const body = call.body as Static<typeof ProfilePut>;
      const faults = profileFaults(app, userid, body);
      if (faults.length > 0) return invalid(faults);
      const { customerid = null, msisdn = null } = body;
      const result = await deps.store.putProfile({ appId: app.id, userid, customerid, msisdn }, deps.clock.now());
      if (result.kind === 'taken') return conflict(`Another user of this app has this ${result.field}.`);
      deps.bus.publishUsers(result.entries.map((entry) => ({ user: entry.user, head: entry.n, entry })));
      noteChange(deps, call, { action: 'put', kind: 'profile', id: `${app.id}/${userid}` });
      const profile = await deps.store.getProfile(app.id, userid);
      return profile === null ? notFound : ok(showProfile(profile));
    }),
  );
  const erase = 'Erases a user of an app: profile, messages and devices. Open sessions end.';
  routes.add(
    { method: 'DELETE', url: PROFILE, tag: 'profiles', summary: erase, answer: null },
    ofApp(async (app, call) => {
      const userid = call.params['userid'] ?? '';
      if (!(await deps.store.deleteProfile(app.id, userid, deps.clock.now()))) return notFound;
      deps.bus.publish('erased');
      noteChange(deps, call, { action: 'remove', kind: 'profile', id: `${app.id}/${userid}` });
      return nothing;
    }),
  );
}

function addThreads(routes: Routes, deps: AdminDeps, ofApp: OfApp): void {
  const list = 'Lists the threads of an app, or of one of its users.';
  routes.add(
    {
      method: 'GET',
      url: '/apps/:id/threads',
      tag: 'admin-threads',
      summary: list,
      query: ThreadQuery,
      answer: pageView(ThreadView),
    },
    ofApp(async (app, call) => {
      const { cursor, limit } = pageOf(call);
      const start = cursor === null ? 0 : Number(cursor);
      if (!Number.isSafeInteger(start) || start < 0)
        return invalid([{ path: '/cursor', message: 'is no cursor of this list' }]);
      const { userid } = call.query;
      const user = userid === undefined ? null : await deps.store.findUser(app.id, String(userid));
      if (userid !== undefined && user === null) return ok({ items: [], next: null });
      const { total, threads } = await deps.store.listThreads({ appId: app.id, user, start, limit });
      const end = start + threads.length;
      return ok({ items: threads.map(showThread), next: threads.length > 0 && end < total ? String(end) : null });
    }),
  );
  routes.add(
    {
      method: 'GET',
      url: '/apps/:id/threads/:threadId',
      tag: 'admin-threads',
      summary: 'Reads a thread.',
      answer: ThreadView,
    },
    ofApp(async (app, call) => {
      const thread = await deps.store.getThread(app.id, call.params['threadId'] ?? '');
      return thread === null ? notFound : ok(showThread(thread));
    }),
  );
}
