import { readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { listRecords } from '../container/record.ts';
import type { Digest } from '../core/digest.ts';
import { listImages } from '../image/list.ts';
import { resolveImage } from '../image/resolve.ts';
import { chainIds } from '../oci/chain.ts';
import { checkUnpacked } from '../snapshot/check-unpacked.ts';
import { PATCH_INDEX, planPatches, readPatchRecord, regeneratePatch, storePatch } from '../snapshot/patch.ts';
import { releaseHooks } from '../snapshot/release.ts';
import { UNPACKED } from '../snapshot/unpacked.ts';
import { quarantinePath, TREE_ASIDE } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import { type VerifyResult, verify } from '../store/verify.ts';

export interface VerifyStoreOptions {
  /** Names or IDs of images; default: everything that is stored. */
  images?: readonly string[];
  /** Bytes read so far. */
  onProgress?: (done: number, total: number) => void;
}

/**
 * Reads images, or the whole store, again: every blob is hashed, every index and patch made anew and compared. Damaged
 * bytes are set aside and reported; what can be made again is. Throws what resolving a name throws.
 */
export async function verifyStore(store: Store, options: VerifyStoreOptions = {}): Promise<VerifyResult> {
  const only = options.images?.flatMap((name) => {
    const image = resolveImage(store, name);
    return [image.descriptor.digest, image.target.digest];
  });
  const stacks = listStacks(store);
  return await verify(store, {
    ...(only === undefined ? {} : { only }),
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    ...releaseHooks(store),
    checkDerived: (diffId) => checkTree(store, diffId),
    regenerateChain: async (chainId) => await checkPatch(store, chainId, stacks.get(chainId)),
  });
}

/**
 * An unpacked layer that is not as its tar says is moved out of the way, and unpacked anew at its next use. It is not
 * deleted: a container may run on it, and it can tell what happened.
 */
function checkTree(store: Store, diffId: Digest): 'same' | 'removed' {
  if (checkUnpacked(store, diffId) === undefined) return 'same';
  const aside = `${quarantinePath(store.root, diffId)}${TREE_ASIDE}${Date.now()}`;
  renameSync(join(store.layerDirectory(diffId), UNPACKED), aside);
  return 'removed';
}

/** ChainID → the layers that it stands for, of all images and containers that can be read. */
function listStacks(store: Store): Map<Digest, readonly Digest[]> {
  const stacks = new Map<Digest, readonly Digest[]>();
  const add = (diffIds: readonly Digest[]): void => {
    chainIds(diffIds).forEach((chainId, i) => {
      stacks.set(chainId, diffIds.slice(0, i + 1));
    });
  };
  for (const { image } of listImages(store, { allPlatforms: true, onDamaged: () => {} })) add(image.diffIds);
  for (const { image } of listRecords(store)) add(image.diffIds);
  return stacks;
}

async function checkPatch(
  store: Store,
  chainId: Digest,
  diffIds: readonly Digest[] | undefined,
): Promise<'same' | 'replaced' | 'removed'> {
  // Nothing stands on it any more, or a layer under it is damaged, which is told by itself.
  if (diffIds === undefined || !diffIds.every((diffId) => store.hasBlob(diffId))) return 'same';
  const wanted = await regeneratePatch(store, diffIds);
  const directory = store.chainDirectory(chainId);
  const record = readPatchRecord(store, chainId);
  const devices = (wanted?.devices ?? []).join();
  if (record?.needed === (wanted !== undefined) && record.devices.join() === devices) {
    if (wanted === undefined || sameFile(join(directory, PATCH_INDEX), wanted.image)) return 'same';
  }
  rmSync(directory, { recursive: true, force: true });
  const [planned] = planPatches(store, diffIds, [diffIds.length - 1]);
  await storePatch(store, planned!);
  return 'replaced';
}

function sameFile(path: string, bytes: Uint8Array): boolean {
  try {
    return readFileSync(path).equals(bytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
