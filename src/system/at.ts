import { constants } from 'node:fs';
import { type ByteString, bytesOf } from '../core/bytes.ts';
import type { Time } from '../core/time.ts';
import { bindCall, cPath, SystemError } from './call.ts';
import { makedev } from './files.ts';
import { setXattr } from './xattr.ts';

/**
 * Calls relative to an open directory, for trees whose names come from an image: no path is resolved, so no symlink
 * can lead out, and no depth of directories meets PATH_MAX. A name is one component, except where a path is said.
 */

const openatCall = bindCall<[number, Buffer, number, number]>('openat', ['int', 'void *', 'int', 'uint'], 'int');
const mkdiratCall = bindCall<[number, Buffer, number]>('mkdirat', ['int', 'void *', 'uint'], 'int');
const mknodatCall = bindCall<[number, Buffer, number, number]>('mknodat', ['int', 'void *', 'uint', 'ulong'], 'int');
const symlinkatCall = bindCall<[Buffer, number, Buffer]>('symlinkat', ['void *', 'int', 'void *'], 'int');
const linkatCall = bindCall<[number, Buffer, number, Buffer, number]>(
  'linkat',
  ['int', 'void *', 'int', 'void *', 'int'],
  'int',
);
const fchownatCall = bindCall<[number, Buffer, number, number, number]>(
  'fchownat',
  ['int', 'void *', 'uint', 'uint', 'int'],
  'int',
);
const fchmodCall = bindCall<[number, number]>('fchmod', ['int', 'uint'], 'int');
const fchmodatCall = bindCall<[number, Buffer, number, number]>('fchmodat', ['int', 'void *', 'uint', 'int'], 'int');
const futimensCall = bindCall<[number, Buffer]>('futimens', ['int', 'void *'], 'int');
const utimensatCall = bindCall<[number, Buffer, Buffer, number]>(
  'utimensat',
  ['int', 'void *', 'void *', 'int'],
  'int',
);
const fsetxattrCall = bindCall<[number, Buffer, Uint8Array, number, number]>(
  'fsetxattr',
  ['int', 'void *', 'void *', 'size_t', 'int'],
  'int',
);
const syncfsCall = bindCall<[number]>('syncfs', ['int'], 'int');

const AT_SYMLINK_NOFOLLOW = 0x100;
const O_CLOEXEC = 0o2000000;

function cName(name: ByteString): Buffer {
  return Buffer.from(`${name}\0`, 'latin1');
}

/** A new file, open for writing; fails where the name is taken. The caller closes it. */
export function createFileAt(directory: number, name: ByteString, mode: number): number {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | O_CLOEXEC;
  return openatCall(bytesOf(name), directory, cName(name), flags, mode);
}

/** A directory, itself and no symlink to one; the caller closes it. */
export function openDirectoryAt(directory: number, name: ByteString): number {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | O_CLOEXEC;
  return openatCall(bytesOf(name), directory, cName(name), flags, 0);
}

export function makeDirectoryAt(directory: number, name: ByteString, mode: number): void {
  mkdiratCall(bytesOf(name), directory, cName(name), mode);
}

/** `mode` with its S_IF type bits. */
export function makeNodeAt(directory: number, name: ByteString, mode: number, major: number, minor: number): void {
  mknodatCall(bytesOf(name), directory, cName(name), mode, makedev(major, minor));
}

export function makeSymlinkAt(directory: number, name: ByteString, target: ByteString): void {
  symlinkatCall(bytesOf(name), cName(target), directory, cName(name));
}

/** A further name for the file at `path` (relative to `root`; its parents must be directories of ours). */
export function makeLinkAt(root: number, path: ByteString, directory: number, name: ByteString): void {
  linkatCall(bytesOf(name), root, cName(path), directory, cName(name), 0);
}

/** Of the name itself, not of what a symlink names. */
export function setOwnerAt(directory: number, name: ByteString, uid: number, gid: number): void {
  fchownatCall(bytesOf(name), directory, cName(name), uid, gid, AT_SYMLINK_NOFOLLOW);
}

/** Follows symlinks, as there is no other call: not for names that may be one. */
export function setModeAt(directory: number, name: ByteString, mode: number): void {
  fchmodatCall(bytesOf(name), directory, cName(name), mode, 0);
}

export function setModeOf(fd: number, mode: number): void {
  fchmodCall(undefined, fd, mode);
}

const times: Buffer = Buffer.alloc(32);

function timesBuffer({ sec, nsec }: Time): Buffer {
  for (const at of [0, 16]) {
    // A signed 64-bit number in two halves, without BigInt: this runs once for every file of an image.
    times.writeUInt32LE(sec >>> 0, at);
    times.writeInt32LE(Math.floor(sec / 2 ** 32), at + 4);
    times.writeUInt32LE(nsec, at + 8);
  }
  return times;
}

/** Access and modification time, to the nanosecond; of the name itself. */
export function setTimesAt(directory: number, name: ByteString, time: Time): void {
  utimensatCall(bytesOf(name), directory, cName(name), timesBuffer(time), AT_SYMLINK_NOFOLLOW);
}

export function setTimesOf(fd: number, time: Time): void {
  futimensCall(undefined, fd, timesBuffer(time));
}

export function setXattrOf(fd: number, name: ByteString, value: Uint8Array): void {
  fsetxattrCall(undefined, fd, cPath(bytesOf(name)), value.length === 0 ? Buffer.alloc(1) : value, value.length, 0);
}

/** syncfs(2): all that was written to the file system that `fd` is on is durable when it returns. */
export function syncFileSystem(fd: number): void {
  syncfsCall(undefined, fd);
}

/** What the file system has no place for, or the caller no right to, is left out, as every engine does. */
export function setXattrsOf(fd: number, xattrs: Iterable<[ByteString, Uint8Array]>): void {
  for (const [key, value] of xattrs) ifStorable(() => setXattrOf(fd, key, value));
}

/** As `setXattrsOf`, of what cannot be opened: a link, a device. */
export function setXattrsAt(directory: number, name: ByteString, xattrs: Iterable<[ByteString, Uint8Array]>): void {
  for (const [key, value] of xattrs) ifStorable(() => setXattr(pathAt(directory, name), key, value));
}

function ifStorable(set: () => void): void {
  try {
    set();
  } catch (error) {
    if (!(error instanceof SystemError && (error.code === 'ENOTSUP' || error.code === 'EPERM'))) throw error;
  }
}

/** For calls that take a path alone. No symlink is followed but a last one, where the call follows it. */
export function pathAt(directory: number, name: ByteString): Buffer {
  return Buffer.concat([Buffer.from(`/proc/thread-self/fd/${directory}/`), Buffer.from(bytesOf(name))]);
}
