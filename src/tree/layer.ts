import { type ByteString, displayName } from '../core/bytes.ts';
import { ImagoError } from '../core/errors.ts';
import { cleanLinkTarget, cleanPath } from '../formats/erofs/path.ts';
import { AUFS_LINKS, parseMarker } from '../formats/erofs/whiteout.ts';
import type { TarEntry } from '../formats/tar/entry.ts';
import { adoptAttributes, impliedDirectory, nodeOf, type TreeNode } from './node.ts';

/** A hard link whose source is not in the layer itself, so must be in one below. */
export interface LowerLink {
  parent: TreeNode;
  name: ByteString;
  path: ByteString;
  target: ByteString;
  offset: number;
}

/** One layer by itself: what it adds, with marks for what it takes away. */
export interface LayerTree {
  root: TreeNode;
  lowerLinks: LowerLink[];
  /** The directories that carry `opaque` or `whiteouts`. */
  marked: Set<TreeNode>;
}

/**
 * The tree of one layer's tar. Members take effect in order: a later one replaces an earlier one of that name, except
 * that a directory over a directory keeps its children. Whiteouts speak of lower layers only, in any order.
 * Throws for names that lead out of the root or through a file (`PATH_TRAVERSAL`, `NOT_A_DIRECTORY`, …).
 */
export function readLayerTree(entries: Iterable<TarEntry>, layer: number): LayerTree {
  const builder = new LayerBuilder(layer);
  for (const entry of entries) builder.add(entry);
  return builder.finish();
}

class LayerBuilder {
  readonly #root: TreeNode;
  readonly #marked: Set<TreeNode> = new Set();
  /** Links whose source did not come before them, by the empty file that holds their place in the tree. */
  readonly #waiting: Map<TreeNode, LowerLink> = new Map();
  /** Files that aufs kept for hard links, which are no names of the image. */
  readonly #aufsLinks: Map<ByteString, TreeNode> = new Map();
  readonly #layer: number;
  // Members of one directory mostly follow each other.
  #lastPath: ByteString = '';
  #lastParent: TreeNode;

  constructor(layer: number) {
    this.#layer = layer;
    this.#root = impliedDirectory(layer);
    this.#lastParent = this.#root;
  }

