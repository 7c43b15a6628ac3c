import { type ByteString, latin1 } from '../../core/bytes.ts';
import { ImagoError } from '../../core/errors.ts';
import type { Time } from '../../core/time.ts';
import { crc32c } from './crc32c.ts';
import {
  alignUp,
  BLOCK,
  BLOCK_BITS,
  CHUNK_ENTRY,
  CHUNK_INDEXES,
  DIRENT_SIZE,
  decodeDevice,
  INODE_ALIGN,
  INODE_SIZE,
  NULL_BLOCK,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  SLOT_SIZE,
  SUPER_MAGIC,
  SUPER_OFFSET,
  XATTR_ENTRY,
  XATTR_HEADER,
} from './layout.ts';
import { xattrPrefix } from './xattrs.ts';

/** Where a piece of a file is: `length` bytes from `start` of device `device` (0: the image); device -1: a hole. */
export interface IndexExtent {
  device: number;
  start: number;
  length: number;
}

export type IndexEntryType = 'file' | 'directory' | 'symlink' | 'char' | 'block' | 'fifo';

/** One name of an index. Hardlinks come once a name, with the same `nid`. */
export interface IndexEntry {
  /** From the root, no leading slash; '' is the root. */
  path: ByteString;
  nid: number;
  type: IndexEntryType;
  mode: number;
  uid: number;
  gid: number;
  mtime: Time;
  size: number;
  nlink: number;
  /** Symlinks; '' otherwise. */
  target: ByteString;
  devmajor: number;
  devminor: number;
  xattrs: Map<ByteString, Uint8Array>;
  /** Files: the data in order; neighbours are joined. */
  extents: IndexExtent[];
}

export interface Index {
  /** Lower-case hex, no dashes. */
  uuid: string;
  inodes: number;
  /** Blocks and first block in the image's range, by slot. */
  devices: { blocks: number; start: number }[];
  root: number;
}

const TYPES: ReadonlyMap<number, IndexEntryType> = new Map([
  [S_IFREG, 'file'],
  [S_IFDIR, 'directory'],
  [S_IFLNK, 'symlink'],
  [S_IFCHR, 'char'],
  [S_IFBLK, 'block'],
  [S_IFIFO, 'fifo'],
]);

/** Reads what Imago writes (512-byte blocks, extended inodes); anything else throws `BAD_INDEX`. */
export class IndexReader {
  readonly index: Index;
  readonly #image: Uint8Array;
  readonly #view: DataView;

  constructor(image: Uint8Array) {
    // A Node buffer's `slice` copies nothing.
    this.#image = new Uint8Array(image.buffer, image.byteOffset, image.byteLength);
    this.#view = new DataView(image.buffer, image.byteOffset, image.byteLength);
    this.index = guard(() => this.#superblock());
  }

  /** All names: a directory, then what is in it, by name; the root first. */
  *entries(): Generator<IndexEntry, void, undefined> {
    const seen = new Set<number>();
    const pending: { nid: number; path: ByteString; type: number }[] = [{ nid: this.index.root, path: '', type: 2 }];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const { nid, path } = next;
      const entry = this.inode(nid, path);
      yield entry;
      if (entry.type !== 'directory') continue;
      if (seen.has(nid)) throw bad('a directory with two names', nid * INODE_ALIGN);
      seen.add(nid);
      const below = this.list(nid);
      for (let i = below.length - 1; i >= 0; i--) {
        const { name, nid: child, type } = below[i]!;
        if (name !== '.' && name !== '..') {
          pending.push({ nid: child, path: path === '' ? name : `${path}/${name}`, type });
        }
      }
    }
  }

