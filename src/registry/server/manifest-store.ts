import { type Digest, digestAlgorithm } from '../../core/digest.ts';
import { ImagoError, isImagoError } from '../../core/errors.ts';
import type { Version } from '../storage/storage.ts';
import { WIRE_ERRORS } from '../wire/errors.ts';
import { isCollecting } from './collect-lease.ts';
import {
  decodeDocument,
  deleteVersion,
  encodeDocument,
  type FoundManifest,
  type ManifestLink,
  type Referrer,
  type TagRecord,
} from './documents.ts';
import { WireFailure } from './failure.ts';
import { hashBytes } from './hash-state.ts';
import { manifestKey, referrerKey, tagKey, tagsPrefix } from './keys.ts';
import { mapBounded } from './parallel.ts';
import { type ManifestFacts, readManifestFacts } from './references.ts';
import type { Registry } from './registry.ts';
import { ensureRepository, findBlob, findUncondemned, linkBlob, readCondemned } from './repositories.ts';
import type { ManifestReference } from './route.ts';

async function readTag({ storage }: Registry, repository: string, tag: string): Promise<TagRecord | undefined> {
  const document = await storage.readDocument(tagKey(repository, tag));
  return document && decodeDocument<TagRecord>(document);
}

/** Reads afresh what the repository says: another replica may have moved a tag or deleted a manifest just now. */
export async function findManifest(
  registry: Registry,
  repository: string,
  reference: ManifestReference,
): Promise<FoundManifest | undefined> {
  const digest = reference.digest ?? (await readTag(registry, repository, reference.tag))?.digest;
  if (digest === undefined) return undefined;
  const document = await registry.storage.readDocument(manifestKey(repository, digest));
  return document && { digest, ...decodeDocument<ManifestLink>(document) };
}

/** The bytes of a manifest that a repository has. Undefined where they were collected meanwhile. */
export async function readManifestBytes(registry: Registry, digest: Digest): Promise<Buffer | undefined> {
  const kept = registry.manifests.get(digest);
  if (kept !== undefined) return kept;
  const blob = await registry.storage.openBlob(digest);
  if (blob === undefined) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of blob.stream) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  if (hashBytes(bytes, digestAlgorithm(digest)) !== digest) {
    throw new ImagoError('STORAGE_DAMAGED', 'a manifest in the storage has other bytes than were pushed', {
      ref: digest,
      remedy: 'push it again, or restore it from a backup',
    });
  }
  registry.manifests.add(digest, bytes);
  return bytes;
}

export interface NewManifest {
  bytes: Buffer;
  /** Checked to be the bytes'. */
  digest: Digest;
  facts: ManifestFacts;
}

/** Throws the `WireFailure` that a pusher is told. */
export function checkManifest(registry: Registry, bytes: Buffer, contentType: string, digest?: Digest): NewManifest {
  const real = hashBytes(bytes, digest === undefined ? 'sha256' : digestAlgorithm(digest));
  if (digest !== undefined && digest !== real) {
    throw new WireFailure(WIRE_ERRORS.digestInvalid, 'the manifest has another digest than the path says', {
      detail: { want: digest, got: real },
    });
  }
  let facts: ManifestFacts;
  try {
    facts = readManifestFacts(bytes, contentType);
  } catch (error) {
    // The parser's only other errors are our own faults.
    if (!(error instanceof ImagoError)) throw error;
    throw new WireFailure(WIRE_ERRORS.manifestInvalid, error.message, { cause: error });
  }
  if (facts.blobs.length + facts.children.length > registry.limits.referencesPerManifest) {
    throw new WireFailure(WIRE_ERRORS.manifestInvalid, 'the manifest names too many blobs and manifests', {
      detail: { limit: registry.limits.referencesPerManifest },
    });
  }
  return { bytes, digest: real, facts };
}

/**
 * Stores a manifest that was checked, then its entry among its subject's referrers. Throws `MANIFEST_BLOB_UNKNOWN` where
 * it names what the repository lacks, and leaves nothing then.
 *
 * The order makes the collector safe: it condemns blobs first and lists the manifests after that; here the manifest is
 * written first, and what is condemned is read after that. So either the collector finds the manifest, or this finds
 * the blob condemned. Links to the blobs are written anew while a collector is at work: it removes none that changed.
 */
export async function storeManifest(registry: Registry, repository: string, manifest: NewManifest): Promise<void> {
  const { storage } = registry;
  const { bytes, digest, facts } = manifest;
  const absent = await findMissing(registry, repository, facts);
  await storage.putBlob(digest, bytes);
  const key = manifestKey(repository, digest);
  const link: ManifestLink = { mediaType: facts.mediaType, size: bytes.length };
  if (facts.subject !== undefined) link.subject = facts.subject;
  await ensureRepository(registry, repository);
  const { version, created } = await writeLink(registry, key, encodeDocument(link));
  const present = [digest, ...facts.blobs.filter((blob) => !absent.has(blob))];
  const lost = (await mapBounded(present, async (blob) => ((await isSafe(registry, blob)) ? [] : [blob]))).flat();
  if (lost.length > 0) {
    // Where somebody wrote it again meanwhile, that push decides for itself.
    if (created) await deleteVersion(storage, key, version);
    throw missing(lost, 'a blob was collected while its manifest was pushed: push it again');
  }
  if (await isCollecting(storage)) await renewLinks(registry, repository, present.slice(1));
  if (facts.subject !== undefined) {
    const { mediaType, artifactType, annotations } = facts;
    const referrer: Referrer = { mediaType, digest, size: bytes.length, artifactType, annotations };
    await storage.writeDocument(referrerKey(repository, facts.subject, digest), encodeDocument(referrer));
  }
}

