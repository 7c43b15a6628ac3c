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

interface BodyOptions {
  /** Bytes at most. */
  limit: number;
  /** Bytes that it must have. */
  exact?: number | undefined;
  /** Sees each chunk when it comes in, before it is read. */
  onChunk?: ((chunk: Buffer) => void) | undefined;
}

/** Bytes that wait for their reader, after which the client has to wait. */
const MAX_QUEUED = 2 ** 20;

/**
 * The request's body, counted. Throws a `WireFailure`: 413 beyond `limit` bytes, 400 (`SIZE_INVALID`) where it is not of
 * `exact` bytes; both as early as the headers tell. A client that goes away ends it with an error of Node's. The request
 * is never destroyed here: its answer goes over the same connection.
 */
export function readBody(exchange: Exchange, options: BodyOptions): AsyncIterableIterator<Buffer, undefined> {
  checkAnnounced(exchange.request, options);
  return new BodyReader(exchange, options);
}

/** By events: Node's iterator of a stream, and generators around it, cost as much as hashing the bytes. */
class BodyReader implements AsyncIterableIterator<Buffer, undefined> {
  readonly #exchange: Exchange;
  readonly #options: BodyOptions;
  #size = 0;
  #queue: Buffer[] = [];
  #queued = 0;
  #end: { error: unknown } | 'well' | undefined;
  #waiting:
    | { resolve: (result: IteratorResult<Buffer, undefined>) => void; reject: (error: unknown) => void }
    | undefined;

  constructor(exchange: Exchange, options: BodyOptions) {
    this.#exchange = exchange;
    this.#options = options;
  }

  [Symbol.asyncIterator](): this {
    this.#listen();
    return this;
  }

  next(): Promise<IteratorResult<Buffer, undefined>> {
    const chunk = this.#queue.shift();
    if (chunk !== undefined) {
      this.#queued -= chunk.length;
      if (this.#queued < MAX_QUEUED && this.#end === undefined) this.#exchange.request.resume();
      return Promise.resolve({ done: false, value: chunk });
    }
    if (this.#end === 'well') return Promise.resolve({ done: true, value: undefined });
    if (this.#end !== undefined) return Promise.reject(this.#end.error);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  async return(): Promise<IteratorResult<Buffer, undefined>> {
    this.#queue = [];
    this.#finish('well');
    return { done: true, value: undefined };
  }

  #listen(): void {
    const { request } = this.#exchange;
    if (request.errored ?? (request.destroyed && !request.complete)) {
      this.#end = { error: request.errored ?? new Error('aborted') };
      return;
    }
    request.on('data', this.#onData);
    request.on('end', this.#onEnd);
    request.on('error', this.#onError);
    request.on('close', this.#onClose);
  }

  #onData = (chunk: Buffer): void => {
    const { limit, exact, onChunk } = this.#options;
    this.#size += chunk.length;
    this.#exchange.bytesIn += chunk.length;
    const excess = this.#size > limit ? tooLarge(limit) : exact !== undefined && this.#size > exact;
    if (excess !== false) {
      this.#finish({ error: excess === true ? wrongLength(exact!, this.#size) : excess });
      return;
    }
    onChunk?.(chunk);
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      waiting.resolve({ done: false, value: chunk });
      return;
    }
    this.#queue.push(chunk);
    this.#queued += chunk.length;
    if (this.#queued >= MAX_QUEUED) this.#exchange.request.pause();
  };

  #onEnd = (): void => {
    const { exact } = this.#options;
    const short = exact !== undefined && this.#size !== exact;
    this.#finish(short ? { error: wrongLength(exact, this.#size) } : 'well');
  };

  #onError = (error: unknown): void => this.#finish({ error });

  #onClose = (): void => this.#finish({ error: new Error('the client went away') });

  #finish(end: { error: unknown } | 'well'): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    const { request } = this.#exchange;
    request.off('data', this.#onData);
    request.off('end', this.#onEnd);
    request.off('close', this.#onClose);
    // `#onError` stays: an error that nobody hears ends the process.
    if (!request.readableEnded) request.pause();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (end === 'well') waiting?.resolve({ done: true, value: undefined });
    else waiting?.reject(end.error);
  }
}

/**
 * Frees a chunk of a body that nobody needs any more, now: left to the garbage collector, an upload at full speed has it
 * run every 30 MB, which costs a third of all that the upload costs.
 */
export function freeChunk(chunk: Uint8Array): void {
  // A slice of something else is not ours to free.
  if (chunk.byteLength === chunk.buffer.byteLength) (chunk.buffer as ArrayBuffer).transfer(0);
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
