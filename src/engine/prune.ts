import { collectContainers } from '../container/collect.ts';
import { containerPaths, listRecords } from '../container/record.ts';
import { removeContainer } from '../container/remove.ts';
import { containerState } from '../container/state.ts';
import type { Digest } from '../core/digest.ts';
import { isImagoError } from '../core/errors.ts';
import { isUntagged } from '../image/tags.ts';
import { familiarReference, parseReference } from '../oci/reference.ts';
import { releaseHooks } from '../snapshot/release.ts';
import { prune } from '../store/prune.ts';
import type { Store } from '../store/store.ts';
import { diskSize } from '../system/disk-size.ts';
import { pruneCache } from './build-cache-prune.ts';

export interface PruneStoreOptions {
  /** Also images that have a name, but no container. */
  all?: boolean;
  /** Also containers that do not run, before the images. */
  containers?: boolean;
  /** Also the build cache. */
  cache?: boolean;
}

export interface PruneStoreResult {
  /** IDs. */
  containers: string[];
  /** Names as people type them; an untagged image by its digest. */
  untagged: string[];
  layers: Digest[];
  cacheRecords: number;
  /** Writes that killed processes left. */
  leftovers: number;
  /** Of disk. */
  bytes: number;
}

/** Takes away what nothing uses. Safe beside any number of other commands. */
export async function pruneStore(store: Store, options: PruneStoreOptions = {}): Promise<PruneStoreResult> {
  await collectContainers(store);
  const removed = options.containers === true ? await removeStopped(store) : { ids: [], bytes: 0 };
  const cache = options.cache === true ? await pruneCache(store) : { entries: [], bytes: 0 };
  const result = await prune(store, {
    untag: ({ reference }, used) => !used && (options.all === true || isUntagged(reference)),
    keepCache: options.cache !== true,
    ...releaseHooks(store),
  });
  return {
    containers: removed.ids,
    untagged: result.references.map((reference) =>
      isUntagged(reference)
        ? reference.slice(reference.indexOf('@') + 1)
        : familiarReference(parseReference(reference, { defaultTag: false })),
    ),
    layers: result.layers,
    cacheRecords: result.cacheRecords + cache.entries.length,
    leftovers: result.leftovers,
    bytes: result.bytes + removed.bytes + cache.bytes,
  };
}

async function removeStopped(store: Store): Promise<{ ids: string[]; bytes: number }> {
  const ids: string[] = [];
  let bytes = 0;
  for (const record of listRecords(store)) {
    if (containerState(store, record).status === 'running') continue;
    const size = diskSize(containerPaths(store, record).directory);
    try {
      await removeContainer(store, record);
    } catch (error) {
      // Started meanwhile.
      if (isImagoError(error, 'STILL_RUNNING')) continue;
      throw error;
    }
    ids.push(record.id);
    bytes += size;
  }
  return { ids, bytes };
}
