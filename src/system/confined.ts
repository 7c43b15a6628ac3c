import { closeSync, constants, fstatSync, readFileSync, type Stats } from 'node:fs';
import { bindSyscall, cPath, type PathLike, SystemError } from './call.ts';

const openat2Call = bindSyscall<[number, Buffer, Buffer, number]>('openat2', 437, [
  'int',
  'void *',
  'void *',
  'size_t',
]);

const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
/** linux/openat2.h: the directory is '/' to the path, to '..' and to every symlink on the way. */
const RESOLVE_IN_ROOT = 0x10;
const RESOLVE_NO_MAGICLINKS = 0x02;
const MISSING = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES', 'ENAMETOOLONG']);

/**
 * Opens a path as a process whose root is the directory `root` would, symlinks followed: nothing outside is reached.
 * The caller closes the descriptor. Throws `SystemError`.
 */
export function openConfined(root: number, path: PathLike, flags: number): number {
  const how = Buffer.alloc(24);
  how.writeBigUInt64LE(BigInt(flags | O_CLOEXEC), 0);
  how.writeBigUInt64LE(BigInt(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS), 16);
  return openat2Call(path, root, cPath(path), how, how.length);
}

/** Undefined where there is nothing that a process inside could reach under this name. */
export function statConfined(root: number, path: PathLike, last?: 'nofollow'): Stats | undefined {
  const flags = last === 'nofollow' ? O_PATH | constants.O_NOFOLLOW : O_PATH;
  return withConfined(root, path, flags, (fd) => fstatSync(fd));
}

/** A small regular file as latin1 text; undefined where there is none, or it is larger than `limit` bytes. */
export function readConfined(root: number, path: PathLike, limit: number): string | undefined {
  return withConfined(root, path, constants.O_RDONLY | constants.O_NONBLOCK, (fd) => {
    const stat = fstatSync(fd);
    return stat.isFile() && stat.size <= limit ? readFileSync(fd, 'latin1') : undefined;
  });
}

function withConfined<T>(root: number, path: PathLike, flags: number, use: (fd: number) => T): T | undefined {
  let fd: number;
  try {
    fd = openConfined(root, path, flags);
  } catch (error) {
    if (error instanceof SystemError && MISSING.has(error.code)) return undefined;
    throw error;
  }
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}
