import { type ByteString, displayName } from '../../core/bytes.ts';
import type { TarEntry, TarEntryType } from './entry.ts';
import { tarError } from './errors.ts';
import { type HeaderFormat, readNumber, readPath, readText } from './header.ts';
import type { PaxFields } from './pax.ts';

/**
 * What follows a header of this type flag: nothing, data, or the body of an extension header.
 * Throws TAR_UNSUPPORTED_TYPE for what cannot be a whole file of an image.
 */
export function chooseKind(flag: number, offset: number): 'plain' | 'data' | 'extension' | 'skip' {
  switch (flag) {
    case 0: // v7
    case 0x30: // '0'
    case 0x37: // '7' contiguous
    case 0x53: // 'S' old GNU sparse
    case 0x44: // 'D' GNU directory with a list of its names
      return 'data';
    case 0x31: // hardlink
    case 0x32: // symlink
    case 0x33: // character device
    case 0x34: // block device
    case 0x35: // directory
    case 0x36: // FIFO
      return 'plain';
    case 0x78: // 'x' PAX
    case 0x58: // 'X' the same by Solaris, before POSIX had it
    case 0x67: // 'g' PAX global
    case 0x4c: // 'L' GNU long name
    case 0x4b: // 'K' GNU long link
      return 'extension';
    case 0x56: // 'V' GNU volume label
      return 'skip';
  }
  const char = displayName(String.fromCharCode(flag));
  const what = flag === 0x4d ? 'continuation of a multi-volume archive' : `tar member of unknown type '${char}'`;
  throw tarError('TAR_UNSUPPORTED_TYPE', what, offset, { remedy: 'unpack it and pack it again, with GNU tar for one' });
}

const TYPES: Record<number, TarEntryType> = {
  49: 'hardlink',
  50: 'symlink',
  51: 'char',
  52: 'block',
  53: 'directory',
  54: 'fifo',
  68: 'directory',
};

const MAX_ID = 0xffffffff;

/** The entry of a header block, PAX over GNU long names over the block's own fields. Sizes and offsets still 0. */
export function buildEntry(
  bytes: Uint8Array,
  at: number,
  format: HeaderFormat,
  offset: number,
  pax: PaxFields | undefined,
  longName: ByteString | undefined,
  longLink: ByteString | undefined,
): TarEntry {
  const path = pax?.path ?? longName ?? readPath(bytes, at, format);
  let type = TYPES[bytes[at + 156]!] ?? 'file';
  // v7 has no type for directories.
  if (type === 'file' && path.charCodeAt(path.length - 1) === 0x2f && !pax?.sparse) type = 'directory';
  const link = type === 'hardlink' || type === 'symlink';
  const device = type === 'char' || type === 'block';
  const named = format !== 'v7';
  return {
    path,
    type,
    mode: readNumber(bytes, at + 100, 8, 'mode', offset) % 0o10000,
    uid: pax?.uid ?? readNumber(bytes, at + 108, 8, 'uid', offset, MAX_ID),
    gid: pax?.gid ?? readNumber(bytes, at + 116, 8, 'gid', offset, MAX_ID),
    uname: pax?.uname ?? (named ? readText(bytes, at + 265, 32) : ''),
    gname: pax?.gname ?? (named ? readText(bytes, at + 297, 32) : ''),
    mtime: pax?.mtime ?? {
      sec: readNumber(bytes, at + 136, 12, 'mtime', offset, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER),
      nsec: 0,
    },
    size: 0,
    linkname: link ? (pax?.linkpath ?? longLink ?? readText(bytes, at + 157, 100)) : '',
    devmajor: device ? (pax?.devmajor ?? readNumber(bytes, at + 329, 8, 'device number', offset, MAX_ID)) : 0,
    devminor: device ? (pax?.devminor ?? readNumber(bytes, at + 337, 8, 'device number', offset, MAX_ID)) : 0,
    xattrs: mergeXattrs(pax),
    headerOffset: offset,
    dataOffset: 0,
    dataSize: 0,
    sparse: undefined,
    dirtyPadding: false,
  };
}

function mergeXattrs(pax: PaxFields | undefined): Map<ByteString, Uint8Array> | undefined {
  if (!pax?.libarchiveXattrs) return pax?.xattrs;
  if (!pax.xattrs) return pax.libarchiveXattrs;
  return new Map([...pax.libarchiveXattrs, ...pax.xattrs]);
}
