import type { ByteString } from '../../core/bytes.ts';
import { Directory, Inode, isDirectory, isUnresolved } from './inode.ts';
import { pathError } from './path.ts';

/** The names of one layer, as its members come in. Paths are clean (`cleanPath`). */
export class LayerTree {
  readonly root: Directory = new Directory(true, undefined);
  // Members of one directory mostly follow each other.
  #lastPath: ByteString = '';
  #last: Directory = this.root;

  /**
   * The directory at `path`, made (implied) with its parents where missing.
   * Throws `NOT_A_DIRECTORY` where something else is on the way, a symlink too: a layer must not write through it.
   */
  directory(path: ByteString, offset?: number): Directory {
    if (path === this.#lastPath) return this.#last;
    let at = this.root;
    if (path !== '') {
      for (const name of path.split('/')) {
        let next = at.children.get(name);
        if (next === undefined) {
          next = new Directory(true, at);
          at.children.set(name, next);
        }
        if (!isDirectory(next)) {
          throw pathError('NOT_A_DIRECTORY', 'entry below a file or symlink of the same layer', path, offset);
        }
        at = next;
      }
    }
    this.#lastPath = path;
    this.#last = at;
    return at;
  }

  lookup(path: ByteString): Inode | undefined {
    let at: Inode | undefined = this.root;
    if (path === '') return at;
    for (const name of path.split('/')) {
      if (at === undefined || !isDirectory(at)) return undefined;
      at = at.children.get(name);
    }
    return at;
  }

  /** Puts an inode at a name; what was there goes, with all that is below it. */
  place(parent: Directory, name: ByteString, inode: Inode): void {
    this.remove(parent, name);
    parent.children.set(name, inode);
  }

  remove(parent: Directory, name: ByteString): void {
    const old = parent.children.get(name);
    if (old === undefined) return;
    parent.children.delete(name);
    if (!isDirectory(old)) old.nlink--;
    else this.#dropBelow(old);
  }

  #dropBelow(top: Directory): void {
    this.#lastPath = '';
    this.#last = this.root;
    const pending = [top];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      for (const child of at.children.values()) {
        if (isDirectory(child)) pending.push(child);
        else child.nlink--;
      }
    }
  }

  /** All directories, parents first, in order of their names. The callback may change the directory's children. */
  walk(visit: (directory: Directory, path: ByteString) => void): void {
    const pending: [Directory, ByteString][] = [[this.root, '']];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const [at, path] = next;
      visit(at, path);
      const below: ByteString[] = [];
      for (const [name, child] of at.children) if (isDirectory(child)) below.push(name);
      below.sort();
      for (let i = below.length - 1; i >= 0; i--) {
        const name = below[i]!;
        pending.push([at.children.get(name) as Directory, joinPath(path, name)]);
      }
    }
  }
}

/** A hardlink to `target`, to be resolved when all members are known. */
export function unresolvedLink(target: ByteString): Inode {
  const inode = new Inode(0);
  inode.target = target;
  return inode;
}

/**
 * What `target` finally names: an inode of this tree, or the path in the layers below.
 * Links to links of a lower layer lead to the same file there. Undefined: a circle.
 */
export function resolveLink(tree: LayerTree, target: ByteString): Inode | ByteString | undefined {
  const seen = new Set<ByteString>();
  for (let at = target; !seen.has(at); ) {
    seen.add(at);
    const found = tree.lookup(at);
    if (found === undefined) return at;
    if (!isUnresolved(found)) return found;
    at = found.target;
  }
  return undefined;
}

export function joinPath(parent: ByteString, name: ByteString): ByteString {
  return parent === '' ? name : `${parent}/${name}`;
}
