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
  /** `missing`: names the template asks for and nobody gave, each once; empty: the text would be too long. */
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

/**
 * Puts the values in. Own properties alone count, so `${constructor}` finds nothing that was not given. Stops as soon as
 * the text has more than `lengthMax` UTF-16 units: a large value named a thousand times must not fill the memory.
 */
export function renderTemplate(
  template: ParsedTemplate,
  parameters: Readonly<Record<string, string>>,
  lengthMax: number,
): RenderResult {
  const missing = template.names.filter((name) => !Object.hasOwn(parameters, name));
  if (missing.length > 0) return { ok: false, missing: [...new Set(missing)] };
  let text = template.texts[0] ?? '';
  for (const [index, name] of template.names.entries()) {
    if (text.length > lengthMax) break;
    text += `${parameters[name]}${template.texts[index + 1] ?? ''}`;
  }
  return text.length > lengthMax ? { ok: false, missing: [] } : { ok: true, text };
}
