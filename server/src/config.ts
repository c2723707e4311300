/**
 * Every option of the server, in one table: the types, the environment names, the flags, `--help`, docs/config.md and the
 * start-up log all come from it. Source: contract §1.
 */
import path from 'node:path';
import { EMPTY_ALLOW_LIST, parseAllowList } from './lib/address-filter.ts';
import type { AllowList } from './lib/address-filter.ts';
import { parseTargetUrl } from './lib/target-url.ts';

export interface ListenAddress {
  /** Without brackets. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

export type Role = 'api' | 'gateway' | 'worker';
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

type Parsed<Value> = { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly message: string };

/** What a flag or the environment gave: one text, several (a repeatable flag), or a bare flag. */
type Given = string | readonly string[] | boolean | undefined;

export interface Option<Value> {
  /** What stands for the value in `--help`; null: a flag without a value. */
  readonly placeholder: string | null;
  readonly description: string;
  /** The default as people read it. */
  readonly defaultText: string;
  readonly defaultValue: Value;
  /** May be given several times, and as a comma-separated list. */
  readonly isRepeatable?: true;
  /** Never shown, in no log and no answer. */
  readonly isSecret?: true;
  /** The message says what is wrong with the text and what would be right. */
  readonly parse: (text: string) => Parsed<Value>;
}

const right = <Value>(value: Value): Parsed<Value> => ({ ok: true, value });
const wrong = (message: string): { readonly ok: false; readonly message: string } => ({ ok: false, message });

const PORT_MAX = 65_535;

function parseListen(text: string): Parsed<ListenAddress> {
  const match = /^(?:\[(?<six>[0-9a-f:.]+)\]|(?<host>[^:\s/]+)):(?<port>\d{1,5})$/iu.exec(text);
  const host = match?.groups?.['six'] ?? match?.groups?.['host'];
  const port = Number(match?.groups?.['port']);
  if (host === undefined || port > PORT_MAX) {
    return wrong('is not an address to listen on: write host:port, like 127.0.0.1:8080, [::1]:8080, or 0.0.0.0:0');
  }
  return right({ host, port });
}

function parseCount(range: { readonly min: number; readonly max: number }): (text: string) => Parsed<number> {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/u.test(text) && value >= range.min && value <= range.max) return right(value);
    return wrong(`is not a whole number from ${range.min} to ${range.max}`);
  };
}

function parseFlag(text: string): Parsed<boolean> {
  if (['1', 'true', 'yes', 'on'].includes(text.toLowerCase())) return right(true);
  if (['0', 'false', 'no', 'off'].includes(text.toLowerCase())) return right(false);
  return wrong('is neither true nor false');
}

const listOf = (text: string): string[] =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');

function parseRanges(text: string): Parsed<readonly string[]> {
  const entries = listOf(text);
  const parsed = parseAllowList(entries);
  return parsed.ok ? right(entries) : wrong(`is no list of address ranges: ${parsed.message}`);
}

const ROLES: readonly Role[] = ['api', 'gateway', 'worker'];

function parseRoles(text: string): Parsed<readonly Role[]> {
  const names = listOf(text);
  if (names.length === 0 || names.some((name) => !ROLES.includes(name as Role))) {
    return wrong(`is no list of roles: write some of ${ROLES.join(', ')} with commas between`);
  }
  return right(ROLES.filter((role) => names.includes(role)));
}

function parseBaseUrl(text: string): Parsed<string | null> {
  const parsed = parseTargetUrl(text);
  if (!parsed.ok) return wrong(`is no base address: ${parsed.message}; right would be https://msg.example.com`);
  if (parsed.url.search !== '' || parsed.url.hash !== '') return wrong('must hold neither ? nor #');
  return right(parsed.url.href.replace(/\/+$/u, ''));
}

const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent'];

function parseLogLevel(text: string): Parsed<LogLevel> {
  const level = LOG_LEVELS.find((known) => known === text.toLowerCase());
  return level === undefined ? wrong(`is no log level: write one of ${LOG_LEVELS.join(', ')}`) : right(level);
}

const TOKEN_LENGTH_MIN = 16;

function parseToken(text: string): Parsed<string | null> {
  if (/^[\x21-\x7e]+$/u.test(text) && text.length >= TOKEN_LENGTH_MIN) return right(text);
  return wrong(`must be at least ${TOKEN_LENGTH_MIN} visible ASCII characters`);
}

const parsePath = (text: string): Parsed<string | null> => right(path.resolve(text));

