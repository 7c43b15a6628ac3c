import type { ByteString } from '../core/bytes.ts';
import type { TreeNode } from './node.ts';

export interface LookupOptions {
  /**
   * Which symlinks to follow, always within the root: `none`, those in `parents` (default: as lstat), or `all` (as
   * stat).
   */
  links?: 'none' | 'parents' | 'all';
}

/** Linux MAXSYMLINKS. */
const MAX_LINKS = 40;

/** The node at a path; slashes at its ends, '.' and '..' are fine. Undefined where there is none, or a link loops. */
export function lookup(root: TreeNode, path: ByteString, options: LookupOptions = {}): TreeNode | undefined {
  return resolvePath(root, path, options)?.node;
}

/** Like `lookup`, with the path that the links led to ("a/b"; '' is the root). */
export function resolvePath(
  root: TreeNode,
  path: ByteString,
  { links = 'parents' }: LookupOptions = {},
): { path: ByteString; node: TreeNode } | undefined {
  const todo = path.split('/').reverse();
  const names: ByteString[] = [];
  const nodes: TreeNode[] = [root];
  let followed = 0;
  while (todo.length > 0) {
    const part = todo.pop()!;
    const here = nodes.at(-1)!;
    if (here.type !== 'directory') return undefined;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      if (nodes.length > 1) {
        nodes.pop();
        names.pop();
      }
      continue;
    }
    const child = here.children!.get(part);
    if (child === undefined) return undefined;
    const last = todo.length === 0;
    if (child.type === 'symlink' && links !== 'none' && (!last || links === 'all')) {
      if (++followed > MAX_LINKS || child.linkname === '') return undefined;
      if (child.linkname.startsWith('/')) {
        nodes.length = 1;
        names.length = 0;
      }
      todo.push(...child.linkname.split('/').reverse());
      continue;
    }
    nodes.push(child);
    names.push(part);
  }
  return { path: names.join('/'), node: nodes.at(-1)! };
}
