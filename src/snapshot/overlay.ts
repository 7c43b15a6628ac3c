import { closeSync, constants, openSync } from 'node:fs';
import { ImagoError } from '../core/errors.ts';
import { SystemError } from '../system/call.ts';
import {
  attachMount,
  cloneMount,
  closeFd,
  createMount,
  type FsOption,
  MNT_DETACH,
  MOUNT_ATTR,
  mount,
  umount,
} from '../system/mount.ts';
import { FS_MAGIC, statFs } from '../system/statfs.ts';
import { insideDirectory } from '../system/thread-namespace.ts';

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY;

/** OVL_MAX_STACK, fs/overlayfs: the most lower layers of one overlay. */
export const MAX_LOWERS = 500;

/**
 * How an overlay can be told its layers, newest way first: descriptors of detached mounts (Linux 6.15), descriptors
 * of attached ones (6.13), one path at a time (6.8), all in one option string. Probed by trying, never by version.
 */
export type LowerPassing = 'detached-fd' | 'attached-fd' | 'path' | 'string';

export const LOWER_PASSING: readonly LowerPassing[] = ['detached-fd', 'attached-fd', 'path', 'string'];

/**
 * With index, metacopy or redirect_dir on, what a commit reads out of upper is not what the container saw: hardlinks
 * lost, sizes with no bytes, renamed directories empty.
 *
 * xino=off gives files of each layer a device number of its own, so `du -x` leaves them out (1 MB told of 248 on four
 * EROFS layers; find -xdev, tar --one-file-system, cp -x, rm --one-file-system were right). xino=on puts the layer's
 * number into the highest bits of the inode's: past 2^53, so of 16,668 names 14,650 shared their dev:ino with another
 * in Node's lstat, and 32-bit programs meet EOVERFLOW. Programs that copy, archive or look for links rely on that.
 */
export const OVERLAY_OPTIONS: FsOption[] = [
  ['index', 'off'],
  ['metacopy', 'off'],
  ['redirect_dir', 'off'],
  ['xino', 'off'],
];

/** A lower layer: the root of a detached mount, or any directory. */
export interface Lower {
  fd: number;
  detached: boolean;
}

export interface Overlay {
  /** Topmost first; at least one with an upper, two without. */
  lowers: Lower[];
  upper?: string | undefined;
  work?: string | undefined;
  volatile?: boolean | undefined;
  readonly?: boolean | undefined;
}

/** Throws `TOO_MANY_LAYERS`; to be called before anything is made. */
export function checkLayerCount(count: number): void {
  if (count <= MAX_LOWERS) return;
  throw new ImagoError('TOO_MANY_LAYERS', 'the image has more layers than an overlay can stack', {
    op: 'mount',
    want: `at most ${MAX_LOWERS}`,
    got: count,
    remedy: 'build it with fewer steps, or flatten it: export a container of it elsewhere and import that',
    exitCode: 125,
  });
}

/**
 * Stacks an overlay and attaches it at `target`, in this thread's namespace, which is to be a private one.
 * The descriptors stay the caller's; the overlay holds its own clones of what they name.
 */
export function mountOverlay(overlay: Overlay, target: string, passing: LowerPassing): void {
  const opened: number[] = [];
  const short = (path: string): string => {
    const fd = openSync(path, DIRECTORY);
    opened.push(fd);
    // By descriptor: an option's value ends at 255 bytes, and older kernels read ':', ',' and '\' in it.
    return `/proc/thread-self/fd/${fd}`;
  };
  try {
    const options: FsOption[] = [...OVERLAY_OPTIONS];
    if (overlay.upper !== undefined && overlay.work !== undefined) {
      options.push(['upperdir', short(overlay.upper)], ['workdir', short(overlay.work)]);
      if (overlay.volatile === true) options.push('volatile');
    }
    const attributes = overlay.readonly === true ? MOUNT_ATTR.RDONLY : 0;
    const fd = createOverlay(overlay.lowers, options, attributes, target, passing);
    try {
      attachMount(fd, target);
    } finally {
      closeFd(fd);
    }
  } catch (cause) {
    throw explainFailure(cause, overlay, target);
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** A detached overlay. `place` is a directory that serves for a moment as a mount point, where older kernels need one. */
export function createOverlay(
  lowers: Lower[],
  options: FsOption[],
  attributes: number,
  place: string,
  passing: LowerPassing,
): number {
  if (passing === 'detached-fd') {
    return createMount(
      'overlay',
      [...lowers.map((lower): FsOption => ['lowerdir+', lower.fd]), ...options],
      attributes,
    );
  }
  return withAttached(lowers, place, (fds) => {
    if (passing === 'string') return createFromString(fds, options, attributes, place);
    const value = (fd: number): FsOption => ['lowerdir+', fd];
    const path = (fd: number): FsOption => ['lowerdir+', `/proc/thread-self/fd/${fd}`];
    return createMount('overlay', [...fds.map(passing === 'path' ? path : value), ...options], attributes);
  });
}

function createFromString(fds: number[], options: FsOption[], attributes: number, place: string): number {
  const rest = options.map((option) => (typeof option === 'string' ? option : option.join('=')));
  // The option string ends at 4095 bytes: from inside the descriptors' directory, 500 layers take 2,000 of them.
  insideDirectory('/proc/thread-self/fd', () =>
    mount('overlay', place, 'overlay', attributes, [`lowerdir=${fds.join(':')}`, ...rest].join(',')),
  );
  const fd = cloneMount(place);
  umount(place, MNT_DETACH);
  return fd;
}

/**
 * Attaches the detached lowers one over another at `place` while `inside` runs, with descriptors that every overlay
 * takes: opened, and of mounts in this namespace.
 */
function withAttached<T>(lowers: Lower[], place: string, inside: (fds: number[]) => T): T {
  const opened: number[] = [];
  let attached = 0;
  try {
    const fds = lowers.map((lower) => {
      if (!lower.detached) return lower.fd;
      attachMount(lower.fd, place);
      attached++;
      const fd = openSync(place, DIRECTORY);
      opened.push(fd);
      return fd;
    });
    return inside(fds);
  } finally {
    for (const fd of opened) closeSync(fd);
    for (; attached > 0; attached--) umount(place, MNT_DETACH);
  }
}

function explainFailure(cause: unknown, overlay: Overlay, target: string): unknown {
  if (!(cause instanceof SystemError)) return cause;
  const upperType = overlay.upper === undefined ? undefined : statFs(overlay.upper).type;
  if (upperType === FS_MAGIC.OVERLAY) {
    return new ImagoError('UPPER_ON_OVERLAY', 'the writable layer cannot lie on an overlay file system', {
      op: 'mount',
      path: overlay.upper,
      remedy: 'put the store on a volume or a tmpfs with --root or IMAGO_ROOT',
      exitCode: 125,
      cause,
    });
  }
  return new ImagoError('MOUNT_FAILED', "cannot mount the container's root file system", {
    op: 'mount',
    path: target,
    got: `${cause.call}: ${cause.code}`,
    remedy: "'dmesg | tail' has the kernel's reason",
    exitCode: 125,
    cause,
  });
}
