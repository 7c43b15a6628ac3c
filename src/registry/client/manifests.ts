import { createHash } from 'node:crypto';
import { type Digest, digestAlgorithm, isDigest } from '../../core/digest.ts';
import { ImagoError, isImagoError } from '../../core/errors.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { parseJson } from '../../oci/json.ts';
import { MEDIA_TYPES } from '../../oci/media-types.ts';
import { isTag } from '../wire/names.ts';
import {
  badResponse,
  contentLength,
  contentType,
  discard,
  headerOf,
  type Place,
  requestWhole,
  scopesFor,
} from './place.ts';
import type { RegistryRequest, RegistryResponse } from './types.ts';

export interface FetchedManifest {
  /** Byte-exact: what the digest is of. */
  bytes: Buffer;
  mediaType: string;
  digest: Digest;
}

/** 4 MiB: the bound of the distribution spec, and of other clients. */
const MAX_MANIFEST = 4 * 1024 * 1024;

/** Schema 1 as well, so that a registry that has nothing else sends it, and the error can say so. */
const ACCEPT: string = [
  MEDIA_TYPES.index,
  MEDIA_TYPES.manifest,
  MEDIA_TYPES.dockerList,
  MEDIA_TYPES.dockerManifest,
  `${MEDIA_TYPES.dockerSchema1Signed};q=0.2`,
  `${MEDIA_TYPES.dockerSchema1};q=0.2`,
  '*/*;q=0.1',
].join(', ');

/** Types that say nothing about a manifest's kind; some registries and proxies send them. */
const VAGUE: ReadonlySet<string> = new Set([
  'application/json',
  'application/octet-stream',
  'binary/octet-stream',
  'text/json',
  'text/plain',
]);

/**
 * Throws `BAD_MANIFEST` (not JSON, too large), `DIGEST_MISMATCH`, and the transport's errors. The digest is checked
 * where it was asked for, and against Docker-Content-Digest.
 */
export async function getManifest(place: Place, reference: string, signal?: AbortSignal): Promise<FetchedManifest> {
  return (await fetchManifest(place, reference, [200], signal))!;
}

/** `getManifest` with the answer's ETag; undefined for 404 where `answers` has it. */
export async function fetchManifest(
  place: Place,
  reference: string,
  answers: readonly number[],
  signal?: AbortSignal,
): Promise<(FetchedManifest & { etag: string | undefined }) | undefined> {
  const request = manifestRequest(place, 'GET', reference, answers, signal);
  const { response, bytes } = await requestWhole(place, request, MAX_MANIFEST, (answer) => {
    if (answer.status === 200 && contentType(answer) === 'text/html') {
      throw badResponse(place, answer, 'sent a web page instead of a manifest');
    }
    return answer.status === 200;
  }).catch((error: unknown) => {
    throw isImagoError(error, 'RESPONSE_TOO_LARGE') ? tooLarge(place, reference, error) : error;
  });
  if (bytes === undefined) return undefined;
  const type = contentType(response);
  const digest = checkDigest(place, reference, response, bytes);
  const root = parseJson(bytes, 'BAD_MANIFEST', `manifest ${named(place, reference)}`);
  const own = root.get('mediaType').value;
  let mediaType = type;
  if (mediaType === undefined || VAGUE.has(mediaType)) {
    const guess = root.get('manifests').present ? MEDIA_TYPES.index : MEDIA_TYPES.manifest;
    mediaType = typeof own === 'string' && own !== '' ? own : guess;
  }
  return { bytes, mediaType, digest, etag: headerOf(response, 'etag') };
}

/**
 * What a tag or a digest names, without its bytes; undefined where the registry does not have it. Where a registry's
 * answer to HEAD lacks something, it is a GET.
 */
export async function headManifest(
  place: Place,
  reference: string,
  signal?: AbortSignal,
): Promise<Descriptor | undefined> {
  const response = await place.transport.request(manifestRequest(place, 'HEAD', reference, [200, 404, 405], signal));
  discard(response, 'HEAD');
  if (response.status === 404) return undefined;
  const digest = headerOf(response, 'docker-content-digest') ?? (isDigest(reference) ? reference : '');
  const size = contentLength(response);
  const mediaType = contentType(response) ?? '';
  const told = mediaType !== '' && mediaType !== 'text/html' && !VAGUE.has(mediaType);
  const agreed = !isDigest(reference) || digest === reference;
  if (response.status === 200 && told && isDigest(digest) && agreed && size !== undefined && size > 0) {
    return { mediaType, digest, size };
  }
  const manifest = await fetchManifest(place, reference, [200, 404], signal);
  return manifest && { mediaType: manifest.mediaType, digest: manifest.digest, size: manifest.bytes.length };
}

