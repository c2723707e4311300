/** Every limit of the wire, with its unit in the name. Source: docs/api.md and docs/device.md. */
export const limits = {
  /** Objects in `destination`, and identifiers in all of them together; beyond: 7009. */
  destinationsMax: 1_000,
  /** One identifier, UTF-8. */
  identifierBytesMax: 256,
  /** UTF-8, as the page says. */
  correlationidBytesMax: 50,
  /** Code points, for the text of a message, of a notification and of a reply. */
  textCharactersMax: 4_096,
  /** Code points. */
  callbackDataCharactersMax: 2_000,
  /** One message as a device gets it, UTF-8. */
  renderedBytesMax: 32_768,
  /** One request body; beyond: HTTP 413. */
  bodyBytesMax: 1_048_576,
  /** Objects and arrays inside one another, the body itself being the first; beyond: 7000. */
  bodyDepthMax: 32,
  /** Ids of apps, threads, templates, buttons and pushref, UTF-8. */
  nameBytesMax: 256,
  /** UTF-8. */
  threadTitleBytesMax: 1_024,
  /** One address, UTF-16 units. */
  urlLengthMax: 2_048,
  /** Smartlinks of one request. */
  smartlinksMax: 100,
  /** Ten years. */
  smartlinkValidityMinutesMax: 5_256_000,
  /** Faults told of one request; what is beyond is counted. */
  faultDetailsMax: 1_000,
  /** Warnings told of one request; what is beyond is dropped. */
  warningsMax: 100,
  /** Messages named in one event from a device. */
  eventTidsMax: 1_000,
  /** A tid or the id of an event from a device, UTF-8. */
  eventIdBytesMax: 128,
  /** Attachments of one reply. */
  replyAttachmentsMax: 10,
} as const;
