import { closeSync, openSync, readSync } from 'node:fs';
import type { Digest } from '../core/digest.ts';
import type { Image } from '../image/image.ts';
import { resolveImage } from '../image/resolve.ts';
import { readImageTree } from '../image/tree.ts';
import type { Platform } from '../oci/platform.ts';
import { layerTarPath } from '../store/layers.ts';
import type { Store } from '../store/store.ts';
import { type Change, diffTrees } from '../tree/diff.ts';
import type { TreeNode } from '../tree/node.ts';

const CHUNK = 1024 * 1024;

/**
 * What differs from one image to another, as `docker diff` would tell it. Files with equal attributes and times are
 * compared byte by byte, unless they are the same bytes of the same layer.
 */
export function diffImages(store: Store, before: string, after: string, platform?: Platform): Change[] {
  const a = resolveImage(store, before, platform);
  const b = resolveImage(store, after, platform);
  if (a.id === b.id) return [];
  using files = new LayerFiles(store);
  return diffTrees(readImageTree(store, a), readImageTree(store, b), {
    sameContent: (x, y) => files.same(a, x, b, y),
  });
}

/** The layers' tars, each opened once. */
class LayerFiles implements Disposable {
  readonly #store: Store;
  readonly #open: Map<Digest, number> = new Map();
  readonly #buffers: [Buffer, Buffer] = [Buffer.allocUnsafe(0), Buffer.allocUnsafe(0)];

  constructor(store: Store) {
    this.#store = store;
  }

  same(a: Image, x: TreeNode, b: Image, y: TreeNode): boolean {
    const [layerX, layerY] = [a.diffIds[x.layer]!, b.diffIds[y.layer]!];
    const [from, to] = [x.entry!, y.entry!];
    if (layerX === layerY && from.dataOffset === to.dataOffset) return true;
    // Sparse files: equal maps and equal stored bytes; another map of the same content counts as a change.
    if (from.dataSize !== to.dataSize || !sameMap(from.sparse, to.sparse)) return false;
    const [fdX, fdY] = [this.#file(layerX), this.#file(layerY)];
    if (this.#buffers[0].length === 0) {
      this.#buffers[0] = Buffer.allocUnsafe(CHUNK);
      this.#buffers[1] = Buffer.allocUnsafe(CHUNK);
    }
    const [p, q] = this.#buffers;
    for (let at = 0; at < from.dataSize; ) {
      const want = Math.min(CHUNK, from.dataSize - at);
      const got = readSync(fdX, p, 0, want, from.dataOffset + at);
      if (got === 0 || readSync(fdY, q, 0, got, to.dataOffset + at) !== got) return false;
      if (p.compare(q, 0, got, 0, got) !== 0) return false;
      at += got;
    }
    return true;
  }

  #file(diffId: Digest): number {
    let fd = this.#open.get(diffId);
    if (fd === undefined) {
      fd = openSync(layerTarPath(this.#store, diffId), 'r');
      this.#open.set(diffId, fd);
    }
    return fd;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#open.values()) closeSync(fd);
    this.#open.clear();
  }
}

type SparseMap = NonNullable<TreeNode['entry']>['sparse'];

function sameMap(a: SparseMap, b: SparseMap): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.length === b.length && a.every((s, i) => s.offset === b[i]!.offset && s.length === b[i]!.length);
}
