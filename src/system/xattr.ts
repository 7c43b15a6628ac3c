import { constants } from 'node:os';
import { type ByteString, bytesOf, latin1 } from '../core/bytes.ts';
import { bindCall, cPath, type PathLike, SystemError } from './call.ts';

const get = bindCall<[Buffer, Buffer, Buffer | null, number]>('lgetxattr', ['void *', 'void *', 'void *', 'size_t']);
const set = bindCall<[Buffer, Buffer, Uint8Array, number, number]>(
  'lsetxattr',
  ['void *', 'void *', 'void *', 'size_t', 'int'],
  'int',
);
const list = bindCall<[Buffer, Buffer | null, number]>('llistxattr', ['void *', 'void *', 'size_t']);

const listOpen = bindCall<[number, null, number]>('flistxattr', ['int', 'void *', 'size_t']);

/** Whether an open file has any: a tenth of what a call with a path costs. */
export function hasXattrs(fd: number): boolean {
  try {
    return listOpen(undefined, fd, null, 0) > 0;
  } catch (error) {
    if (error instanceof SystemError && error.errno === constants.errno.ENOTSUP) return false;
    throw error;
  }
}

/** Names in the kernel's order; empty where the file system has no xattrs. Does not follow symlinks. */
export function listXattrs(path: PathLike): ByteString[] {
  const p = cPath(path);
  try {
    const size = list(path, p, null, 0);
    if (size === 0) return [];
    const buffer = Buffer.alloc(size + 256);
    const length = list(path, p, buffer, buffer.length);
    return latin1(buffer.subarray(0, length)).split('\0').slice(0, -1);
  } catch (error) {
    if (error instanceof SystemError && error.errno === constants.errno.ENOTSUP) return [];
    throw error;
  }
}

/** The value, or undefined where the file has no such attribute. Does not follow symlinks. */
export function getXattr(path: PathLike, name: ByteString): Buffer | undefined {
  const p = cPath(path);
  const n = cPath(bytesOf(name));
  const buffer = Buffer.alloc(65536);
  try {
    return Buffer.from(buffer.subarray(0, get(path, p, n, buffer, buffer.length)));
  } catch (error) {
    if (error instanceof SystemError && (error.code === 'ENODATA' || error.code === 'ENOTSUP')) return undefined;
    throw error;
  }
}

export function setXattr(path: PathLike, name: ByteString, value: Uint8Array): void {
  set(path, cPath(path), cPath(bytesOf(name)), value.length === 0 ? Buffer.alloc(1) : value, value.length, 0);
}
