/**
 * Templates: text with `${name}` where a parameter goes. One literal pass: a value is put in as it is and never looked
 * at again, so nothing in it can execute, loop or reach another parameter (docs/api.md, templates).
 */

/** A template cut at its parameters: `texts[i]`, then the value of `names[i]`, and so on; one text more than names. */
export interface ParsedTemplate {
  readonly texts: readonly string[];
  readonly names: readonly string[];
}

export type RenderResult =
  | { readonly ok: true; readonly text: string }
  /** Names the template asks for and nobody gave, each once. */
  | { readonly ok: false; readonly missing: readonly string[] };

/** Anything between `${` and the next `}` that is not itself a brace or a dollar; blanks around it do not count. */
const PARAMETER = /\$\{([^${}]+)\}/g;

/** Cuts a template once, so that it can be rendered many times. Takes any text; `${}` and a lone `${` are literal. */
export function parseTemplate(text: string): ParsedTemplate {
  const texts: string[] = [];
  const names: string[] = [];
  let end = 0;
  for (const match of text.matchAll(PARAMETER)) {
    const name = (match[1] ?? '').trim();
    if (name === '') continue;
    texts.push(text.slice(end, match.index));
    names.push(name);
    end = match.index + match[0].length;
  }
  texts.push(text.slice(end));
  return { texts, names };
}

/** Puts the values in. Own properties alone count, so `${constructor}` finds nothing that was not given. */
export function renderTemplate(template: ParsedTemplate, parameters: Readonly<Record<string, string>>): RenderResult {
  const missing = new Set<string>();
  let text = template.texts[0] ?? '';
  for (const [index, name] of template.names.entries()) {
    if (Object.hasOwn(parameters, name)) text += parameters[name] + (template.texts[index + 1] ?? '');
    else missing.add(name);
  }
  return missing.size === 0 ? { ok: true, text } : { ok: false, missing: [...missing] };
}
