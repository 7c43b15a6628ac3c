import type { Socket } from 'node:net';
import { FileSender } from '../../system/sendfile.ts';
import type { FileBytes } from '../storage/storage.ts';
import type { Exchange } from './exchange.ts';

/** Bytes of a call: what a loopback connection takes at once. */
const CALL = 4 * 2 ** 20;
/** Bytes that Node writes where the connection takes no more, to learn when it does. */
const STEP = 64 * 2 ** 10;
/** Less is not worth the descriptor. */
const SMALLEST = 256 * 2 ** 10;

/**
 * Sends the rest of an answer, whose headers are out, from a file. Undefined where that cannot be done here, with nothing
 * sent; else the bytes sent, which are fewer than there are where the client went away.
 */
export async function sendFile(exchange: Exchange, file: FileBytes): Promise<number | undefined> {
  const { response } = exchange;
  const { socket } = response;
  // A pipelined answer whose turn has not come has no socket.
  if (file.end - file.start < SMALLEST || socket === null) return undefined;
  response.flushHeaders();
  using sender = FileSender.open(socket);
  if (sender === undefined || !(await write(socket, Buffer.alloc(0)))) return undefined;
  let at = file.start;
  while (at < file.end && !socket.destroyed) {
    let sent = await sender.send(file.fd, at, Math.min(CALL, file.end - at));
    if (sent === 0) {
      const step = await file.read(at, Math.min(STEP, file.end - at));
      if (!(await write(socket, step))) break;
      sent = step.length;
    }
    at += sent;
    exchange.bytesOut += sent;
  }
  return at - file.start;
}

/** False where the client went away. */
function write(socket: Socket, bytes: Uint8Array): Promise<boolean> {
  return new Promise((resolve) => {
    const onClose = (): void => resolve(false);
    socket.once('close', onClose);
    socket.write(bytes, (error) => {
      socket.off('close', onClose);
      resolve(error === undefined || error === null);
    });
  });
}
