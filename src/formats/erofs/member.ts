import type { ByteString } from '../../core/bytes.ts';
import type { TarEntry, TarEntryType } from '../tar/entry.ts';
import { type Extent, type Inode, isDirectory } from './inode.ts';
import { alignUp, BLOCK, encodeDevice, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG } from './layout.ts';
import { MAX_PATH, pathError } from './path.ts';
import { layerXattrs } from './xattrs.ts';

const TYPE_BITS: Record<MemberType, number> = {
  file: S_IFREG,
  directory: S_IFDIR,
  symlink: S_IFLNK,
  char: S_IFCHR,
  block: S_IFBLK,
  fifo: S_IFIFO,
};

type MemberType = Exclude<TarEntryType, 'hardlink'>;
/** A member that has an inode of its own. */
export type OwnMember = TarEntry & { type: MemberType };

export function isOwn(entry: TarEntry): entry is OwnMember {
  return entry.type !== 'hardlink';
}

type Attributes = Pick<OwnMember, 'type' | 'path' | 'headerOffset' | 'mode' | 'uid' | 'gid' | 'mtime' | 'xattrs'>;

/** Owner, mode, time and attributes of a member, onto an inode of its kind. */
export function setAttributes(inode: Inode, entry: Attributes, onDropped: (name: ByteString) => void): void {
  // The kernel gives symlinks 0777 and ignores what a tar says.
  inode.mode = TYPE_BITS[entry.type] | (entry.type === 'symlink' ? 0o777 : entry.mode & 0o7777);
  inode.uid = checkOwner(entry, entry.uid);
  inode.gid = checkOwner(entry, entry.gid);
  inode.sec = entry.mtime.sec;
  inode.nsec = entry.mtime.nsec;
  inode.xattrs = layerXattrs(entry, onDropped);
  if (isDirectory(inode)) inode.implied = false;
}

/** 2^32−1 means "nobody" to the kernel: such an inode could not even be deleted. */
function checkOwner(entry: Attributes, id: number): number {
  if (Number.isInteger(id) && id >= 0 && id < 0xffffffff) return id;
  throw pathError('BAD_OWNER', 'owner outside of 0..4294967294', entry.path, entry.headerOffset, id);
}

/** What a member has beside its attributes: data (on device slot `device`), target or device number. */
export function setContent(inode: Inode, entry: OwnMember, device: number): void {
  if (entry.type === 'symlink') inode.target = checkTarget(entry);
  else if (entry.type === 'char' || entry.type === 'block') inode.start = checkDevice(entry);
  else if (entry.type === 'file') setData(inode, entry, device);
  if (entry.type === 'symlink') inode.size = entry.linkname.length;
}

function checkTarget(entry: TarEntry): ByteString {
  const target = entry.linkname;
  if (target.length === 0 || target.includes('\0')) {
    throw pathError('BAD_SYMLINK', 'symlink without a proper target', entry.path, entry.headerOffset);
  }
  if (target.length > MAX_PATH) {
    throw pathError('NAME_TOO_LONG', 'symlink target too long', entry.path, entry.headerOffset, target.length);
  }
  return target;
}

function checkDevice(entry: TarEntry): number {
  const { devmajor, devminor } = entry;
  if (devmajor >>> 12 !== 0 || devminor >>> 20 !== 0 || !Number.isInteger(devmajor) || !Number.isInteger(devminor)) {
    throw pathError('BAD_DEVICE', `device ${devmajor}:${devminor} past the kernel's`, entry.path, entry.headerOffset);
  }
  return encodeDevice(devmajor, devminor);
}

function setData(inode: Inode, entry: TarEntry, device: number): void {
  inode.size = entry.size;
  inode.device = device;
  inode.start = entry.dataOffset;
  if (entry.sparse === undefined && !entry.dirtyPadding) {
    if (entry.size > 0) checkAlignment(entry, entry.dataOffset);
    return;
  }
  const segments = entry.sparse ?? [{ offset: 0, length: entry.size, dataOffset: entry.dataOffset }];
  const extents = joinSegments(entry, segments, device);
  if (entry.dirtyPadding) cutTail(inode, entry, extents);
  if (inode.size === 0) return;
  inode.extents = extents;
  const [first] = extents;
  if (extents.length !== 1 || first === undefined || first.offset !== 0 || first.length !== inode.size) return;
  inode.extents = undefined;
  inode.device = first.device;
  inode.start = first.start;
}

/** Segments as extents; neighbours in both the file and the tar become one. */
function joinSegments(entry: TarEntry, segments: NonNullable<TarEntry['sparse']>, device: number): Extent[] {
  const out: Extent[] = [];
  let last: Extent | undefined;
  for (const { offset, length, dataOffset } of segments) {
    if (length === 0) continue;
    checkAlignment(entry, offset);
    checkAlignment(entry, dataOffset);
    const end = last === undefined ? 0 : last.offset + alignUp(last.length, BLOCK);
    if (offset < end || offset + length > entry.size) {
      throw pathError('BAD_SPARSE', 'sparse map out of order or past the file', entry.path, entry.headerOffset, offset);
    }
    if (last !== undefined && offset === end && dataOffset === last.start + offset - last.offset) {
      last.length = offset + length - last.offset;
    } else {
      last = { offset, length, device, start: dataOffset };
      out.push(last);
    }
  }
  return out;
}

/** The last partial block comes from the index itself: in the tar, other bytes than zeros follow it. */
function cutTail(inode: Inode, entry: TarEntry, extents: Extent[]): void {
  const last = extents.at(-1);
  const partial = last === undefined ? 0 : last.length % BLOCK;
  if (last === undefined || partial === 0) return;
  if (entry.tail?.length !== partial) {
    throw pathError('MISSING_TAIL', 'no bytes given for the last block', entry.path, entry.headerOffset);
  }
  inode.tail = entry.tail;
  last.length -= partial;
  const tail: Extent = { offset: last.offset + last.length, length: partial, device: 0, start: 0 };
  if (last.length === 0) extents.pop();
  extents.push(tail);
}

function checkAlignment(entry: TarEntry, offset: number): void {
  if (Number.isSafeInteger(offset) && offset % BLOCK === 0) return;
  throw pathError(
    'UNALIGNED_DATA',
    'file data that does not start at a tar block',
    entry.path,
    entry.headerOffset,
    offset,
  );
}
