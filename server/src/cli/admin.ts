/** `admin <kind> <verb>`: what `/admin/v1` does, from the terminal. The flags of `create` and `change` are its schemas. */
import type { Command } from 'commander';
import type { TSchema } from 'typebox';
import {
  AppChange,
  AppCreate,
  ClientChange,
  ClientCreate,
  ProfilePut,
  ServiceChange,
  ServiceCreate,
  SmartlinkChange,
  SmartlinkCreate,
  TemplateChange,
  TemplateCreate,
} from '../http/admin/schemas.ts';
import type { AdminApi, AdminRequest } from './admin-api.ts';
import { addTarget } from './api.ts';
import type { Reply, TargetFlags } from './api.ts';
import type { Finish } from './messages.ts';
import { CommandFailed, EXIT, print, printJson, printResult, say, usageError } from './output.ts';

type Flags = TargetFlags & Readonly<Record<string, unknown>>;

interface Field {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly description?: string;
}

const fieldsOf = (schema: TSchema): [string, Field][] =>
  Object.entries((schema as { properties?: Record<string, Field> }).properties ?? {});
const kebab = (name: string): string => name.replaceAll(/[A-Z]/gu, (letter) => `-${letter.toLowerCase()}`);
/** The flag of a field; `--url` is the server's address in every command. */
const flagNameOf = (field: string): string => (field === 'url' ? 'target' : field);
const typesOf = (field: Field): readonly string[] => (Array.isArray(field.type) ? field.type : [String(field.type)]);

/** One option per field of the schema; lists are given with commas, `null` empties a field that may be empty. */
function addFields(command: Command, schema: TSchema): void {
  for (const [name, field] of fieldsOf(schema)) {
    const words = field.enum === undefined ? 'value' : field.enum.join('|');
    const hint = [field.description, typesOf(field).includes('null') ? 'or null' : ''].filter(Boolean).join('; ');
    command.option(`--${kebab(flagNameOf(name))} <${words}>`, hint);
  }
}

function valueOf(name: string, field: Field, text: string): unknown {
  const types = typesOf(field);
  if (text === 'null' && types.includes('null')) return null;
  if (types.includes('array')) return text === '' ? [] : text.split(',').map((item) => item.trim());
  if (types.includes('integer')) {
    if (!/^-?\d+$/u.test(text)) throw usageError(`--${kebab(flagNameOf(name))} "${text}" is no whole number.`);
    return Number(text);
  }
  if (types.includes('boolean')) {
    if (text !== 'true' && text !== 'false')
      throw usageError(`--${kebab(flagNameOf(name))} "${text}" is neither true nor false.`);
    return text === 'true';
  }
  return text;
}

function bodyOf(schema: TSchema, flags: Flags): Record<string, unknown> {
  const given = fieldsOf(schema).flatMap(([name, field]): [string, unknown][] => {
    const text = flags[flagNameOf(name)];
    return typeof text === 'string' ? [[name, valueOf(name, field, text)]] : [];
  });
  return Object.fromEntries(given);
}

interface ErrorBody {
  readonly error?: { readonly message: string; readonly details?: readonly { path: string; message: string }[] };
}

function check(reply: Reply): unknown {
  if (reply.status < 400) return reply.body;
  const { error } = (reply.body ?? {}) as ErrorBody;
  if (reply.status === 401) throw new CommandFailed('The server does not know this admin token.');
  if (error === undefined) throw new CommandFailed(`The server answered ${reply.status}.`);
  const details = (error.details ?? []).map(({ path, message }) => `${path} ${message}`).join('; ');
  throw new CommandFailed(details === '' ? error.message : `${error.message} ${details}.`);
}

async function openApi(flags: Flags): Promise<AdminApi> {
  const { openAdminApi } = await import('./admin-api.ts');
  return openAdminApi(flags);
}

async function callOnce(flags: Flags, request: AdminRequest): Promise<number> {
  const api = await openApi(flags);
  try {
    const body = check(await api.call(request));
    if (body !== null) printResult(body, flags.json === true);
    else if (flags.json === true) printJson({ ok: true });
    else say('Done.');
    return EXIT.ok;
  } finally {
    await api.close();
  }
}

