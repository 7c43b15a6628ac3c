import type { IncomingMessage } from 'node:http';
import { WIRE_ERRORS } from '../wire/errors.ts';
import type { Exchange } from './exchange.ts';
import { WireFailure } from './failure.ts';

/** `Content-Length`, in bytes; undefined where the body's end is not announced (chunked). */
export function announcedLength(request: IncomingMessage): number | undefined {
  if (request.headers['transfer-encoding'] !== undefined) return undefined;
  const header = request.headers['content-length'];
  return header === undefined ? 0 : Number(header);
}

/**
 * The request's body, counted. Throws a `WireFailure`: 413 beyond `limit` bytes, 400 (`SIZE_INVALID`) where it is not of
 * `exact` bytes; both as early as the headers tell. A client that goes away ends it with an error of Node's.
 */
export async function* readBody(
  exchange: Exchange,
  { limit, exact }: { limit: number; exact?: number },
): AsyncGenerator<Buffer, void> {
  checkAnnounced(exchange.request, { limit, exact });
  let size = 0;
  // Not destroyed where this ends early: the answer goes over the same connection.
  for await (const chunk of exchange.request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    exchange.bytesIn += chunk.length;
    if (size > limit) throw tooLarge(limit);
    if (exact !== undefined && size > exact) throw wrongLength(exact, size);
    yield chunk;
  }
  if (exact !== undefined && size !== exact) throw wrongLength(exact, size);
}

/** As `readBody`, whole. */
export async function readSmallBody(exchange: Exchange, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of readBody(exchange, { limit })) chunks.push(chunk);
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

export function checkAnnounced(
  request: IncomingMessage,
  { limit, exact }: { limit: number; exact?: number | undefined },
): void {
  const length = announcedLength(request);
  if (length === undefined) return;
  if (length > limit) throw tooLarge(limit);
  if (exact !== undefined && length !== exact) throw wrongLength(exact, length);
}

function tooLarge(limit: number): WireFailure {
  return new WireFailure(WIRE_ERRORS.sizeInvalid, `too large: at most ${limit} bytes are taken`, { status: 413 });
}

function wrongLength(want: number, got: number): WireFailure {
  return new WireFailure(WIRE_ERRORS.sizeInvalid, `the body has another length than announced: wanted ${want}`, {
    detail: { want, got },
  });
}

/** What a client may go on sending after an answer that came before its body's end, so that it gets to reading it. */
const DRAIN_BYTES = 64 * 2 ** 20;
const DRAIN_MS = 5000;

/** Reads what is left of a request whose answer is out already, for a while; then hangs up. */
export function drainRequest(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  let left = DRAIN_BYTES;
  const timer = setTimeout(() => request.destroy(), DRAIN_MS);
  request.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) request.destroy();
  });
  request.on('close', () => clearTimeout(timer));
  request.on('error', () => undefined);
  request.resume();
}
