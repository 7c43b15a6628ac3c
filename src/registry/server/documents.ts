import type { Digest } from '../../core/digest.ts';
import { isImagoError } from '../../core/errors.ts';
import type { DocumentStorage, StoredDocument, Version } from '../storage/storage.ts';

/**
 * `_manifests/ALG/HEX`: what the repository answers this manifest as. In a pull-through cache, when it was written says
 * when a client asked for it last.
 */
export interface ManifestLink {
  mediaType: string;
  /** Bytes. */
  size: number;
  subject?: Digest;
}

/** A manifest of a repository. */
export interface FoundManifest extends ManifestLink {
  digest: Digest;
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

/**
 * Reads a document whose time says when it was needed last, and writes it again, as it is, where that is longer than
 * `staleMs` ago. Undefined where it is not there, or no longer: who gets it has been seen to need it.
 */
export async function touchDocument(
  storage: DocumentStorage,
  key: string,
  staleMs: number,
): Promise<StoredDocument | undefined> {
  const document = await storage.readDocument(key);
  if (document === undefined || Date.now() - document.modified <= staleMs) return document;
  try {
    await storage.writeDocument(key, document.bytes, { expect: document.version });
    return document;
  } catch (error) {
    if (!isImagoError(error, 'STORAGE_CONFLICT')) throw error;
    // Touched by another request, or deleted.
    return storage.readDocument(key);
  }
}

/** Deletes a document if it is still that version: false where it was written again meanwhile, or is gone. */
export async function deleteVersion(storage: DocumentStorage, key: string, version: Version): Promise<boolean> {
  try {
    return await storage.deleteDocument(key, { expect: version });
  } catch (error) {
    if (isImagoError(error, 'STORAGE_CONFLICT')) return false;
    throw error;
  }
}
