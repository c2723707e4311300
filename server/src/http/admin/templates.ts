/** What requests refer to by id: templates and smartlinks. */
import { parseWebUrl } from '@carillon/protocol/url.ts';
import type { Static } from 'typebox';
import type { Smartlink, Template } from '../../core/model.ts';
import { timeText } from './checks.ts';
import { etagOf, findOwner, found, invalid, noteChange, refused } from './context.ts';
import type { AdminDeps, FaultDetail, Routes } from './context.ts';
import { createSmartlink, createTemplate } from './provision.ts';
import { addResource, merged } from './resources.ts';
import type { Resource } from './resources.ts';
import {
  SmartlinkChange,
  SmartlinkCreate,
  SmartlinkView,
  TemplateChange,
  TemplateCreate,
  TemplateView,
} from './schemas.ts';

export function addTemplates(routes: Routes, deps: AdminDeps): void {
  const show = (template: Template): unknown => ({ ...template, createdAt: timeText(template.createdAt) });
  const create = { url: '/templates', summary: 'Makes a template.', body: TemplateCreate, answer: TemplateView };
  routes.add<Static<typeof TemplateCreate>>(
    { ...create, method: 'POST', tag: 'templates', status: 201 },
    async (call) => {
      const owner = await findOwner(deps, call, call.body.clientId);
      if (!owner.ok) return owner.answer;
      const template = await createTemplate(deps, { ...call.body, clientId: owner.value });
      noteChange(deps, call, { action: 'create', kind: 'template', id: template.id });
      return { status: 201, body: show(template), etag: etagOf(template) };
    },
  );

  const resource: Resource<'template'> = {
    kind: 'template',
    path: 'templates',
    noun: 'template',
    view: TemplateView,
    show,
    change: { body: TemplateChange, apply: (template, call) => Promise.resolve(found(merged(template, call.body))) },
    // A request is rendered when it is accepted: nothing waits for a template.
    blocker: () => Promise.resolve(null),
  };
  addResource(routes, deps, resource);
}

/** Where a smartlink leads is opened by people, not called by the server: any http or https address. */
function linkFaults(url: string): FaultDetail[] {
  const parsed = parseWebUrl(url);
  return parsed.ok ? [] : [{ path: '/url', message: parsed.message }];
}

export function addSmartlinks(routes: Routes, deps: AdminDeps): void {
  const show = async (link: Smartlink): Promise<unknown> => ({
    ...link,
    figures: await deps.store.linkFigures(link.id),
    createdAt: timeText(link.createdAt),
  });
  const create = { url: '/smartlinks', summary: 'Makes a smartlink.', body: SmartlinkCreate, answer: SmartlinkView };
  routes.add<Static<typeof SmartlinkCreate>>(
    { ...create, method: 'POST', tag: 'smartlinks', status: 201 },
    async (call) => {
      const owner = await findOwner(deps, call, call.body.clientId);
      if (!owner.ok) return owner.answer;
      const faults = linkFaults(call.body.url);
      if (faults.length > 0) return invalid(faults);
      const link = await createSmartlink(deps, { ...call.body, clientId: owner.value });
      noteChange(deps, call, { action: 'create', kind: 'smartlink', id: link.id });
      return { status: 201, body: await show(link), etag: etagOf(link) };
    },
  );

  const resource: Resource<'smartlink'> = {
    kind: 'smartlink',
    path: 'smartlinks',
    noun: 'smartlink',
    view: SmartlinkView,
    show,
    change: {
      body: SmartlinkChange,
      apply: (link, call) => {
        const changed = merged(link, call.body);
        const faults = linkFaults(changed.url);
        return Promise.resolve(faults.length > 0 ? refused(invalid(faults)) : found(changed));
      },
    },
    // Links already sent hold their own address and go on leading there.
    blocker: () => Promise.resolve(null),
  };
  addResource(routes, deps, resource);
}
