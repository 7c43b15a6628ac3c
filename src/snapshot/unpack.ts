import { closeSync, constants, fchownSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { type ByteString, displayName } from '../core/bytes.ts';
import { ImagoError } from '../core/errors.ts';
import { layerXattrs, NOTHING, OVERLAY_OPAQUE, OVERLAY_ORIGIN, YES } from '../formats/erofs/xattrs.ts';
import {
  createFileAt,
  makeDirectoryAt,
  makeLinkAt,
  makeNodeAt,
  makeSymlinkAt,
  openDirectoryAt,
  setModeAt,
  setModeOf,
  setOwnerAt,
  setTimesAt,
  setTimesOf,
  setXattrOf,
  setXattrsAt,
  setXattrsOf,
} from '../system/at.ts';
import { closeFd } from '../system/mount.ts';
import type { TreeNode } from '../tree/node.ts';
import { sortedChildren } from '../tree/walk.ts';

const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
const S_IFIFO = 0o010000;
const COPY_SIZE = 1 << 20;
/** PATH_MAX without its NUL; and what the path of the store's own directories may grow by when a layer is removed. */
const MAX_PATH = 4095;
const RESERVED = 256;

/** Where the bytes of a tree's files are: an open tar for each layer number of its nodes. */
export type TarOf = (layer: number) => number;

/**
 * Writes a tree below `directory`, an empty directory that nobody else uses, as overlayfs wants a lower layer:
 * whiteouts as 0:0 devices, opaque directories by their attribute. Owners, modes, times, attributes, hard links and
 * holes as the tar has them. Not durable: the caller syncs the file system. Throws `TAR_TRUNCATED`, `NAME_TOO_LONG`,
 * `SystemError`.
 */
export function unpackTree(root: TreeNode, directory: string, tarOf: TarOf): void {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    const unpacker = new Unpacker(fd, tarOf, MAX_PATH - RESERVED - Buffer.byteLength(directory));
    unpacker.writeDirectory(fd, '', root);
  } finally {
    closeSync(fd);
  }
}

class Unpacker {
  readonly #root: number;
  readonly #tarOf: TarOf;
  readonly #maxPath: number;
  readonly #buffer: Buffer = Buffer.allocUnsafeSlow(COPY_SIZE);
  /** First path of each file that has several. */
  readonly #written: Map<TreeNode, ByteString> = new Map();

  constructor(root: number, tarOf: TarOf, maxPath: number) {
    this.#root = root;
    this.#maxPath = maxPath;
    this.#tarOf = tarOf;
  }

  /** Fills the open directory, then gives it its attributes: what is made in it would change its time. */
  writeDirectory(fd: number, path: ByteString, node: TreeNode): void {
    const listed = this.#writeWhiteouts(fd, node);
    for (const [name, child] of sortedChildren(node)) {
      const childPath = path === '' ? name : `${path}/${name}`;
      if (childPath.length > this.#maxPath) throw tooDeep(childPath);
      if (child.children === undefined) this.#writeName(fd, name, childPath, child);
      else {
        makeDirectoryAt(fd, name, 0o700);
        const below = openDirectoryAt(fd, name);
        try {
          this.writeDirectory(below, childPath, child);
          // As in the index: a whiteout of a directory that this layer has too only cuts off what is below it.
          if (node.whiteouts?.has(name)) setXattrOf(below, OVERLAY_OPAQUE, YES);
        } finally {
          closeFd(below);
        }
      }
    }
    setXattrsOf(fd, xattrsOf(node));
    if (node.opaque) setXattrOf(fd, OVERLAY_OPAQUE, YES);
    if (listed) setXattrOf(fd, OVERLAY_ORIGIN, NOTHING);
    fchownSync(fd, node.uid, node.gid);
    setModeOf(fd, node.mode);
    setTimesOf(fd, node.mtime);
  }

  #writeWhiteouts(fd: number, node: TreeNode): boolean {
    let any = false;
    for (const name of node.whiteouts ?? []) {
      if (node.children?.has(name)) continue;
      makeNodeAt(fd, name, S_IFCHR, 0, 0);
      any = true;
    }
    return any;
  }

  #writeName(directory: number, name: ByteString, path: ByteString, node: TreeNode): void {
    if (node.hardlinked) {
      const first = this.#written.get(node);
      if (first !== undefined) {
        makeLinkAt(this.#root, first, directory, name);
        return;
      }
      this.#written.set(node, path);
    }
    if (node.type === 'file') this.#writeFile(directory, name, path, node);
    else writeSpecial(directory, name, node);
  }

  #writeFile(directory: number, name: ByteString, path: ByteString, node: TreeNode): void {
    const fd = createFileAt(directory, name, node.mode);
    try {
      this.#writeData(fd, path, node);
      // Writing and changing the owner both clear setuid, so the mode comes last; the umask took some of it, too.
      if (node.uid !== 0 || node.gid !== 0) fchownSync(fd, node.uid, node.gid);
      setModeOf(fd, node.mode);
      setXattrsOf(fd, xattrsOf(node));
      setTimesOf(fd, node.mtime);
    } finally {
      closeFd(fd);
    }
  }

  #writeData(fd: number, path: ByteString, node: TreeNode): void {
    const { entry, size } = node;
    if (size === 0 || entry === undefined) return;
    const tar = this.#tarOf(node.layer);
    const segments = entry.sparse ?? [{ offset: 0, length: size, dataOffset: entry.dataOffset }];
    if (entry.sparse !== undefined) ftruncateSync(fd, size);
    for (const { offset, length, dataOffset } of segments) {
      for (let done = 0; done < length; ) {
        const got = readSync(tar, this.#buffer, 0, Math.min(COPY_SIZE, length - done), dataOffset + done);
        if (got === 0) throw truncated(path, dataOffset + done);
        for (let out = 0; out < got; ) {
          out += writeSync(fd, this.#buffer, out, got - out, entry.sparse === undefined ? null : offset + done + out);
        }
        done += got;
      }
    }
  }
}

function writeSpecial(directory: number, name: ByteString, node: TreeNode): void {
  if (node.type === 'symlink') makeSymlinkAt(directory, name, node.linkname);
  else {
    const kind = node.type === 'char' ? S_IFCHR : node.type === 'block' ? S_IFBLK : S_IFIFO;
    makeNodeAt(directory, name, kind | 0o600, node.devmajor, node.devminor);
  }
  setOwnerAt(directory, name, node.uid, node.gid);
  if (node.type !== 'symlink') setModeAt(directory, name, node.mode);
  setXattrsAt(directory, name, xattrsOf(node));
  setTimesAt(directory, name, node.mtime);
}

/** The same attributes that the index would hold, overlayfs' own escaped. */
function xattrsOf(node: TreeNode): Iterable<[ByteString, Uint8Array]> {
  if (node.entry === undefined || node.xattrs === undefined) return [];
  return layerXattrs({ ...node.entry, xattrs: node.xattrs }, () => {}) ?? [];
}

function tooDeep(path: ByteString): ImagoError {
  return new ImagoError('NAME_TOO_LONG', 'a path in a layer is too long to be unpacked in this store', {
    op: 'unpack',
    path: `${displayName(path.slice(0, 120))}...`,
    got: path.length,
    remedy: 'use a store with a shorter path, or the erofs backend, which unpacks nothing',
  });
}

function truncated(path: ByteString, offset: number): ImagoError {
  return new ImagoError('TAR_TRUNCATED', "a layer's tar ends inside of a file", {
    op: 'unpack',
    path: displayName(path),
    offset,
    remedy: "'imago verify' checks the store",
  });
}
