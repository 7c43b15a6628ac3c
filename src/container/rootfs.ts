import { closeSync, constants, existsSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { enterPrivateNamespace } from '../snapshot/private-namespace.ts';
import { openSnapshotter } from '../snapshot/snapshotter.ts';
import type { Store } from '../store/store.ts';
import { SystemError } from '../system/call.ts';
import { MNT_DETACH, umount } from '../system/mount.ts';
import { missingMountPoints, writeMountPoints } from './mountpoints.ts';

export interface RootfsRequest {
  diffIds: readonly Digest[];
  upper: string;
  work: string;
  /** Mount point, made where it is missing. */
  rootfs: string;
  /** A directory of the container's own, gone with it. */
  bundle: string;
  /** Nothing in `upper` need survive a crash of the machine. */
  volatile: boolean;
}

/**
 * Mounts an image with a writable layer in this process's own mount namespace, which it makes. `upper` is made where
 * it is missing. Returns a descriptor of the root directory; the caller closes it.
 */
export async function mountRootfs(store: Store, request: RootfsRequest): Promise<number> {
  const { diffIds, upper, work, rootfs, bundle, volatile } = request;
  const snapshotter = openSnapshotter(store);
  await snapshotter.prepare(diffIds);
  enterPrivateNamespace();
  mkdirSync(rootfs, { recursive: true, mode: 0o755 });
  if (!existsSync(upper)) snapshotter.createUpper(upper, diffIds);
  const mount = (extraLowers: string[]): number => {
    mkdirSync(work, { recursive: true, mode: 0o700 });
    snapshotter.mountRootfs({ diffIds, upper, work, target: rootfs, volatile, extraLowers });
    return openSync(rootfs, constants.O_RDONLY | constants.O_DIRECTORY);
  };
  const root = mount([]);
  const missing = missingMountPoints(root);
  if (missing.length === 0) return root;
  const layer = join(bundle, 'mountpoints');
  mkdirSync(layer, { mode: 0o755 });
  writeMountPoints(layer, root, missing);
  closeSync(root);
  umount(rootfs);
  // A volatile overlay leaves a mark that keeps a second one out.
  rmSync(work, { recursive: true, force: true });
  return mount([layer]);
}

/** Takes it off this process's namespace again; nothing happens where it is not mounted. */
export function unmountRootfs(rootfs: string): void {
  try {
    umount(rootfs, MNT_DETACH);
  } catch (error) {
    if (!(error instanceof SystemError && ['EINVAL', 'ENOENT'].includes(error.code))) throw error;
  }
}
