/**
 * Names of users in topics: `<appid>/<userid>`, the userid percent-encoded where it holds `/ + # %` or control
 * characters (contract §4), so that one user has one topic of two levels.
 */

function mustBeEncoded(unit: number): boolean {
  const isControl = unit < 0x20 || (unit >= 0x7f && unit < 0xa0);
  return isControl || unit === 0x2f || unit === 0x2b || unit === 0x23 || unit === 0x25;
}

/** A userid as it stands in a topic. */
export function encodeUserid(userid: string): string {
  let encoded = '';
  for (let index = 0; index < userid.length; index += 1) {
    const character = userid.charAt(index);
    encoded += mustBeEncoded(userid.charCodeAt(index)) ? encodeURIComponent(character) : character;
  }
  return encoded;
}

/** The userid a topic level stands for; null: it holds what must be encoded, or percent signs that encode nothing. */
export function decodeUserid(level: string): string | null {
  for (let index = 0; index < level.length; index += 1) {
    const unit = level.charCodeAt(index);
    if (unit !== 0x25 && mustBeEncoded(unit)) return null;
  }
  if (!level.includes('%')) return level;
  try {
    return decodeURIComponent(level);
  } catch {
    return null;
  }
}

/** The topic that messages for a user go to. */
export function userTopic(appId: string, userid: string): string {
  return `${appId}/${encodeUserid(userid)}`;
}

/** Whether a topic or a user name is this user's own; percent encoding beyond what is needed is taken too. */
export function isUserTopic(topic: string, user: { readonly appId: string; readonly userid: string }): boolean {
  if (!topic.startsWith(user.appId) || topic.charCodeAt(user.appId.length) !== 0x2f) return false;
  return decodeUserid(topic.slice(user.appId.length + 1)) === user.userid;
}

/** Whether the topic is where this user's devices send events: `<appid>/<userid>/up`. */
export function isUpTopic(topic: string, user: { readonly appId: string; readonly userid: string }): boolean {
  return topic.endsWith('/up') && isUserTopic(topic.slice(0, -3), user);
}

export type FilterKind = 'plain' | 'wildcard' | 'shared' | 'invalid';

/** What kind of topic filter a text is (MQTT 5 §4.7, §4.8.2). */
export function filterKind(filter: string): FilterKind {
  if (filter === '' || filter.includes('\u0000')) return 'invalid';
  if (filter.startsWith('$share/')) return 'shared';
  if (!filter.includes('#') && !filter.includes('+')) return 'plain';
  const levels = filter.split('/');
  const isValid = levels.every((level, index) => {
    if (level === '+' || (level === '#' && index === levels.length - 1)) return true;
    return !level.includes('#') && !level.includes('+');
  });
  return isValid ? 'wildcard' : 'invalid';
}
