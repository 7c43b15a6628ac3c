import type { ByteString } from '../core/bytes.ts';
import type { Time } from '../core/time.ts';
import type { TarEntry, TarEntryType } from '../formats/tar/entry.ts';

/**
 * A file in a tree of layers. Names of one file (hard links) share one node object.
 * Changing a node changes the tree: a tree has one owner.
 */
export interface TreeNode {
  type: Exclude<TarEntryType, 'hardlink'>;
  /** Permission bits with setuid, setgid and sticky. */
  mode: number;
  uid: number;
  gid: number;
  mtime: Time;
  /** Logical size in bytes; 0 for all but files. */
  size: number;
  /** Symlink target, else ''. */
  linkname: ByteString;
  devmajor: number;
  devminor: number;
  xattrs: Map<ByteString, Uint8Array> | undefined;
  /** The layer that the attributes, and a file's data, come from; -1 for a root that no layer describes. */
  layer: number;
  /** The tar member in that layer; undefined for a directory that is only implied by paths. */
  entry: TarEntry | undefined;
  /** Directories only. In no order: `walkTree` sorts. */
  children: Map<ByteString, TreeNode> | undefined;
  /** More than one name was given to this node; some may be gone since. */
  hardlinked: boolean;
  /** A directory that no layer describes: mode 0755, root's, time 0. */
  implied: boolean;
  /** In a layer's own tree only: nothing below shows through this directory. */
  opaque: boolean;
  /** In a layer's own tree only: names that are deleted from the layers below. */
  whiteouts: Set<ByteString> | undefined;
}

const EPOCH: Time = { sec: 0, nsec: 0 };

/** An empty tree: one directory with the default attributes. */
export function newTree(): TreeNode {
  return impliedDirectory(-1);
}

/** OCI image-spec v1.1.1 leaves these open; Docker and containerd create missing parents 0755 and root's. */
export function impliedDirectory(layer: number): TreeNode {
  return {
    type: 'directory',
    mode: 0o755,
    uid: 0,
    gid: 0,
    mtime: EPOCH,
    size: 0,
    linkname: '',
    devmajor: 0,
    devminor: 0,
    xattrs: undefined,
    layer,
    entry: undefined,
    children: new Map(),
    hardlinked: false,
    implied: true,
    opaque: false,
    whiteouts: undefined,
  };
}

/** The node of a member that is not a hard link. */
export function nodeOf(entry: TarEntry, layer: number): TreeNode {
  const type = entry.type as TreeNode['type'];
  const device = type === 'char' || type === 'block';
  return {
    type,
    // The kernel gives symlinks 0777 and ignores what a tar says.
    mode: type === 'symlink' ? 0o777 : entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    mtime: entry.mtime,
    size: type === 'file' ? entry.size : 0,
    linkname: type === 'symlink' ? entry.linkname : '',
    devmajor: device ? entry.devmajor : 0,
    devminor: device ? entry.devminor : 0,
    xattrs: entry.xattrs,
    layer,
    entry,
    children: type === 'directory' ? new Map() : undefined,
    hardlinked: false,
    implied: false,
    opaque: false,
    whiteouts: undefined,
  };
}

/** Gives a directory the attributes of another, whose children it does not take. */
export function adoptAttributes(to: TreeNode, from: TreeNode): void {
  to.mode = from.mode;
  to.uid = from.uid;
  to.gid = from.gid;
  to.mtime = from.mtime;
  to.xattrs = from.xattrs;
  to.layer = from.layer;
  to.entry = from.entry;
  to.implied = from.implied;
}