/** Returns the digest, and the subject that the registry says it has noted (OCI-Subject). */
export async function putManifestBytes(
  place: Place,
  reference: string,
  bytes: Uint8Array,
  mediaType: string,
  options: { condition?: Record<string, string>; answers?: readonly number[]; signal?: AbortSignal } = {},
): Promise<{ status: number; digest: Digest; subject: Digest | undefined }> {
  checkReference(reference);
  const computed = digestOf(bytes, isDigest(reference) ? digestAlgorithm(reference) : 'sha256');
  if (isDigest(reference) && reference !== computed) throw otherDigest(place, reference, reference, computed);
  const response = await place.transport.request({
    method: 'PUT',
    target: target(place, reference),
    headers: { 'content-type': mediaType, 'content-length': String(bytes.length), ...options.condition },
    body: bytes,
    scopes: scopesFor(place, 'push'),
    answers: [200, 201, 202, ...(options.answers ?? [])],
    signal: options.signal,
  });
  discard(response);
  const { status } = response;
  if (status > 202) return { status, digest: computed, subject: undefined };
  const told = headerOf(response, 'docker-content-digest');
  if (told !== undefined && (!isDigest(told) || digestOf(bytes, digestAlgorithm(told)) !== told)) {
    throw otherDigest(place, reference, computed, told);
  }
  const subject = headerOf(response, 'oci-subject');
  const digest = told === undefined || isDigest(reference) ? computed : told;
  return { status, digest, subject: subject !== undefined && isDigest(subject) ? subject : undefined };
}

/** A digest takes the manifest and its tags away, a tag only itself, where the registry can do that. */
export async function deleteManifestOnly(place: Place, reference: string, signal?: AbortSignal): Promise<void> {
  checkReference(reference);
  const response = await place.transport.request({
    method: 'DELETE',
    target: target(place, reference),
    scopes: scopesFor(place, 'delete'),
    answers: [200, 202, 204],
    signal,
  });
  discard(response);
}

function digestOf(bytes: Uint8Array, algorithm: 'sha256' | 'sha512' = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** What goes into a URL's path must be a tag or a digest, nothing that leads elsewhere. */
function checkReference(reference: string): void {
  if (isTag(reference) || isDigest(reference)) return;
  throw new ImagoError('BAD_REFERENCE', 'this is neither a tag nor a digest', {
    got: JSON.stringify(reference.slice(0, 200)),
  });
}

function manifestRequest(
  place: Place,
  method: 'GET' | 'HEAD',
  reference: string,
  answers: readonly number[],
  signal: AbortSignal | undefined,
): RegistryRequest {
  checkReference(reference);
  return {
    method,
    target: target(place, reference),
    headers: { accept: ACCEPT },
    scopes: scopesFor(place, 'pull'),
    answers,
    signal,
  };
}

/** The digest that was asked for, or the registry's own, of these very bytes. */
function checkDigest(place: Place, reference: string, response: RegistryResponse, bytes: Buffer): Digest {
  if (isDigest(reference)) {
    const got = digestOf(bytes, digestAlgorithm(reference));
    if (got !== reference) throw otherDigest(place, reference, reference, got);
  }
  const told = headerOf(response, 'docker-content-digest');
  if (told === undefined) return isDigest(reference) ? reference : digestOf(bytes);
  const got = isDigest(told) ? digestOf(bytes, digestAlgorithm(told)) : digestOf(bytes);
  if (got !== told) throw otherDigest(place, reference, told.slice(0, 200), got);
  return isDigest(reference) ? reference : got;
}

function target(place: Place, reference: string): string {
  return `/v2/${place.path}/manifests/${reference}`;
}

function named(place: Place, reference: string): string {
  return `${place.name}${isDigest(reference) ? '@' : ':'}${reference}`;
}

function tooLarge(place: Place, reference: string, cause: ImagoError): ImagoError {
  return new ImagoError('BAD_MANIFEST', `manifest ${named(place, reference)} is too large`, {
    ref: place.name,
    want: `at most ${MAX_MANIFEST} bytes`,
    got: cause.details.got,
    cause,
  });
}

function otherDigest(place: Place, reference: string, want: string, got: string): ImagoError {
  return new ImagoError('DIGEST_MISMATCH', `manifest ${named(place, reference)} is not what its digest says`, {
    ref: place.name,
    want,
    got,
    remedy: 'the registry or a proxy before it is damaged',
  });
}
