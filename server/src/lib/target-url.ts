import { Lru } from './lru.ts';

/** Longest address taken, UTF-16 units. */
const URL_LENGTH_MAX = 8_192;
/** The same few addresses are called again and again: so many results are kept, of texts up to this long. */
const KNOWN_MAX = 2_048;
const KNOWN_LENGTH_MAX = 512;

const known = new Lru<string, TargetUrlResult>(KNOWN_MAX);

export type TargetUrlResult =
  /** Shared with everybody who asks: not to be changed. */
  { readonly ok: true; readonly url: Readonly<URL> } | { readonly ok: false; readonly message: string };

/**
 * Reads an address from outside that the server is asked to call: absolute http or https, a host, any port but 0,
 * no user name or password. Stricter than the WHATWG parser, which would quietly mend `http:127.0.0.1`, a
 * backslash or a line feed inside the host, so that two readers of one text could see two hosts.
 * The address behind the host is not judged here but where the connection is made (contract §3).
 */
export function parseTargetUrl(text: string): TargetUrlResult {
  if (text.length > KNOWN_LENGTH_MAX) return parse(text);
  let result = known.get(text);
  if (result === undefined) {
    result = parse(text);
    known.set(text, result);
  }
  return result;
}

function parse(text: string): TargetUrlResult {
  if (text.length > URL_LENGTH_MAX) return refused(`the URL is longer than ${URL_LENGTH_MAX} characters`);
  if (!/^https?:\/\/[^/?#]/i.test(text)) return refused('the URL must begin with http:// or https:// and a host');
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u0020\u007f\\]/.test(text)) return refused('the URL holds a space, a control character or a backslash');
  const url = URL.parse(text);
  if (url === null) return refused('the URL cannot be parsed');
  if (url.username !== '' || url.password !== '') return refused('the URL must not hold a user name or password');
  if (url.port === '0') return refused('the port must be from 1 to 65535');
  return { ok: true, url };
}

function refused(message: string): TargetUrlResult {
  return { ok: false, message };
}
