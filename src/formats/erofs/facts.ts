import type { ByteString } from '../../core/bytes.ts';
import { type Directory, Inode, isDirectory, isUnresolved } from './inode.ts';
import { joinPath, type LayerTree, resolveLink } from './layer-tree.ts';
import { S_IFCHR, S_IFMT, S_IFREG } from './layout.ts';
import { pathError } from './path.ts';
import { NOTHING, OVERLAY_OPAQUE, OVERLAY_ORIGIN, YES } from './xattrs.ts';

/** What is worth knowing of a layer beside its index. Paths are clean: no leading slash, '' is the root. */
export interface LayerFacts {
  /** Names that the layer holds: all but the root, implied directories, whiteouts and opaque markers. */
  entries: number;
  /** Regular files; hardlinked ones count once. */
  files: number;
  /** Sum of the sizes of those files. */
  bytes: number;
  whiteouts: number;
  /** Directories that hide the content of the layers below, replaced ones included. */
  opaques: number;
  /** The root has an opaque marker. Overlayfs ignores it there: layers below this one must be left out of the stack. */
  rootOpaque: boolean;
  /** The layer has no entry for its root. */
  rootImplied: boolean;
  /**
   * Directories without an entry of their own, parents first, the root excluded. Those that cannot inherit anything
   * (made anew, or inside of an opaque directory) are left out.
   */
  impliedDirs: ByteString[];
  /** Hardlinks to files that only lower layers have; they are not in the index. Sorted by path. */
  lowerLinks: { path: ByteString; target: ByteString }[];
  /** Extended attributes left out because EROFS has no number for their namespace. */
  droppedXattrs: number;
}

/**
 * Makes a tree ready to be written, and counts: resolves hardlinks, turns whiteouts into devices and attributes,
 * and takes unresolved links out. Throws `BAD_HARDLINK`.
 */
export function settleLayer(tree: LayerTree): LayerFacts {
  const facts: LayerFacts = {
    entries: 0,
    files: 0,
    bytes: 0,
    whiteouts: 0,
    opaques: 0,
    rootOpaque: tree.root.opaque,
    rootImplied: tree.root.implied,
    impliedDirs: [],
    lowerLinks: [],
    droppedXattrs: 0,
  };
  resolveLinks(tree, facts);
  const cutOff = new Set<Directory>();
  const counted = new Set<Inode>();
  tree.walk((directory, path) => {
    settleWhiteouts(directory, cutOff, facts);
    const { parent } = directory;
    if (parent !== undefined && (cutOff.has(parent) || parent.opaque)) cutOff.add(directory);
    if (directory.implied && parent !== undefined && !cutOff.has(directory)) facts.impliedDirs.push(path);
    if (directory.opaque) facts.opaques++;
    for (const child of directory.children.values()) countEntry(child, counted, facts);
  });
  return facts;
}

function resolveLinks(tree: LayerTree, facts: LayerFacts): void {
  const links: [Directory, ByteString, ByteString, Inode][] = [];
  tree.walk((directory, path) => {
    for (const [name, child] of directory.children) {
      if (isUnresolved(child)) links.push([directory, name, joinPath(path, name), child]);
    }
  });
  const sources = links.map(([, , path, link]) => {
    const source = resolveLink(tree, link.target);
    if (source === undefined) throw pathError('BAD_HARDLINK', 'hardlinks that name each other', path);
    if (typeof source !== 'string' && isDirectory(source))
      throw pathError('BAD_HARDLINK', 'hardlink to a directory', path);
    return source;
  });
  links.forEach(([directory, name, path], i) => {
    const source = sources[i]!;
    directory.children.delete(name);
    facts.entries++;
    if (typeof source === 'string') facts.lowerLinks.push({ path, target: source });
    else {
      facts.entries--;
      source.nlink++;
      directory.children.set(name, source);
    }
  });
  facts.lowerLinks.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/**
 * A whiteout hides only what lower layers have: where this layer has a directory of that name, it becomes opaque;
 * any other entry hides the lower one by itself.
 */
function settleWhiteouts(directory: Directory, cutOff: Set<Directory>, facts: LayerFacts): void {
  let listed = false;
  for (const name of [...(directory.whiteouts ?? [])].sort()) {
    const child = directory.children.get(name);
    if (child === undefined) {
      directory.children.set(name, new Inode(S_IFCHR));
      facts.whiteouts++;
      listed = true;
    } else if (isDirectory(child)) {
      child.opaque = true;
      cutOff.add(child);
    }
  }
  if (!listed && !directory.opaque) return;
  const xattrs = new Map(directory.xattrs);
  if (directory.opaque) xattrs.set(OVERLAY_OPAQUE, YES);
  // Without it readdir lists the whiteouts of a directory that only one layer has.
  if (listed) xattrs.set(OVERLAY_ORIGIN, NOTHING);
  directory.xattrs = xattrs;
}

function countEntry(child: Inode, counted: Set<Inode>, facts: LayerFacts): void {
  if (isDirectory(child)) {
    if (!child.implied) facts.entries++;
    return;
  }
  if (isWhiteout(child)) return;
  facts.entries++;
  if ((child.mode & S_IFMT) !== S_IFREG) return;
  if (child.nlink > 1) {
    if (counted.has(child)) return;
    counted.add(child);
  }
  facts.files++;
  facts.bytes += child.size;
}

function isWhiteout(inode: Inode): boolean {
  return (inode.mode & S_IFMT) === S_IFCHR && inode.start === 0;
}