/** The host may be left out: libpq's `?host=/folder` names that of a socket. */
const DATABASE_URL = /^postgres(?:ql)?:\/\/[^\s/?#]*\/(?<name>[^\s/?#]*)/u;

function parseDatabase(text: string): Parsed<string | null> {
  const example = 'right would be postgres://user:password@host:5432/name';
  const match = DATABASE_URL.exec(text);
  if (match === null) return wrong(`is no address of a PostgreSQL database: ${example}`);
  return match.groups?.['name'] === '' ? wrong(`names no database: ${example}`) : right(text);
}

const NATS_ADDRESS = /^(?:nats|tls):\/\/\S+$/u;

function parseNats(text: string): Parsed<string | null> {
  const servers = listOf(text);
  if (servers.length > 0 && servers.every((server) => NATS_ADDRESS.test(server))) return right(servers.join(','));
  return wrong('is no address of NATS: write nats://user:password@host:4222 or tls://…, several with commas between');
}

const NODE_NAME = /^[\w.-]{1,64}$/u;

function parseNodeName(text: string): Parsed<string | null> {
  return NODE_NAME.test(text) ? right(text) : wrong('is no node name: 1 to 64 letters, digits, dots, - and _');
}

function option<Value>(definition: Option<Value>): Option<Value> {
  return definition;
}

const WAITING_PER_USER_DEFAULT = 100_000;
const WAITING_TOTAL_DEFAULT = 10_000_000;
const RETENTION_DAYS_DEFAULT = 30;

/** The table. A key in camel case is the flag in kebab case and the environment name in capitals after `CARILLON_`. */
export const OPTIONS = {
  http: option<ListenAddress>({
    placeholder: 'host:port',
    description: 'Where the HTTP API, the device API and MQTT over WebSocket listen. Port 0: any free one.',
    defaultText: '127.0.0.1:8080',
    defaultValue: { host: '127.0.0.1', port: 8080 },
    parse: parseListen,
  }),
  mqtt: option<ListenAddress | null>({
    placeholder: 'host:port|off',
    description: 'Where MQTT over TCP listens, or `off`. Port 0: any free one.',
    defaultText: '127.0.0.1:1883',
    defaultValue: { host: '127.0.0.1', port: 1883 },
    parse: (text) => (text.toLowerCase() === 'off' ? right(null) : parseListen(text)),
  }),
  data: option<string>({
    placeholder: 'folder',
    description: 'The data folder: the database, and in demo mode `demo.json`. Made where it is missing.',
    defaultText: './data',
    defaultValue: path.resolve('data'),
    parse: (text) => right(path.resolve(text)),
  }),
  database: option<string | null>({
    placeholder: 'url',
    description:
      'A PostgreSQL database (15 or newer) that several processes share: `postgres://user:password@host:5432/name`. Better given by the environment.',
    defaultText: 'SQLite in the data folder',
    defaultValue: null,
    isSecret: true,
    parse: parseDatabase,
  }),
  nats: option<string | null>({
    placeholder: 'url',
    description:
      'NATS, by which processes on one database wake each other: `nats://…` or `tls://…`, several with commas between. Without it they look every second. Needs `--database`.',
    defaultText: 'in process',
    defaultValue: null,
    isSecret: true,
    parse: parseNats,
  }),
  node: option<string | null>({
    placeholder: 'name',
    description:
      'Name of this process among those on one database: unique, and the same at its next start, which then goes on where it stopped.',
    defaultText: 'host name and HTTP port',
    defaultValue: null,
    parse: parseNodeName,
  }),
  roles: option<readonly Role[]>({
    placeholder: 'list',
    description:
      'What this process does: `api` takes calls, `gateway` serves devices, `worker` sends receipts and ends what expired. Less than all three needs `--database`.',
    defaultText: 'api,gateway,worker',
    defaultValue: ROLES,
    parse: parseRoles,
  }),
  tlsCert: option<string | null>({
    placeholder: 'file',
    description: 'Certificate chain in PEM, for both ports; read again when it changes. Needs `--tls-key`.',
    defaultText: 'no TLS',
    defaultValue: null,
    parse: parsePath,
  }),
  tlsKey: option<string | null>({
    placeholder: 'file',
    description: 'Private key in PEM that belongs to `--tls-cert`.',
    defaultText: 'no TLS',
    defaultValue: null,
    parse: parsePath,
  }),
  publicUrl: option<string | null>({
    placeholder: 'url',
    description: 'The address by which the outside reaches this server; short links begin with it.',
    defaultText: 'the HTTP address',
    defaultValue: null,
    parse: parseBaseUrl,
  }),
  trustedProxy: option<readonly string[]>({
    placeholder: 'cidr',
    description: 'Proxies whose `X-Forwarded-…` headers are believed.',
    defaultText: 'none',
    defaultValue: [],
    isRepeatable: true,
    parse: parseRanges,
  }),
  allowPrivate: option<readonly string[]>({
    placeholder: 'cidr',
    description:
      'Ranges that notify, inbound and key-set URLs may reach although they are loopback, private or link-local. `--demo` adds 127.0.0.0/8 and ::1.',
    defaultText: 'none',
    defaultValue: [],
    isRepeatable: true,
    parse: parseRanges,
  }),
  demo: option<boolean>({
    placeholder: null,
    description: 'Make everything needed to send a first message, and write it to `demo.json` in the data folder.',
    defaultText: 'off',
    defaultValue: false,
    parse: parseFlag,
  }),
  metricsToken: option<string | null>({
    placeholder: 'token',
    description: 'Bearer token for `GET /metrics` from elsewhere than this machine. Better given by the environment.',
    defaultText: 'loopback only',
    defaultValue: null,
    isSecret: true,
    parse: parseToken,
  }),
  waitingPerUserMax: option<number>({
    placeholder: 'count',
    description: 'Messages that may wait for one user; beyond, requests are refused with code 7006.',
    defaultText: '100000',
    defaultValue: WAITING_PER_USER_DEFAULT,
    parse: parseCount({ min: 1, max: 100_000_000 }),
  }),
  waitingTotalMax: option<number>({
    placeholder: 'count',
    description: 'Messages that may wait in all; beyond, requests are refused with code 7006.',
    defaultText: '10000000',
    defaultValue: WAITING_TOTAL_DEFAULT,
    parse: parseCount({ min: 1, max: 10_000_000_000 }),
  }),
  logLevel: option<LogLevel>({
    placeholder: 'level',
    description: 'debug, info, warn, error or silent. Logs go to stderr, one JSON object a line.',
    defaultText: 'info',
    defaultValue: 'info',
    parse: parseLogLevel,
  }),
  retentionDays: option<number>({
    placeholder: 'days',
    description: 'How long a new client’s messages are kept after their end; each client can be set differently.',
    defaultText: '30',
    defaultValue: RETENTION_DAYS_DEFAULT,
    parse: parseCount({ min: 1, max: 3_650 }),
  }),
} as const;

export type OptionName = keyof typeof OPTIONS;

export type Config = {
  readonly [Name in OptionName]: (typeof OPTIONS)[Name] extends Option<infer Value> ? Value : never;
};

export type ConfigResult =
  | { readonly ok: true; readonly config: Config; readonly warnings: readonly string[] }
  /**
   * Every fault found, each a sentence that names the option, the value and what would be right; `known`: the options
   * that can be read, for whoever looks for more.
   */
  | {
      readonly ok: false;
      readonly faults: readonly string[];
      readonly known: Partial<Config>;
      readonly warnings: readonly string[];
    };

export const OPTION_NAMES = Object.keys(OPTIONS) as OptionName[];

const kebab = (name: string): string => name.replaceAll(/[A-Z]/gu, (letter) => `-${letter.toLowerCase()}`);

/** `tlsCert` → `--tls-cert`. */
export const flagOf = (name: OptionName): string => `--${kebab(name)}`;

/** `tlsCert` → `CARILLON_TLS_CERT`. */
export const environmentNameOf = (name: OptionName): string =>
  `CARILLON_${kebab(name).replaceAll('-', '_').toUpperCase()}`;

/** Read by the commands that call a running server, not by the server itself. */
export const CLIENT_ENVIRONMENT_NAMES = ['CARILLON_URL', 'CARILLON_KEY', 'CARILLON_TOKEN'] as const;

/** Flags win over the environment; an empty environment variable counts as not given. */
function readGiven(
  name: OptionName,
  flag: Given,
  environment: string | undefined,
): { text: string; from: string } | null {
  if (flag !== undefined) return { text: Array.isArray(flag) ? flag.join(',') : String(flag), from: flagOf(name) };
  if (environment === undefined || environment === '') return null;
  return { text: environment, from: environmentNameOf(name) };
}

/** Faults between options that are right each by itself; one that is not there to compare has a fault of its own. */
function crossFaults(config: Partial<Config>): string[] {
  const faults: string[] = [];
  const { tlsCert, tlsKey } = config;
  if (tlsCert !== undefined && tlsKey !== undefined && (tlsCert === null) !== (tlsKey === null)) {
    const [has, lacks] = tlsCert === null ? ['--tls-key', '--tls-cert'] : ['--tls-cert', '--tls-key'];
    faults.push(`${has} is given without ${lacks}: TLS needs both, or neither.`);
  }
  const { http, mqtt } = config;
  if (http && mqtt && http.port !== 0 && http.port === mqtt.port && http.host === mqtt.host) {
    faults.push(`--http and --mqtt are the same address ${formatAddress(http)}: give them different ports.`);
  }
  const { database, nats, roles } = config;
  if (database === null && nats)
    faults.push('--nats is given without --database: processes that share nothing have nothing to tell.');
  if (database === null && roles !== undefined && roles.length < ROLES.length) {
    const missing = ROLES.filter((role) => !roles.includes(role)).join(', ');
    faults.push(
      `--roles leaves out ${missing}: nobody else can do it on a data folder. Give all three, or --database.`,
    );
  }
  return faults;
}

const isLoopback = (host: string): boolean => /^(?:127\.\d+\.\d+\.\d+|::1|localhost)$/iu.test(host);

/** What an operator may not have meant. */
function warningsOf(config: Partial<Config>, environment: NodeJS.ProcessEnv): string[] {
  const warnings: string[] = [];
  const known = new Set<string>([...OPTION_NAMES.map(environmentNameOf), ...CLIENT_ENVIRONMENT_NAMES]);
  for (const name of Object.keys(environment)) {
    if (name.startsWith('CARILLON_') && !known.has(name)) warnings.push(`${name} is no option and was ignored.`);
  }
  for (const name of ['http', 'mqtt'] as const) {
    const address = config[name];
    if (!address || isLoopback(address.host) || config.tlsCert !== null) continue;
    warnings.push(`${flagOf(name)} listens on ${address.host} without TLS: only safe behind a proxy that ends TLS.`);
  }
  if (config.demo === true && config.http !== undefined && !isLoopback(config.http.host)) {
    warnings.push(`--demo opens loopback addresses to notify URLs and is reachable from outside this machine.`);
  }
  return warnings;
}

/**
 * Reads flags (by option name, as commander gives them) and environment into a configuration, or says everything that is
 * wrong with them. No I/O: whether files are there is `check-config`'s question.
 */
export function loadConfig(flags: Readonly<Record<string, Given>>, environment: NodeJS.ProcessEnv): ConfigResult {
  const values: Record<string, unknown> = {};
  const faults: string[] = [];
  for (const name of OPTION_NAMES) {
    const definition: Option<unknown> = OPTIONS[name];
    const given = readGiven(name, flags[name], environment[environmentNameOf(name)]);
    const parsed = given === null ? right(definition.defaultValue) : definition.parse(given.text);
    if (parsed.ok) values[name] = parsed.value;
    else faults.push(`${given?.from}${definition.isSecret ? '' : ` "${given?.text}"`} ${parsed.message}.`);
  }
  const known = values as Partial<Config>;
  faults.push(...crossFaults(known));
  const warnings = warningsOf(known, environment);
  return faults.length > 0 ? { ok: false, faults, known, warnings } : { ok: true, config: known as Config, warnings };
}

const DEMO_RANGES = ['127.0.0.0/8', '::1/128'];

/** The ranges that outgoing requests may reach although they are not public. */
export function allowListOf(config: Pick<Config, 'allowPrivate' | 'demo'>): AllowList {
  const parsed = parseAllowList([...config.allowPrivate, ...(config.demo ? DEMO_RANGES : [])]);
  return parsed.ok ? parsed.allowList : EMPTY_ALLOW_LIST;
}

/** `host:port`, with brackets around an IPv6 address. */
export function formatAddress(address: ListenAddress): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** The configuration for the start-up log: secrets only as whether they are set. */
export function describeConfig(config: Partial<Config>): Record<string, unknown> {
  const described: Record<string, unknown> = {};
  for (const name of OPTION_NAMES) {
    const definition: Option<unknown> = OPTIONS[name];
    const value = config[name];
    if (value === undefined) continue;
    if (definition.isSecret) described[`${name}Configured`] = value !== null;
    else if (name === 'http' || name === 'mqtt') described[name] = config[name] ? formatAddress(config[name]) : 'off';
    else described[name] = value;
  }
  return described;
}

/** docs/config.md, whole. */
export function renderConfigDocs(): string {
  const rows = OPTION_NAMES.map((name) => {
    const definition: Option<unknown> = OPTIONS[name];
    const value = definition.placeholder === null ? '' : ` <${definition.placeholder.replace('|', '\\|')}>`;
    const again = definition.isRepeatable ? ' May be given several times, or as a list with commas.' : '';
    return `| \`${flagOf(name)}${value}\` | \`${environmentNameOf(name)}\` | ${definition.defaultText} | ${definition.description}${again} |`;
  });
  return `# Options of \`carillon serve\`

Written by \`npm run docs\` from the table in \`server/src/config.ts\`. A flag wins over the environment; an empty environment
variable counts as not given. \`carillon check-config\` takes the same options and says what is wrong with them without
starting anything.

| flag | environment | default | |
|---|---|---|---|
${rows.join('\n')}

The commands that call a running server (\`send\`, \`status\`, \`admin\` …) read \`CARILLON_URL\` (its address), \`CARILLON_KEY\`
(a service key) and \`CARILLON_TOKEN\` (an admin token) where no flag is given, and \`demo.json\` in the data folder after that.
`;
}
