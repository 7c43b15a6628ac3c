import { chmodSync, closeSync, constants, lstatSync, mkdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dirname } from 'node:path/posix';
import { readRootAttributes, writeRootAttributes } from '../snapshot/root-attributes.ts';
import { SystemError } from '../system/call.ts';
import { openConfined, statConfined } from '../system/confined.ts';

const O_PATH = 0o10000000;

/**
 * What every container has mounted: directories, and files of /etc. The directories have to be some: through a symlink
 * at /dev, runc up to 1.1 makes its links there on the host.
 */
const DIRECTORIES = ['/dev', '/proc', '/sys'];
const FILES = ['/etc/hosts', '/etc/hostname', '/etc/resolv.conf'];

/** A place in a root file system for a directory or a file to be mounted at. */
export interface MountPoint {
  /** Absolute. */
  path: string;
  directory: boolean;
  /** Of a directory that has to be made (default 0755). */
  mode?: number;
}

const COMMON: readonly MountPoint[] = [
  ...DIRECTORIES.map((path) => ({ path, directory: true })),
  ...FILES.map((path) => ({ path, directory: false })),
];

/**
 * Which of the mount points that every container needs, and of `more`, are not in the root file system open as `root`.
 * What lies below another mount point is looked for there, not here. Anything else than a directory in the place of
 * /dev, /proc or /sys counts as none: what `writeMountPoints` makes covers it.
 */
export function missingMountPoints(root: number, more: readonly MountPoint[] = []): MountPoint[] {
  const covers = [...DIRECTORIES, ...more.map(({ path }) => path)];
  const own = more.filter(({ path }) => !covers.some((other) => path.startsWith(`${other}/`)));
  return [...COMMON, ...own].filter(({ path }) => {
    const found = statConfined(root, path, 'nofollow');
    return found === undefined || (DIRECTORIES.includes(path) && !found.isDirectory());
  });
}

/**
 * Fills `layer`, an empty directory, as a lower layer that has the missing mount points, so that the runtime need not
 * make them in the container's writable layer, where `diff` and `commit` would show them. Directories that are there
 * keep their attributes.
 */
export function writeMountPoints(layer: string, root: number, missing: readonly MountPoint[]): void {
  const rootfs = readlinkSync(`/proc/thread-self/fd/${root}`);
  const made: string[] = [''];
  for (const { path, directory, mode = 0o755 } of missing) {
    const parent = placeInside(root, rootfs, dirname(path));
    // A symlink that leads nowhere: the runtime follows it in its own way.
    if (parent === undefined) continue;
    makeDirectories(layer, parent, made);
    const place = join(layer, parent, path.slice(path.lastIndexOf('/') + 1));
    if (!directory) writeFileSync(place, '', { mode: 0o644 });
    else {
      mkdirSync(place, { recursive: true });
      chmodSync(place, mode);
    }
  }
  // Last, since what is made in a directory changes its time.
  for (const path of made.reverse()) {
    const model = lstatSync(join(rootfs, path), { throwIfNoEntry: false });
    if (model?.isDirectory() === true) writeRootAttributes(join(layer, path), readRootAttributes(join(rootfs, path)));
  }
}

/** `path` without symlinks, relative to the root file system; of a missing directory the same path. */
function placeInside(root: number, rootfs: string, path: string): string | undefined {
  try {
    const fd = openConfined(root, path, O_PATH | constants.O_DIRECTORY);
    try {
      const place = readlinkSync(`/proc/thread-self/fd/${fd}`);
      return place === rootfs ? '/' : place.startsWith(`${rootfs}/`) ? place.slice(rootfs.length) : undefined;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return statConfined(root, path, 'nofollow') === undefined ? path : undefined;
  }
}

/** Those on the way to `path`, noted in `made`, parents first. */
function makeDirectories(layer: string, path: string, made: string[]): void {
  const parts = path.split('/').filter((part) => part !== '');
  for (let count = 1; count <= parts.length; count++) {
    const part = parts.slice(0, count).join('/');
    const place = join(layer, part);
    if (lstatSync(place, { throwIfNoEntry: false }) !== undefined) continue;
    mkdirSync(place, { mode: 0o755 });
    made.push(part);
  }
}
