import { closeSync, constants, existsSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Digest, digestHex } from '../core/digest.ts';
import { chainIds } from '../oci/chain.ts';
import { enterPrivateNamespace } from '../snapshot/private-namespace.ts';
import { openSnapshotter } from '../snapshot/snapshotter.ts';
import type { Store } from '../store/store.ts';
import { SystemError } from '../system/call.ts';
import { MNT_DETACH, umount } from '../system/mount.ts';
import { sleep } from '../system/sleep.ts';
import { type MountPoint, missingMountPoints, writeMountPoints } from './mountpoints.ts';

const BUSY_TRIES = 100;
const BUSY_PAUSE_MS = 2;

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
  /** The container's limit in bytes, if it has one. */
  memory?: number | undefined;
  /** Remember under RUN what mount points the image lacks: for images that are run more than once. */
  keepMountPoints?: boolean;
  /** More of them, of this container alone: with them nothing is remembered. */
  mountPoints?: readonly MountPoint[];
}

/**
 * Mounts an image with a writable layer in this process's own mount namespace, which it makes. `upper` is made where
 * it is missing. Returns a descriptor of the root directory; the caller closes it.
 */
export async function mountRootfs(store: Store, request: RootfsRequest): Promise<number> {
  const { diffIds, upper, work, rootfs, bundle, volatile, memory, keepMountPoints = false } = request;
  const snapshotter = openSnapshotter(store);
  await snapshotter.prepare(diffIds);
  enterPrivateNamespace();
  mkdirSync(rootfs, { recursive: true, mode: 0o755 });
  const fresh = !existsSync(upper);
  if (fresh) snapshotter.createUpper(upper, diffIds);
  const mount = (extraLowers: string[]): number => {
    mkdirSync(work, { recursive: true, mode: 0o700 });
    snapshotter.mountRootfs({ diffIds, upper, work, target: rootfs, volatile, memory, extraLowers });
    return openSync(rootfs, constants.O_RDONLY | constants.O_DIRECTORY);
  };
  const top = keepMountPoints ? chainIds(diffIds).at(-1) : undefined;
  const layer = top === undefined ? undefined : join(store.run, 'mountpoints', digestHex(top));
  if (layer !== undefined && existsSync(layer)) return mount(readdirSync(layer).length > 0 ? [layer] : []);
  const root = mount([]);
  const missing = missingMountPoints(root, request.mountPoints);
  // What a container deleted in an earlier session, its image does not lack.
  const known = fresh ? layer : undefined;
  if (missing.length === 0 && known === undefined) return root;
  let made = join(bundle, 'mountpoints');
  mkdirSync(made, { mode: 0o755 });
  writeMountPoints(made, root, missing);
  if (known !== undefined) made = publish(made, known);
  if (missing.length === 0) return root;
  closeSync(root);
  await unmountIdle(rootfs);
  // A volatile overlay leaves a mark that keeps a second one out.
  rmSync(work, { recursive: true, force: true });
  return mount([made]);
}

/**
 * Until it becomes its program, a process that another thread of this one starts has all descriptors, the one that was
 * just closed as well: that keeps the mount busy for a moment.
 */
async function unmountIdle(rootfs: string): Promise<void> {
  for (let tries = 0; tries < BUSY_TRIES; tries++) {
    try {
      umount(rootfs);
      return;
    } catch (error) {
      if (!(error instanceof SystemError && error.code === 'EBUSY')) throw error;
      await sleep(BUSY_PAUSE_MS);
    }
  }
  umount(rootfs, MNT_DETACH);
}

/** What an image lacks does not change: the next container of it is mounted once, not twice. */
function publish(made: string, layer: string): string {
  mkdirSync(dirname(layer), { recursive: true, mode: 0o700 });
  try {
    renameSync(made, layer);
    return layer;
  } catch (error) {
    // Another command was first, or RUN is on more than one file system.
    if (!['ENOTEMPTY', 'EEXIST', 'EXDEV'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    return made;
  }
}

/** Takes it off this process's namespace again; nothing happens where it is not mounted. */
export function unmountRootfs(rootfs: string): void {
  try {
    umount(rootfs, MNT_DETACH);
  } catch (error) {
    if (!(error instanceof SystemError && ['EINVAL', 'ENOENT'].includes(error.code))) throw error;
  }
}
