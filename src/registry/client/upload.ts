import { type Digest, digestAlgorithm } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';
import { parseUploadRange } from '../wire/ranges.ts';
import { badResponse, discard, headerOf, type Place, pauseBeforeRetry, reasonOf, scopesFor } from './place.ts';
import type { Refused } from './retry.ts';
import type { RegistryRequest, RegistryResponse } from './types.ts';
import { cancelUpload, locationOf, startUpload, type UploadSession } from './upload-session.ts';

/** The bytes from an offset on, anew each time it is called. */
export type OpenSource = (offset: number) => AsyncIterable<Uint8Array>;

/** What a request's body may have at most, from all down to what every proxy lets through. */
const CHUNKS: readonly number[] = [Infinity, 64 * 2 ** 20, 16 * 2 ** 20, 4 * 2 ** 20, 2 ** 20, 2 ** 18];
/** Failures in a row that bring less than `PROGRESS` bytes each. */
const MAX_IDLE = 6;
const PROGRESS = 64 * 1024;
/**
 * Statuses that do not end an upload: asking for its state, a smaller chunk, a pause or a new upload may help. 409: the
 * registry is not done yet with the request whose connection broke.
 */
const TROUBLE: readonly number[] = [404, 408, 409, 413, 416, 425, 429, 500, 502, 503, 504];

/** One blob on its way up: its session, what failed so far, and how large a request may be. */
export class Upload {
  readonly #place: Place;
  readonly #signal: AbortSignal | undefined;
  #session: UploadSession | undefined;
  #minChunk = 0;
  #chunk = 0;
  /** The length of the last request's body. */
  #sent = 0;
  #idle = 0;
  /** The offset at the last failure. */
  #mark = 0;
  #sourceError: { error: unknown } | undefined;

  constructor(place: Place, session: UploadSession | undefined, signal: AbortSignal | undefined) {
    this.#place = place;
    this.#session = session;
    this.#signal = signal;
  }

  /** Bytes that the registry has. */
  get offset(): number {
    return this.#session?.offset ?? 0;
  }

  /** Whether a request may have that many bytes. */
  fits(bytes: number): boolean {
    return bytes <= this.#limit();
  }

  async begin(): Promise<void> {
    this.#session ??= await startUpload(this.#place, this.#signal);
    this.#minChunk = this.#session.minChunk;
  }

  /** Sends bytes up to `end` from where the registry is, in as many requests as it takes. */
  async push(end: number, open: OpenSource, onProgress?: (bytes: number) => void): Promise<void> {
    await this.begin();
    const session = this.#session!;
    while (session.offset < end) {
      const start = session.offset;
      const stop = Math.min(end, start + this.#limit());
      const response = await this.#send('PATCH', session.location, {
        headers: { 'content-range': `${start}-${stop - 1}`, 'content-length': String(stop - start) },
        body: () => this.#read(open, start, stop, onProgress),
      });
      session.location = locationOf(this.#place, response) ?? session.location;
      session.offset = this.#reached(response, stop);
      if (session.offset !== stop) throw new Refusal(416, 'fewer bytes arrived than were sent');
    }
  }

  /** Ends the upload under its digest; `open` sends all of the blob's bytes with it. */
  async finish(
    digest: Digest,
    whole?: { size: number; open: OpenSource; onProgress?: (bytes: number) => void },
  ): Promise<void> {
    await this.begin();
    const { location } = this.#session!;
    const target = `${location}${location.includes('?') ? '&' : '?'}digest=${encodeURIComponent(digest)}`;
    const size = whole?.size ?? 0;
    const body = whole && size > 0 ? () => this.#read(whole.open, 0, size, whole.onProgress) : undefined;
    const response = await this.#send('PUT', target, { headers: { 'content-length': String(size) }, body });
    this.#session = undefined;
    const told = headerOf(response, 'docker-content-digest');
    if (told === undefined || told === digest || !told.startsWith(`${digestAlgorithm(digest)}:`)) return;
    throw new ImagoError('DIGEST_MISMATCH', `${this.#place.transport.registry} stored other bytes than were sent`, {
      ref: `${this.#place.name}@${digest}`,
      want: digest,
      got: told.slice(0, 200),
    });
  }

