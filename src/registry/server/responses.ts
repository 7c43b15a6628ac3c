import type { ServerResponse } from 'node:http';
import type { Digest } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';
import type { ByteStream } from '../storage/storage.ts';
import { encodeErrors } from '../wire/errors.ts';
import type { Exchange } from './exchange.ts';
import type { WireFailure } from './failure.ts';
import { sendFile } from './send-file.ts';

export type Headers = Record<string, string | number | string[]>;

/** An answer whose body is in memory, or that has none. For HEAD the body is only measured. */
export function sendBytes(exchange: Exchange, status: number, headers: Headers, body?: Uint8Array): void {
  const { request, response } = exchange;
  if (body !== undefined) headers['Content-Length'] = body.length;
  else if (status !== 204 && status !== 304) headers['Content-Length'] = 0;
  response.writeHead(status, headers);
  if (body === undefined || request.method === 'HEAD') {
    response.end();
    return;
  }
  exchange.bytesOut += body.length;
  response.end(body);
}

export function sendJson(exchange: Exchange, value: unknown, headers: Headers = {}): void {
  const type = headers['Content-Type'] ?? 'application/json';
  sendBytes(exchange, 200, { ...headers, 'Content-Type': type }, Buffer.from(`${JSON.stringify(value)}\n`));
}

export function sendFailure(exchange: Exchange, failure: WireFailure): void {
  sendBytes(
    exchange,
    failure.status,
    { ...failure.headers, 'Content-Type': 'application/json' },
    encodeErrors(failure.errors),
  );
}

/** An answer's body from a stream of exactly `length` bytes. Ends the stream where the client goes away. */
export async function sendStream(
  exchange: Exchange,
  status: number,
  headers: Headers,
  { stream, length }: { stream: AsyncIterable<Uint8Array> | ByteStream; length: number },
): Promise<void> {
  const { response } = exchange;
  response.writeHead(status, { ...headers, 'Content-Length': length });
  let sent = await sendOpenFile(exchange, stream);
  if (sent === undefined) {
    sent = 0;
    for await (const chunk of stream) {
      sent += chunk.length;
      if (sent > length) break;
      exchange.bytesOut += chunk.length;
      if (response.write(chunk)) continue;
      if (!(await drained(response))) break;
    }
  }
  if (response.destroyed) return;
  // Never an end that looks like one: the client is to see that bytes are missing.
  if (sent === length) {
    response.end();
    return;
  }
  response.destroy();
  throw new ImagoError('STORAGE_DAMAGED', 'a blob has another size than its storage said', { want: length, got: sent });
}

/** The bytes sent; undefined where they are to be read and written. */
async function sendOpenFile(
  exchange: Exchange,
  stream: AsyncIterable<Uint8Array> | ByteStream,
): Promise<number | undefined> {
  if (!('file' in stream) || stream.file === undefined) return undefined;
  let untouched = false;
  try {
    const sent = await sendFile(exchange, stream.file);
    untouched = sent === undefined;
    return sent;
  } finally {
    if (!untouched) await stream.return();
  }
}

/** False where the client went away. */
function drained(response: ServerResponse): Promise<boolean> {
  if (response.destroyed) return Promise.resolve(false);
  return new Promise((resolve) => {
    const settle = (ok: boolean): void => {
      response.off('drain', onDrain);
      response.off('close', onClose);
      resolve(ok);
    };
    const onDrain = (): void => settle(true);
    const onClose = (): void => settle(false);
    response.on('drain', onDrain);
    response.on('close', onClose);
  });
}

/** Whether `If-None-Match` holds this content: 304. RFC 9110 §13.1.2. */
export function isUnchanged(header: string | undefined, digest: Digest): boolean {
  return header !== undefined && matchesEtag(header, digest);
}

/** A list of entity tags, or `*`; weak ones count. */
export function matchesEtag(header: string, digest: Digest): boolean {
  if (header.trim() === '*') return true;
  return header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === `"${digest}"`);
}
