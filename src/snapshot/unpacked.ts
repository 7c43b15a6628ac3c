import { closeSync, existsSync, mkdirSync, openSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { Ingest } from '../store/ingest.ts';
import { layerRecord, layerTarPath } from '../store/layers.ts';
import type { Store } from '../store/store.ts';
import { syncFileSystem } from '../system/at.ts';
import { syncDirectory } from '../system/atomic.ts';
import { workerUrl } from '../system/worker-url.ts';
import type { TreeNode } from '../tree/node.ts';
import type { UnpackJob } from './unpack-job.ts';

/** layers/<diffid>/fs or chains/<chainid>/fs: there as a whole or not at all. */
export const UNPACKED = 'fs';

/** Unpacks the layers of a stack that are not yet, on threads. */
export async function unpackLayers(store: Store, diffIds: readonly Digest[]): Promise<void> {
  const missing = [...new Set(diffIds)].filter((diffId) => !existsSync(join(store.layerDirectory(diffId), UNPACKED)));
  if (missing.length === 0) return;
  const { WorkerPool } = await import('../system/worker-pool.ts');
  const pool = new WorkerPool(workerUrl('snapshot/unpack-worker'));
  const abort = new AbortController();
  const unpack = async (diffId: Digest): Promise<void> => {
    using ingest = Ingest.create(store, 'unpack');
    const directory = ingest.path(UNPACKED);
    const job: UnpackJob = { tar: layerTarPath(store, diffId), directory };
    await pool.run(job, { weight: layerRecord(store, diffId).tarSize, signal: abort.signal });
    publish(directory, join(store.layerDirectory(diffId), UNPACKED));
  };
  const outcomes = await Promise.allSettled(
    missing.map((diffId) =>
      unpack(diffId).catch((error: unknown) => {
        abort.abort(error);
        throw error;
      }),
    ),
  );
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}

/** Unpacks a patch of a chain that has a directory in the store. */
export async function unpackPatch(
  store: Store,
  chainId: Digest,
  patch: TreeNode,
  diffIds: readonly Digest[],
): Promise<void> {
  const { unpackTree } = await import('./unpack.ts');
  using ingest = Ingest.create(store, 'unpack');
  const directory = ingest.path(UNPACKED);
  const tars = new Map<number, number>();
  const tarOf = (layer: number): number => {
    let fd = tars.get(layer);
    if (fd === undefined) {
      fd = openSync(layerTarPath(store, diffIds[layer]!), 'r');
      tars.set(layer, fd);
    }
    return fd;
  };
  const own = openSync(ingest.directory, 'r');
  try {
    mkdirSync(directory, { mode: 0o700 });
    unpackTree(patch, directory, tarOf);
    syncFileSystem(own);
  } finally {
    closeSync(own);
    for (const fd of tars.values()) closeSync(fd);
  }
  publish(directory, join(store.chainDirectory(chainId), UNPACKED));
}

/** Gives a synced directory its name; another command may have been first. */
function publish(directory: string, target: string): void {
  try {
    renameSync(directory, target);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
    return;
  }
  syncDirectory(dirname(target));
}
