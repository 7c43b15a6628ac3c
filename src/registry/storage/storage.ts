import type { Digest } from '../../core/digest.ts';

/** Opaque; two versions of a document or a blob are the same bytes of the same write where these are equal. */
export type Version = string;

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

/** One page of keys below a prefix, in ascending order of their UTF-8 bytes. */
export interface KeyPage {
  keys: { key: string; modified: number }[];
  /** Where the listing goes on: give it as `after`. Undefined at the end. */
  next: string | undefined;
}

/**
 * Documents by key: parts joined by '/', each of `[A-Za-z0-9._:@+=-]`, no part empty, '.' or '..'. Reads see every
 * write that returned before, from any process or replica (files: one machine; S3: strong consistency).
 */
export interface DocumentStorage {
  readDocument(key: string): Promise<StoredDocument | undefined>;
  /**
   * Replaces the document whole and durably. With `expect`, only where it is still that version, or is not there
   * (`'absent'`); otherwise throws `STORAGE_CONFLICT` and changes nothing.
   */
  writeDocument(key: string, bytes: Uint8Array, options?: { expect?: Version | 'absent' }): Promise<Version>;
  /** False where there was none. */
  deleteDocument(key: string): Promise<boolean>;
  /** Keys that begin with `prefix` (which ends with '/'), all depths, after the key `after`, at most `limit` (≤ 1000). */
  listDocuments(prefix: string, options?: { after?: string; limit?: number }): Promise<KeyPage>;
}

/** Blobs by digest, whichever repository they are in. What is in here was hashed. */
export interface BlobStorage {
  statBlob(digest: Digest): Promise<BlobStat | undefined>;
  /** Undefined where there is none. The caller consumes the stream or returns it. */
  openBlob(digest: Digest, range?: ByteRange): Promise<{ size: number; stream: AsyncIterable<Uint8Array> } | undefined>;
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

/** Uploads: appended to in order, then published under a digest or discarded. Any replica can go on with one. */
export interface UploadStorage {
  createUpload(repository: string): Promise<UploadStat>;
  statUpload(id: string): Promise<UploadStat | undefined>;
  /**
   * Appends, and resolves with the new size. `offset` must be the present size, else `UPLOAD_OFFSET` with what was
   * wanted. Where the source ends with an error, what came in so far may stay (`statUpload` tells). Two appends at once:
   * one of them gets `UPLOAD_BUSY`.
   */
  appendUpload(id: string, offset: number, source: AsyncIterable<Uint8Array>): Promise<number>;
  /** All bytes so far, for hashing them again where the hash of an earlier request is not at hand. */
  readUpload(id: string): Promise<AsyncIterable<Uint8Array>>;
  /**
   * Makes the upload's bytes the blob of that digest (checked by the caller), durably, and ends the upload. Replaces a
   * blob of the same digest: same bytes, new version.
   */
  publishUpload(id: string, digest: Digest): Promise<void>;
  discardUpload(id: string): Promise<void>;
  listUploads(options?: {
    after?: string;
    limit?: number;
  }): Promise<{ uploads: UploadStat[]; next: string | undefined }>;
}

/** What a registry keeps things in: files of one machine, or a bucket that any number of replicas share. */
export interface RegistryStorage extends DocumentStorage, BlobStorage, UploadStorage {
  /** For logs and errors: `files /srv/registry`, `s3://bucket/prefix`. No secrets. */
  readonly title: string;
  /** Throws where the storage cannot be read and written; readiness asks it. */
  check(): Promise<void>;
  close(): Promise<void>;
}
