import { type Digest, isDigest } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { repositoryName } from '../../oci/reference.ts';
import { isRepositoryName } from '../wire/names.ts';
import { type BlobAddress, readBlob, readSmallBlob } from './blob-read.ts';
import { deleteBlob, headBlob, mountBlob } from './blobs.ts';
import {
  deleteManifestOnly,
  type FetchedManifest,
  fetchManifest,
  getManifest,
  headManifest,
  putManifestBytes,
} from './manifests.ts';
import type { Place } from './place.ts';
import { attachReferrer, detachReferrer, hasReferrersApi, listReferrers, subjectOf } from './referrers.ts';
import { resolveTiming } from './retry.ts';
import { listTags } from './tags.ts';
import { openTransport } from './transport.ts';
import type { ClientOptions, Transport } from './types.ts';
import type { OpenSource } from './upload.ts';
import { cancelUpload, type UploadSession } from './upload-session.ts';
import { type UploadOptions, uploadBlob, uploadStream } from './uploads.ts';

export interface Abortable {
  signal?: AbortSignal;
}

/**
 * One repository of a registry: what the distribution spec (v1.1.1) can do with it, with every answer checked. All
 * methods throw the transport's errors; those of their own are told in the files that have them.
 */
export interface Repository extends AsyncDisposable {
  /** `docker.io/library/debian`. */
  readonly name: string;
  /** By tag or digest. Byte-exact, at most 4 MiB, JSON, digest checked. */
  getManifest(reference: string, options?: Abortable): Promise<FetchedManifest>;
  /** Undefined where there is none. */
  headManifest(reference: string, options?: Abortable): Promise<Descriptor | undefined>;
  /**
   * Under a tag or a digest. A manifest with a `subject` is found by `listReferrers` afterwards, also where the registry
   * has no referrers API; `subject` is then that subject.
   */
  putManifest(
    reference: string,
    bytes: Uint8Array,
    mediaType: string,
    options?: Abortable,
  ): Promise<{ digest: Digest; subject?: Digest }>;
  deleteManifest(reference: string, options?: Abortable): Promise<void>;
  /** Size in bytes; undefined where there is none. */
  headBlob(digest: Digest, options?: Abortable): Promise<number | undefined>;
  /** From `offset` to the blob's size exactly, not hashed; goes on by itself after a broken connection. */
  readBlob(blob: BlobAddress, options?: Abortable & { offset?: number }): AsyncIterable<Uint8Array>;
  /** Whole and verified; at most `limit` bytes. */
  readSmallBlob(blob: BlobAddress, limit: number, options?: Abortable): Promise<Buffer>;
  /** `from` is another repository's path on the same registry. False: upload it (the next `uploadBlob` takes less). */
  mountBlob(digest: Digest, from: string, options?: Abortable): Promise<boolean>;
  /** `open` gives the bytes from an offset on; it is called again after a broken connection. */
  uploadBlob(blob: { digest: Digest; size: number }, open: OpenSource, options?: UploadOptions): Promise<void>;
  /** For bytes whose digest is known at their end only. */
  uploadStream(source: AsyncIterable<Uint8Array>, options?: UploadOptions): Promise<{ digest: Digest; size: number }>;
  deleteBlob(digest: Digest, options?: Abortable): Promise<void>;
  listTags(options?: Abortable): AsyncGenerator<string, void, undefined>;
  listReferrers(digest: Digest, options?: Abortable & { artifactType?: string }): Promise<Descriptor[]>;
  /** Takes uploads back that mounts left open, and closes the transport if it was opened here. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Nothing is asked of the registry yet. A `transport` that is given stays the caller's. Throws `BAD_REFERENCE`. */
export function openRepository(
  reference: { domain: string; path: string },
  options: ClientOptions = {},
  transport?: Transport,
): Repository {
  checkName(reference.path);
  const used = transport ?? openTransport(reference.domain, options);
  const name = repositoryName(reference);
  const timing = resolveTiming(options);
  const place: Place = { transport: used, name, path: reference.path, timing, onRetry: options.onRetry };
  /** Uploads that were opened instead of mounts, by the digest that was asked for. */
  const opened = new Map<Digest, UploadSession>();
  const closeOpened = async (digest: Digest): Promise<void> => {
    const session = opened.get(digest);
    opened.delete(digest);
    if (session !== undefined) await cancelUpload(place, session);
  };
  /** Puts that change the same fallback index come one after the other. */
  let noting: Promise<void> = Promise.resolve();
  const note = (work: () => Promise<void>): Promise<void> => {
    const done = noting.then(work);
    noting = done.catch(() => {});
    return done;
  };

  /** The call's own signal, and the client's: both end pauses, too. */
  const either = ({ signal }: Abortable = {}): AbortSignal | undefined =>
    signal !== undefined && options.signal !== undefined
      ? AbortSignal.any([signal, options.signal])
      : (signal ?? options.signal);

  return {
    name,
    getManifest: (reference, call) => getManifest(place, reference, either(call)),
    headManifest: (reference, call) => headManifest(place, reference, either(call)),
    async putManifest(reference, bytes, mediaType, call) {
      const signal = either(call);
      const subject = subjectOf(bytes);
      const put = await putManifestBytes(place, reference, bytes, mediaType, { signal });
      if (subject === undefined) return { digest: put.digest };
      const manifest = { bytes, mediaType, digest: put.digest };
      if (put.subject === undefined) await note(() => attachReferrer(place, manifest, subject, signal));
      return { digest: put.digest, subject };
    },
    async deleteManifest(reference, call) {
      const signal = either(call);
      const manifest = isDigest(reference) ? await fetchManifest(place, reference, [200, 404], signal) : undefined;
      const subject = manifest && subjectOf(manifest.bytes);
      await deleteManifestOnly(place, reference, signal);
      if (manifest === undefined || subject === undefined) return;
      if (await hasReferrersApi(place, subject, signal)) return;
      await note(() => detachReferrer(place, manifest.digest, subject, signal));
    },
    headBlob: (digest, call) => headBlob(place, digest, either(call)),
    readBlob: (blob, call) => readBlob(place, blob, { offset: call?.offset, signal: either(call) }),
    readSmallBlob: (blob, limit, call) => readSmallBlob(place, blob, limit, either(call)),
    async mountBlob(digest, from, call) {
      checkName(from);
      await closeOpened(digest);
      const answer = await mountBlob(place, digest, from, either(call));
      if (answer !== undefined && answer !== 'refused') opened.set(digest, answer);
      return answer === undefined;
    },
    async uploadBlob(blob, open, call) {
      const session = opened.get(blob.digest);
      opened.delete(blob.digest);
      await uploadBlob(place, blob, open, { ...call, signal: either(call), session });
    },
    uploadStream: (source, call) => uploadStream(place, source, { ...call, signal: either(call) }),
    deleteBlob: (digest, call) => deleteBlob(place, digest, either(call)),
    listTags: (call) => listTags(place, either(call)),
    listReferrers: (digest, call) => listReferrers(place, digest, { ...call, signal: either(call) }),
    async [Symbol.asyncDispose]() {
      await Promise.all([...opened.keys()].map(closeOpened));
      if (transport === undefined) used[Symbol.dispose]();
    },
  };
}

function checkName(path: string): void {
  if (isRepositoryName(path)) return;
  throw new ImagoError('BAD_REFERENCE', 'not the name of a repository', { got: JSON.stringify(path.slice(0, 200)) });
}
