import { readLayerEntries } from '../store/layer-entries.ts';
import type { Store } from '../store/store.ts';
import { applyLayer } from '../tree/merge.ts';
import { newTree, type TreeNode } from '../tree/node.ts';
import type { Image } from './image.ts';

/**
 * The file tree that a container of this image starts with, from the headers of its layers' tars; nothing is mounted.
 * `TreeNode.layer` counts from the lowest. Throws `LAYER_MISSING`.
 */
export function readImageTree(store: Store, image: Pick<Image, 'diffIds'>): TreeNode {
  const tree = newTree();
  image.diffIds.forEach((diffId, number) => {
    applyLayer(tree, readLayerEntries(store, diffId), number);
  });
  return tree;
}
