import { bindCall, bindSyscall, cPath, type PathLike, shownPath } from './call.ts';

/** mount(2) flags, linux/mount.h. */
export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  REMOUNT: 32,
  BIND: 4096,
  REC: 16384,
  PRIVATE: 0x40000,
  SLAVE: 0x80000,
} as const;

export const MNT_DETACH = 2;

const mountCall = bindCall<[Buffer, Buffer, Buffer, number, Buffer | null]>('mount', [
  'void *',
  'void *',
  'void *',
  'ulong',
  'void *',
]);
const umountCall = bindCall<[Buffer, number]>('umount2', ['void *', 'int'], 'int');
// The new mount API has the same numbers on every architecture (asm-generic, since 5.2).
const openTreeCall = bindSyscall<[number, Buffer, number]>('open_tree', 428, ['int', 'void *', 'uint']);
const moveMountCall = bindSyscall<[number, Buffer, number, Buffer, number]>('move_mount', 429, [
  'int',
  'void *',
  'int',
  'void *',
  'uint',
]);
const fsopenCall = bindSyscall<[Buffer, number]>('fsopen', 430, ['void *', 'uint']);
const fsconfigCall = bindSyscall<[number, number, Buffer | null, Buffer | null, number]>('fsconfig', 431, [
  'int',
  'uint',
  'void *',
  'void *',
  'int',
]);
const fsmountCall = bindSyscall<[number, number, number]>('fsmount', 432, ['int', 'uint', 'uint']);

export const AT_FDCWD = -100;
const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const OPEN_TREE_CLONE = 1;
const AT_RECURSIVE = 0x8000;
const AT_EMPTY_PATH = 0x1000;
const O_CLOEXEC = 0o2000000;
export const MOUNT_ATTR = { RDONLY: 1, NOSUID: 2, NODEV: 4, NOEXEC: 8 } as const;

/** mount(2). `data` is the file system's option string (≤ 4095 bytes). */
export function mount(source: PathLike, target: PathLike, type: string, flags: number, data?: string): void {
  mountCall(target, cPath(source), cPath(target), cPath(type), flags, data === undefined ? null : cPath(data));
}

export function umount(target: PathLike, flags = 0): void {
  umountCall(target, cPath(target), flags);
}

/** One setting of a file system context: a flag, a string, or a file descriptor (FSCONFIG_SET_*). */
export type FsOption = string | [key: string, value: string] | [key: string, fd: number];

/**
 * fsopen, fsconfig for each option in order, create, fsmount: a detached mount.
 * Returns its descriptor, which the caller closes (closing drops the mount unless it was moved into place).
 */
export function createMount(type: string, options: Iterable<FsOption>, attributes = 0): number {
  const context = fsopenCall(type, cPath(type), FSOPEN_CLOEXEC);
  try {
    for (const option of options) {
      if (typeof option === 'string') fsconfigCall(`${type}: ${option}`, context, 0, cPath(option), null, 0);
      else if (typeof option[1] === 'string')
        fsconfigCall(`${type}: ${option[0]}=${option[1]}`, context, 1, cPath(option[0]), cPath(option[1]), 0);
      else fsconfigCall(`${type}: ${option[0]}=fd`, context, 5, cPath(option[0]), null, option[1]);
    }
    fsconfigCall(type, context, 6, null, null, 0);
    return fsmountCall(type, context, FSMOUNT_CLOEXEC, attributes);
  } finally {
    closeFd(context);
  }
}

/** Attaches a detached mount (or a tree from `openTree`) at a path. */
export function attachMount(fd: number, target: PathLike): void {
  moveMountCall(target, fd, cPath(''), AT_FDCWD, cPath(target), MOVE_MOUNT_F_EMPTY_PATH);
}

/** open_tree(2) with OPEN_TREE_CLONE: a detached copy of the mount at `path`; the caller closes the descriptor. */
export function cloneMount(path: PathLike, recursive = false): number {
  return openTreeCall(
    path,
    AT_FDCWD,
    cPath(path),
    OPEN_TREE_CLONE | O_CLOEXEC | (recursive ? AT_RECURSIVE : 0) | (shownPath(path) === '' ? AT_EMPTY_PATH : 0),
  );
}

const closeCall = bindCall<[number]>('close', ['int'], 'int');
export function closeFd(fd: number): void {
  closeCall(undefined, fd);
}
