import { constants } from 'node:os';
import type { Time } from '../core/time.ts';
import { bindCall, cPath, type PathLike, SystemError } from './call.ts';
import { AT_FDCWD } from './mount.ts';

const flockCall = bindCall<[number, number]>('flock', ['int', 'int'], 'int');
const mknodCall = bindCall<[Buffer, number, number]>('mknod', ['void *', 'uint', 'ulong'], 'int');
const utimensatCall = bindCall<[number, Buffer, Buffer, number]>(
  'utimensat',
  ['int', 'void *', 'void *', 'int'],
  'int',
);
const lseekCall = bindCall<[number, number, number]>('lseek', ['int', 'long', 'int']);

const LOCK = { shared: 1, exclusive: 2 } as const;
const LOCK_NB = 4;
const AT_SYMLINK_NOFOLLOW = 0x100;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** flock(2) without waiting: false where somebody else holds it. The lock belongs to the open file, and ends with it. */
export function tryLock(fd: number, kind: keyof typeof LOCK): boolean {
  try {
    flockCall(undefined, fd, LOCK[kind] | LOCK_NB);
    return true;
  } catch (error) {
    if (error instanceof SystemError && error.errno === constants.errno.EAGAIN) return false;
    throw error;
  }
}

/** flock(2), waiting; blocks the thread, so only for locks that are held for moments. */
export function lockSync(fd: number, kind: keyof typeof LOCK): void {
  for (;;) {
    try {
      flockCall(undefined, fd, LOCK[kind]);
      return;
    } catch (error) {
      if (!(error instanceof SystemError && error.code === 'EINTR')) throw error;
    }
  }
}

/** `mode` with its S_IF type bits. Honours the umask. */
export function mknod(path: PathLike, mode: number, major = 0, minor = 0): void {
  mknodCall(path, cPath(path), mode, makedev(major, minor));
}

/** A device number as the kernel encodes it for user space (sys/sysmacros.h), up to 2^44. */
export function makedev(major: number, minor: number): number {
  const low = ((minor & 0xff) | ((major & 0xfff) << 8)) >>> 0;
  return low + (minor >>> 8) * 2 ** 20 + Math.floor(major / 4096) * 2 ** 44;
}

export function deviceMajor(rdev: number): number {
  return (Math.floor(rdev / 256) & 0xfff) + Math.floor(rdev / 2 ** 44) * 4096;
}

export function deviceMinor(rdev: number): number {
  return (rdev & 0xff) + (Math.floor(rdev / 2 ** 20) & 0xffffff) * 256;
}

/** Access and modification time, to the nanosecond; does not follow symlinks. */
export function setTimes(path: PathLike, time: Time): void {
  const buffer = Buffer.alloc(32);
  for (const at of [0, 16]) {
    buffer.writeBigInt64LE(BigInt(time.sec), at);
    buffer.writeBigInt64LE(BigInt(time.nsec), at + 8);
  }
  utimensatCall(path, AT_FDCWD, cPath(path), buffer, AT_SYMLINK_NOFOLLOW);
}

/** The stored stretches of a file of `size` bytes, as [offset, length]; the whole file where holes are not told. */
export function dataSegments(fd: number, size: number): [offset: number, length: number][] {
  const out: [number, number][] = [];
  let at = 0;
  while (at < size) {
    let start: number;
    try {
      start = lseekCall(undefined, fd, at, SEEK_DATA);
    } catch (error) {
      if (error instanceof SystemError && error.code === 'ENXIO') break;
      if (error instanceof SystemError && error.code === 'EINVAL') return [[0, size]];
      throw error;
    }
    const end = Math.min(size, lseekCall(undefined, fd, start, SEEK_HOLE));
    out.push([start, end - start]);
    at = end;
  }
  return out;
}
