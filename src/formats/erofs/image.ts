import type { ByteString } from '../../core/bytes.ts';
import { crc32c } from './crc32c.ts';
import { planDevices, writeDevices } from './devices.ts';
import { packDirectory } from './dirents.ts';
import { type Directory, type Inode, isDirectory } from './inode.ts';
import {
  alignUp,
  BLOCK,
  BLOCK_BITS,
  CHUNK_ENTRY,
  CHUNK_INDEXES,
  COMPAT_CHECKSUM,
  COMPAT_MTIME,
  DIRENT_SIZE,
  direntType,
  FORMAT_CHUNKED,
  FORMAT_FLAT_INLINE,
  FORMAT_FLAT_PLAIN,
  INCOMPAT_CHUNKED_FILE,
  INCOMPAT_DEVICE_TABLE,
  INODE_ALIGN,
  INODE_SIZE,
  NULL_BLOCK,
  S_IFBLK,
  S_IFCHR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  SLOT_TABLE,
  SUPER_MAGIC,
  SUPER_OFFSET,
  writeName,
  XATTR_HEADER,
} from './layout.ts';
import { measureImage } from './measure.ts';

interface ImageOptions {
  uuid: Uint8Array;
  /** Sizes of the data files in bytes, in slot order. */
  devices: readonly number[];
  /** Bytes; throws `INDEX_TOO_LARGE` beyond. Default 512 MiB. */
  maxSize?: number;
}

const DEFAULT_MAX_SIZE = 512 * 2 ** 20;

/** Writes a settled tree as one EROFS image: a measuring pass, then an emitting one into one array. */
export function writeImage(root: Directory, options: ImageOptions): Uint8Array {
  const maxSize = options.maxSize ?? DEFAULT_MAX_SIZE;
  const table = planDevices(options.devices, maxSize);
  const plan = measureImage(root, table, maxSize);
  const image = new Uint8Array(plan.size);
  const writer = new Writer(image, writeDevices(viewOf(image), table, plan.size / BLOCK));
  plan.inodes.forEach((inode, i) => {
    writer.inode(inode, i + 1);
  });
  writeSuperblock(image, root, plan.inodes.length, options);
  return image;
}

function writeSuperblock(image: Uint8Array, root: Directory, inodes: number, options: ImageOptions): void {
  const view = new DataView(image.buffer, SUPER_OFFSET);
  view.setUint32(0, SUPER_MAGIC, true);
  view.setUint32(8, COMPAT_CHECKSUM | COMPAT_MTIME, true);
  view.setUint8(12, BLOCK_BITS);
  view.setUint16(14, root.address / INODE_ALIGN, true);
  view.setUint32(16, inodes, true);
  view.setUint32(36, image.length / BLOCK, true);
  image.set(options.uuid, SUPER_OFFSET + 48);
  view.setUint32(80, INCOMPAT_CHUNKED_FILE | (options.devices.length > 0 ? INCOMPAT_DEVICE_TABLE : 0), true);
  view.setUint16(86, options.devices.length, true);
  view.setUint16(88, options.devices.length > 0 ? SLOT_TABLE : 0, true);
  // Covers the rest of the superblock's block, so also the first device slots.
  view.setUint32(4, crc32c(image.subarray(SUPER_OFFSET, SUPER_OFFSET + BLOCK)), true);
}

class Writer {
  readonly #image: Uint8Array;
  readonly #view: DataView;
  /** First block of each device in the image's range, by slot number. */
  readonly #starts: number[];

  constructor(image: Uint8Array, starts: number[]) {
    this.#image = image;
    this.#view = viewOf(image);
    this.#starts = starts;
  }

  inode(inode: Inode, number: number): void {
    const at = inode.address;
    const view = this.#view;
    const body = inode.xattrBody;
    view.setUint16(at, this.#format(inode), true);
    if (body !== undefined) {
      view.setUint16(at + 2, (body.length - XATTR_HEADER) / 4 + 1, true);
      this.#image.set(body, at + INODE_SIZE);
    }
    view.setUint16(at + 4, inode.mode, true);
    setUint64(view, at + 8, inode.size);
    view.setUint32(at + 20, number, true);
    view.setUint32(at + 24, inode.uid, true);
    view.setUint32(at + 28, inode.gid, true);
    setUint64(view, at + 32, inode.sec);
    view.setUint32(at + 40, inode.nsec, true);
    view.setUint32(at + 44, inode.nlink, true);
    this.#content(inode, at + INODE_SIZE + (body?.length ?? 0));
  }

  #format(inode: Inode): number {
    if (inode.extents !== undefined) return FORMAT_CHUNKED;
    return inode.inline ? FORMAT_FLAT_INLINE : FORMAT_FLAT_PLAIN;
  }