/** How long to wait for the collector's verdict on a blob. */
const VERDICT_MS = 3000;
const VERDICT_STEP_MS = 50;

/** Whether a blob is there and stays, once it is known what the collector does. */
export async function isSafe(registry: Registry, blob: Digest): Promise<boolean> {
  const until = Date.now() + VERDICT_MS;
  for (;;) {
    if ((await findUncondemned(registry, blob)) !== undefined) return true;
    if ((await readCondemned(registry, blob)) === undefined || Date.now() > until) {
      return (await findUncondemned(registry, blob)) !== undefined;
    }
    await new Promise((resolve) => setTimeout(resolve, VERDICT_STEP_MS));
  }
}

/**
 * A collector that removed a blob may be about to remove its links as it saw them, and the blob may have come again by way
 * of another repository. Where the manifest is written before the collector begins, it needs nothing of this.
 */
async function renewLinks(registry: Registry, repository: string, blobs: Digest[]): Promise<void> {
  await mapBounded(blobs, async (blob) => {
    const stat = await registry.storage.statBlob(blob);
    if (stat !== undefined) await linkBlob(registry, repository, blob, stat.size);
  });
}

/** Whether there was none must be known for certain: only then may it be taken back. */
async function writeLink(
  { storage }: Registry,
  key: string,
  bytes: Buffer,
): Promise<{ version: Version; created: boolean }> {
  for (;;) {
    const before = await storage.readDocument(key);
    try {
      const version = await storage.writeDocument(key, bytes, { expect: before?.version ?? 'absent' });
      return { version, created: before === undefined };
    } catch (error) {
      // The same manifest is being pushed by somebody else: one of all that meet here goes on in each round.
      if (!isImagoError(error, 'STORAGE_CONFLICT')) throw error;
    }
  }
}

/** What the manifest names and the repository lacks, where that is permitted; else a `WireFailure`. */
async function findMissing(registry: Registry, repository: string, facts: ManifestFacts): Promise<Set<Digest>> {
  const { storage, sparse } = registry;
  const blobs = await mapBounded(facts.blobs, async (blob) =>
    (await findBlob(registry, repository, blob)) === undefined ? [blob] : [],
  );
  const children =
    sparse !== 'nothing'
      ? []
      : await mapBounded(facts.children, async (child) =>
          (await storage.readDocument(manifestKey(repository, child))) === undefined ? [child] : [],
        );
  const absent = new Set(blobs.flat());
  const refused = [...(sparse === 'everything' ? [] : absent), ...children.flat()];
  if (refused.length > 0) throw missing(refused, 'the manifest names blobs or manifests that the repository lacks');
  return absent;
}

function missing(digests: Digest[], message: string): WireFailure {
  return new WireFailure(WIRE_ERRORS.manifestBlobUnknown, message, { detail: { digests: digests.slice(0, 100) } });
}

/** Points a tag at a stored manifest. With `expect`, `STORAGE_CONFLICT` becomes 412. */
export async function writeTag(
  { storage }: Registry,
  repository: string,
  tag: string,
  { digest, bytes, facts }: NewManifest,
  expect?: Version | 'absent',
): Promise<void> {
  const record: TagRecord = { mediaType: facts.mediaType, digest, size: bytes.length };
  try {
    await storage.writeDocument(
      tagKey(repository, tag),
      encodeDocument(record),
      expect === undefined ? {} : { expect },
    );
  } catch (error) {
    if (!isImagoError(error, 'STORAGE_CONFLICT')) throw error;
    throw new WireFailure(WIRE_ERRORS.preconditionFailed, 'the tag was moved meanwhile: pull it, and decide again');
  }
}

export function removeTag({ storage }: Registry, repository: string, tag: string): Promise<boolean> {
  return storage.deleteDocument(tagKey(repository, tag));
}

/** Takes a manifest out of a repository, then the tags that point at it. False where it was not there. */
export async function removeManifest(registry: Registry, repository: string, digest: Digest): Promise<boolean> {
  const { storage } = registry;
  const found = await findManifest(registry, repository, { digest });
  if (found === undefined) return false;
  // First: an entry without its manifest is not told to anybody, a manifest that broke off here is deleted again.
  if (found.subject !== undefined) await storage.deleteDocument(referrerKey(repository, found.subject, digest));
  const removed = await storage.deleteDocument(manifestKey(repository, digest));
  await removeTagsOf(registry, repository, digest);
  return removed;
}

async function removeTagsOf(registry: Registry, repository: string, digest: Digest): Promise<void> {
  const prefix = tagsPrefix(repository);
  let after: string | undefined;
  do {
    const page = await registry.storage.listDocuments(prefix, after === undefined ? {} : { after });
    await mapBounded(page.keys, async ({ key }) => {
      const document = await registry.storage.readDocument(key);
      if (document === undefined || decodeDocument<TagRecord>(document).digest !== digest) return;
      await deleteVersion(registry.storage, key, document.version);
    });
    after = page.next;
  } while (after !== undefined);
}
