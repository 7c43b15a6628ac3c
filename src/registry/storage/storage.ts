import type { Digest } from '../../core/digest.ts';

/** Opaque; two versions of a document or a blob are the same bytes of the same write where these are equal. */
export type Version = string;

/** Bytes of a document. */
export const MAX_DOCUMENT: number = 4 * 2 ** 20;

/** A small piece of data under a key (up to 4 MiB): a tag, a link, a record. */
export interface StoredDocument {
  bytes: Buffer;
  version: Version;
  /** Milliseconds since 1970, by the storage's clock. */
  modified: number;
}

export interface BlobStat {
  /** Bytes. */
  size: number;
  version: Version;
  /** Milliseconds since 1970, by the storage's clock: when it was published last. */
  modified: number;
}

/** Inclusive start, exclusive end, in bytes; both inside of the blob. */
export interface ByteRange {
  start: number;
  end: number;
}

/** Bytes of an open file. The descriptor is good until the stream that it belongs to ended or returned. */
export interface FileBytes {
  fd: number;
  /** Inclusive start, exclusive end. */
  start: number;
  end: number;
  /** `length` bytes at a position of the file, or an error. */
  read(position: number, length: number): Promise<Uint8Array>;
}

/** A stream that can be given back unread. */
export interface ByteStream extends AsyncIterableIterator<Uint8Array, undefined> {
  /** For who can do better than to read: before the first read only. */
  readonly file?: FileBytes;
  return(value?: undefined): Promise<IteratorResult<Uint8Array, undefined>>;
}

export interface OpenBlob {
  /** Bytes of the whole blob. */
  size: number;
  version: Version;
  stream: ByteStream;
}

/** One page of keys below a prefix, in ascending order of their UTF-8 bytes. */
export interface KeyPage {
  keys: { key: string; modified: number }[];
  /** Where the listing goes on: give it as `after`. Undefined at the end. */
  next: string | undefined;
}

/**
 * Documents by key: parts joined by '/', each of 1 to 200 `[A-Za-z0-9._:@+=-]`, no part '.' or '..', 800 characters in
 * all; anything else is `STORAGE_BAD_KEY`. `a` and `a/b` may both be there. Reads see every write that returned before,
 * from any process or replica (files: one machine; S3: strong consistency).
 */
export interface DocumentStorage {
  readDocument(key: string): Promise<StoredDocument | undefined>;
  /**
   * Replaces the document whole and durably. With `expect`, only where it is still that version, or is not there
   * (`'absent'`); otherwise throws `STORAGE_CONFLICT` and changes nothing.
   */
  writeDocument(key: string, bytes: Uint8Array, options?: { expect?: Version | 'absent' }): Promise<Version>;
  /** False where there was none. With `expect`, `STORAGE_CONFLICT` where it is another version by now. */
  deleteDocument(key: string, options?: { expect?: Version }): Promise<boolean>;
  /**
   * Keys that begin with `prefix` (which ends with '/', or is empty), all depths, after the key `after`, at most `limit`
   * (≤ 1000). What is there all the while is listed once, whatever is written meanwhile.
   */
  listDocuments(prefix: string, options?: { after?: string; limit?: number }): Promise<KeyPage>;
}

/** Blobs by digest, whichever repository they are in. What is in here was hashed. */
export interface BlobStorage {
  statBlob(digest: Digest): Promise<BlobStat | undefined>;
  /**
   * Undefined where there is none. `size` is the whole blob's. The stream holds resources until it ended or its
   * `return()` was called, which a loop over it does by itself.
   */
  openBlob(digest: Digest, range?: ByteRange): Promise<OpenBlob | undefined>;
  /** A blob whole that is in memory already, digest checked by the caller: manifests. */
  putBlob(digest: Digest, bytes: Uint8Array): Promise<void>;
  /** Takes a blob away if it is still that version; false where it is not (published again meanwhile, or gone). */
  removeBlob(digest: Digest, version: Version): Promise<boolean>;
  listBlobs(options?: { after?: string; limit?: number }): Promise<{ digests: Digest[]; next: string | undefined }>;
}

/** A blob that is coming in. */
export interface UploadStat {
  id: string;
  /** Bytes that are durable enough to go on after. */
  size: number;
  started: number;
  modified: number;
  /** The repository it was opened in. */
  repository: string;
}

/**
 * Uploads: appended to in order, then published under a digest or discarded. Any replica can go on with one. What names
 * an upload that is not there ends with `UPLOAD_UNKNOWN`, except `statUpload` (undefined) and `discardUpload` (nothing).
 */
export interface UploadStorage {
  createUpload(repository: string): Promise<UploadStat>;
  statUpload(id: string): Promise<UploadStat | undefined>;
  /**
   * Appends, and resolves with the new size. `offset` must be the present size, else `UPLOAD_OFFSET` with what was
   * wanted. Where the source ends with an error, what came in so far may stay (`statUpload` tells). Two appends at once:
   * one of them gets `UPLOAD_BUSY`. `done` may be called with a chunk of the source that is needed no more.
   */
  appendUpload(
    id: string,
    offset: number,
    source: AsyncIterable<Uint8Array>,
    done?: (chunk: Uint8Array) => void,
  ): Promise<number>;
  /** All bytes so far, for hashing them again where the hash of an earlier request is not at hand. */
  readUpload(id: string): Promise<ByteStream>;
  /**
   * Makes the upload's bytes the blob of that digest (checked by the caller), durably, and ends the upload. Replaces a
   * blob of the same digest: same bytes, new version. `size` is how many bytes were hashed: where the upload has others by
   * now, `UPLOAD_OFFSET`, and nothing is published.
   */
  publishUpload(id: string, digest: Digest, size: number): Promise<void>;
  discardUpload(id: string): Promise<void>;
  listUploads(options?: {
    after?: string;
    limit?: number;
  }): Promise<{ uploads: UploadStat[]; next: string | undefined }>;
}

/** What a registry keeps things in: files of one machine, or a bucket that any number of replicas share. */
export interface RegistryStorage extends DocumentStorage, BlobStorage, UploadStorage {
  /**
   * Takes away what killed processes left that belongs to no blob, document or upload, and was written longer than
   * `maxAgeMs` ago. Uploads are not touched. Any number may run at once.
   */
  sweep(options: {
    maxAgeMs: number;
    dryRun?: boolean;
    signal?: AbortSignal;
  }): Promise<{ bytes: number; count: number }>;
  /** For logs and errors: `files /srv/registry`, `s3://bucket/prefix`. No secrets. */
  readonly title: string;
  /** Throws where the storage cannot be read and written; readiness asks it. */
  check(): Promise<void>;
  close(): Promise<void>;
}
