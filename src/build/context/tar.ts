import { readSync } from 'node:fs';
import { displayName } from '../../core/bytes.ts';
import { ImagoError } from '../../core/errors.ts';
import type { TarEntry } from '../../formats/tar/entry.ts';
import { readEntries } from '../../formats/tar/read.ts';
import { applyLayer } from '../../tree/merge.ts';
import { newTree } from '../../tree/node.ts';
import { TreeSource } from './image-source.ts';
import type { SourceNode } from './source.ts';

/**
 * A tar file as the source of COPY, without unpacking it. `fd` stays the caller's. Owners are the root's, as those of
 * any context. Throws `TAR_*`, and `RESERVED_NAME` for names that mean deletions in a layer.
 */
export function readTarContext(fd: number, size: number): SourceNode {
  const entries = readEntries((buffer, offset) => readSync(fd, buffer, 0, buffer.length, offset), size);
  for (const entry of entries) refuseWhiteout(entry);
  const tree = newTree();
  applyLayer(tree, entries, 0);
  // As the documentation of COPY has it: what comes from the context belongs to 0:0.
  return new TreeSource({ tar: () => fd }, tree, { owners: false });
}

function refuseWhiteout({ path }: TarEntry): void {
  const name = path.replace(/\/+$/, '');
  if (!name.slice(name.lastIndexOf('/') + 1).startsWith('.wh.')) return;
  throw new ImagoError('RESERVED_NAME', `a layer cannot hold a file named '${displayName(name)}'`, {
    remedy: "names that start with '.wh.' mean deletions in a layer: leave it out of the context",
  });
}
