import type { ByteString } from '../../core/bytes.ts';
import type { Digest } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';
import type { TarEntry } from '../tar/entry.ts';
import { type LayerFacts, settleLayer } from './facts.ts';
import { writeImage } from './image.ts';
import { type Directory, Inode, isDirectory, isUnresolved } from './inode.ts';
import { LayerTree, unresolvedLink } from './layer-tree.ts';
import { isOwn, type OwnMember, setAttributes, setContent } from './member.ts';
import { cleanLinkTarget, cleanPath, pathError } from './path.ts';
import { layerUuid } from './uuid.ts';
import { AUFS_LINKS, parseMarker } from './whiteout.ts';

export interface IndexLimits {
  /** Members of one layer; each takes about 400 bytes of memory. Default 2,000,000. */
  maxEntries?: number;
  /** Bytes of one index: about 100 an entry, and 8 for every chunk of a sparse file. Default 512 MiB. */
  maxIndexSize?: number;
}

export interface LayerIndex {
  image: Uint8Array;
  facts: LayerFacts;
}

const DEFAULT_MAX_ENTRIES = 2_000_000;

/**
 * Makes the EROFS index of one layer from the members of its tar, in their order. A pure function of the tar.
 * `add` throws `PATH_TRAVERSAL`, `ABSOLUTE_PATH`, `NAME_TOO_LONG`, `BAD_NAME`, `NOT_A_DIRECTORY`, `BAD_HARDLINK`,
 * `BAD_SYMLINK`, `BAD_WHITEOUT`, `BAD_DEVICE`, `BAD_OWNER`, `BAD_SPARSE`, `UNALIGNED_DATA`, `XATTR_TOO_LARGE`,
 * `TOO_MANY_ENTRIES`; after an error the builder is of no more use.
 */
export class IndexBuilder {
  readonly #tree: LayerTree = new LayerTree();
  readonly #limits: IndexLimits;
  /** Files that AUFS kept for hardlinks, by path. */
  #aufsLinks: Map<ByteString, Inode> | undefined;
  #count = 0;
  #dataEnd = 0;
  #droppedXattrs = 0;

  constructor(limits: IndexLimits = {}) {
    this.#limits = limits;
  }

  add(entry: TarEntry): void {
    const offset = entry.headerOffset;
    const limit = this.#limits.maxEntries ?? DEFAULT_MAX_ENTRIES;
    if (++this.#count > limit) throw pathError('TOO_MANY_ENTRIES', `more than ${limit} entries`, entry.path, offset);
    const path = cleanPath(entry.path, offset);
    const marker = parseMarker(path, offset);
    if (marker === undefined) this.#addEntry(path, entry);
    else if (marker.kind === 'opaque') this.#tree.directory(marker.parent, offset).opaque = true;
    else if (marker.kind === 'whiteout') addWhiteout(this.#tree.directory(marker.parent, offset), marker.name);
    else if (path.startsWith(AUFS_LINKS) && isOwn(entry)) {
      this.#aufsLinks ??= new Map();
      const inode = this.#makeInode(entry);
      inode.nlink = 0;
      this.#aufsLinks.set(path, inode);
    }
  }

  /** The index. `diffId` gives its UUID, `tarSize` (bytes) the size of its device. */
  finish(layer: { diffId: Digest; tarSize: number }): LayerIndex {
    if (this.#dataEnd > layer.tarSize) {
      throw new ImagoError('TAR_TRUNCATED', 'the tar ends before the data of its members', {
        op: 'index layer',
        want: `${this.#dataEnd} bytes`,
        got: `${layer.tarSize} bytes`,
      });
    }
    const facts = settleLayer(this.#tree);
    facts.droppedXattrs = this.#droppedXattrs;
    const image = writeImage(this.#tree.root, {
      uuid: layerUuid(layer.diffId),
      devices: [layer.tarSize],
      maxSize: this.#limits.maxIndexSize,
    });
    return { image, facts };
  }

  #addEntry(path: ByteString, entry: TarEntry): void {
    if (path === '') {
      this.#addRoot(entry);
      return;
    }
    const slash = path.lastIndexOf('/');
    const parent = this.#tree.directory(slash < 0 ? '' : path.slice(0, slash), entry.headerOffset);
    const name = path.slice(slash + 1);
    if (!isOwn(entry)) this.#addHardlink(path, parent, name, entry);
    else if (entry.type === 'directory') this.#addDirectory(path, parent, name, entry);
    // In an overlay, and so for every engine on overlayfs, such a device is a whiteout.
    else if (entry.type === 'char' && entry.devmajor === 0 && entry.devminor === 0) {
      this.#tree.remove(parent, name);
      addWhiteout(parent, name);
    } else this.#tree.place(parent, name, this.#makeInode(entry));
  }

  #addRoot(entry: TarEntry): void {
    if (!isOwn(entry) || entry.type !== 'directory') {
      throw pathError('NOT_A_DIRECTORY', 'the root of a layer must be a directory', entry.path, entry.headerOffset);
    }
    setAttributes(this.#tree.root, entry, this.#onDropped);
  }

  #addDirectory(path: ByteString, parent: Directory, name: ByteString, entry: OwnMember): void {
    const old = parent.children.get(name);
    if (old !== undefined && !isDirectory(old)) this.#tree.remove(parent, name);
    setAttributes(this.#tree.directory(path, entry.headerOffset), entry, this.#onDropped);
  }

  #makeInode(entry: OwnMember): Inode {
    const inode = new Inode(0);
    setAttributes(inode, entry, this.#onDropped);
    setContent(inode, entry, 1);
    if (entry.type === 'file' && entry.dataSize > 0) {
      this.#dataEnd = Math.max(this.#dataEnd, entry.dataOffset + entry.dataSize);
    }
    return inode;
  }

  #addHardlink(path: ByteString, parent: Directory, name: ByteString, entry: TarEntry): void {
    const target = cleanLinkTarget(entry.linkname, entry.headerOffset);
    const source = this.#aufsLinks?.get(target) ?? this.#tree.lookup(target);
    if (source !== undefined && isDirectory(source)) {
      throw pathError('BAD_HARDLINK', 'hardlink to a directory', entry.path, entry.headerOffset);
    }
    if (target === path) {
      // GNU tar stores a file that is named twice as a link to itself.
      if (source !== undefined) return;
      throw pathError('BAD_HARDLINK', 'hardlink to itself', entry.path, entry.headerOffset);
    }
    if (source === undefined || isUnresolved(source)) {
      this.#tree.place(parent, name, unresolvedLink(source === undefined ? target : source.target));
      return;
    }
    source.nlink++;
    this.#tree.place(parent, name, source);
  }

  readonly #onDropped = (): void => {
    this.#droppedXattrs++;
  };
}

function addWhiteout(parent: Directory, name: ByteString): void {
  parent.whiteouts ??= new Set();
  parent.whiteouts.add(name);
}
