import type { Digest } from '../core/digest.ts';
import type { TarEntry } from '../formats/tar/entry.ts';
import { readLayerEntries } from '../store/layer-entries.ts';
import type { Store } from '../store/store.ts';
import { mergeLayers } from '../tree/merge.ts';
import type { TreeNode } from '../tree/node.ts';
import type { Image } from './image.ts';

/**
 * The file tree that a container of this image starts with, from the headers of its layers' tars; nothing is mounted.
 * `TreeNode.layer` counts from the lowest. Throws `LAYER_MISSING`.
 */
export function readImageTree(store: Store, image: Pick<Image, 'diffIds'>): TreeNode {
  return mergeLayers(readLayers(store, image.diffIds));
}

/** One at a time: the entries of a large layer are many. */
function* readLayers(store: Store, diffIds: readonly Digest[]): Generator<TarEntry[]> {
  for (const diffId of diffIds) yield readLayerEntries(store, diffId);
}