  #content(inode: Inode, behind: number): void {
    const type = inode.mode & S_IFMT;
    const field = inode.address + 16;
    if (isDirectory(inode)) {
      this.#view.setUint32(field, this.#outerBlock(inode), true);
      this.#dirents(inode, behind);
    } else if (type === S_IFLNK) {
      this.#view.setUint32(field, this.#outerBlock(inode), true);
      this.#target(inode, behind);
    } else if (type === S_IFCHR || type === S_IFBLK) this.#view.setUint32(field, inode.start, true);
    else if (type === S_IFREG) this.#data(inode, field, behind);
  }

  /** First of the blocks that do not follow the inode. */
  #outerBlock(inode: Inode): number {
    return inode.inline && inode.size < BLOCK ? NULL_BLOCK : inode.block;
  }

  #data(inode: Inode, field: number, behind: number): void {
    const tailAt = inode.block * BLOCK;
    if (inode.tail !== undefined) this.#image.set(inode.tail, tailAt);
    if (inode.extents !== undefined) {
      this.#view.setUint32(field, CHUNK_INDEXES | inode.chunkBits, true);
      this.#chunks(inode, alignUp(behind, CHUNK_ENTRY));
    } else if (inode.size === 0) this.#view.setUint32(field, NULL_BLOCK, true);
    else if (inode.device === 0) this.#view.setUint32(field, inode.block, true);
    else this.#view.setUint32(field, this.#starts[inode.device]! + inode.start / BLOCK, true);
  }

  #chunks(inode: Inode, at: number): void {
    const view = this.#view;
    const chunk = BLOCK * 2 ** inode.chunkBits;
    const count = Math.ceil(inode.size / chunk);
    let next = 0;
    for (const extent of inode.extents!) {
      const from = extent.offset / chunk;
      const to = Math.ceil((extent.offset + extent.length) / chunk);
      for (; next < from; next++) view.setUint32(at + next * CHUNK_ENTRY + 4, NULL_BLOCK, true);
      const start = extent.device === 0 ? inode.block * BLOCK : extent.start;
      for (; next < to; next++) {
        view.setUint16(at + next * CHUNK_ENTRY + 2, extent.device, true);
        view.setUint32(at + next * CHUNK_ENTRY + 4, (start + next * chunk - extent.offset) / BLOCK, true);
      }
    }
    for (; next < count; next++) view.setUint32(at + next * CHUNK_ENTRY + 4, NULL_BLOCK, true);
  }

  #target(inode: Inode, behind: number): void {
    const outer = inode.inline ? inode.size - (inode.size % BLOCK) : inode.size;
    writeName(this.#image, inode.block * BLOCK, inode.target.slice(0, outer));
    writeName(this.#image, behind, inode.target.slice(outer));
  }

  #dirents(directory: Directory, behind: number): void {
    const { names } = directory;
    const last = directory.inline ? Math.floor(directory.size / BLOCK) : -1;
    packDirectory(names, (from, to, block) => {
      this.#direntBlock(directory, from, to, block === last ? behind : (directory.block + block) * BLOCK);
    });
  }

  #direntBlock(directory: Directory, from: number, to: number, base: number): void {
    const view = this.#view;
    let nameAt = DIRENT_SIZE * (to - from);
    for (let i = from; i < to; i++) {
      const at = base + DIRENT_SIZE * (i - from);
      const name = directory.names[i]!;
      const inode = childOf(directory, name);
      setUint64(view, at, inode.address / INODE_ALIGN);
      view.setUint16(at + 8, nameAt, true);
      view.setUint8(at + 10, direntType(inode.mode));
      nameAt = writeName(this.#image, base + nameAt, name) - base;
    }
  }
}

function childOf(directory: Directory, name: ByteString): Inode {
  if (name === '.') return directory;
  if (name === '..') return directory.parent ?? directory;
  return directory.children.get(name)!;
}

/** A safe integer as 64 bits, two's complement. */
function setUint64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

function viewOf(image: Uint8Array): DataView {
  return new DataView(image.buffer, image.byteOffset, image.byteLength);
}
