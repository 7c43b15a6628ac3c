import type { Digest } from '../../core/digest.ts';
import type { StoredDocument, Version } from '../storage/storage.ts';

/** `_manifests/ALG/HEX`: what the repository answers this manifest as. */
export interface ManifestLink {
  mediaType: string;
  /** Bytes. */
  size: number;
  subject?: Digest;
}

/** `_tags/TAG`. */
export interface TagRecord {
  mediaType: string;
  digest: Digest;
  /** Bytes. */
  size: number;
}

/** `_blobs/ALG/HEX`. When it was written says when a client was told last that the blob is here. */
export interface BlobLink {
  /** Bytes. */
  size: number;
}

/** `_referrers/…`: a descriptor as the referrers API answers it. OCI distribution-spec v1.1.1 §Listing Referrers. */
export interface Referrer {
  mediaType: string;
  digest: Digest;
  /** Bytes. */
  size: number;
  artifactType?: string;
  annotations?: Record<string, string>;
}

/** `gc/condemned/ALG/HEX`: the blob is about to be removed, if it is still of that version. */
export interface CondemnedRecord {
  version: Version;
}

/** Documents are our own writing: compact JSON. */
export function encodeDocument(value: ManifestLink | TagRecord | BlobLink | Referrer | CondemnedRecord): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** Reads a document that this registry wrote. Throws a `SyntaxError` for one that is damaged. */
export function decodeDocument<T>(document: StoredDocument): T {
  return JSON.parse(document.bytes.toString('utf8')) as T;
}
