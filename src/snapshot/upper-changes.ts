import type { ByteString } from '../core/bytes.ts';
import { compareByteStrings } from '../core/bytes.ts';
import type { Change } from '../tree/diff.ts';
import type { TreeNode } from '../tree/node.ts';
import { walkUpper } from './upper-walk.ts';

/**
 * What a container changed, as `docker diff` lists it: sorted by path, every added name, of a deleted directory only
 * its top, never the root. `lower` is the tree of the image's layers. A file that was opened for writing counts as
 * changed, whatever was written.
 */
export function readUpperChanges(upper: string, lower: TreeNode): Change[] {
  const changes: Change[] = [];
  /** For each directory of upper, what shows below it, less the names that upper has itself. */
  const below = new Map<ByteString, TreeNode | undefined>();
  const hidden: { path: ByteString; names: Set<ByteString> }[] = [];
  for (const { path, whiteout, opaque, stat } of walkUpper(upper)) {
    if (path === '') {
      below.set('', lower);
      continue;
    }
    const slash = path.lastIndexOf('/');
    const parent = slash < 0 ? '' : path.slice(0, slash);
    const name = path.slice(slash + 1);
    const was = below.get(parent)?.children?.get(name);
    for (const { path: top, names } of hidden) if (parent === top) names.delete(name);
    if (whiteout) {
      if (was !== undefined) changes.push({ kind: 'D', path: `/${path}` });
      continue;
    }
    changes.push({ kind: was === undefined ? 'A' : 'C', path: `/${path}` });
    if (!stat.isDirectory()) continue;
    if (opaque && was?.children !== undefined) hidden.push({ path, names: new Set(was.children.keys()) });
    below.set(path, was?.type === 'directory' ? was : undefined);
  }
  for (const { path, names } of hidden) for (const name of names) changes.push({ kind: 'D', path: `/${path}/${name}` });
  return changes.sort((a, b) => compareByteStrings(a.path, b.path));
}
