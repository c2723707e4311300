import type { Socket } from 'node:net';

/** Writes the same bytes again and again until the socket closes: a peer that is never done. */
export function drip(socket: Socket, bytes: string, everyMs: number): void {
  const timer = setInterval(() => socket.write(bytes), everyMs);
  socket.once('close', () => clearInterval(timer));
}
