import { ImagoError } from '../../core/errors.ts';
import type { DeviceTable } from './devices.ts';
import { packDirectory } from './dirents.ts';
import { type Directory, type Extent, type Inode, isDirectory } from './inode.ts';
import {
  alignUp,
  BLOCK,
  BLOCK_BITS,
  CHUNK_ENTRY,
  INODE_ALIGN,
  INODE_SIZE,
  MAX_CHUNK_BITS,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  SLOT_SIZE,
  SLOT_TABLE,
} from './layout.ts';
import { encodeXattrs } from './xattrs.ts';

/** Where everything of an image lies. */
interface Plan {
  /** In the order of their addresses. */
  inodes: Inode[];
  /** Bytes of the whole image, a multiple of the block size. */
  size: number;
}

/**
 * The measuring pass: gives every inode reachable from `root` its address and blocks.
 * Order: a directory, its files by name, then its subdirectories' turns, so that a walk reads ahead.
 * Behind the inodes, from a block boundary: full blocks of dirents and tails of files.
 */
export function measureImage(root: Directory, table: DeviceTable, maxSize: number): Plan {
  const cursor = new Cursor(table, maxSize);
  const pending: Directory[] = [root];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const names = [...at.children.keys(), '.', '..'].sort();
    at.names = names;
    at.size = packDirectory(names);
    const below: Directory[] = [];
    const others: Inode[] = [];
    for (const name of names) {
      const child = at.children.get(name);
      if (child === undefined) continue;
      if (isDirectory(child)) below.push(child);
      else others.push(child);
    }
    at.nlink = 2 + below.length;
    const used = cursor.placeDirectory(at, others);
    for (let i = used; i < others.length; i++) cursor.placeInode(others[i]!);
    for (let i = below.length - 1; i >= 0; i--) pending.push(below[i]!);
  }
  return cursor.finish();
}

class Cursor {
  readonly #inodes: Inode[] = [];
  readonly #maxSize: number;
  readonly #flat: number;
  #at: number;
  #blocks = 0;

  constructor(table: DeviceTable, maxSize: number) {
    this.#at = alignUp(SLOT_SIZE * (SLOT_TABLE + table.blocks.length), BLOCK);
    this.#flat = table.flat;
    this.#maxSize = maxSize;
  }

  /** Places a directory; how many of its files it needed to fill the room before its tail's block. */
  placeDirectory(directory: Directory, files: Inode[]): number {
    const head = headSize(directory);
    const tail = directory.size % BLOCK;
    let used = 0;
    // The root comes first: its nid has 16 bits.
    while (tail > 0 && directory.parent !== undefined && used < files.length && !this.#tailFits(head, tail)) {
      this.placeInode(files[used]!);
      used++;
    }
    directory.inline = tail > 0 && this.#skipTo(head, tail);
    directory.block = this.#blocks;
    this.#blocks += directory.inline ? (directory.size - tail) / BLOCK : alignUp(directory.size, BLOCK) / BLOCK;
    this.#put(directory, head + (directory.inline ? tail : 0));
    return used;
  }

  placeInode(inode: Inode): void {
    if (inode.address !== 0) return;
    const head = headSize(inode);
    const type = inode.mode & S_IFMT;
    let size = head;
    if (type === S_IFLNK) size += this.#placeTarget(inode, head);
    else if (type === S_IFREG) size = this.#measureData(inode, head);
    this.#put(inode, size);
  }

  finish(): Plan {
    const data = alignUp(this.#at, BLOCK);
    for (const inode of this.#inodes) inode.block += data / BLOCK;
    return { inodes: this.#inodes, size: data + this.#blocks * BLOCK };
  }

  #placeTarget(inode: Inode, head: number): number {
    // Full blocks of a long target lie in the data area, as those of directories.
    const tail = inode.size % BLOCK;
    inode.block = this.#blocks;
    inode.inline = tail > 0 && this.#skipTo(head, tail);
    this.#blocks += inode.inline ? (inode.size - tail) / BLOCK : alignUp(inode.size, BLOCK) / BLOCK;
    return inode.inline ? tail : 0;
  }

  #measureData(inode: Inode, head: number): number {
    if (inode.tail !== undefined) {
      inode.block = this.#blocks;
      this.#blocks++;
    }
    if (inode.device > this.#flat && inode.size > 0) {
      inode.extents ??= [{ offset: 0, length: inode.size, device: inode.device, start: inode.start }];
    }
    if (inode.extents === undefined) return head;
    inode.chunkBits = chunkBits(inode.extents, inode.size);
    return alignUp(head, CHUNK_ENTRY) + CHUNK_ENTRY * Math.ceil(inode.size / (BLOCK * 2 ** inode.chunkBits));
  }

  #tailFits(head: number, tail: number): boolean {
    return ((this.#at + head) % BLOCK) + tail <= BLOCK;
  }

  /** Goes to the next address where a tail behind `head` lies within one block; false where there is none. */
  #skipTo(head: number, tail: number): boolean {
    const from = this.#at;
    for (; this.#at < from + BLOCK; this.#at += INODE_ALIGN) if (this.#tailFits(head, tail)) return true;
    this.#at = from;
    return false;
  }

  #put(inode: Inode, size: number): void {
    inode.address = this.#at;
    this.#inodes.push(inode);
    this.#at = alignUp(this.#at + size, INODE_ALIGN);
    const total = this.#at + this.#blocks * BLOCK;
    if (total <= this.#maxSize) return;
    throw new ImagoError('INDEX_TOO_LARGE', 'the index of this layer gets too large', {
      op: 'index layer',
      want: `≤ ${this.#maxSize} bytes`,
      remedy: 'split it into several layers; a sparse file with many small pieces is better stored without holes',
    });
  }
}

/** Bytes of an inode with its xattr body. */
function headSize(inode: Inode): number {
  if (inode.xattrs === undefined) return INODE_SIZE;
  inode.xattrBody = encodeXattrs(inode.xattrs);
  return INODE_SIZE + inode.xattrBody.length;
}

/** The largest chunk such that none holds two extents, or an extent and a hole before the file's end. */
function chunkBits(extents: Extent[], size: number): number {
  let bits = 0;
  while (bits < MAX_CHUNK_BITS && BLOCK * 2 ** bits < size) bits++;
  for (const { offset, length } of extents) {
    bits = Math.min(bits, trailingZeros(offset) - BLOCK_BITS);
    if (offset + length < size) bits = Math.min(bits, trailingZeros(alignUp(offset + length, BLOCK)) - BLOCK_BITS);
  }
  return bits;
}

function trailingZeros(value: number): number {
  if (value === 0) return 64;
  const low = value % 2 ** 32;
  return low === 0 ? 32 + trailingZeros(value / 2 ** 32) : 31 - Math.clz32(low & -low);
}
