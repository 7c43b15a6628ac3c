import type { ByteString } from '../../core/bytes.ts';

/**
 * The on-disk numbers of EROFS as Imago writes it: 512-byte blocks, extended inodes, no compression.
 * Source: linux/fs/erofs/erofs_fs.h (6.18). All integers are little-endian.
 */

/** Tar's block and ours, so that any member can be mapped where it lies. */
export const BLOCK = 512;
export const BLOCK_BITS = 9;

export const SUPER_OFFSET = 1024;
const SUPER_SIZE = 128;
export const SUPER_MAGIC = 0xe0f5e1e2;
export const COMPAT_CHECKSUM = 0x1;
export const COMPAT_MTIME = 0x2;
export const INCOMPAT_CHUNKED_FILE = 0x4;
export const INCOMPAT_DEVICE_TABLE = 0x8;

/** A device slot; the table starts right behind the superblock, counted in slots. */
export const SLOT_SIZE = 128;
export const SLOT_TABLE: number = (SUPER_OFFSET + SUPER_SIZE) / SLOT_SIZE;

/** Inodes lie at multiples of 32 bytes; a nid is that multiple (meta_blkaddr is 0, so no inode has nid 0). */
export const INODE_ALIGN = 32;
export const INODE_SIZE = 64;
/** i_format: bit 0 extended, bits 1 to 3 the layout of the data. */
export const FORMAT_FLAT_PLAIN: number = 1 | (0 << 1);
export const FORMAT_FLAT_INLINE: number = 1 | (2 << 1);
export const FORMAT_CHUNKED: number = 1 | (4 << 1);
export const CHUNK_INDEXES = 0x20;
export const CHUNK_ENTRY = 8;
export const MAX_CHUNK_BITS = 31;
/** No block: an empty file, a hole. */
export const NULL_BLOCK = 0xffffffff;

export const XATTR_HEADER = 12;
export const XATTR_ENTRY = 4;

export const DIRENT_SIZE = 12;
export const MAX_NAME = 255;

/** st_mode's type bits. */
export const S_IFMT = 0o170000;
export const S_IFREG = 0o100000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFBLK = 0o060000;
export const S_IFIFO = 0o010000;
const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;

/** A dirent's file_type for the type bits of a mode. */
export function direntType(mode: number): number {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return 1;
    case S_IFDIR:
      return 2;
    case S_IFCHR:
      return 3;
    case S_IFBLK:
      return 4;
    case S_IFIFO:
      return 5;
    case S_IFSOCK:
      return 6;
    default:
      return 7;
  }
}

export function alignUp(value: number, to: number): number {
  const rest = value % to;
  return rest === 0 ? value : value + to - rest;
}

/** Writes a byte string; returns the position behind it. */
export function writeName(image: Uint8Array, at: number, name: ByteString): number {
  for (let i = 0; i < name.length; i++) image[at + i] = name.charCodeAt(i);
  return at + name.length;
}

/** rdev as the kernel's new_encode_dev packs it: 12 bits of major, 20 of minor. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

export function decodeDevice(rdev: number): [major: number, minor: number] {
  return [(rdev >>> 8) & 0xfff, (rdev & 0xff) | ((rdev >>> 12) & 0xfff00)];
}
