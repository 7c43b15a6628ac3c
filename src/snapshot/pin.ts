import { closeSync, mkdirSync, openSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { SystemError } from '../system/call.ts';
import { lockFile } from '../system/lock.ts';
import { MNT_DETACH, MS, mount, umount } from '../system/mount.ts';
import { pivotInto } from '../system/pivot.ts';
import { tryEachProcessor } from '../system/processor.ts';
import { FS_MAGIC, statFs } from '../system/statfs.ts';
import { openOwnNamespace, withNamespace, withNewNamespace } from '../system/thread-namespace.ts';
import { homeNamespace } from './private-namespace.ts';

/**
 * The pinned mount namespace: a place for layer mounts that all commands share and that no process need stay alive
 * for. It is a namespace with an empty tmpfs as its only other mount, kept by a bind mount at RUN/mnt/ns. So the
 * host's mount table has two lines of ours however many layers are mounted, and the namespace pins nothing of the
 * host's. A disposable cache: without it, everything is mounted again.
 */
export interface Pin {
  /** Runs `inside` in the pinned namespace. Synchronous only; host paths are not there, open them before. */
  enter<T>(inside: () => T): T;
  /** As `enter`, with the lock under which layers are mounted and unmounted. */
  enterLocked<T>(inside: () => T): T;
}

/**
 * Opens the pin, making it where it is missing or from before a restart.
 * Undefined where none can be kept here (a foreign namespace that forbids it): mounts are then the command's own.
 */
export function openPin(run: string): Pin | undefined {
  const home = homeNamespace();
  const fd = home === undefined ? openOrCreate(run) : withNamespace(home, () => openOrCreate(run));
  if (fd === undefined) return undefined;
  return {
    enter: (inside) => withNamespace(fd, inside),
    enterLocked: (inside) => {
      using _lock = lockFile(lockPath(run), 'exclusive');
      return withNamespace(fd, inside);
    },
  };
}

function lockPath(run: string): string {
  return join(run, 'mnt.lock');
}

function openOrCreate(run: string): number | undefined {
  const path = join(run, 'mnt', 'ns');
  const existing = openNamespaceFile(path);
  if (existing !== undefined) return existing;
  using _lock = lockFile(lockPath(run), 'exclusive');
  try {
    return openNamespaceFile(path) ?? createPin(run, path);
  } catch (error) {
    if (error instanceof SystemError && ['EPERM', 'EINVAL', 'EACCES', 'ENOSPC'].includes(error.code)) return undefined;
    throw error;
  }
}

/** A file left from before a restart is a plain empty one: only a mounted namespace is of type nsfs. */
function openNamespaceFile(path: string): number | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
  if (statFs(fd).type === FS_MAGIC.NSFS) return fd;
  closeSync(fd);
  return undefined;
}

function createPin(run: string, path: string): number {
  const directory = join(run, 'mnt');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  // A namespace can only be bound onto a mount that propagates nowhere.
  if (!isMountPoint(directory)) mount(directory, directory, 'none', MS.BIND);
  mount('none', directory, 'none', MS.PRIVATE);
  writeFileSync(path, '', { mode: 0o600 });
  // Only a namespace of a higher number than the one it is bound in can be bound. Linux takes the numbers from a
  // reserve of each processor, so a new one can have a lower number; on the processor that ours is from it cannot.
  const fd = bindNewNamespace(directory, path) ?? tryEachProcessor(() => bindNewNamespace(directory, path));
  if (fd === undefined) throw new SystemError('mount', constants.errno.EINVAL, path);
  return fd;
}

/** A descriptor of a new namespace, bound at `path`; undefined where the kernel does not let it be bound (EINVAL). */
function bindNewNamespace(directory: string, path: string): number | undefined {
  const fd = withNewNamespace(() => {
    mount('none', '/', 'none', MS.REC | MS.PRIVATE);
    mount('imago', directory, 'tmpfs', MS.NOSUID | MS.NODEV | MS.NOEXEC, 'mode=0700');
    const own = openOwnNamespace();
    pivotInto(directory);
    return own;
  });
  try {
    mount(`/proc/thread-self/fd/${fd}`, path, 'none', MS.BIND);
    return fd;
  } catch (error) {
    closeSync(fd);
    if (error instanceof SystemError && error.code === 'EINVAL') return undefined;
    throw error;
  }
}

/** Removes the pin and with it every layer mount that no container holds. */
export function dropPin(run: string): void {
  using _lock = lockFile(lockPath(run), 'exclusive');
  const directory = join(run, 'mnt');
  for (const path of [join(directory, 'ns'), directory]) {
    while (isMountPoint(path)) umount(path, MNT_DETACH);
  }
}

function isMountPoint(path: string): boolean {
  // Field 5 of proc_pid_mountinfo(5), with octal escapes for blanks.
  const wanted = realpathSync(path).replace(/[ \t\n\\]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
  const lines = readFileSync('/proc/thread-self/mountinfo', 'latin1').split('\n');
  return lines.some((line) => line.split(' ')[4] === Buffer.from(wanted).toString('latin1'));
}