interface Page {
  readonly items: readonly unknown[];
  readonly next: string | null;
}

/** All pages of a list. */
async function listAll(flags: Flags, path: string): Promise<number> {
  const api = await openApi(flags);
  try {
    const items: unknown[] = [];
    let cursor: string | null = null;
    do {
      const mark = path.includes('?') ? '&' : '?';
      const query = cursor === null ? '' : `${mark}cursor=${encodeURIComponent(cursor)}`;
      const page = check(await api.call({ method: 'GET', path: path + query })) as Page;
      items.push(...page.items);
      cursor = page.next;
    } while (cursor !== null);
    printResult(items, flags.json === true);
    return EXIT.ok;
  } finally {
    await api.close();
  }
}

interface Verb {
  readonly name: string;
  readonly description: string;
  readonly args?: readonly string[];
  readonly method: string;
  /** With `{arg}` for each argument. */
  readonly path: string;
  readonly schema?: TSchema;
  readonly isList?: true;
}

const fill = (path: string, args: readonly string[], names: readonly string[]): string =>
  names.reduce((text, name, index) => text.replace(`{${name}}`, encodeURIComponent(args[index] ?? '')), path);

function addVerb(group: Command, verb: Verb, finish: Finish): void {
  const { name, description, args = [], method, path, schema } = verb;
  const command = addTarget(group.command(name), 'token').description(description);
  for (const arg of args) command.argument(`<${arg}>`);
  if (schema !== undefined) addFields(command, schema);
  command.action(async (...given: unknown[]) => {
    const flags = given[args.length] as Flags;
    const target = fill(path, given.slice(0, args.length) as string[], args);
    if (verb.isList === true) return finish(await listAll(flags, target));
    const body = schema === undefined ? undefined : bodyOf(schema, flags);
    return finish(await callOnce(flags, { method, path: target, ...(body === undefined ? {} : { body }) }));
  });
}

/** list, show, create, change, remove. */
function usualVerbs(path: string, noun: string, schemas: { create?: TSchema; change?: TSchema }): Verb[] {
  const verbs: Verb[] = [
    { name: 'list', description: `list ${path}`, method: 'GET', path: `/${path}`, isList: true },
    { name: 'show', description: `show a ${noun}`, args: ['id'], method: 'GET', path: `/${path}/{id}` },
    { name: 'remove', description: `remove a ${noun}`, args: ['id'], method: 'DELETE', path: `/${path}/{id}` },
  ];
  const { create, change } = schemas;
  if (create !== undefined) {
    verbs.push({ name: 'create', description: `make a ${noun}`, method: 'POST', path: `/${path}`, schema: create });
  }
  if (change !== undefined) {
    const description = `change fields of a ${noun}`;
    verbs.push({ name: 'change', description, args: ['id'], method: 'PATCH', path: `/${path}/{id}`, schema: change });
  }
  return verbs;
}

const post = (name: string, description: string, args: readonly string[], path: string): Verb => ({
  name,
  description,
  args,
  method: 'POST',
  path,
});

const PROFILE = '/apps/{appid}/profiles';
const ONE_PROFILE = `${PROFILE}/{userid}`;
const PERSON = ['appid', 'userid'];

