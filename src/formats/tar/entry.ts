import type { ByteString } from '../../core/bytes.ts';
import type { Time } from '../../core/time.ts';

export type TarEntryType = 'file' | 'hardlink' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo';

/** A piece of a sparse file that is stored: `length` bytes at `offset` of the file lie at `dataOffset` of the tar. */
export interface SparseSegment {
  offset: number;
  length: number;
  dataOffset: number;
}

/** One member of a tar, all extension headers (PAX, GNU) applied. Names are as stored, not cleaned. */
export interface TarEntry {
  path: ByteString;
  type: TarEntryType;
  /** Permission bits with setuid, setgid and sticky: 0..0o7777. */
  mode: number;
  uid: number;
  gid: number;
  uname: ByteString;
  gname: ByteString;
  mtime: Time;
  /** Logical size of the file in bytes (sparse files: expanded). 0 for all but files. */
  size: number;
  /** Symlink target or hardlink source; '' otherwise. */
  linkname: ByteString;
  devmajor: number;
  devminor: number;
  /** Full name ('user.x', 'security.capability') → value; SCHILY over LIBARCHIVE. Undefined where there are none. */
  xattrs: Map<ByteString, Uint8Array> | undefined;
  /** Byte offset in the tar of the member's first header block, its own extension headers included. */
  headerOffset: number;
  /** Byte offset in the tar of the first stored data byte (sparse map of PAX 1.0 excluded). */
  dataOffset: number;
  /** Stored data bytes from dataOffset (sparse: the sum of the segments). */
  dataSize: number;
  /** Present for sparse files only; ascending, not overlapping; may be empty (all hole). */
  sparse: SparseSegment[] | undefined;
  /**
   * True when the rest of the last 512-byte block after the data is not all zero, or is missing at the end of the
   * tar (such a file must not be mapped block-wise to its end). Only known, and only set, when the reader was given
   * the data.
   */
  dirtyPadding: boolean;
  /** The `dataSize % 512` last stored bytes; present only where `dirtyPadding` is true. */
  tail?: Uint8Array;
}
