import type { Digest } from '../../core/digest.ts';
import type { BlobStat, Version } from '../storage/storage.ts';
import { type CondemnedRecord, decodeDocument, encodeDocument, touchDocument } from './documents.ts';
import { blobLinkKey, catalogKey, condemnedKey } from './keys.ts';
import type { Registry } from './registry.ts';

/** A link younger than this is not written again when a client is told that the blob exists; far below any grace period. */
const TOUCH_MS = 10 * 60_000;

const EMPTY = Buffer.from('{}');

/** Makes the repository known to the catalog. */
export async function ensureRepository({ storage }: Registry, repository: string): Promise<void> {
  const key = catalogKey(repository);
  if ((await storage.readDocument(key)) === undefined) await storage.writeDocument(key, EMPTY);
}

export async function isRepositoryKnown({ storage }: Registry, repository: string): Promise<boolean> {
  return (await storage.readDocument(catalogKey(repository))) !== undefined;
}

/** A blob of a repository: linked by it, and there. */
export async function findBlob(
  { storage }: Registry,
  repository: string,
  digest: Digest,
): Promise<BlobStat | undefined> {
  if ((await storage.readDocument(blobLinkKey(repository, digest))) === undefined) return undefined;
  return storage.statBlob(digest);
}

/**
 * As `findBlob`, for a client that won't upload the blob where it is told that it exists: the collector's grace period
 * begins anew. A blob that is about to be collected does not exist: the client uploads it again.
 */
export async function findBlobForPush(
  registry: Registry,
  repository: string,
  digest: Digest,
): Promise<BlobStat | undefined> {
  const link = await touchDocument(registry.storage, blobLinkKey(repository, digest), TOUCH_MS);
  return link && findUncondemned(registry, digest);
}

/** Links a blob that is there (just published, or of another repository). */
export async function linkBlob(registry: Registry, repository: string, digest: Digest, size: number): Promise<void> {
  await Promise.all([
    ensureRepository(registry, repository),
    registry.storage.writeDocument(blobLinkKey(repository, digest), encodeDocument({ size })),
  ]);
}

/** False where it was not linked. Its bytes stay until the collector finds that nothing needs them. */
export function unlinkBlob({ storage }: Registry, repository: string, digest: Digest): Promise<boolean> {
  return storage.deleteDocument(blobLinkKey(repository, digest));
}

/**
 * A blob that is there, and that the collector is not about to remove. To be asked after the link or manifest that needs
 * it was written: the collector condemns first and looks for links and manifests then, so one of both sees the other.
 */
export async function findUncondemned(registry: Registry, digest: Digest): Promise<BlobStat | undefined> {
  const condemned = await readCondemned(registry, digest);
  // Only now: a verdict that was carried out took the blob first, and the record after it.
  const stat = await registry.storage.statBlob(digest);
  return stat === undefined || stat.version === condemned ? undefined : stat;
}

/** The version of the blob that is about to be removed. */
export async function readCondemned({ storage }: Registry, digest: Digest): Promise<Version | undefined> {
  const document = await storage.readDocument(condemnedKey(digest));
  return document && decodeDocument<CondemnedRecord>(document).version;
}
