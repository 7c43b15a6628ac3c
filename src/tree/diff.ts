import { type ByteString, compareByteStrings } from '../core/bytes.ts';
import type { TreeNode } from './node.ts';

/** A line of `docker diff`: added, changed or deleted. `path` is absolute ("/etc/passwd"). */
export interface Change {
  kind: 'A' | 'C' | 'D';
  path: ByteString;
}

export interface DiffOptions {
  /**
   * Asked for two files whose attributes, size and time are all equal. Default: they are the same file, as Docker
   * takes it.
   */
  sameContent?: (before: TreeNode, after: TreeNode) => boolean;
}

/**
 * What changed from one tree to another, sorted by path, as Docker tells it (moby v28 pkg/archive changes.go):
 * every added name is listed, of a deleted directory only its top, and a directory with changes in it is itself
 * changed. The root is never listed.
 */
export function diffTrees(before: TreeNode, after: TreeNode, options: DiffOptions = {}): Change[] {
  const changes: Change[] = [];
  compareDirectories('', before, after, changes, options.sameContent ?? (() => true));
  return changes.sort((a, b) => compareByteStrings(a.path, b.path));
}

function compareDirectories(
  path: ByteString,
  before: TreeNode,
  after: TreeNode,
  changes: Change[],
  sameContent: (before: TreeNode, after: TreeNode) => boolean,
): void {
  const old = before.children!;
  for (const [name, node] of after.children!) {
    const childPath = `${path}/${name}`;
    const was = old.get(name);
    if (was === undefined) {
      addAll(childPath, node, changes);
    } else if (was.type === 'directory' && node.type === 'directory') {
      const count = changes.length;
      compareDirectories(childPath, was, node, changes, sameContent);
      if (changes.length > count || !sameAttributes(was, node)) changes.push({ kind: 'C', path: childPath });
    } else if (!sameFile(was, node, sameContent)) {
      changes.push({ kind: 'C', path: childPath });
      // A directory where there was a file: what is in it is new.
      if (node.children !== undefined) addBelow(childPath, node, changes);
    }
  }
  for (const name of old.keys()) {
    if (!after.children!.has(name)) changes.push({ kind: 'D', path: `${path}/${name}` });
  }
}

function addAll(path: ByteString, node: TreeNode, changes: Change[]): void {
  changes.push({ kind: 'A', path });
  if (node.children !== undefined) addBelow(path, node, changes);
}

function addBelow(path: ByteString, node: TreeNode, changes: Change[]): void {
  for (const [name, child] of node.children!) addAll(`${path}/${name}`, child, changes);
}

function sameFile(a: TreeNode, b: TreeNode, sameContent: (a: TreeNode, b: TreeNode) => boolean): boolean {
  if (a === b) return true;
  if (a.type !== b.type || !sameAttributes(a, b)) return false;
  if (a.size !== b.size || a.linkname !== b.linkname) return false;
  if (a.devmajor !== b.devmajor || a.devminor !== b.devminor) return false;
  if (a.mtime.sec !== b.mtime.sec || !sameNanoseconds(a.mtime.nsec, b.mtime.nsec)) return false;
  return a.type !== 'file' || a.size === 0 || sameContent(a, b);
}

/** Some tars have whole seconds only: like Docker, take 0 as unknown. */
function sameNanoseconds(a: number, b: number): boolean {
  return a === b || a === 0 || b === 0;
}

/** Owner, permissions and extended attributes; a directory's time is no change of it. */
function sameAttributes(a: TreeNode, b: TreeNode): boolean {
  return a.mode === b.mode && a.uid === b.uid && a.gid === b.gid && sameXattrs(a.xattrs, b.xattrs);
}

function sameXattrs(a: TreeNode['xattrs'], b: TreeNode['xattrs']): boolean {
  if (a === b) return true;
  if ((a?.size ?? 0) !== (b?.size ?? 0)) return false;
  for (const [name, value] of a ?? []) {
    const other = b?.get(name);
    if (other === undefined || other.length !== value.length) return false;
    for (let i = 0; i < value.length; i++) if (value[i] !== other[i]) return false;
  }
  return true;
}
