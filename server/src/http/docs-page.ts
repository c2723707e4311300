/** The OpenAPI document as one page of plain HTML: no script, nothing fetched from elsewhere. */

interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}
interface Content {
  readonly content?: Readonly<Record<string, { readonly schema?: Schema }>>;
}
interface Operation {
  readonly tags?: readonly string[];
  readonly summary?: string;
  readonly description?: string;
  readonly security?: readonly Readonly<Record<string, unknown>>[];
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly description?: string;
    readonly schema?: Schema;
  }[];
  readonly requestBody?: Content;
  readonly responses?: Readonly<Record<string, Content & { readonly description?: string }>>;
}
export interface OpenapiDocument {
  readonly info: { readonly title: string; readonly version: string; readonly description?: string };
  readonly components?: { readonly securitySchemes?: Readonly<Record<string, SecurityScheme>> };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}
interface SecurityScheme {
  readonly type: string;
  readonly name?: string;
  readonly description?: string;
}

/** Levels of nested fields that are shown; the messaging request has six. */
const DEPTH_MAX = 8;

export const DOCS_STYLE = `
:root { color-scheme: light dark; --line: #8884; --quiet: #5f5f5f; }
@media (prefers-color-scheme: dark) { :root { --quiet: #a9a9a9; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
nav ul { columns: 11rem; list-style: none; padding: 0; }
section > h2 { border-bottom: 1px solid var(--line); margin-top: 3rem; }
h4 { margin: 1.2rem 0 .3rem; }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; }
code { font: .9em ui-monospace, monospace; overflow-wrap: break-word; }
.method { display: inline-block; width: 5rem; font-weight: 700; }
.quiet { color: var(--quiet); font-weight: 400; }
table { border-collapse: collapse; width: 100%; margin: 0 0 1rem; }
td { vertical-align: top; border-top: 1px solid var(--line); padding: .25rem .8rem .25rem 0; }
td:first-child { width: 45%; }
td:nth-child(2) { width: 20%; color: var(--quiet); }
@media (max-width: 44rem) {
  summary code, summary .quiet { display: block; }
  tr, td, td:first-child, td:nth-child(2) { display: block; width: auto; border: 0; padding: 0; }
  tr { border-top: 1px solid var(--line); padding: .25rem 0; }
  td:empty { display: none; }
}
`;

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const escape = (text: string): string => text.replaceAll(/[&<>"']/gu, (character) => ENTITIES[character] ?? '');
/** Long names and paths break where a part begins, not in the middle of a word. */
const code = (text: string): string => `<code>${escape(text).replaceAll(/(?:\.|\/(?=.))/gu, '<wbr>$&')}</code>`;
/** A description as its authors write it: code between backticks. */
const prose = (text: string): string =>
  text
    .split('`')
    .map((part, index) => (index % 2 === 1 ? code(part) : escape(part)))
    .join('');

function typeText(schema: Schema): string {
  if (schema.enum !== undefined) return schema.enum.join(' | ');
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeText).join(' or ');
  const type = Array.isArray(schema.type) ? schema.type.join(' or ') : String(schema.type ?? 'any');
  return type === 'array' && schema.items !== undefined ? `list of ${typeText(schema.items)}` : type;
}

type Row = readonly [name: string, type: string, isRequired: boolean, description: string];

/** Every field with its path, nested ones after their parent. */
function fieldRows(schema: Schema, prefix = '', depth = 0): Row[] {
  if (depth >= DEPTH_MAX) return [];
  const rows = Object.entries(schema.properties ?? {}).flatMap(([name, field]): Row[] => {
    const path = `${prefix}${name}`;
    const isRequired = schema.required?.includes(name) === true;
    const isList = field.items !== undefined;
    const inner = fieldRows(field.items ?? field, `${path}${isList ? '[]' : ''}.`, depth + 1);
    return [[path, typeText(field), isRequired, field.description ?? ''], ...inner];
  });
  const others = (schema.anyOf ?? []).flatMap((one) => fieldRows(one, prefix, depth + 1));
  return [...rows, ...others];
}

function table(rows: readonly Row[]): string {
  if (rows.length === 0) return '';
  const cells = rows.map(
    ([name, type, isRequired, description]) =>
      `<tr><td>${code(name)}${isRequired ? ' *' : ''}</td><td>${escape(type)}</td><td>${prose(description)}</td></tr>`,
  );
  return `<table>${cells.join('')}</table>`;
}

function contentTable(content: Content): string {
  const schema = content.content?.['application/json']?.schema;
  if (schema === undefined) return '';
  const list = schema.items === undefined ? '' : '<p class="quiet">A list of:</p>';
  return list + table(fieldRows(schema.items ?? schema));
}

/** What a caller needs: one of several, or nothing. */
function securityText(security: NonNullable<Operation['security']>): string {
  const ways = security.map((way) => Object.keys(way).map(code).join(' and ') || 'nothing');
  return ways.length === 0 ? '' : `<p class="quiet">Needs: ${ways.join(' or ')}</p>`;
}

function renderOperation(path: string, method: string, operation: Operation): string {
  const parts: string[] = [];
  if (operation.description !== undefined) parts.push(`<p>${prose(operation.description)}</p>`);
  parts.push(securityText(operation.security ?? []));
  const parameters = (operation.parameters ?? []).map((parameter): Row => {
    const { name, required, description, schema } = parameter;
    return [
      name,
      `${typeText(schema ?? {})}, in the ${parameter.in}`,
      required === true,
      description ?? schema?.description ?? '',
    ];
  });
  if (parameters.length > 0) parts.push('<h4>Parameters</h4>', table(parameters));
  if (operation.requestBody !== undefined) parts.push('<h4>Body</h4>', contentTable(operation.requestBody));
  for (const [status, response] of Object.entries(operation.responses ?? {})) {
    const description = response.description === 'Default Response' ? '' : (response.description ?? '');
    parts.push(`<h4>${escape(status)} <span class="quiet">${prose(description)}</span></h4>`, contentTable(response));
  }
  const head = `<span class="method">${escape(method.toUpperCase())}</span> ${code(path)} <span class="quiet">${prose(operation.summary ?? '')}</span>`;
  return `<details><summary>${head}</summary>${parts.join('\n')}</details>`;
}

/** Which header carries what an operation needs. */
function schemesTable(document: OpenapiDocument): string {
  const schemes = Object.entries(document.components?.securitySchemes ?? {});
  if (schemes.length === 0) return '';
  const rows = schemes.map(([name, { type, name: header, description }]): Row => {
    const place = type === 'apiKey' ? `${header ?? name}: …` : 'Authorization: Bearer …';
    return [name, place, false, description ?? ''];
  });
  return `<h2>What a caller needs</h2>${table(rows)}`;
}

/** The whole page. Every text of the document is escaped. */
export function renderDocsPage(document: OpenapiDocument): string {
  const groups = new Map<string, string[]>();
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const [tag = 'other'] = operation.tags ?? [];
      groups.set(tag, [...(groups.get(tag) ?? []), renderOperation(path, method, operation)]);
    }
  }
  const { title, version, description } = document.info;
  const names = [...groups.keys()];
  const links = names.map((name) => `<li><a href="#${escape(name)}">${escape(name)}</a></li>`).join('');
  const sections = names.map(
    (name) => `<section id="${escape(name)}"><h2>${escape(name)}</h2>\n${groups.get(name)?.join('\n') ?? ''}</section>`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)} API</title>
<style>${DOCS_STYLE}</style>
</head>
<body>
<h1>${escape(title)} API <span class="quiet">${escape(version)}</span></h1>
<p>${prose(description ?? '')}</p>
<p>The same as <a href="/openapi.json">OpenAPI 3.1</a>. A star marks what is needed.</p>
<nav><ul>${links}</ul></nav>
${schemesTable(document)}
${sections.join('\n')}
</body>
</html>
`;
}
