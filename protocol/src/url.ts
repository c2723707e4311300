/** Rules on addresses in requests: which schemes are taken where. */
import { limits } from './limits.ts';

export type UrlResult = { readonly ok: true; readonly url: string } | { readonly ok: false; readonly message: string };

const schemePattern = /^([a-z][a-z0-9+.-]*):/i;
const hostAndPortPattern = /^[^/?#:]+:\d{1,5}(?:[/?#]|$)/;
const forbiddenSchemes = new Set(['javascript', 'data', 'vbscript']);

function hasControlCharacter(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit < 0x20 || unit === 0x7f) {
      return true;
    }
  }
  return false;
}

/** The scheme in small letters; undefined where there is none (`www.bbc.com`, `localhost:8080/x`). */
function schemeOf(text: string): string | undefined {
  const scheme = schemePattern.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined || forbiddenSchemes.has(scheme)) {
    return scheme;
  }
  return hostAndPortPattern.test(text) ? undefined : scheme;
}

/**
 * The forbidden scheme a text starts with, as a browser would read it: leading blanks and control characters anywhere
 * are passed over, because browsers strip them before they look for the scheme.
 */
export function forbiddenScheme(text: string): string | undefined {
  let start = '';
  for (const character of text) {
    const unit = character.charCodeAt(0);
    if (unit > 0x20 && unit !== 0x7f) {
      start += character;
      // The longest forbidden scheme has ten letters.
      if (start.length > 11) {
        break;
      }
    }
  }
  const scheme = schemePattern.exec(start)?.[1]?.toLowerCase();
  return scheme !== undefined && forbiddenSchemes.has(scheme) ? scheme : undefined;
}

function commonFault(text: string): string | undefined {
  if (text.length > limits.urlLengthMax) {
    return `must be at most ${limits.urlLengthMax} characters`;
  }
  const scheme = forbiddenScheme(text);
  if (scheme !== undefined) {
    return `must not be a ${scheme}: address`;
  }
  if (hasControlCharacter(text) || text !== text.trim()) {
    return 'must not have blanks around it nor control characters in it';
  }
  return undefined;
}

/**
 * An http or https address. With `schemeOptional` one without a scheme is read as https, as the page's own example
 * (`www.bbc.com`) asks for action values.
 */
export function parseWebUrl(text: string, options: { readonly schemeOptional?: boolean } = {}): UrlResult {
  const fault = commonFault(text);
  if (fault !== undefined) {
    return { ok: false, message: fault };
  }
  const scheme = schemeOf(text);
  let url = text;
  if (scheme === undefined && options.schemeOptional === true) {
    url = text.startsWith('//') ? `https:${text}` : `https://${text}`;
  } else if (scheme !== 'http' && scheme !== 'https') {
    return { ok: false, message: 'must be an address that starts with http:// or https://' };
  }
  const rest = url.slice(url.indexOf(':') + 1);
  if (!rest.startsWith('//') || rest[2] === '/' || !URL.canParse(url)) {
    return { ok: false, message: 'must be a complete http or https address' };
  }
  return { ok: true, url };
}

/** A deep link: any scheme but the forbidden ones, or a page of the app without one. */
export function parseDeeplink(text: string): UrlResult {
  const fault = commonFault(text);
  return fault === undefined ? { ok: true, url: text } : { ok: false, message: fault };
}
