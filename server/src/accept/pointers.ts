/** JSON pointers (RFC 6901) into a request body for faults found after the body was read. */

type Json = Readonly<Record<string, unknown>>;

function asObject(value: unknown): Json | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
}

function channelsOf(body: Json): { readonly path: string; readonly object: Json } | undefined {
  const channels = body['channels'];
  if (Array.isArray(channels)) {
    const first = asObject(channels[0]);
    return first === undefined ? undefined : { path: '/channels/0', object: first };
  }
  const object = asObject(channels);
  return object === undefined ? undefined : { path: '/channels', object };
}

function blockOf(body: Json): { readonly path: string; readonly object: Json } | undefined {
  const channels = channelsOf(body);
  for (const name of body['deliverychannel'] === 'rt' ? ['rt', 'appmessaging'] : ['appmessaging', 'rt']) {
    const object = asObject(channels?.object[name]);
    if (channels !== undefined && object !== undefined) return { path: `${channels.path}/${name}`, object };
  }
  return undefined;
}

/** The pointer of a member of the channel block; undefined: it is not there. */
export function blockPointer(body: Json, keys: readonly string[]): string | undefined {
  const block = blockOf(body);
  let value: unknown = block?.object;
  for (const key of keys) value = asObject(value)?.[key];
  return block === undefined || value === undefined ? undefined : `${block.path}/${keys.join('/')}`;
}

/** The pointer of the entry of `smartlinks` that names a linkid, wherever the request has it; the strongest layer first. */
export function smartlinkPointer(body: Json, linkid: number): string {
  for (const layer of [blockOf(body), channelsOf(body), { path: '', object: body }]) {
    const list = layer?.object['smartlinks'];
    if (layer === undefined || !Array.isArray(list)) continue;
    const index = list.findIndex((entry) => Number(asObject(entry)?.['linkid']) === linkid);
    if (index >= 0) return `${layer.path}/smartlinks/${index}/linkid`;
  }
  return '/smartlinks';
}
