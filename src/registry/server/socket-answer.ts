import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { encodeErrors } from '../wire/errors.ts';

/** How long a client may take to read the last answer of its connection. */
const LINGER_MS = 2000;

/** Answers on a connection whose request is none, or never ends; the connection ends with it. */
export function answerOnSocket(socket: Duplex, status: number, code: string, message: string): void {
  if (socket.writable) {
    const body = encodeErrors([{ code, message }]);
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      'Content-Type: application/json',
      `Content-Length: ${body.length}`,
      'Connection: close',
    ];
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  }
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}
