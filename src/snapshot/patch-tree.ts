import type { ByteString } from '../core/bytes.ts';
import type { LayerFacts } from '../formats/erofs/facts.ts';
import type { PatchDirectory, PatchLink } from '../formats/erofs/patch.ts';
import { adoptAttributes, impliedDirectory, type TreeNode } from '../tree/node.ts';
import { walkTree } from '../tree/walk.ts';

/**
 * A layer's index is made of its tar alone, so two things of it depend on what lies below and may need a patch:
 * directories that it only implies, and hardlinks to files of lower layers.
 */
export function mayNeedPatch(facts: LayerFacts): boolean {
  return facts.impliedDirs.length > 0 || facts.lowerLinks.length > 0;
}

/**
 * What has to be laid over a layer so that the stack up to it shows `merged`, the tree of that stack; undefined where
 * it does already. Directories on the way are part of it, with the attributes that they have in `merged`; linked
 * files come under all of their names. Shares nodes of files with `merged`.
 */
export function planPatch(merged: TreeNode, facts: LayerFacts): TreeNode | undefined {
  const patch = copyDirectory(merged);
  let needed = false;
  for (const path of facts.impliedDirs) {
    const node = nodeAt(merged, path);
    // Described by no layer: the index has the very defaults already.
    if (node?.type !== 'directory' || node.implied) continue;
    directoryFor(patch, merged, path);
    needed = true;
  }
  const linked = new Set<TreeNode>();
  for (const { path } of facts.lowerLinks) {
    const node = nodeAt(merged, path);
    if (node !== undefined) linked.add(node);
  }
  if (linked.size > 0) {
    walkTree(merged, (path, node) => {
      if (!linked.has(node)) return;
      const slash = path.lastIndexOf('/');
      directoryFor(patch, merged, slash < 0 ? '' : path.slice(0, slash)).children!.set(path.slice(slash + 1), node);
    });
  }
  return needed || linked.size > 0 ? patch : undefined;
}

/** The same as the writer of indexes wants it. */
export function listPatch(patch: TreeNode): { directories: PatchDirectory[]; links: PatchLink[] } {
  const directories: PatchDirectory[] = [];
  const links = new Map<TreeNode, PatchLink>();
  walkTree(patch, (path, node) => {
    if (node.type === 'directory') {
      const { mode, uid, gid, mtime, xattrs } = node;
      directories.push({ path, attributes: { mode, uid, gid, mtime, xattrs } });
      return;
    }
    const link = links.get(node);
    if (link === undefined) links.set(node, { paths: [path], source: node.entry!, layer: node.layer });
    else link.paths.push(path);
  });
  return { directories, links: [...links.values()] };
}

function nodeAt(root: TreeNode, path: ByteString): TreeNode | undefined {
  let node: TreeNode | undefined = root;
  if (path !== '') for (const name of path.split('/')) node = node?.children?.get(name);
  return node;
}

/** The directory of the patch at `path`, made with its parents after those of `merged`. */
function directoryFor(patch: TreeNode, merged: TreeNode, path: ByteString): TreeNode {
  let to = patch;
  let from = merged;
  if (path === '') return to;
  for (const name of path.split('/')) {
    from = from.children!.get(name)!;
    let next = to.children!.get(name);
    if (next === undefined) {
      next = copyDirectory(from);
      to.children!.set(name, next);
    }
    to = next;
  }
  return to;
}

function copyDirectory(from: TreeNode): TreeNode {
  const to = impliedDirectory(from.layer);
  adoptAttributes(to, from);
  return to;
}
