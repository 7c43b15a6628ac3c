import { type ByteString, compareByteStrings } from '../core/bytes.ts';
import type { TreeNode } from './node.ts';

/** Children by name, sorted by unsigned bytes. */
export function sortedChildren(node: TreeNode): [name: ByteString, node: TreeNode][] {
  if (node.children === undefined) return [];
  return [...node.children].sort(([a], [b]) => compareByteStrings(a, b));
}

/**
 * Visits every name, parents before their children, siblings sorted by bytes; the root first, as ''. Paths are
 * "a/b". Where `visit` returns false, what is below is left out.
 */
export function walkTree(root: TreeNode, visit: (path: ByteString, node: TreeNode) => unknown): void {
  walk('', root, visit);
}

function walk(path: ByteString, node: TreeNode, visit: (path: ByteString, node: TreeNode) => unknown): void {
  if (visit(path, node) === false) return;
  for (const [name, child] of sortedChildren(node)) walk(path === '' ? name : `${path}/${name}`, child, visit);
}

/** What of a layer can still be seen in a merged tree. A file with several names counts once. */
export interface LayerShare {
  entries: number;
  files: number;
  /** Sum of file sizes. */
  bytes: number;
}

/** How much each of `layers` layers contributes to a merged tree. */
export function layerShares(root: TreeNode, layers: number): LayerShare[] {
  const shares = Array.from({ length: layers }, (): LayerShare => ({ entries: 0, files: 0, bytes: 0 }));
  const seen = new Set<TreeNode>();
  const pending = [root];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (node.children !== undefined) pending.push(...node.children.values());
    const share = shares[node.layer];
    if (share === undefined) continue;
    if (node.hardlinked) {
      if (seen.has(node)) continue;
      seen.add(node);
    }
    share.entries++;
    if (node.type === 'file') {
      share.files++;
      share.bytes += node.size;
    }
  }
  return shares;
}
