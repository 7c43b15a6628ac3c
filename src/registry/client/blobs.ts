import type { Digest } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';
import { parseContentRange } from '../wire/ranges.ts';
import { badResponse, contentLength, discard, headerOf, type Place, scopesFor } from './place.ts';
import { sessionOf, type UploadSession } from './upload-session.ts';

/** A blob's size in bytes; undefined where the repository does not have it. */
export async function headBlob(place: Place, digest: Digest, signal?: AbortSignal): Promise<number | undefined> {
  const ask = { target: target(place, digest), scopes: scopesFor(place, 'pull'), signal };
  const head = await place.transport.request({ ...ask, method: 'HEAD', answers: [200, 404, 405] });
  discard(head, 'HEAD');
  if (head.status === 404) return undefined;
  const size = contentLength(head);
  if (head.status === 200 && size !== undefined) return size;
  // Its size is in the answer to a request for its first byte.
  const headers = { range: 'bytes=0-0', 'accept-encoding': 'identity' };
  const first = await place.transport.request({ ...ask, method: 'GET', headers, answers: [200, 206, 404, 416] });
  discard(first);
  if (first.status === 404) return undefined;
  const range = headerOf(first, 'content-range') ?? '';
  const told = first.status === 200 ? contentLength(first) : parseContentRange(range)?.size;
  if (told !== undefined) return told;
  // An empty blob has no first byte.
  if (first.status === 416 && (range === '' || range === 'bytes */0')) return 0;
  throw badResponse(place, first, 'does not say how long a blob is', { want: 'Content-Length' });
}

/** Throws the transport's errors: `UNSUPPORTED` where the registry does not delete, `BLOB_UNKNOWN`. */
export async function deleteBlob(place: Place, digest: Digest, signal?: AbortSignal): Promise<void> {
  const response = await place.transport.request({
    method: 'DELETE',
    target: target(place, digest),
    scopes: scopesFor(place, 'delete'),
    answers: [200, 202, 204],
    signal,
  });
  discard(response);
}

/**
 * Asks the registry to take a blob over from another of its repositories. Undefined where it did; else the upload that
 * it opened instead, or 'refused' where it opened none (no such repository, or not for this user).
 */
export async function mountBlob(
  place: Place,
  digest: Digest,
  from: string,
  signal?: AbortSignal,
): Promise<UploadSession | 'refused' | undefined> {
  const query = `mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(from)}`;
  try {
    const response = await place.transport.request({
      method: 'POST',
      target: `/v2/${place.path}/blobs/uploads/?${query}`,
      headers: { 'content-length': '0' },
      scopes: [...scopesFor(place, 'push'), `repository:${from}:pull`],
      answers: [201, 202],
      retry: true,
      signal,
    });
    discard(response);
    return response.status === 201 ? undefined : sessionOf(place, response);
  } catch (error) {
    if (error instanceof ImagoError && REFUSALS.has(error.code)) return 'refused';
    throw error;
  }
}

/** Of a mount: an upload may still do, and tells the reason if it does not. */
const REFUSALS: ReadonlySet<string> = new Set([
  'BLOB_UNKNOWN',
  'DENIED',
  'NAME_UNKNOWN',
  'NOT_FOUND',
  'UNAUTHORIZED',
  'UNSUPPORTED',
]);

function target(place: Place, digest: Digest): string {
  return `/v2/${place.path}/blobs/${digest}`;
}
