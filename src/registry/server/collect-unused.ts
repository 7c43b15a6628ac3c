import type { Digest } from '../../core/digest.ts';
import type { RegistryStorage, Version } from '../storage/storage.ts';
import { type ListedKey, listRepositoryKeys, readNamedBlobs } from './collect-mark.ts';
import { type RemoveOptions, removeLink } from './collect-untagged.ts';
import { decodeDocument, deleteVersion, type TagRecord } from './documents.ts';
import { tagsPrefix } from './keys.ts';
import { mapBounded } from './parallel.ts';

/** What a pull-through cache keeps. */
export interface CacheBounds {
  /** Milliseconds for which a manifest stays that nobody asks for; 0 is forever. */
  keep: number;
  /** Bytes of all manifests and of the blobs that they need; undefined: as many as there are. */
  size?: number | undefined;
}

/** How exactly a cache knows when a manifest was asked for last: its link is not written more often. */
export const USED_MS: number = 60 * 60_000;

/** A manifest of a repository, and when a client asked for it last. */
interface Use {
  repository: string;
  digest: Digest;
  used: number;
}

/**
 * Removes the manifests of a pull-through cache that nobody asked for within `keep`, and then the least recently used
 * until the rest, with what it needs, is no larger than `size`; the tags that name them, too. What was asked for within
 * the grace period stays, whatever the size: somebody may be pulling it.
 *
 * A pull that begins meanwhile writes the link of its manifest again where that is older than `USED_MS`. What goes is
 * older by far, and goes by version: so either the link stays, or the pull finds it gone and fetches it anew.
 */
export async function removeUnused(
  storage: RegistryStorage,
  keys: AsyncIterable<ListedKey[]>,
  { keep, size }: CacheBounds,
  options: RemoveOptions,
): Promise<void> {
  const now = Date.now();
  const oldest = now - Math.max(options.graceMs, 2 * USED_MS);
  const uses = await listUses(keys);
  const least = keep === 0 ? Number.NEGATIVE_INFINITY : now - keep;
  const recent = uses.filter(({ used }) => used > least);
  const fitting = size === undefined ? recent.length : await countFitting(storage, recent, size, options.guard);
  await remove(storage, uses.slice(fitting), oldest, options);
}

/** The most recent first. */
async function listUses(keys: AsyncIterable<ListedKey[]>): Promise<Use[]> {
  const uses: Use[] = [];
  for await (const page of keys) {
    for (const { parsed, modified } of page) {
      if (parsed.kind !== 'manifest') continue;
      uses.push({ repository: parsed.repository, digest: parsed.digest, used: modified });
    }
  }
  return uses.sort((a, b) => b.used - a.used);
}

/** How many of these, from the first on, are together no larger than `size`. */
async function countFitting(
  storage: RegistryStorage,
  uses: Use[],
  size: number,
  guard: () => Promise<void>,
): Promise<number> {
  const needs = await mapBounded(uses, async ({ digest }) => {
    await guard();
    return [digest, ...((await readNamedBlobs(storage, digest)) ?? [])];
  });
  // As they are: what manifests say of sizes nobody checked, and not every layer is here.
  const sizes = new Map<Digest, number>();
  await mapBounded([...new Set(needs.flat())], async (digest) => {
    await guard();
    sizes.set(digest, (await storage.statBlob(digest))?.size ?? 0);
  });
  let bytes = 0;
  for (const [index, digests] of needs.entries()) {
    for (const digest of digests) {
      bytes += sizes.get(digest) ?? 0;
      // Counted once, whoever shares it.
      sizes.delete(digest);
    }
    if (bytes > size) return index;
  }
  return uses.length;
}

async function remove(
  storage: RegistryStorage,
  uses: Use[],
  oldest: number,
  { dryRun, guard, onRemove }: RemoveOptions,
): Promise<void> {
  const old = Map.groupBy(
    uses.filter(({ used }) => used <= oldest),
    ({ repository }) => repository,
  );
  for (const [repository, manifests] of old) {
    const tags = dryRun ? undefined : await readTags(storage, repository);
    for (const { digest } of manifests) {
      await guard();
      if (tags !== undefined) {
        if (!(await removeLink(storage, repository, digest, oldest))) continue;
        // One that is asked for now is written again, since its manifest is gone.
        for (const { key, version } of tags.get(digest) ?? []) await deleteVersion(storage, key, version);
      }
      onRemove(repository, digest);
    }
  }
}

/** The tags of a repository, by what they name. */
async function readTags(
  storage: RegistryStorage,
  repository: string,
): Promise<Map<Digest, { key: string; version: Version }[]>> {
  const tags = new Map<Digest, { key: string; version: Version }[]>();
  for await (const keys of listRepositoryKeys(storage, tagsPrefix(repository))) {
    await mapBounded(keys, async ({ key }) => {
      const document = await storage.readDocument(key);
      if (document === undefined) return;
      const { digest } = decodeDocument<TagRecord>(document);
      tags.set(digest, [...(tags.get(digest) ?? []), { key, version: document.version }]);
    });
  }
  return tags;
}
