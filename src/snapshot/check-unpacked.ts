import {
  type BigIntStats,
  closeSync,
  constants,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { join } from 'node:path';
import { type ByteString, byteString } from '../core/bytes.ts';
import type { Digest } from '../core/digest.ts';
import { layerXattrs } from '../formats/erofs/xattrs.ts';
import { readLayerEntries } from '../store/layer-entries.ts';
import { layerTarPath } from '../store/layers.ts';
import type { Store } from '../store/store.ts';
import { deviceMajor, deviceMinor } from '../system/files.ts';
import { getXattr } from '../system/xattr.ts';
import { readLayerTree } from '../tree/layer.ts';
import type { TreeNode } from '../tree/node.ts';
import { fileType } from './file-type.ts';
import { splitTime } from './root-attributes.ts';
import { UNPACKED } from './unpacked.ts';

/** What is not as the tar has it: 'a/b: content'. */
export interface UnpackedDamage {
  path: ByteString;
  what:
    | 'missing'
    | 'extra'
    | 'type'
    | 'mode'
    | 'owner'
    | 'time'
    | 'size'
    | 'target'
    | 'device'
    | 'attributes'
    | 'content';
}

const COMPARE_SIZE = 1 << 20;

/**
 * Compares a layer's unpacked tree with the layer's tar, which is taken to be right: name by name, byte by byte.
 * The first difference, undefined where there is none or the layer is not unpacked. To mend it, delete the directory:
 * the next `prepare` makes it anew.
 */
export function checkUnpacked(store: Store, diffId: Digest): UnpackedDamage | undefined {
  const directory = join(store.layerDirectory(diffId), UNPACKED);
  if (!existsSync(directory)) return undefined;
  const tar = openSync(layerTarPath(store, diffId), 'r');
  try {
    const checker = new Checker(tar);
    const { root } = readLayerTree(readLayerEntries(store, diffId), 0);
    checker.check(byteString(directory), '', root);
    return undefined;
  } catch (error) {
    if (error instanceof Difference) return error.damage;
    throw error;
  } finally {
    closeSync(tar);
  }
}

class Difference extends Error {
  readonly damage: UnpackedDamage;
  constructor(path: ByteString, what: UnpackedDamage['what']) {
    super(what);
    this.damage = { path, what };
  }
}

class Checker {
  readonly #tar: number;
  readonly #mine: Buffer = Buffer.allocUnsafeSlow(COMPARE_SIZE);
  readonly #theirs: Buffer = Buffer.allocUnsafeSlow(COMPARE_SIZE);

  constructor(tar: number) {
    this.#tar = tar;
  }

  check(host: ByteString, path: ByteString, node: TreeNode): void {
    const hostPath = Buffer.from(host, 'latin1');
    const stat = lstatSync(hostPath, { bigint: true, throwIfNoEntry: false });
    if (stat === undefined) throw new Difference(path, 'missing');
    if (fileType(stat) !== node.type) throw new Difference(path, 'type');
    if (node.children === undefined) this.#checkContent(hostPath, path, node, stat);
    else {
      const names = new Set(readdirSync(hostPath, 'latin1'));
      for (const name of node.whiteouts ?? []) names.delete(name);
      for (const [name, child] of node.children) {
        this.check(`${host}/${name}`, path === '' ? name : `${path}/${name}`, child);
        names.delete(name);
      }
      for (const name of names) throw new Difference(path === '' ? name : `${path}/${name}`, 'extra');
    }
    checkAttributes(hostPath, path, node, stat);
  }

  #checkContent(hostPath: Buffer, path: ByteString, node: TreeNode, stat: BigIntStats): void {
    if (node.type === 'symlink' && readlinkSync(hostPath, 'latin1') !== node.linkname) {
      throw new Difference(path, 'target');
    }
    if (node.type !== 'file') return;
    if (stat.size !== BigInt(node.size)) throw new Difference(path, 'size');
    const fd = openSync(hostPath, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const segments = node.entry?.sparse ?? [
        { offset: 0, length: node.size, dataOffset: node.entry?.dataOffset ?? 0 },
      ];
      let end = 0;
      for (const { offset, length, dataOffset } of segments) {
        this.#compare(path, fd, end, offset - end, undefined);
        this.#compare(path, fd, offset, length, dataOffset);
        end = offset + length;
      }
      this.#compare(path, fd, end, node.size - end, undefined);
    } finally {
      closeSync(fd);
    }
  }

  /** `length` bytes at `offset` of the file with those at `tarOffset`, or with zeros. */
  #compare(path: ByteString, fd: number, offset: number, length: number, tarOffset: number | undefined): void {
    for (let done = 0; done < length; ) {
      const count = Math.min(COMPARE_SIZE, length - done);
      const got = readSync(fd, this.#mine, 0, count, offset + done);
      const mine = this.#mine.subarray(0, got);
      const theirs = this.#theirs.subarray(0, got);
      if (tarOffset === undefined) theirs.fill(0);
      else if (readSync(this.#tar, theirs, 0, got, tarOffset + done) !== got) throw new Difference(path, 'content');
      if (got === 0 || !mine.equals(theirs)) throw new Difference(path, 'content');
      done += got;
    }
  }
}

function checkAttributes(hostPath: Buffer, path: ByteString, node: TreeNode, stat: BigIntStats): void {
  if (node.type !== 'symlink' && Number(stat.mode & 0o7777n) !== node.mode) throw new Difference(path, 'mode');
  if (Number(stat.uid) !== node.uid || Number(stat.gid) !== node.gid) throw new Difference(path, 'owner');
  const { sec, nsec } = splitTime(stat.mtimeNs);
  if (sec !== node.mtime.sec || nsec !== node.mtime.nsec) throw new Difference(path, 'time');
  if (node.type === 'char' || node.type === 'block') {
    const rdev = Number(stat.rdev);
    if (deviceMajor(rdev) !== node.devmajor || deviceMinor(rdev) !== node.devminor)
      throw new Difference(path, 'device');
  }
  if (node.entry === undefined || node.xattrs === undefined) return;
  for (const [name, value] of layerXattrs({ ...node.entry, xattrs: node.xattrs }, () => {}) ?? []) {
    // One that the file system had no place for was left out.
    const found = getXattr(hostPath, name);
    if (found !== undefined && Buffer.compare(found, value) !== 0) throw new Difference(path, 'attributes');
  }
}