  inode(nid: number, path: ByteString = ''): IndexEntry {
    return guard(() => this.#inode(nid, path));
  }

  /** The names of a directory as they are stored, "." and ".." included; checks their order. */
  list(nid: number): { name: ByteString; nid: number; type: number }[] {
    return guard(() => this.#list(nid));
  }

  #superblock(): Index {
    const view = this.#view;
    if (view.getUint32(SUPER_OFFSET, true) !== SUPER_MAGIC) throw bad('not an EROFS image', SUPER_OFFSET);
    const area = this.#image.slice(SUPER_OFFSET, SUPER_OFFSET + BLOCK);
    area.fill(0, 4, 8);
    if (view.getUint32(SUPER_OFFSET + 4, true) !== crc32c(area)) throw bad('wrong superblock checksum', SUPER_OFFSET);
    if (view.getUint8(SUPER_OFFSET + 12) !== BLOCK_BITS) throw bad('block size other than 512', SUPER_OFFSET + 12);
    if (view.getUint32(SUPER_OFFSET + 36, true) * BLOCK !== this.#image.length)
      throw bad('wrong size', SUPER_OFFSET + 36);
    const devices: Index['devices'] = [];
    const table = view.getUint16(SUPER_OFFSET + 88, true) * SLOT_SIZE;
    for (let i = 0; i < view.getUint16(SUPER_OFFSET + 86, true); i++) {
      const at = table + i * SLOT_SIZE;
      devices.push({ blocks: view.getUint32(at + 64, true), start: view.getUint32(at + 68, true) });
    }
    let uuid = '';
    for (const byte of this.#image.subarray(SUPER_OFFSET + 48, SUPER_OFFSET + 64)) {
      uuid += byte.toString(16).padStart(2, '0');
    }
    return { uuid, inodes: this.#uint64(SUPER_OFFSET + 16), devices, root: view.getUint16(SUPER_OFFSET + 14, true) };
  }

  #inode(nid: number, path: ByteString): IndexEntry {
    const at = nid * INODE_ALIGN;
    const view = this.#view;
    const format = view.getUint16(at, true);
    if ((format & 1) === 0) throw bad('compact inode', at);
    const mode = view.getUint16(at + 4, true);
    const type = TYPES.get(mode & S_IFMT);
    if (type === undefined) throw bad('unknown file type', at + 4);
    const head = this.#headSize(at);
    const size = this.#uint64(at + 8);
    const [devmajor, devminor] =
      type === 'char' || type === 'block' ? decodeDevice(view.getUint32(at + 16, true)) : [0, 0];
    return {
      path,
      nid,
      type,
      mode: mode & 0o7777,
      uid: view.getUint32(at + 24, true),
      gid: view.getUint32(at + 28, true),
      mtime: {
        sec: view.getInt32(at + 36, true) * 2 ** 32 + view.getUint32(at + 32, true),
        nsec: view.getUint32(at + 40, true),
      },
      size,
      nlink: view.getUint32(at + 44, true),
      target: type === 'symlink' ? latin1(this.#bytes(at, head, size)) : '',
      devmajor,
      devminor,
      xattrs: this.#xattrs(at),
      extents: type === 'file' ? this.#extents(at, head, size) : [],
    };
  }

  #headSize(at: number): number {
    const count = this.#view.getUint16(at + 2, true);
    return INODE_SIZE + (count === 0 ? 0 : XATTR_HEADER + 4 * (count - 1));
  }

  #xattrs(at: number): Map<ByteString, Uint8Array> {
    const out = new Map<ByteString, Uint8Array>();
    const end = at + this.#headSize(at);
    for (let i = at + INODE_SIZE + XATTR_HEADER; i < end; ) {
      const nameLength = this.#view.getUint8(i);
      const prefix = xattrPrefix(this.#view.getUint8(i + 1));
      if (prefix === undefined) throw bad('unknown attribute namespace', i + 1);
      const valueAt = i + XATTR_ENTRY + nameLength;
      const next = alignUp(valueAt + this.#view.getUint16(i + 2, true), 4);
      if (next > end) throw bad('attribute past its inode', i);
      const name = prefix + latin1(this.#image.subarray(i + XATTR_ENTRY, valueAt));
      out.set(name, this.#image.slice(valueAt, valueAt + this.#view.getUint16(i + 2, true)));
      i = next;
    }
    return out;
  }

  /** Content that the image itself holds: of directories and symlinks. */
  #bytes(at: number, head: number, size: number): Uint8Array {
    const inline = ((this.#view.getUint16(at, true) >> 1) & 7) === 2;
    const tail = inline ? size % BLOCK : 0;
    const outer = size - tail;
    const start = this.#view.getUint32(at + 16, true) * BLOCK;
    if (size > this.#image.length) throw bad('content larger than the image', at + 8);
    if (outer > 0 && start + outer > this.#image.length) throw bad('content past the image', at + 16);
    if (tail > 0 && ((at + head) % BLOCK) + tail > BLOCK) throw bad('inline tail across a block', at);
    if (at + head + tail > this.#image.length) throw bad('content past the image', at);
    const out = new Uint8Array(size);
    if (outer > 0) out.set(this.#image.subarray(start, start + outer));
    if (tail > 0) out.set(this.#image.subarray(at + head, at + head + tail), outer);
    return out;
  }

  #extents(at: number, head: number, size: number): IndexExtent[] {
    const out: IndexExtent[] = [];
    if (size === 0) return out;
    const field = this.#view.getUint32(at + 16, true);
    if (((this.#view.getUint16(at, true) >> 1) & 7) !== 4) {
      const piece = this.#locate(field);
      return [{ ...piece, length: size }];
    }
    if ((field & CHUNK_INDEXES) === 0) throw bad('unknown chunk format', at + 16);
    const chunk = BLOCK * 2 ** (field & 31);
    let entryAt = alignUp(at + head, CHUNK_ENTRY);
    for (let offset = 0; offset < size; offset += chunk, entryAt += CHUNK_ENTRY) {
      const block = this.#view.getUint32(entryAt + 4, true);
      const device = block === NULL_BLOCK ? -1 : this.#view.getUint16(entryAt + 2, true);
      if (device > this.index.devices.length) throw bad('unknown device', entryAt);
      const start = device < 0 ? 0 : block * BLOCK;
      const length = Math.min(chunk, size - offset);
      const last = out.at(-1);
      if (last?.device === device && (device < 0 || last.start + last.length === start)) last.length += length;
      else out.push({ device, start, length });
    }
    return out;
  }

  /** A block of the image's own range: of the image, or of the device that has its address there. */
  #locate(block: number): { device: number; start: number } {
    for (const [i, device] of this.index.devices.entries()) {
      if (device.start > 0 && block >= device.start && block < device.start + device.blocks) {
        return { device: i + 1, start: (block - device.start) * BLOCK };
      }
    }
    if (block * BLOCK >= this.#image.length) throw bad('data on no device', block * BLOCK);
    return { device: 0, start: block * BLOCK };
  }

  #list(nid: number): { name: ByteString; nid: number; type: number }[] {
    const at = nid * INODE_ALIGN;
    const data = this.#bytes(at, this.#headSize(at), this.#uint64(at + 8));
    const view = new DataView(data.buffer);
    const out: { name: ByteString; nid: number; type: number }[] = [];
    let previous = '';
    for (let base = 0; base < data.length; base += BLOCK) {
      const block = data.subarray(base, base + BLOCK);
      const names = view.getUint16(base + 8, true);
      if (names % DIRENT_SIZE !== 0 || names === 0) throw bad('malformed directory block', at);
      for (let i = 0; i < names; i += DIRENT_SIZE) {
        const from = view.getUint16(base + i + 8, true);
        let to = i + DIRENT_SIZE < names ? view.getUint16(base + i + DIRENT_SIZE + 8, true) : block.length;
        while (to > from && i + DIRENT_SIZE >= names && block[to - 1] === 0) to--;
        const name = latin1(block.subarray(from, to));
        if (name <= previous) throw bad('names out of order', at);
        previous = name;
        const child = view.getUint32(base + i, true) + view.getUint32(base + i + 4, true) * 2 ** 32;
        out.push({ name, nid: child, type: view.getUint8(base + i + 10) });
      }
    }
    return out;
  }

  #uint64(at: number): number {
    const value = this.#view.getUint32(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true);
    if (!Number.isSafeInteger(value)) throw bad('number out of range', at);
    return value;
  }
}

function bad(summary: string, offset: number): ImagoError {
  return new ImagoError('BAD_INDEX', `damaged layer index: ${summary}`, {
    op: 'read index',
    offset,
    remedy: "'imago verify' makes it again from the layer's tar",
  });
}

/** A read past the image is damage too. */
function guard<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof RangeError) throw bad('something points past its end', 0);
    throw error;
  }
}
