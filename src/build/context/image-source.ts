import { closeSync, openSync, readSync } from 'node:fs';
import { type ByteString, compareByteStrings } from '../../core/bytes.ts';
import type { Digest } from '../../core/digest.ts';
import type { SparseSegment } from '../../formats/tar/entry.ts';
import { readLayerEntries } from '../../store/layer-entries.ts';
import { readLayerIndex } from '../../store/layer-index.ts';
import { layerTarPath } from '../../store/layers.ts';
import type { Store } from '../../store/store.ts';
import { IndexedTree, indexTells, type TreeEntry } from '../../tree/indexed.ts';
import { lookup } from '../../tree/lookup.ts';
import { applyLayer } from '../../tree/merge.ts';
import { newTree, type TreeNode } from '../../tree/node.ts';
import type { FileReader, SourceNode } from './source.ts';

/**
 * The files of a stack of layers, read from the layers' tars without mounting anything. The tree is made when it is
 * first asked for. Close it: it keeps the tars open.
 */
export class ImageFiles implements Disposable {
  readonly #store: Store;
  readonly #diffIds: Digest[];
  readonly #tars: Map<number, number> = new Map();
  #tree: TreeNode | undefined;
  #applied = 0;
  /** Undefined where a layer's index does not tell all. */
  #indexed: IndexedTree | undefined = new IndexedTree();
  #indexes = 0;

  constructor(store: Store, diffIds: readonly Digest[]) {
    this.#store = store;
    this.#diffIds = [...diffIds];
  }

  /** One more layer on top. */
  push(diffId: Digest): void {
    this.#diffIds.push(diffId);
  }

  get tree(): TreeNode {
    this.#tree ??= newTree();
    for (; this.#applied < this.#diffIds.length; this.#applied++) {
      applyLayer(this.#tree, readLayerEntries(this.#store, this.#diffIds[this.#applied]!), this.#applied);
    }
    return this.#tree;
  }

  /** What is at 'a/b', symlinks not followed. Makes no tree where the layers' indexes tell as much. */
  at(path: ByteString): TreeEntry | undefined {
    for (; this.#indexed !== undefined && this.#indexes < this.#diffIds.length; this.#indexes++) {
      const layer = readLayerIndex(this.#store, this.#diffIds[this.#indexes]!);
      if (indexTells(layer.facts)) this.#indexed.push(layer);
      else this.#indexed = undefined;
    }
    return this.#indexed === undefined ? lookup(this.tree, path, { links: 'none' }) : this.#indexed.at(path);
  }

  get root(): SourceNode {
    return new TreeSource(this, this.tree);
  }

  node(node: TreeNode): SourceNode {
    return new TreeSource(this, node);
  }

  /** Descriptor of a layer's tar. */
  tar(layer: number): number {
    let fd = this.#tars.get(layer);
    if (fd === undefined) {
      fd = openSync(layerTarPath(this.#store, this.#diffIds[layer]!), 'r');
      this.#tars.set(layer, fd);
    }
    return fd;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#tars.values()) closeSync(fd);
    this.#tars.clear();
  }
}

/** Where the bytes of a tree's files are. */
export interface LayerTars {
  /** Descriptor of a layer's tar. */
  tar(layer: number): number;
}

/** A tree of tar members as the source of COPY. Without `owners` all belongs to 0:0. */
export class TreeSource implements SourceNode {
  readonly #files: LayerTars;
  readonly #node: TreeNode;
  readonly #options: { owners: boolean };
  #children: Map<ByteString, SourceNode> | undefined;

  constructor(files: LayerTars, node: TreeNode, options = { owners: true }) {
    this.#files = files;
    this.#node = node;
    this.#options = options;
  }

  get type(): SourceNode['type'] {
    return this.#node.type;
  }
  get mode(): number {
    return this.#node.mode;
  }
  get uid(): number {
    return this.#options.owners ? this.#node.uid : 0;
  }
  get gid(): number {
    return this.#options.owners ? this.#node.gid : 0;
  }
  get mtime(): SourceNode['mtime'] {
    return this.#node.mtime;
  }
  get size(): number {
    return this.#node.size;
  }
  get linkname(): ByteString {
    return this.#node.linkname;
  }
  get devmajor(): number {
    return this.#node.devmajor;
  }
  get devminor(): number {
    return this.#node.devminor;
  }
  get identity(): unknown {
    return this.#node.hardlinked ? this.#node : undefined;
  }

  xattrs(): Map<ByteString, Uint8Array> | undefined {
    return this.#node.xattrs;
  }

  children(): ReadonlyMap<ByteString, SourceNode> {
    if (this.#children === undefined) {
      const sorted = [...(this.#node.children ?? [])].sort(([a], [b]) => compareByteStrings(a, b));
      this.#children = new Map(sorted.map(([name, node]) => [name, new TreeSource(this.#files, node, this.#options)]));
    }
    return this.#children;
  }

  open(): FileReader {
    const entry = this.#node.entry!;
    const fd = this.#files.tar(this.#node.layer);
    const { size } = this.#node;
    if (entry.sparse !== undefined) return new SparseReader(fd, entry.sparse, size, this.#node.xattrs);
    return {
      read: (buffer, offset, length, position) => {
        const count = Math.min(length, size - position);
        return count <= 0 ? 0 : readSync(fd, buffer, offset, count, entry.dataOffset + position);
      },
      xattrs: () => this.#node.xattrs,
      close: () => {},
    };
  }
}

/** A sparse member's bytes, its holes as zeros. */
class SparseReader implements FileReader {
  readonly #fd: number;
  readonly #segments: readonly SparseSegment[];
  readonly #size: number;
  readonly #xattrs: Map<ByteString, Uint8Array> | undefined;

  constructor(
    fd: number,
    segments: readonly SparseSegment[],
    size: number,
    xattrs: Map<ByteString, Uint8Array> | undefined,
  ) {
    this.#fd = fd;
    this.#segments = segments;
    this.#size = size;
    this.#xattrs = xattrs;
  }

  xattrs(): Map<ByteString, Uint8Array> | undefined {
    return this.#xattrs;
  }

  read(buffer: Uint8Array, offset: number, length: number, position: number): number {
    const count = Math.min(length, this.#size - position);
    if (count <= 0) return 0;
    const segment = this.#segments.find((s) => s.offset + s.length > position);
    if (segment === undefined || segment.offset >= position + count) {
      buffer.fill(0, offset, offset + count);
      return count;
    }
    if (segment.offset > position) {
      const hole = segment.offset - position;
      buffer.fill(0, offset, offset + hole);
      return hole;
    }
    const inside = position - segment.offset;
    return readSync(this.#fd, buffer, offset, Math.min(count, segment.length - inside), segment.dataOffset + inside);
  }

  close(): void {}
}
