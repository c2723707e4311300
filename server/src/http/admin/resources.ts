/** List, read, change and remove, alike for every kind of object that has an id of its own. */
import type { TSchema } from 'typebox';
import type { ObjectKind, Objects } from '../../core/model.ts';
import type { StoredObject } from '../../core/ports.ts';
import {
  conflict,
  etagOf,
  findOwned,
  listScope,
  noteChange,
  notFound,
  nothing,
  ok,
  pageOf,
  staleAnswer,
} from './context.ts';
import type { AdminDeps, Answer, Call, Found, Routes } from './context.ts';
import { removeObject, replaceObjects } from './provision.ts';
import { ListQuery, pageView } from './schemas.ts';

export interface Resource<Kind extends ObjectKind> {
  readonly kind: Kind;
  /** Last part of the path, in the plural. */
  readonly path: string;
  readonly noun: string;
  readonly view: TSchema;
  readonly show: (object: Objects[Kind]) => unknown;
  /** Absent: it cannot be changed. */
  readonly change?: {
    readonly body: TSchema;
    readonly apply: (object: Objects[Kind], call: Call) => Promise<Found<Objects[Kind]>>;
  };
  /** Absent: it cannot be removed here. The sentence says why it cannot be removed now. */
  readonly blocker?: (object: Objects[Kind], call: Call) => Promise<string | null>;
  /** What goes with it. */
  readonly beforeRemoval?: (object: Objects[Kind]) => Promise<void>;
}

/** An answer that shows an object and its revision. */
export async function shown<Kind extends ObjectKind>(
  resource: Pick<Resource<Kind>, 'show'>,
  object: Objects[Kind],
): Promise<Answer> {
  return { ...ok(await resource.show(object)), etag: etagOf(object) };
}

function addReading<Kind extends ObjectKind>(routes: Routes, deps: AdminDeps, resource: Resource<Kind>): void {
  const { kind, path, noun, view } = resource;
  const list = { url: `/${path}`, summary: `Lists ${path}.`, query: ListQuery, answer: pageView(view) };
  routes.add({ ...list, method: 'GET', tag: path }, async (call) => {
    const scope = await listScope(deps, call);
    if (!scope.ok) return scope.answer;
    const page = await deps.store.listObjects(kind, { clientId: scope.value, ...pageOf(call) });
    return ok({ items: await Promise.all(page.items.map((object) => resource.show(object))), next: page.next });
  });
  const read = { url: `/${path}/:id`, summary: `Reads a ${noun}.`, answer: view };
  routes.add({ ...read, method: 'GET', tag: path }, async (call) => {
    const object = await findOwned(deps, call, kind, call.params['id'] ?? '');
    return object === null ? notFound : shown(resource, object);
  });
}

function addChanging<Kind extends ObjectKind>(routes: Routes, deps: AdminDeps, resource: Resource<Kind>): void {
  const { change, kind, path, noun, view } = resource;
  if (change === undefined) return;
  const options = {
    url: `/${path}/:id`,
    summary: `Changes a ${noun}: the fields given.`,
    body: change.body,
    answer: view,
  };
  routes.add({ ...options, method: 'PATCH', tag: path }, async (call) => {
    const object = await findOwned(deps, call, kind, call.params['id'] ?? '');
    if (object === null) return notFound;
    const stale = staleAnswer(call, object);
    if (stale !== null) return stale;
    const changed = await change.apply(object, call);
    if (!changed.ok) return changed.answer;
    await replaceObjects(deps, { kind, value: changed.value } as StoredObject);
    noteChange(deps, call, { action: 'change', kind, id: object.id });
    return shown(resource, changed.value);
  });
}

function addRemoving<Kind extends ObjectKind>(routes: Routes, deps: AdminDeps, resource: Resource<Kind>): void {
  const { blocker, kind, path, noun } = resource;
  if (blocker === undefined) return;
  const options = { url: `/${path}/:id`, summary: `Removes a ${noun}.`, answer: null };
  routes.add({ ...options, method: 'DELETE', tag: path }, async (call) => {
    const object = await findOwned(deps, call, kind, call.params['id'] ?? '');
    if (object === null) return notFound;
    const stale = staleAnswer(call, object);
    if (stale !== null) return stale;
    const reason = await blocker(object, call);
    if (reason !== null) return conflict(reason);
    await resource.beforeRemoval?.(object);
    await removeObject(deps, kind, object.id);
    noteChange(deps, call, { action: 'remove', kind, id: object.id });
    return nothing;
  });
}

/** Registers what the resource allows of `GET /x`, `GET|PATCH|DELETE /x/:id`. */
export function addResource<Kind extends ObjectKind>(routes: Routes, deps: AdminDeps, resource: Resource<Kind>): void {
  addReading(routes, deps, resource);
  addChanging(routes, deps, resource);
  addRemoving(routes, deps, resource);
}

/** The object with the fields given; `undefined` cannot come out of JSON. */
export function merged<Value extends object>(object: Value, fields: unknown): Value {
  return { ...object, ...(fields as Partial<Value>) };
}
