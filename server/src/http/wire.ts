/** Writing to sockets without the framework. */
import { STATUS_CODES } from 'node:http';
import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Answer } from '../accept/answer.ts';
import { errorBody } from './errors.ts';

/** On every answer: JSON and redirects are no pages, are not kept, and tell no third party where they came from. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-store',
  'Referrer-Policy': 'no-referrer',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
};

/** Two years, as browsers ask for it; only where the port speaks TLS itself. */
export const HSTS = 'max-age=63072000';

// As node writes them: name, value, name, value. One flat list per answer costs half of what an object does.
const FIXED = ['Content-Type', 'application/json; charset=utf-8', ...Object.entries(SECURITY_HEADERS).flat()];

/** Writes an answer of the messaging API. Nothing happens where the sender is gone. */
export function writeAnswer(response: ServerResponse, answer: Answer): void {
  if (response.headersSent || response.destroyed) return;
  const bytes = Buffer.byteLength(answer.body);
  const headers = [...FIXED, 'Content-Length', String(bytes)];
  for (const name in answer.headers) headers.push(name, answer.headers[name] as string);
  response.writeHead(answer.status, headers);
  // ASCII, as nearly every answer is, is the same in both and need not be encoded.
  response.end(answer.body, bytes === answer.body.length ? 'latin1' : 'utf8');
}

/** Answers where there is no response object (a request that cannot be parsed, an upgrade) and ends the connection. */
export function writeRawError(socket: Duplex, status: number, message: string): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const reason = STATUS_CODES[status] ?? 'Error';
  const body = JSON.stringify(errorBody(reason.toLowerCase().replaceAll(/[^a-z]+/g, '-'), message));
  const head = [
    `HTTP/1.1 ${status} ${reason}`,
    'Connection: close',
    'Content-Type: application/json; charset=utf-8',
    'X-Content-Type-Options: nosniff',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}
