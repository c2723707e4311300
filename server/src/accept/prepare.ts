/** From a validated request to what is committed: what it names is looked up, its text rendered, its links found. */
import { limits } from '@carillon/protocol/limits.ts';
import type { FaultDetail, MessagingRequest, Warning } from '@carillon/protocol/messaging.ts';
import type { Directory, KeyHolder } from '../core/directory.ts';
import { findLinkTokens, linkAddress, SLUG_LENGTH } from '../core/links.ts';
import type { Template } from '../core/model.ts';
import type { AcceptDestination, AcceptUnit, LinkUse } from '../core/ports.ts';
import { parseTemplate, renderTemplate } from '../core/template.ts';
import type { ParsedTemplate } from '../core/template.ts';
import type { Refusal } from './answer.ts';
import { blockPointer, smartlinkPointer } from './pointers.ts';

export interface AcceptLimits {
  /** Messages that may wait for one user, and in all; beyond: 503 with 7006. */
  readonly waitingPerUserMax: number;
  readonly waitingTotalMax: number;
}

export interface PrepareContext extends KeyHolder {
  readonly directory: Directory;
  readonly limits: AcceptLimits;
  /** Base of short links, without a slash at its end. */
  readonly publicUrl: string;
  readonly uid: string;
  readonly now: number;
  /** The body as it came, to point at what is wrong. */
  readonly body: Readonly<Record<string, unknown>>;
}

/** All of the unit but what the Idempotency-Key adds. */
export type PreparedUnit = Omit<AcceptUnit, 'idempotency'>;

export type Prepared =
  | { readonly ok: true; readonly unit: PreparedUnit; readonly warnings: readonly Warning[] }
  | { readonly ok: false; readonly refusal: Refusal };

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** Contract §2.4: a message without an expiry of its own or of its service. */
const EXPIRY_DEFAULT_MS = 30 * DAY_MS;
/** What a device gets around the content, without the thread's title: seq, tid, times, thread id. */
const ENVELOPE_BYTES = 400;

function refuse(
  code: Refusal['code'],
  details: readonly FaultDetail[],
): { readonly ok: false; readonly refusal: Refusal } {
  return { ok: false, refusal: { code, details } };
}

// Cut once per template as the directory keeps it; forgotten with it.
const parsedTemplates = new WeakMap<Template, ParsedTemplate>();

function parsedOf(template: Template): ParsedTemplate {
  let parsed = parsedTemplates.get(template);
  if (parsed === undefined) {
    parsed = parseTemplate(template.text);
    parsedTemplates.set(template, parsed);
  }
  return parsed;
}

type Step<Value> = { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly refusal: Refusal };

interface FoundLink {
  readonly linkid: string;
  readonly url: string;
  readonly validityMinutes: number | null;
}

async function findSmartlinks(request: MessagingRequest, context: PrepareContext): Promise<Step<readonly FoundLink[]>> {
  const found: FoundLink[] = [];
  const faults: FaultDetail[] = [];
  for (const { linkid, validityMinutes } of request.smartlinks) {
    const id = String(linkid);
    const link = context.directory.peek('smartlink', id) ?? (await context.directory.smartlink(id));
    if (link === null || link.clientId !== context.client.id) {
      const message = `there is no smartlink ${id}; see the list of smartlinks for the numbers that exist`;
      faults.push({ path: smartlinkPointer(context.body, linkid), message });
    } else {
      found.push({ linkid: id, url: link.url, validityMinutes: validityMinutes ?? link.validityMinutes });
    }
  }
  return faults.length > 0 ? refuse('7004', faults) : { ok: true, value: found };
}

async function findApp(request: MessagingRequest, context: PrepareContext): Promise<Step<string>> {
  const id = request.appid ?? context.service.appId;
  const app = context.directory.peek('app', id) ?? (await context.directory.app(id));
  if (app !== null && app.clientId === context.client.id) return { ok: true, value: id };
  const message =
    request.appid === undefined
      ? 'the service has no app: set one'
      : 'is no app of yours; leave it out for the service\u2019s app';
  return refuse('7104', [{ path: request.appid === undefined ? '' : '/appid', message }]);
}

async function renderText(request: MessagingRequest, context: PrepareContext): Promise<Step<string>> {
  const reference = request.template;
  if (reference === undefined) return { ok: true, value: request.message.text ?? '' };
  const { directory, client, body } = context;
  const template = directory.peek('template', reference.id) ?? (await directory.template(reference.id));
  if (template === null || template.clientId !== client.id) {
    const path = blockPointer(body, ['message', 'template']) ?? '/message/template';
    return refuse('7108', [{ path, message: 'is no template of yours' }]);
  }
  const rendered = renderTemplate(parsedOf(template), reference.parameters, limits.renderedBytesMax);
  if (rendered.ok) return { ok: true, value: rendered.text };
  if (rendered.missing.length === 0) return refuse('7004', [tooLarge()]);
  const path = blockPointer(body, ['message', 'parameters']) ?? '/message/parameters';
  const details = rendered.missing.map((name) => ({
    path,
    message: `must have a value for ${name}, which the template names`,
  }));
  return refuse('7121', details);
}