  add(entry: TarEntry): void {
    const path = cleanPath(entry.path, entry.headerOffset);
    if (path === '') {
      if (entry.type !== 'directory') throw notDirectory('', entry);
      adoptAttributes(this.#root, nodeOf(entry, this.#layer));
      return;
    }
    const marker = parseMarker(path, entry.headerOffset);
    if (marker === undefined) {
      const slash = path.lastIndexOf('/');
      const parent = this.#directory(slash < 0 ? '' : path.slice(0, slash), entry);
      this.#addMember(parent, slash < 0 ? path : path.slice(slash + 1), path, entry);
    } else if (marker.kind === 'opaque') {
      const directory = this.#directory(marker.parent, entry);
      directory.opaque = true;
      this.#marked.add(directory);
    } else if (marker.kind === 'whiteout') {
      this.#addWhiteout(this.#directory(marker.parent, entry), marker.name);
    } else if (path.startsWith(AUFS_LINKS) && entry.type !== 'hardlink') {
      this.#aufsLinks.set(path, nodeOf(entry, this.#layer));
    }
  }

  /** A forward link is resolved in the layer as it ended up; what is not there must be in a lower one. */
  finish(): LayerTree {
    const links = [...this.#waiting].filter(([holder, { path }]) => this.#find(path) === holder);
    const sources = links.map(([, link]) => this.#resolve(link));
    const lowerLinks: LowerLink[] = [];
    links.forEach(([, link], i) => {
      const source = sources[i]!;
      if (typeof source !== 'string') {
        this.#link(link, source);
        return;
      }
      link.parent.children!.delete(link.name);
      lowerLinks.push({ ...link, target: source });
    });
    return { root: this.#root, lowerLinks, marked: this.#marked };
  }

  /** A node of this layer, or the path that the link means in those below; through other links of that kind. */
  #resolve(link: LowerLink): TreeNode | ByteString {
    const seen = new Set<ByteString>();
    for (let at = link.target; !seen.has(at); ) {
      seen.add(at);
      const found = this.#find(at);
      if (found === undefined) return at;
      const next = this.#waiting.get(found);
      if (next === undefined) return found;
      at = next.target;
    }
    throw linkError('hard links that name each other', link);
  }

  #addMember(parent: TreeNode, name: ByteString, path: ByteString, entry: TarEntry): void {
    // A 0:0 character device is how overlayfs itself writes a whiteout, so a mounted layer can show it as nothing else.
    if (entry.type === 'char' && entry.devmajor === 0 && entry.devminor === 0) {
      this.#replace(parent, name, undefined);
      this.#addWhiteout(parent, name);
      return;
    }
    if (entry.type === 'hardlink') {
      this.#addLink(parent, name, path, entry);
      return;
    }
    const existing = parent.children!.get(name);
    const node = nodeOf(entry, this.#layer);
    if (existing?.type === 'directory' && node.type === 'directory') adoptAttributes(existing, node);
    else this.#replace(parent, name, node);
  }

  #addWhiteout(parent: TreeNode, name: ByteString): void {
    parent.whiteouts ??= new Set();
    parent.whiteouts.add(name);
    this.#marked.add(parent);
  }

  #replace(parent: TreeNode, name: ByteString, node: TreeNode | undefined): void {
    const existing = parent.children!.get(name);
    // The directory that is remembered may be below the one that goes.
    if (existing?.type === 'directory') this.#forget();
    if (node === undefined) parent.children!.delete(name);
    else parent.children!.set(name, node);
  }

  #addLink(parent: TreeNode, name: ByteString, path: ByteString, entry: TarEntry): void {
    const target = cleanLinkTarget(entry.linkname, entry.headerOffset);
    const link = { parent, name, path, target, offset: entry.headerOffset };
    const source = this.#aufsLinks.get(target) ?? this.#find(target);
    if (target === path) {
      // GNU tar stores a file that is named twice as a link to itself.
      if (source !== undefined && source.type !== 'directory') return;
      throw linkError(source === undefined ? 'hard link to itself' : 'hard link to a directory', link);
    }
    const waiting = source && this.#waiting.get(source);
    if (source !== undefined && waiting === undefined) {
      this.#link(link, source);
      return;
    }
    const holder = nodeOf({ ...entry, type: 'file', size: 0 }, this.#layer);
    this.#replace(parent, name, holder);
    this.#waiting.set(holder, waiting === undefined ? link : { ...link, target: waiting.target });
  }

  #link(link: LowerLink, source: TreeNode): void {
    if (source.type === 'directory') throw linkError('hard link to a directory', link);
    if (link.parent.children!.get(link.name) === source) return;
    source.hardlinked = true;
    this.#replace(link.parent, link.name, source);
  }

  #find(path: ByteString): TreeNode | undefined {
    let node: TreeNode | undefined = this.#root;
    if (path === '') return node;
    for (const part of path.split('/')) node = node?.children?.get(part);
    return node;
  }

  /** The directory at `path`, implied where no member has described it yet. */
  #directory(path: ByteString, entry: TarEntry): TreeNode {
    if (path === this.#lastPath) return this.#lastParent;
    let node = this.#root;
    if (path !== '') {
      for (const part of path.split('/')) {
        let child = node.children!.get(part);
        if (child === undefined) {
          child = impliedDirectory(this.#layer);
          node.children!.set(part, child);
        } else if (child.type !== 'directory') {
          throw notDirectory(path, entry);
        }
        node = child;
      }
    }
    this.#lastPath = path;
    this.#lastParent = node;
    return node;
  }

  #forget(): void {
    this.#lastPath = '';
    this.#lastParent = this.#root;
  }
}

const BAD_LAYER = 'the image is damaged or hostile: get it again, or ask who made it';

export function linkError(summary: string, { path, target, offset }: LowerLink): ImagoError {
  return new ImagoError('BAD_HARDLINK', summary, {
    path: displayName(path),
    got: JSON.stringify(displayName(target)),
    offset,
    remedy: BAD_LAYER,
  });
}

function notDirectory(path: ByteString, entry: TarEntry): ImagoError {
  return new ImagoError('NOT_A_DIRECTORY', `'${displayName(path || '/')}' is not a directory in this layer`, {
    path: displayName(entry.path),
    offset: entry.headerOffset,
    remedy: BAD_LAYER,
  });
}
