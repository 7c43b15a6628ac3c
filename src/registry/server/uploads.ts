import { type Digest, type DigestAlgorithm, digestAlgorithm, isDigest } from '../../core/digest.ts';
import { isImagoError } from '../../core/errors.ts';
import type { UploadStat } from '../storage/storage.ts';
import { WIRE_ERRORS } from '../wire/errors.ts';
import { formatUploadRange, parseUploadRange } from '../wire/ranges.ts';
import { announcedLength, checkAnnounced, freeChunk, readBody } from './body.ts';
import type { Exchange } from './exchange.ts';
import { WireFailure } from './failure.ts';
import { hashStream, RunningHash } from './hash-state.ts';
import { mountBlob } from './mounts.ts';
import { linkBlob } from './repositories.ts';
import { sendBytes } from './responses.ts';
import { badDigest } from './route.ts';

/**
 * `POST`: mounts a blob, takes one whole (`?digest=`), or opens an upload. OCI distribution-spec v1.1.1 §Pushing blobs;
 * `?digest-algorithm=` is of 1.2.
 */
export async function startUpload(exchange: Exchange, repository: string): Promise<void> {
  const { registry, query } = exchange;
  const mount = query.get('mount');
  if (mount !== null) {
    if (!isDigest(mount)) throw badDigest(mount);
    if (await mountBlob(exchange, repository, mount, query.get('from')))
      return sendCreated(exchange, repository, mount);
  }
  const digest = digestParameter(query.get('digest'));
  const algorithm = digest === undefined ? algorithmParameter(query.get('digest-algorithm')) : digestAlgorithm(digest);
  if (digest !== undefined) checkAnnounced(exchange.request, { limit: registry.limits.blobBytes });
  const upload = await registry.openUploads.open(repository);
  registry.hashes.keep(upload.id, new RunningHash(algorithm));
  if (digest === undefined) return sendProgress(exchange, 202, upload);
  try {
    await receive(exchange, upload, undefined);
  } catch (error) {
    // Nobody was told of this upload: nobody can go on with it.
    await discard(exchange, upload).catch(() => undefined);
    throw error;
  }
  await finish(exchange, upload, digest);
}

/** `PATCH`: a chunk at an offset (`Content-Range`), or whatever comes. */
export async function continueUpload(exchange: Exchange, repository: string, id: string): Promise<void> {
  const upload = await statUpload(exchange, repository, id);
  const size = await receive(exchange, upload, chunkOf(exchange, upload));
  sendProgress(exchange, 202, { ...upload, size });
}

/** `PUT`: the last chunk, where there is a body; then the whole becomes a blob, if its digest is the promised one. */
export async function finishUpload(exchange: Exchange, repository: string, id: string): Promise<void> {
  const digest = digestParameter(exchange.query.get('digest'));
  if (digest === undefined) throw badDigest('');
  const upload = await statUpload(exchange, repository, id);
  const chunk = chunkOf(exchange, upload);
  if (announcedLength(exchange.request) !== 0) {
    if (upload.size === 0) exchange.registry.hashes.keep(id, new RunningHash(digestAlgorithm(digest)));
    upload.size = await receive(exchange, upload, chunk);
  }
  await finish(exchange, upload, digest);
}

/** `GET`: where to go on. */
export async function getUpload(exchange: Exchange, repository: string, id: string): Promise<void> {
  sendProgress(exchange, 204, await statUpload(exchange, repository, id));
}

export async function cancelUpload(exchange: Exchange, repository: string, id: string): Promise<void> {
  await discard(exchange, await statUpload(exchange, repository, id));
  sendBytes(exchange, 204, {});
}

async function statUpload({ registry }: Exchange, repository: string, id: string): Promise<UploadStat> {
  const upload = await registry.storage.statUpload(id);
  if (upload?.repository === repository) return upload;
  throw new WireFailure(WIRE_ERRORS.blobUploadUnknown, 'no such upload: it was finished, cancelled or is too old');
}

async function discard({ registry }: Exchange, upload: UploadStat): Promise<void> {
  registry.hashes.forget(upload.id);
  await registry.storage.discardUpload(upload.id);
  registry.openUploads.ended(upload.repository);
}

/** The length that `Content-Range` promises. Throws 416 where the chunk is not the next one. */
function chunkOf({ request }: Exchange, upload: UploadStat): number | undefined {
  const header = request.headers['content-range'];
  if (header === undefined) return undefined;
  const span = parseUploadRange(header);
  if (span === undefined) {
    // What Go's registry client sends with an empty last chunk.
    if (announcedLength(request) === 0) return undefined;
    throw new WireFailure(WIRE_ERRORS.blobUploadInvalid, 'Content-Range is not of the form <start>-<end>', {
      detail: { 'Content-Range': header.slice(0, 100) },
    });
  }
  if (span.start !== upload.size) throw outOfOrder(upload, span.start);
  return span.end - span.start;
}

