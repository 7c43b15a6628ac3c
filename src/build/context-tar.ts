import { readSync } from 'node:fs';
import { displayName } from '../core/bytes.ts';
import { ImagoError } from '../core/errors.ts';
import type { TarEntry } from '../formats/tar/entry.ts';
import { readEntries } from '../formats/tar/read.ts';
import { applyLayer } from '../tree/merge.ts';
import { newTree } from '../tree/node.ts';
import { TreeSource } from './image-source.ts';
import type { FileReader, SourceNode } from './source.ts';

/**
 * A tar file as the source of COPY, without unpacking it. `fd` stays the caller's. Owners are the root's, as those of
 * any context. Throws `TAR_*`, and `RESERVED_NAME` for names that mean deletions in a layer.
 */
export function readTarContext(fd: number, size: number): SourceNode {
  const entries = readEntries((buffer, offset) => readSync(fd, buffer, 0, buffer.length, offset), size);
  for (const entry of entries) refuseWhiteout(entry);
  const tree = newTree();
  applyLayer(tree, entries, 0);
  return new OwnedByRoot(new TreeSource({ tar: () => fd }, tree));
}

function refuseWhiteout({ path }: TarEntry): void {
  const name = path.replace(/\/+$/, '');
  if (!name.slice(name.lastIndexOf('/') + 1).startsWith('.wh.')) return;
  throw new ImagoError('RESERVED_NAME', `a layer cannot hold a file named '${displayName(name)}'`, {
    remedy: "names that start with '.wh.' mean deletions in a layer: leave it out of the context",
  });
}

/** As the documentation of COPY has it: what comes from the context belongs to 0:0. */
class OwnedByRoot implements SourceNode {
  readonly #node: SourceNode;
  #children: ReadonlyMap<string, SourceNode> | undefined;
  readonly uid: number = 0;
  readonly gid: number = 0;

  constructor(node: SourceNode) {
    this.#node = node;
  }

  get type(): SourceNode['type'] {
    return this.#node.type;
  }
  get mode(): number {
    return this.#node.mode;
  }
  get mtime(): SourceNode['mtime'] {
    return this.#node.mtime;
  }
  get size(): number {
    return this.#node.size;
  }
  get linkname(): string {
    return this.#node.linkname;
  }
  get devmajor(): number {
    return this.#node.devmajor;
  }
  get devminor(): number {
    return this.#node.devminor;
  }
  get identity(): unknown {
    return this.#node.identity;
  }
  xattrs(): ReturnType<SourceNode['xattrs']> {
    return this.#node.xattrs();
  }
  children(): ReadonlyMap<string, SourceNode> {
    this.#children ??= new Map([...this.#node.children()].map(([name, node]) => [name, new OwnedByRoot(node)]));
    return this.#children;
  }
  open(): FileReader {
    return this.#node.open();
  }
}
