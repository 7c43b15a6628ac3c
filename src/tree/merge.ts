import type { TarEntry } from '../formats/tar/entry.ts';
import { type LayerTree, linkError, readLayerTree } from './layer.ts';
import { lookup } from './lookup.ts';
import { adoptAttributes, newTree, type TreeNode } from './node.ts';

/**
 * Lays a layer over a tree, which changes in place. OCI image-spec v1.1.1, layer.md: whiteouts and opaque marks take
 * away from what was below, never from the layer itself, in whatever order they stand; an implied directory keeps the
 * attributes of the one below. Throws `BAD_HARDLINK` where a link's source is in no layer.
 */
function mergeLayer(tree: TreeNode, layer: LayerTree): void {
  for (const link of layer.lowerLinks) {
    // Before anything below is taken away: the source may be deleted by this very layer.
    const source = lookup(tree, link.target, { links: 'none' });
    if (source === undefined) throw linkError('hard link to what is in no layer', link);
    if (source.type === 'directory') throw linkError('hard link to a directory', link);
    source.hardlinked = true;
    link.parent.children!.set(link.name, source);
  }
  mergeDirectory(tree, layer.root);
  for (const node of layer.marked) {
    node.opaque = false;
    node.whiteouts = undefined;
  }
}

function mergeDirectory(below: TreeNode, above: TreeNode): void {
  const children = below.children!;
  if (above.opaque) children.clear();
  else if (above.whiteouts !== undefined) for (const name of above.whiteouts) children.delete(name);
  if (!above.implied) adoptAttributes(below, above);
  for (const [name, node] of above.children!) {
    const old = children.get(name);
    if (node.type === 'directory' && old?.type === 'directory') mergeDirectory(old, node);
    else children.set(name, node);
  }
}

/** Reads a layer's members and lays them over the tree. `layer` is the layer's number, from 0 at the bottom. */
export function applyLayer(tree: TreeNode, entries: Iterable<TarEntry>, layer: number): void {
  mergeLayer(tree, readLayerTree(entries, layer));
}

/** The tree that a stack of layers gives, the lowest first. */
export function mergeLayers(layers: Iterable<Iterable<TarEntry>>): TreeNode {
  const tree = newTree();
  let number = 0;
  for (const entries of layers) applyLayer(tree, entries, number++);
  return tree;
}
