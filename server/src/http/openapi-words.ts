/** Short words for writing parts of an OpenAPI document by hand. */

/** A part of the document. */
export type Json = Readonly<Record<string, unknown>>;

export const text = (description: string): Json => ({ type: 'string', description });
export const object = (properties: Json, required: readonly string[] = []): Json => ({
  type: 'object',
  properties,
  required,
});
export const list = (items: Json): Json => ({ type: 'array', items });
export const json = (schema: Json): Json => ({ 'application/json': { schema } });
export const answer = (description: string, schema?: Json): Json => ({
  description,
  ...(schema === undefined ? undefined : { content: json(schema) }),
});
export const inPath = (name: string, description: string): Json => ({
  name,
  in: 'path',
  required: true,
  description,
  schema: { type: 'string' },
});
export const inQuery = (name: string, description: string): Json => ({
  name,
  in: 'query',
  description,
  schema: { type: 'string' },
});
export const inHeader = (name: string, description: string): Json => ({
  name,
  in: 'header',
  description,
  schema: { type: 'string' },
});