const GROUPS: Readonly<Record<string, readonly Verb[]>> = {
  client: usualVerbs('clients', 'client', { create: ClientCreate, change: ClientChange }),
  service: [
    ...usualVerbs('services', 'service', { create: ServiceCreate, change: ServiceChange }),
    {
      name: 'keys',
      description: 'list the keys',
      args: ['id'],
      method: 'GET',
      path: '/services/{id}/keys',
      isList: true,
    },
    post('add-key', 'make one more key, shown once', ['id'], '/services/{id}/keys'),
    post('revoke-key', 'refuse a key from now on', ['id', 'keyId'], '/services/{id}/keys/{keyId}/revoke'),
    {
      name: 'receipt-secrets',
      description: 'show the secrets that receipts are signed with',
      args: ['id'],
      method: 'GET',
      path: '/services/{id}/receipt-secrets',
    },
    post('rotate-receipt-secret', 'make a new receipt secret', ['id'], '/services/{id}/receipt-secrets/rotate'),
    post('retire-receipt-secret', 'drop all but the newest', ['id'], '/services/{id}/receipt-secrets/retire'),
  ],
  app: [
    ...usualVerbs('apps', 'app', { create: AppCreate, change: AppChange }),
    post('rotate-secret', 'make a new secret, shown once', ['id'], '/apps/{id}/secrets/rotate'),
    post('retire-secret', 'drop all secrets but the newest', ['id'], '/apps/{id}/secrets/retire'),
  ],
  template: usualVerbs('templates', 'template', { create: TemplateCreate, change: TemplateChange }),
  smartlink: usualVerbs('smartlinks', 'smartlink', { create: SmartlinkCreate, change: SmartlinkChange }),
  profile: [
    {
      name: 'list',
      description: 'list the users of an app',
      args: ['appid'],
      method: 'GET',
      path: PROFILE,
      isList: true,
    },
    { name: 'show', description: 'show a user', args: PERSON, method: 'GET', path: ONE_PROFILE },
    {
      name: 'put',
      description: 'make or replace a user',
      args: PERSON,
      method: 'PUT',
      path: ONE_PROFILE,
      schema: ProfilePut,
    },
    {
      name: 'remove',
      description: 'erase a user with all messages',
      args: PERSON,
      method: 'DELETE',
      path: ONE_PROFILE,
    },
  ],
  thread: [
    {
      name: 'list',
      description: 'list the threads of an app',
      args: ['appid'],
      method: 'GET',
      path: '/apps/{appid}/threads',
      isList: true,
    },
  ],
  message: [
    {
      name: 'show',
      description: 'every step of a message',
      args: ['transid'],
      method: 'GET',
      path: '/messages/{transid}',
    },
    {
      name: 'of',
      description: 'the messages of a user, the newest first',
      args: ['appid', 'userid'],
      method: 'GET',
      path: '/messages?appId={appid}&userid={userid}',
      isList: true,
    },
    {
      name: 'find',
      description: 'messages by correlationid, the newest first',
      args: ['correlationid'],
      method: 'GET',
      path: '/messages?correlationid={correlationid}',
      isList: true,
    },
  ],
  receipt: [
    {
      name: 'list',
      description: 'list receipts that were not taken at once',
      method: 'GET',
      path: '/receipts',
      isList: true,
    },
    post('replay', 'send a receipt again', ['id'], '/receipts/{id}/replay'),
  ],
  endpoint: [
    {
      name: 'list',
      description: 'list addresses that answered 410',
      method: 'GET',
      path: '/disabled-endpoints',
      isList: true,
    },
    {
      name: 'enable',
      description: 'send there again',
      args: ['id'],
      method: 'DELETE',
      path: '/disabled-endpoints/{id}',
    },
  ],
};

async function makeToken(flags: Flags & { name: string; clientId?: string }): Promise<number> {
  const { clientId, name, url, token } = flags;
  if (clientId !== undefined || url !== undefined || token !== undefined) {
    const body = { name, ...(clientId === undefined ? {} : { clientId }) };
    return callOnce(flags, { method: 'POST', path: '/tokens', body });
  }
  const { makeTokenHere } = await import('./admin-api.ts');
  const made = await makeTokenHere(flags, name);
  if (flags.json === true) printJson(made);
  else print(made.token);
  return EXIT.ok;
}

function addTokens(admin: Command, finish: Finish): void {
  const group = admin.command('token').description('make, list and remove admin tokens');
  const create = addTarget(group.command('create', { isDefault: true }), 'token');
  create
    .description('make an admin token: on this machine, also while the server runs')
    .option('--name <name>', 'what it is for', 'made on this machine')
    .option('--client-id <id>', 'the client it is bound to (default: the whole installation)')
    .action(async (flags: Flags & { name: string; clientId?: string }) => finish(await makeToken(flags)));
  for (const verb of usualVerbs('tokens', 'token', {})) addVerb(group, verb, finish);
}

/** The commands below `admin`. */
export function addAdminCommands(admin: Command, finish: Finish): void {
  addTokens(admin, finish);
  for (const [name, verbs] of Object.entries(GROUPS)) {
    const group = admin.command(name).description(verbs.map((verb) => verb.name).join(', '));
    for (const verb of verbs) addVerb(group, verb, finish);
  }
}
