import type { ByteString } from '../../core/bytes.ts';
import { S_IFDIR, S_IFMT } from './layout.ts';

/** `length` bytes at `offset` of a file lie at `start` of a device: 1.. the data files, 0 the index's own tail block. */
export interface Extent {
  offset: number;
  length: number;
  device: number;
  start: number;
}

/** One inode on its way into an index; hardlinks share the object. */
export class Inode {
  /** Type and permission bits; 0 for a hardlink whose source is not (yet) known. */
  mode: number;
  uid = 0;
  gid = 0;
  sec = 0;
  nsec = 0;
  nlink = 1;
  size = 0;
  /** File with one extent: where its data starts on `device`, in bytes. Device node: rdev. */
  start = 0;
  device = 1;
  /** Symlink: its target. Unresolved hardlink: the cleaned path of its source. */
  target: ByteString = '';
  /** File in several pieces. */
  extents: Extent[] | undefined = undefined;
  /** The last, partial block of a file whose padding in the tar is not zero. */
  tail: Uint8Array | undefined = undefined;
  xattrs: Map<ByteString, Uint8Array> | undefined = undefined;

  // Set by the measuring pass.
  /** Byte address in the image; 0 while not placed. */
  address = 0;
  /** The encoded xattr body. */
  xattrBody: Uint8Array | undefined = undefined;
  /** First of the blocks that this inode has in the data area of the image. */
  block = 0;
  /** Directory, symlink: the last, partial block of dirents or text follows the inode. */
  inline = false;
  /** Log2 of the blocks a chunk (chunked files); -1 for flat ones. */
  chunkBits = -1;

  constructor(mode: number) {
    this.mode = mode;
  }
}

export class Directory extends Inode {
  readonly children: Map<ByteString, Inode> = new Map();
  /** Names deleted from the layers below. */
  whiteouts: Set<ByteString> | undefined = undefined;
  /** Hides the whole content of the layers below. */
  opaque = false;
  /** No entry of its own in the layer. */
  implied: boolean;
  parent: Directory | undefined;

  // Set by the measuring pass.
  /** All names with "." and "..", sorted. */
  names: ByteString[] = [];

  constructor(implied: boolean, parent: Directory | undefined) {
    super(S_IFDIR | 0o755);
    this.implied = implied;
    this.parent = parent;
  }
}

export function isDirectory(inode: Inode): inode is Directory {
  return (inode.mode & S_IFMT) === S_IFDIR;
}

/** A hardlink whose source has not come yet; at the end: one to a lower layer. */
export function isUnresolved(inode: Inode): boolean {
  return inode.mode === 0;
}