function tooLarge(): FaultDetail {
  const message = `the message as a device gets it must take at most ${limits.renderedBytesMax} bytes`;
  return { path: '/channels', message };
}

/** What all recipients get alike, as JSON text. */
function contentOf(request: MessagingRequest, text: string): string {
  const { attachment } = request.message;
  const { notification, extras } = request;
  return JSON.stringify({
    message: text,
    media: attachment === undefined ? [] : [attachment],
    ...(notification === undefined ? undefined : { notification }),
    ...(extras === undefined ? undefined : { extras }),
  });
}

interface UsedLinks {
  readonly links: readonly LinkUse[];
  readonly warnings: readonly Warning[];
  /** UTF-8 bytes that the addresses take more than their tokens. */
  readonly growthBytes: number;
}

const NO_LINKS: UsedLinks = { links: [], warnings: [], growthBytes: 0 };

/** The links whose token is somewhere in the content: only these are made. `end`: when a link without validity stops. */
function useLinks(found: readonly FoundLink[], content: string, context: PrepareContext, end: number): UsedLinks {
  const tokens = findLinkTokens(content);
  if (tokens.size === 0 && found.length === 0) return NO_LINKS;
  const links: LinkUse[] = [];
  const warnings: Warning[] = [];
  let growthBytes = 0;
  const addressBytes = Buffer.byteLength(linkAddress(context.publicUrl, '')) + SLUG_LENGTH;
  for (const { linkid, url, validityMinutes } of found) {
    const count = tokens.get(linkid);
    if (count === undefined) {
      const message = `the token {{link_${linkid}}} is nowhere in the message, so no link is made`;
      warnings.push({ path: smartlinkPointer(context.body, Number(linkid)), message });
      continue;
    }
    growthBytes += count * Math.max(0, addressBytes - `{{link_${linkid}}}`.length);
    const expiresAt = validityMinutes === null ? end : context.now + validityMinutes * MINUTE_MS;
    links.push({ linkid, url, expiresAt });
  }
  for (const linkid of tokens.keys()) {
    if (found.some((link) => link.linkid === linkid)) continue;
    const message = `the token {{link_${linkid}}} stays as it is: smartlinks does not name ${linkid}`;
    warnings.push({ path: '/channels', message });
  }
  return { links, warnings, growthBytes };
}

function isTooLarge(request: MessagingRequest, content: string, growthBytes: number): boolean {
  const title = 'title' in request.thread ? request.thread.title : '';
  const spare = limits.renderedBytesMax - ENVELOPE_BYTES - growthBytes;
  // A UTF-16 unit takes at most three bytes: nearly always there is no need to count.
  if ((content.length + title.length) * 3 <= spare) return false;
  return Buffer.byteLength(content) + Buffer.byteLength(JSON.stringify(title)) > spare;
}

function destinationsOf(request: MessagingRequest): AcceptDestination[] {
  return request.destinations.map(({ correlationid, identifiers }) => ({
    correlationid: correlationid ?? null,
    identifiers,
  }));
}

/**
 * Looks up what a validated request names, in the order of the codes (unknown smartlink 7004, 7104, 7108, 7121, and 7004
 * for a message that came out too large), and builds the unit. Rejects only where the store cannot be asked.
 */
export async function prepare(request: MessagingRequest, context: PrepareContext): Promise<Prepared> {
  const { service, client, now } = context;
  const smartlinks = await findSmartlinks(request, context);
  if (!smartlinks.ok) return smartlinks;
  const app = await findApp(request, context);
  if (!app.ok) return app;
  const text = await renderText(request, context);
  if (!text.ok) return text;

  const expiry = request.expiry ?? now + (service.expiryMs ?? EXPIRY_DEFAULT_MS);
  const content = contentOf(request, text.value);
  // As long as the message is kept: a device may show it, and someone tap the link, long after the expiry.
  const keptUntil = Math.max(expiry, now) + client.retentionDays * DAY_MS;
  const used = useLinks(smartlinks.value, content, context, keptUntil);
  if (isTooLarge(request, content, used.growthBytes)) return refuse('7004', [tooLarge()]);
  const unit: PreparedUnit = {
    uid: context.uid,
    clientId: client.id,
    serviceId: service.id,
    appId: app.value,
    acceptedAt: now,
    expiry,
    priority: request.priority ?? client.priority,
    channelWord: request.channelWord,
    notifyUrl: request.notifyUrl ?? null,
    callbackData: request.callbackData ?? null,
    content,
    thread: request.thread,
    links: used.links,
    destinations: destinationsOf(request),
    waitingPerUserMax: context.limits.waitingPerUserMax,
    waitingTotalMax: context.limits.waitingTotalMax,
  };
  return { ok: true, unit, warnings: used.warnings };
}
