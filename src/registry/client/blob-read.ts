import { createHash } from 'node:crypto';
import { addAbortSignal } from 'node:stream';
import { type Digest, digestAlgorithm } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';
import { parseContentRange } from '../wire/ranges.ts';
import {
  badResponse,
  contentLength,
  contentType,
  discard,
  headerOf,
  type Place,
  pauseBeforeRetry,
  reasonOf,
  scopesFor,
} from './place.ts';
import type { RegistryResponse } from './types.ts';

/** Which bytes: the members of a descriptor that matter here. */
export interface BlobAddress {
  digest: Digest;
  /** Bytes. */
  size: number;
  /** Of a foreign layer. Never followed. */
  urls?: readonly string[];
}

/** Tries in a row that bring less than `PROGRESS` bytes each. */
const MAX_IDLE = 5;
const PROGRESS = 64 * 1024;

/** How far a download is, and what was learnt on the way. */
interface Download {
  blob: BlobAddress;
  at: number;
  /** False once the registry answered a Range request with nonsense. */
  ranges: boolean;
  /** A strong one, for If-Range. */
  etag: string | undefined;
}

/**
 * A blob's bytes from `offset` to its size, exactly; not hashed. A connection that breaks or stalls is followed by
 * another that goes on where it ended (Range, If-Range), or that skips what is there where the registry has no ranges.
 * Throws `SIZE_MISMATCH` where the registry's blob is longer or shorter, `DOWNLOAD_BROKEN` after five tries in a row
 * without progress, `FOREIGN_LAYER`, and the transport's errors.
 */
export async function* readBlob(
  place: Place,
  blob: BlobAddress,
  options: { offset?: number; signal?: AbortSignal } = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const { signal } = options;
  const download: Download = { blob, at: options.offset ?? 0, ranges: true, etag: undefined };
  if (download.at > blob.size) throw wrongSize(place, blob, `${download.at} to go on from`);
  let idle = 0;
  while (download.at < blob.size) {
    signal?.throwIfAborted();
    const start = download.at;
    const response = await requestRest(place, download, signal);
    let reason = 'the answer ended early';
    try {
      const skip = checkAnswer(place, download, response);
      if (skip === undefined) reason = 'the answer to a Range request was not that range';
      else yield* readBody(place, download, response, skip, signal);
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (error instanceof ImagoError && FINAL.has(error.code)) throw error;
      reason = reasonOf(error);
    } finally {
      response.body.destroy();
    }
    if (download.at === blob.size) return;
    idle = download.at - start >= PROGRESS ? 0 : idle + 1;
    if (idle >= MAX_IDLE) throw broken(place, download, reason);
    await pauseBeforeRetry(place, { failures: Math.max(idle, 1), url: response.url, reason }, signal);
  }
}

/** Small blobs (configs, artifacts) whole and verified. Throws `BLOB_TOO_LARGE`, `DIGEST_MISMATCH`, and as `readBlob`. */
export async function readSmallBlob(
  place: Place,
  blob: BlobAddress,
  limit: number,
  signal?: AbortSignal,
): Promise<Buffer> {
  if (blob.size > limit) {
    throw new ImagoError('BLOB_TOO_LARGE', 'the blob is too large for what it is', {
      ref: `${place.name}@${blob.digest}`,
      want: `at most ${limit} bytes`,
      got: blob.size,
    });
  }
  const parts: Uint8Array[] = [];
  for await (const part of readBlob(place, blob, { signal })) parts.push(part);
  const bytes = Buffer.concat(parts);
  const algorithm = digestAlgorithm(blob.digest);
  const got = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
  if (got === blob.digest) return bytes;
  throw new ImagoError('DIGEST_MISMATCH', `${place.transport.registry} sent other bytes than the digest says`, {
    ref: `${place.name}@${blob.digest}`,
    want: blob.digest,
    got,
    remedy: 'the registry or a proxy before it is damaged',
  });
}

/** Errors of ours about an answer: another try would bring the same. */
const FINAL: ReadonlySet<string> = new Set(['SIZE_MISMATCH', 'BAD_RESPONSE', 'FOREIGN_LAYER']);

async function requestRest(
  place: Place,
  { blob, at, ranges, etag }: Download,
  signal: AbortSignal | undefined,
): Promise<RegistryResponse> {
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  if (at > 0 && ranges) {
    headers.range = `bytes=${at}-`;
    if (etag !== undefined) headers['if-range'] = etag;
  }
  const foreign = blob.urls !== undefined && blob.urls.length > 0;
  const response = await place.transport.request({
    method: 'GET',
    target: `/v2/${place.path}/blobs/${blob.digest}`,
    headers,
    scopes: scopesFor(place, 'pull'),
    answers: foreign ? [200, 206, 416, 404] : [200, 206, 416],
    signal,
  });
  if (response.status !== 404) return response;
  discard(response);
  throw new ImagoError('FOREIGN_LAYER', `${place.transport.registry} does not have this foreign layer`, {
    ref: `${place.name}@${blob.digest}`,
    remedy: 'its bytes lie on servers of the vendor (urls), which are not asked: push the image with all of its layers',
  });
}

/** Bytes of the answer to skip; undefined where the answer is of no use. */
function checkAnswer(place: Place, download: Download, response: RegistryResponse): number | undefined {
  const { blob, at } = download;
  const encoding = headerOf(response, 'content-encoding') ?? 'identity';
  if (encoding !== 'identity') {
    throw badResponse(place, response, 'packed a blob on its way', { want: 'no Content-Encoding', got: encoding });
  }
  if (response.status === 200) {
    if (contentType(response) === 'text/html') throw badResponse(place, response, 'sent a web page instead of a blob');
    const etag = headerOf(response, 'etag');
    download.etag = etag?.startsWith('"') ? etag : undefined;
    const length = contentLength(response);
    if (length !== undefined && length > blob.size) throw wrongSize(place, blob, length);
    return at;
  }
  const header = headerOf(response, 'content-range') ?? '';
  const range = parseContentRange(header);
  const total = range?.size ?? (/^bytes \*\/\d{1,15}$/.test(header) ? Number(header.slice(8)) : undefined);
  if (total !== undefined && total !== blob.size) throw wrongSize(place, blob, total);
  if (response.status === 206 && range?.start === at) return 0;
  download.ranges = false;
  return undefined;
}

async function* readBody(
  place: Place,
  download: Download,
  response: RegistryResponse,
  skip: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { blob } = download;
  if (signal !== undefined) addAbortSignal(signal, response.body);
  let left = skip;
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    const part = left === 0 ? chunk : chunk.subarray(Math.min(left, chunk.length));
    left -= chunk.length - part.length;
    if (part.length === 0) continue;
    if (part.length > blob.size - download.at) throw wrongSize(place, blob, 'more');
    download.at += part.length;
    yield part;
  }
}

function wrongSize(place: Place, blob: BlobAddress, got: number | string): ImagoError {
  return new ImagoError('SIZE_MISMATCH', `the blob at ${place.transport.registry} is not as long as it should be`, {
    ref: `${place.name}@${blob.digest}`,
    want: `${blob.size} bytes`,
    got,
    remedy: 'the registry, a proxy before it, or the manifest is damaged',
  });
}

function broken(place: Place, { blob, at }: Download, reason: string): ImagoError {
  return new ImagoError('DOWNLOAD_BROKEN', `the download from ${place.transport.registry} broke again and again`, {
    ref: `${place.name}@${blob.digest}`,
    want: `${blob.size} bytes`,
    got: `${at} bytes, then: ${reason}`,
    remedy: 'check the network, then try again: it goes on where it ended',
  });
}
