import { describe, expect, test } from 'vitest';
import { accepted, body, refusal } from '../test/support.ts';

const path = '/channels/appmessaging/message/attachment';
const file = 'https://files.example/a';

function attached(attachment: unknown): unknown {
  return body({}, { message: { text: 'Hello', attachment } });
}

describe('attachments', () => {
  test.each([
    { contentType: 'file', file },
    { contentType: 'image', file, preview: 'AAAA', size: '10' },
    { contentType: 'video', file, preview: '/9j/4AAQSkZJRg==', duration: '12.5' },
    { contentType: 'audio', file, duration: 3 },
    { contentType: 'location', latitude: '51.5', longitude: -0.12 },
    { contentType: 'location', latitude: -90, longitude: '180', file },
  ])('%j', (attachment) => {
    const read = accepted(attached(attachment)).message.attachment;
    const numbers = Object.entries(attachment).map(([key, value]) => {
      return [key, ['size', 'duration', 'latitude', 'longitude'].includes(key) ? Number(value) : value];
    });
    expect(read).toEqual(Object.fromEntries(numbers));
  });

  test.each([
    ['image/jpg', 'image'],
    ['IMAGE', 'image'],
    ['Audio/ogg', 'audio'],
    ['application/pdf', 'file'],
    ['text/plain; charset=utf-8', 'file'],
  ])('content type %s is read as %s', (contentType, expected) => {
    expect(accepted(attached({ contentType, file, duration: 1 })).message.attachment?.contentType).toBe(expected);
  });

  test.each([
    [{}, `7003 ${path}/contentType`],
    [{ contentType: '', file }, `7003 ${path}/contentType`],
    [{ contentType: 'image' }, `7003 ${path}/file`],
    [{ contentType: 'image', file: '' }, `7003 ${path}/file`],
    [{ contentType: 'video', file }, `7003 ${path}/preview ${path}/duration`],
    [{ contentType: 'video', file, preview: 'AAAA' }, `7003 ${path}/duration`],
    [{ contentType: 'audio', file }, `7003 ${path}/duration`],
    [{ contentType: 'location' }, `7003 ${path}/latitude ${path}/longitude`],
    [{ contentType: 'location', latitude: 1 }, `7003 ${path}/longitude`],
    [{ contentType: 'document', file }, `7004 ${path}/contentType`],
    [{ contentType: 5, file }, `7004 ${path}/contentType`],
    [{ contentType: 'image', file: 'image.jpg' }, `7004 ${path}/file`],
    [{ contentType: 'image', file: 'javascript:alert(1)' }, `7004 ${path}/file`],
    [{ contentType: 'image', file: 'data:image/png;base64,AAAA' }, `7004 ${path}/file`],
    [{ contentType: 'image', file: 5 }, `7004 ${path}/file`],
    [{ contentType: 'image', file, size: -1 }, `7004 ${path}/size`],
    [{ contentType: 'image', file, size: 1.5 }, `7004 ${path}/size`],
    [{ contentType: 'image', file, size: 'big' }, `7004 ${path}/size`],
    [{ contentType: 'image', file, size: {} }, `7004 ${path}/size`],
    [{ contentType: 'image', file, preview: '<svg>' }, `7004 ${path}/preview`],
    [{ contentType: 'audio', file, duration: '-3' }, `7004 ${path}/duration`],
    [{ contentType: 'location', latitude: 91, longitude: 0 }, `7004 ${path}/latitude`],
    [{ contentType: 'location', latitude: 0, longitude: '-180.5' }, `7004 ${path}/longitude`],
    ['image', `7004 ${path}`],
    [[{ contentType: 'image', file }], `7004 ${path}`],
  ])('%j is %s', (attachment, expected) => {
    expect(refusal(attached(attachment))).toBe(expected);
  });
});
