import type { ByteString } from '../core/bytes.ts';
import type { LayerFacts } from '../formats/erofs/facts.ts';
import type { IndexEntry, IndexReader } from '../formats/erofs/read.ts';
import { OVERLAY_OPAQUE, unescapeXattrs } from '../formats/erofs/xattrs.ts';
import { impliedDirectory, type TreeNode } from './node.ts';

/** What is at a path, without its children and its bytes. */
export type TreeEntry = Pick<TreeNode, 'type' | 'mode' | 'uid' | 'gid' | 'mtime' | 'linkname' | 'xattrs'>;

/** A layer's index, with what it does not tell. */
export interface IndexedLayer {
  index: IndexReader;
  facts: LayerFacts;
}

/** Whether an index tells all that a tree does: not of links into lower layers, and attributes that it cannot hold. */
export function indexTells({ lowerLinks, droppedXattrs }: LayerFacts): boolean {
  return lowerLinks.length === 0 && droppedXattrs === 0;
}

interface Layer {
  index: IndexReader;
  implied: ReadonlySet<ByteString>;
  /** The names of its directories that were looked into, by inode number. */
  names: Map<number, ReadonlyMap<ByteString, number>>;
}

/** A directory of one layer. */
interface Part {
  layer: Layer;
  nid: number;
}

interface Merged {
  entry: TreeEntry;
  /** Of a directory: those that show through, the uppermost first. */
  parts: Part[];
}

/**
 * The tree that a stack of layers gives, as `mergeLayers`, looked up in the layers' indexes: a path costs the
 * directories on its way, where the tree costs every member of every layer. All its layers must be such that
 * `indexTells`. Throws `BAD_INDEX`.
 */
export class IndexedTree {
  /** The uppermost first. */
  readonly #layers: { layer: Layer; facts: LayerFacts }[] = [];
  readonly #directories: Map<ByteString, Merged | undefined> = new Map();

  /** One more layer on top. */
  push({ index, facts }: IndexedLayer): void {
    this.#layers.unshift({ layer: { index, implied: new Set(facts.impliedDirs), names: new Map() }, facts });
    this.#directories.clear();
  }

  /** At 'a/b', symlinks not followed; '' is the root. */
  at(path: ByteString): TreeEntry | undefined {
    return this.#find(path)?.entry;
  }

  #find(path: ByteString): Merged | undefined {
    if (path === '') return this.#directory('');
    const slash = path.lastIndexOf('/');
    const parent = this.#directory(slash < 0 ? '' : path.slice(0, slash));
    return parent && child(parent, path, path.slice(slash + 1));
  }

  #directory(path: ByteString): Merged | undefined {
    if (this.#directories.has(path)) return this.#directories.get(path);
    const found = path === '' ? this.#root() : this.#find(path);
    const directory = found?.entry.type === 'directory' ? found : undefined;
    this.#directories.set(path, directory);
    return directory;
  }

  #root(): Merged {
    const opaque = this.#layers.findIndex(({ facts }) => facts.rootOpaque);
    const shown = opaque < 0 ? this.#layers : this.#layers.slice(0, opaque + 1);
    const described = this.#layers.find(({ facts }) => !facts.rootImplied)?.layer.index;
    return {
      entry: described === undefined ? impliedDirectory(-1) : entryOf(described.inode(described.index.root)),
      parts: shown.map(({ layer }) => ({ layer, nid: layer.index.index.root })),
    };
  }
}

function child(parent: Merged, path: ByteString, name: ByteString): Merged | undefined {
  const parts: Part[] = [];
  let entry: TreeEntry | undefined;
  let opaque = false;
  for (const part of parent.parts) {
    const nid = namesOf(part).get(name);
    if (nid === undefined) continue;
    const { layer } = part;
    const inode = layer.index.inode(nid);
    if (inode.type !== 'directory') {
      if (parts.length === 0) return isWhiteout(inode) ? undefined : { entry: entryOf(inode), parts };
      break;
    }
    if (!opaque) parts.push({ layer, nid });
    // One that is only implied has the attributes of the one below, also where it hides what is in that.
    if (!layer.implied.has(path)) {
      entry ??= entryOf(inode);
      if (opaque) break;
    }
    opaque ||= inode.xattrs.has(OVERLAY_OPAQUE);
    if (opaque && entry !== undefined) break;
  }
  return parts.length === 0 ? undefined : { entry: entry ?? impliedDirectory(-1), parts };
}

function namesOf({ layer: { index, names }, nid }: Part): ReadonlyMap<ByteString, number> {
  let known = names.get(nid);
  if (known === undefined) {
    known = new Map(index.list(nid).map((entry) => [entry.name, entry.nid]));
    names.set(nid, known);
  }
  return known;
}

function isWhiteout({ type, devmajor, devminor }: IndexEntry): boolean {
  return type === 'char' && devmajor === 0 && devminor === 0;
}

function entryOf({ type, mode, uid, gid, mtime, target, xattrs }: IndexEntry): TreeEntry {
  return { type, mode, uid, gid, mtime, linkname: target, xattrs: unescapeXattrs(xattrs) };
}
