import { mkdirSync, rmdirSync } from 'node:fs';
import { ImagoError } from '../core/errors.ts';
import { SystemError } from '../system/call.ts';
import { attachMount, cloneMount, closeFd, MNT_DETACH, umount } from '../system/mount.ts';
import type { Backend, IndexedLayer } from './backend.ts';
import { isMountOf } from './identity.ts';
import { mountIndex, readIndexUuid } from './mount-index.ts';
import type { Pin } from './pin.ts';

/** A layer to mount: `name` is its directory in the pinned namespace, unique for its contents. */
export interface NamedLayer extends IndexedLayer {
  name: string;
}

type MountingBackend = Exclude<Backend, 'unpacked'>;

/** Where a layer is in the pinned namespace: the two ways of reading it are two mounts. */
export function mountName(backend: MountingBackend, { name, directIo }: { name: string; directIo?: boolean }): string {
  return directIo === true && backend === 'erofs' ? `erofs-direct-${name}` : `${backend}-${name}`;
}

/** All the places where a layer can be. */
export function mountNames(name: string): string[] {
  return [
    mountName('erofs', { name }),
    mountName('erofs', { name, directIo: true }),
    mountName('erofs-loop', { name }),
  ];
}

/**
 * A detached mount for each layer, in order; the caller closes them all. Each is a clone of the one mount in the
 * pinned namespace (so its pages are shared), made there where it is missing. What comes back has been checked
 * to be an EROFS with the index's own UUID. Without a pin each is a mount of the caller's own.
 */
export function openLayerMounts(layers: NamedLayer[], backend: MountingBackend, pin: Pin | undefined): number[] {
  const uuids = layers.map((layer) => readIndexUuid(layer.index));
  const out: (number | undefined)[] = layers.map(() => undefined);
  const fresh: (number | undefined)[] = layers.map(() => undefined);
  try {
    pin?.enter(() => {
      for (const [i, layer] of layers.entries()) out[i] = cloneChecked(layer.name, uuids[i]!);
    });
    for (const [i, layer] of layers.entries()) if (out[i] === undefined) fresh[i] = mountLayer(layer, backend);
    if (pin === undefined) {
      for (const [i] of layers.entries()) {
        out[i] = fresh[i];
        fresh[i] = undefined;
      }
    } else if (fresh.some((fd) => fd !== undefined)) {
      pin.enterLocked(() => {
        for (const [i, layer] of layers.entries()) {
          if (fresh[i] !== undefined) out[i] = pinLayer(layer.name, uuids[i]!, fresh[i]!);
        }
      });
    }
    return out.map((fd, i) => checkedMount(fd, uuids[i]!, layers[i]!));
  } catch (error) {
    for (const fd of out) if (fd !== undefined) closeFd(fd);
    throw error;
  } finally {
    for (const fd of fresh) if (fd !== undefined) closeFd(fd);
  }
}

/** The kernel checks an index's superblock when it mounts it. */
const DAMAGED: ReadonlySet<string> = new Set(['EBADMSG', 'EUCLEAN', 'EINVAL', 'EIO']);

function mountLayer(layer: NamedLayer, backend: MountingBackend): number {
  try {
    return mountIndex(layer, backend);
  } catch (cause) {
    if (!(cause instanceof SystemError)) throw cause;
    const damaged = DAMAGED.has(cause.code);
    const summary = damaged ? "a layer's index is damaged" : 'cannot mount a layer';
    throw new ImagoError(damaged ? 'LAYER_DAMAGED' : 'MOUNT_FAILED', summary, {
      op: 'mount',
      path: layer.index,
      got: `${cause.call}: ${cause.code}`,
      remedy: damaged ? "'imago verify' makes it again from the layer's tar" : "'imago info' tells what works here",
      exitCode: 125,
      cause,
    });
  }
}

/** In the pinned namespace: attaches a mount, unless another command was first, and clones what is there. */
function pinLayer(name: string, uuid: Uint8Array, mount: number): number {
  const present = cloneChecked(name, uuid);
  if (present !== undefined) return present;
  mkdirSync(`/${name}`, { recursive: true });
  attachMount(mount, `/${name}`);
  return cloneMount(`/${name}`);
}

/** In the pinned namespace: a clone of the mount at `name`, undefined where there is none of this UUID. */
function cloneChecked(name: string, uuid: Uint8Array): number | undefined {
  let fd: number;
  try {
    fd = cloneMount(`/${name}`);
  } catch (error) {
    if (error instanceof SystemError && error.code === 'ENOENT') return undefined;
    throw error;
  }
  if (isMountOf(fd, uuid)) return fd;
  closeFd(fd);
  return undefined;
}

function checkedMount(fd: number | undefined, uuid: Uint8Array, layer: NamedLayer): number {
  if (fd !== undefined && isMountOf(fd, uuid)) return fd;
  throw new ImagoError('LAYER_NOT_MOUNTED', 'a layer is not what is mounted in its place', {
    op: 'mount',
    path: layer.index,
    remedy: "'imago verify' checks the layer",
  });
}

/** Takes layers out of the pinned namespace. Containers that use them keep their own clones. Idempotent. */
export function releaseLayerMounts(names: string[], pin: Pin): void {
  pin.enterLocked(() => {
    for (const name of names) {
      try {
        for (;;) umount(`/${name}`, MNT_DETACH);
      } catch (error) {
        // EINVAL: no (further) mount there.
        if (!(error instanceof SystemError && ['EINVAL', 'ENOENT'].includes(error.code))) throw error;
      }
      try {
        rmdirSync(`/${name}`);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
  });
}
