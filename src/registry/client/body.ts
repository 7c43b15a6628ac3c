import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { ImagoError } from '../../core/errors.ts';

/** Until what came of an unwanted body is enough. */
const MAX_WAIT_MS = 10_000;
/** What is read of an unwanted body to keep its connection. */
const MAX_DISCARDED = 64 * 1024;

/** A body whole. Throws `RESPONSE_TOO_LARGE` beyond `limit` bytes, and what the stream throws. */
export async function readBody(body: Readable, limit: number, url: string): Promise<Buffer> {
  const announced = Number((body as Partial<IncomingMessage>).headers?.['content-length'] ?? 0);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    if (announced > limit) throw tooLarge(limit, announced, url);
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limit) throw tooLarge(limit, `more than ${limit}`, url);
      chunks.push(chunk);
    }
  } finally {
    body.destroy();
  }
  return Buffer.concat(chunks, size);
}

/** The first bytes of a body, whatever is behind them and however it ends. */
export async function readStart(body: Readable, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  const timer = setTimeout(() => body.destroy(), MAX_WAIT_MS).unref();
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= limit) break;
    }
  } catch {
    // What came is what there is to tell.
  } finally {
    clearTimeout(timer);
    body.destroy();
  }
  return Buffer.concat(chunks, size).subarray(0, limit);
}

/** Takes a body away that nobody wants, so that its connection can be used again where that is cheap. */
export async function discardBody(body: Readable): Promise<void> {
  await readStart(body, MAX_DISCARDED);
}

function tooLarge(limit: number, got: string | number, url: string): ImagoError {
  return new ImagoError('RESPONSE_TOO_LARGE', `the answer from ${url} is too large`, {
    want: `at most ${limit} bytes`,
    got,
  });
}
