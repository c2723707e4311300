/** `message`: text, attachment, template and its parameters. Source: docs/api.md, message. */
import {
  demand,
  isAbsent,
  kindOf,
  present,
  readLabel,
  readNumber,
  readSource,
  readString,
  textFault,
  type NumberRange,
  type Source,
} from './fields.ts';
import { limits } from './limits.ts';
import type { Attachment, ContentType, TemplateReference } from './messaging.ts';
import { parseWebUrl } from './url.ts';

const attachmentKeys = new Set(['contentType', 'file', 'preview', 'size', 'duration', 'latitude', 'longitude']);
const contentTypes: ReadonlySet<string> = new Set(['file', 'image', 'video', 'audio', 'location']);

const sizeRange: NumberRange = { min: 0, max: Number.MAX_SAFE_INTEGER, whole: true, what: 'a number of bytes' };
const durationRange: NumberRange = { min: 0, max: 1_000_000_000, whole: false, what: 'a number of seconds' };
const latitudeRange: NumberRange = { min: -90, max: 90, whole: false, what: 'a number of degrees' };
const longitudeRange: NumberRange = { min: -180, max: 180, whole: false, what: 'a number of degrees' };

/** Standard or URL-safe alphabet, padded or not, line breaks allowed. */
function isBase64(text: string): boolean {
  let padding = 0;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    const letter = (unit >= 0x41 && unit <= 0x5a) || (unit >= 0x61 && unit <= 0x7a) || (unit >= 0x30 && unit <= 0x39);
    const sign = unit === 0x2b || unit === 0x2f || unit === 0x2d || unit === 0x5f;
    const lineBreak = unit === 0x0a || unit === 0x0d;
    if (unit === 0x3d) {
      padding += 1;
    } else if (!lineBreak && (padding > 0 || !(letter || sign))) {
      return false;
    }
  }
  return padding <= 2;
}

/** Reads an http or https address; a fault and undefined where it is something else. */
export function readWebUrl(source: Source, key: string): string | undefined {
  const text = readString(source, key);
  if (text === undefined) {
    return undefined;
  }
  const result = parseWebUrl(text);
  if (!result.ok) {
    source.faults.invalid(source.path, key, result.message);
    return undefined;
  }
  return result.url;
}

/** A word of the list, or a MIME type by its first part; any other MIME type is a file. */
function readContentType(source: Source): ContentType | undefined {
  if (!demand(source, 'contentType', 'must be one of file, image, video, audio, location')) {
    return undefined;
  }
  const text = readString(source, 'contentType');
  if (text === undefined) {
    return undefined;
  }
  const slash = text.indexOf('/');
  const word = (slash < 0 ? text : text.slice(0, slash)).trim().toLowerCase();
  if (contentTypes.has(word)) {
    return word as ContentType;
  }
  if (slash > 0) {
    return 'file';
  }
  source.faults.invalid(
    source.path,
    'contentType',
    'must be one of file, image, video, audio, location, or a MIME type',
  );
  return undefined;
}

function demandByType(source: Source, contentType: ContentType): void {
  if (contentType === 'location') {
    demand(source, 'latitude', 'must be given for a location, in degrees');
    demand(source, 'longitude', 'must be given for a location, in degrees');
    return;
  }
  demand(source, 'file', `must be the http or https address of the ${contentType}`);
  if (contentType === 'video') {
    demand(source, 'preview', 'must be given for a video: a JPEG image in base64');
  }
  if (contentType === 'video' || contentType === 'audio') {
    demand(source, 'duration', `must be given for ${contentType}, in seconds`);
  }
}

function readPreview(source: Source): string | undefined {
  const preview = readString(source, 'preview');
  if (preview !== undefined && !isBase64(preview)) {
    source.faults.invalid(source.path, 'preview', 'must be a JPEG image in base64');
    return undefined;
  }
  return preview;
}

/** Reads an attachment; undefined, with faults, where it has no content type of the list. */
export function readAttachment(source: Source): Attachment | undefined {
  for (const key of Object.keys(source.object)) {
    if (!attachmentKeys.has(key)) {
      source.faults.warn(source.path, key, 'is not a known parameter and is ignored');
    }
  }
  const contentType = readContentType(source);
  if (contentType !== undefined) {
    demandByType(source, contentType);
  }
  const attachment = present<Partial<Attachment>>({
    contentType,
    file: readWebUrl(source, 'file'),
    preview: readPreview(source),
    size: readNumber(source, 'size', sizeRange),
    duration: readNumber(source, 'duration', durationRange),
    latitude: readNumber(source, 'latitude', latitudeRange),
    longitude: readNumber(source, 'longitude', longitudeRange),
  });
  return contentType === undefined ? undefined : { ...attachment, contentType };
}

/** The template and the parameters one layer of a request gives. */
export interface TemplateLayer {
  readonly id?: string;
  readonly parameters: Readonly<Record<string, string>>;
}

function parameterText(value: unknown): string | undefined {
  if (typeof value === 'string') {
    return value;
  }
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}

function readParameters(message: Source): Record<string, string> {
  // Without a prototype: the names come from outside, and `constructor` or `__proto__` are names like any other.
  const parameters = Object.create(null) as Record<string, string>;
  const source = readSource(message, 'parameters');
  if (source === undefined) {
    return parameters;
  }
  for (const name of Object.keys(source.object)) {
    const value = source.object[name];
    if (isAbsent(value)) {
      continue;
    }
    const text = parameterText(value);
    const fault = text === undefined ? `must be a string, not ${kindOf(value)}` : textFault(text);
    if (text === undefined || fault !== undefined) {
      source.faults.invalid(source.path, name, fault ?? 'must be a string');
    } else {
      parameters[name] = text;
    }
  }
  return parameters;
}

const noParameters = Object.freeze(Object.create(null) as Record<string, string>);

/** Reads `template` and `parameters` of a `message`, that of the body or that of the channel block. */
export function readTemplateLayer(message: Source | undefined): TemplateLayer {
  if (message === undefined) {
    return { parameters: noParameters };
  }
  const parameters = isAbsent(message.object['parameters']) ? noParameters : readParameters(message);
  const id = readLabel(message, 'template', limits.nameBytesMax);
  return id === undefined ? { parameters } : { id, parameters };
}

/** The template that applies: the stronger layer's id, the parameters of both, the stronger layer's winning by name. */
export function mergeTemplate(weaker: TemplateLayer, stronger: TemplateLayer): TemplateReference | undefined {
  const id = stronger.id ?? weaker.id;
  if (id === undefined) {
    return undefined;
  }
  const parameters = Object.create(null) as Record<string, string>;
  for (const layer of [weaker, stronger]) {
    for (const name of Object.keys(layer.parameters)) {
      parameters[name] = layer.parameters[name] ?? '';
    }
  }
  return { id, parameters };
}