  /**
   * After a failure: throws where nothing helps, else waits and finds out where the registry is. The session is a new
   * one (offset 0) where the old is lost.
   */
  async recover(error: unknown): Promise<void> {
    if (this.#sourceError !== undefined) throw this.#sourceError.error;
    this.#signal?.throwIfAborted();
    if (!isPassing(error)) throw error;
    const refusal = error instanceof Refusal ? error : undefined;
    const reason = refusal?.message ?? reasonOf(error);
    if (++this.#idle >= MAX_IDLE) throw this.#broken(reason, error);
    const tooLarge = refusal?.status === 413;
    if (!tooLarge) {
      const trouble = { failures: this.#idle, url: `${this.#place.name} (upload)`, reason };
      await pauseBeforeRetry(this.#place, { ...trouble, refused: refusal }, this.#signal);
    }
    await this.#resync(refusal?.status === 404);
    if (this.offset - this.#mark >= PROGRESS) this.#idle = 0;
    // Nothing of a large request stayed: smaller ones get past a proxy's limit, and leave something when they break.
    else if (tooLarge || (refusal === undefined && this.#sent > 0)) this.#shrink(this.#sent);
    this.#mark = this.offset;
  }

  async cancel(): Promise<void> {
    if (this.#session !== undefined) await cancelUpload(this.#place, this.#session);
    this.#session = undefined;
  }

  #limit(chunk: number = this.#chunk): number {
    return Math.max(CHUNKS[chunk]!, this.#minChunk);
  }

  get #smallest(): boolean {
    return this.#chunk === CHUNKS.length - 1 || this.#limit(this.#chunk + 1) === this.#limit();
  }

  /** By as many steps as it takes to get below `bytes`. */
  #shrink(bytes: number): void {
    while (!this.#smallest) {
      this.#chunk++;
      if (this.#limit() < bytes) return;
    }
  }

  async #resync(lost: boolean): Promise<void> {
    const session = this.#session;
    if (session === undefined) return;
    const reached = lost ? undefined : await this.#askState(session);
    if (reached !== undefined) {
      session.offset = reached;
      return;
    }
    this.#session = undefined;
    await cancelUpload(this.#place, session);
  }

  /** Bytes that the registry has; undefined where it does not say. */
  async #askState(session: UploadSession): Promise<number | undefined> {
    try {
      const response = await this.#place.transport.request({
        method: 'GET',
        target: session.location,
        scopes: scopesFor(this.#place, 'push'),
        answers: [200, 202, 204],
        signal: this.#signal,
      });
      discard(response);
      session.location = locationOf(this.#place, response) ?? session.location;
      const range = parseUploadRange(headerOf(response, 'range') ?? '');
      // `0-0` is said for nothing as well as for one byte.
      return range?.start === 0 && range.end > 1 ? range.end : undefined;
    } catch {
      this.#signal?.throwIfAborted();
      return undefined;
    }
  }

  async #send(
    method: 'PATCH' | 'PUT',
    target: string,
    { headers, body }: Pick<RegistryRequest, 'headers' | 'body'>,
  ): Promise<RegistryResponse> {
    this.#sent = Number(headers?.['content-length']);
    // What nothing helps against any more is the transport's to tell, in the registry's own words.
    const last = this.#idle === MAX_IDLE - 1;
    const passing = last ? [] : TROUBLE.filter((status) => status !== 413 || !this.#smallest);
    const response = await this.#place.transport.request({
      method,
      target,
      headers: { 'content-type': 'application/octet-stream', ...headers },
      body,
      scopes: scopesFor(this.#place, 'push'),
      answers: [200, 201, 202, 204, ...passing],
      retry: false,
      signal: this.#signal,
    });
    discard(response);
    const { status } = response;
    if (passing.includes(status)) throw new Refusal(status, `HTTP ${status}`, response);
    return response;
  }

  #reached(response: RegistryResponse, sent: number): number {
    const header = headerOf(response, 'range');
    if (header === undefined) return sent;
    const range = parseUploadRange(header);
    if (range !== undefined && range.start === 0 && range.end <= sent) return range.end;
    throw badResponse(this.#place, response, 'has other bytes than were sent', {
      want: `0-${sent - 1}`,
      got: header.slice(0, 100),
    });
  }

  async *#read(
    open: OpenSource,
    start: number,
    stop: number,
    onProgress: ((bytes: number) => void) | undefined,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    let at = start;
    try {
      for await (const chunk of open(start)) {
        const part = chunk.length > stop - at ? chunk.subarray(0, stop - at) : chunk;
        at += part.length;
        yield part;
        onProgress?.(at);
        if (at === stop) return;
      }
      if (at < stop) throw sourceTooShort(this.#place, stop, at);
    } catch (error) {
      // The transport will say that the connection broke, since it stopped in the middle.
      this.#sourceError = { error };
      throw error;
    }
  }

  #broken(reason: string, cause: unknown): ImagoError {
    return new ImagoError('UPLOAD_BROKEN', `the upload to ${this.#place.transport.registry} failed again and again`, {
      ref: this.#place.name,
      got: `${this.offset} bytes there, then: ${reason}`,
      remedy: 'check the network and the limits of the registry, then push again',
      cause,
    });
  }
}

/** An answer that does not end the upload. Never leaves this file. */
class Refusal extends Error implements Refused {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly date: string | undefined;

  constructor(status: number, reason: string, response?: RegistryResponse) {
    super(reason);
    this.status = status;
    this.retryAfter = response && headerOf(response, 'retry-after');
    this.date = response && headerOf(response, 'date');
  }
}

/** Whether another try may go better: broken connections and `TROUBLE`, not refusals and bad input. */
function isPassing(error: unknown): boolean {
  if (error instanceof Refusal) return true;
  return !(error instanceof ImagoError) || PASSING.has(error.code);
}

const PASSING: ReadonlySet<string> = new Set(['STALLED', 'REGISTRY_UNREACHABLE', 'CONNECTION_BROKEN']);

function sourceTooShort(place: Place, want: number, got: number): ImagoError {
  return new ImagoError('SIZE_MISMATCH', 'what is to be uploaded is shorter than it should be', {
    ref: place.name,
    want: `${want} bytes`,
    got,
  });
}