function outOfOrder(upload: UploadStat, got: number): WireFailure {
  return new WireFailure(WIRE_ERRORS.rangeInvalid, `the next byte of the upload is ${upload.size}, not ${got}`, {
    detail: { want: upload.size, got },
    headers: progressHeaders(upload),
  });
}

/** Appends the request's body, hashing it on the way. Resolves with the upload's new size. */
async function receive(exchange: Exchange, upload: UploadStat, exact: number | undefined): Promise<number> {
  const { registry } = exchange;
  const { storage, hashes, limits } = registry;
  const limit = limits.blobBytes - upload.size;
  checkAnnounced(exchange.request, { limit, exact });
  const hash = hashes.take(upload.id, upload.size);
  const onChunk = hash === undefined ? undefined : (chunk: Buffer): void => hash.update(chunk);
  const body = readBody(exchange, { limit, exact, onChunk });
  let size: number;
  try {
    size = await storage.appendUpload(upload.id, upload.size, body, freeChunk);
  } catch (error) {
    throw await explain(exchange, upload, error);
  }
  if (hash?.size === size) hashes.keep(upload.id, hash);
  return size;
}

/** The storage's refusals in the protocol's words. */
async function explain({ registry }: Exchange, upload: UploadStat, error: unknown): Promise<unknown> {
  if (isImagoError(error, 'UPLOAD_OFFSET')) {
    const now = await registry.storage.statUpload(upload.id);
    return now === undefined ? error : outOfOrder(now, upload.size);
  }
  if (isImagoError(error, 'UPLOAD_BUSY')) {
    return new WireFailure(WIRE_ERRORS.blobUploadInvalid, 'another request is writing to this upload', {
      status: 409,
      headers: { ...progressHeaders(upload), 'Retry-After': '1' },
      cause: error,
    });
  }
  if (isImagoError(error, 'UPLOAD_UNKNOWN')) {
    return new WireFailure(WIRE_ERRORS.blobUploadUnknown, 'the upload was finished or cancelled meanwhile');
  }
  return error;
}

async function finish(exchange: Exchange, upload: UploadStat, digest: Digest): Promise<void> {
  const { registry } = exchange;
  let hash: RunningHash;
  try {
    hash = await hashUpload(exchange, upload, digestAlgorithm(digest));
    const real = hash.digest();
    if (real !== digest) {
      await discard(exchange, upload).catch(() => undefined);
      throw new WireFailure(WIRE_ERRORS.digestInvalid, 'the blob has another digest than was promised', {
        detail: { want: digest, got: real, size: hash.size },
      });
    }
    // Of that size only: what another request appends by now was not hashed.
    await registry.storage.publishUpload(upload.id, digest, hash.size);
  } catch (error) {
    throw await explain(exchange, upload, error);
  }
  registry.openUploads.ended(upload.repository);
  await linkBlob(registry, upload.repository, digest, hash.size);
  sendCreated(exchange, upload.repository, digest);
}

/** The hash of what came in: kept since, or made of the stored bytes (another replica's, another algorithm). */
async function hashUpload(
  { registry }: Exchange,
  upload: UploadStat,
  algorithm: DigestAlgorithm,
): Promise<RunningHash> {
  const now = await registry.storage.statUpload(upload.id);
  const kept = now && registry.hashes.take(upload.id, now.size);
  return kept?.algorithm === algorithm ? kept : hashStream(await registry.storage.readUpload(upload.id), algorithm);
}

function sendCreated(exchange: Exchange, repository: string, digest: Digest): void {
  sendBytes(exchange, 201, { Location: `/v2/${repository}/blobs/${digest}`, 'Docker-Content-Digest': digest });
}

function sendProgress(exchange: Exchange, status: 202 | 204, upload: UploadStat): void {
  sendBytes(exchange, status, progressHeaders(upload));
}

/** Relative, so that it is right behind any proxy. */
function progressHeaders(upload: UploadStat): Record<string, string> {
  return {
    Location: `/v2/${upload.repository}/blobs/uploads/${upload.id}`,
    Range: formatUploadRange(upload.size),
    'Docker-Upload-UUID': upload.id,
  };
}

function digestParameter(text: string | null): Digest | undefined {
  if (text === null) return undefined;
  if (isDigest(text)) return text;
  throw badDigest(text);
}

function algorithmParameter(text: string | null): DigestAlgorithm {
  if (text === null || text === 'sha256') return 'sha256';
  if (text === 'sha512') return 'sha512';
  throw new WireFailure(WIRE_ERRORS.digestInvalid, 'unsupported digest algorithm: sha256 and sha512 are supported', {
    detail: { 'digest-algorithm': text.slice(0, 100) },
  });
}
