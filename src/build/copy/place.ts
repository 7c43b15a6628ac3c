import { type ByteString, displayName } from '../../core/bytes.ts';
import { ImagoError } from '../../core/errors.ts';
import type { Time } from '../../core/time.ts';
import type { TreeEntry } from '../../tree/indexed.ts';
import type { TreeNode } from '../../tree/node.ts';
import type { SourceNode } from '../context/source.ts';
import type { Chmod } from './chmod.ts';
import type { Selected } from './select.ts';

/** A member that a layer gets. */
export interface Member
  extends Pick<
    TreeNode,
    'type' | 'mode' | 'uid' | 'gid' | 'mtime' | 'size' | 'linkname' | 'devmajor' | 'devminor' | 'xattrs'
  > {
  /** 'a/b', without slashes at its ends. */
  path: ByteString;
  /** Where a file's bytes are; its xattrs too, read when it is written. */
  source?: SourceNode;
}

export interface Owner {
  uid: number;
  gid: number;
}

export interface PlaceOptions {
  /** `--chown`; undefined keeps the source's. */
  owner?: Owner;
  chmod?: Chmod;
  /** Time of directories that nothing describes. */
  now: Time;
}

/** The files of the image below, by paths 'a/b', no symlinks followed. */
export interface LowerFiles {
  at(path: ByteString): TreeEntry | undefined;
}

/** What is at a path: of the image below, or placed already. Both tell enough to go on. */
type Present = Pick<TreeEntry, 'type' | 'linkname'>;

/** Linux MAXSYMLINKS. */
const MAX_LINKS = 255;

/**
 * Plans the members of a layer over the files of an image. All parents of what is placed are
 * members too, with the attributes that they have in the image, so that the layer implies nothing.
 * Destinations follow BuildKit (tonistiigi/fsutil copy.go): symlinks in the destination itself lead on within the root;
 * a directory's contents are merged, with the attributes of directories below it, but not its own.
 */
export class Placement {
  readonly #lower: LowerFiles;
  readonly #options: PlaceOptions;
  readonly #members: Map<ByteString, Member> = new Map();
  #fresh: Map<ByteString, Member> = new Map();
  #changes = false;

  constructor(lower: LowerFiles, options: PlaceOptions) {
    this.#lower = lower;
    this.#options = options;
  }

  /** Whether anything is planned but directories that stay as they are. */
  get changes(): boolean {
    return this.#changes;
  }

  get owner(): Owner | undefined {
    return this.#options.owner;
  }

  /** Attributes of a directory that is made for an archive. */
  get unpacked(): Owner & { mode: number } {
    return { uid: this.owner?.uid ?? 0, gid: this.owner?.gid ?? 0, mode: 0o755 };
  }

  /** Whether the path is a directory, symlinks followed. */
  isDirectory(path: ByteString): boolean {
    return this.#at(this.resolve(path))?.type === 'directory';
  }

  /** `dest` is absolute and cleaned; a slash at its end makes it a directory. */
  copy(selected: Selected, dest: ByteString): void {
    if (dest.endsWith('/')) this.makeDirectories(dest, this.#created());
    let target = this.resolve(dest);
    const there = this.#at(target);
    if (selected.node.type !== 'directory') {
      if (there?.type === 'directory') target = joinPath(target, selected.name);
      this.#addFile(target, selected.node);
      return;
    }
    // The source directory's own attributes are not copied, only its contents are.
    this.makeDirectories(target, this.#created());
    for (const { path, node, implied } of selected.below) {
      const here = joinPath(target, path);
      if (node.type !== 'directory') {
        this.#addFile(here, node);
        continue;
      }
      const old = this.#at(here);
      if (old !== undefined && old.type !== 'directory') throw notADirectory(here);
      if (implied && old !== undefined) this.#passDirectory(here, node.mode);
      else this.#add(here, this.#member(here, node));
    }
  }

  /** A file that no source node describes. Follows `copy` in where it goes. */
  addInline(name: ByteString, dest: ByteString, source: SourceNode): void {
    this.copy({ name, node: source, below: [] }, dest);
  }

  /** Makes what is missing of a path; what is there stays as it is. Symlinks on the way are followed. */
  makeDirectories(path: ByteString, attributes: Owner & { mode: number }): void {
    let here = '';
    for (const part of this.resolve(path).split('/')) {
      if (part === '') continue;
      here = joinPath(here, part);
      const there = this.#at(here);
      if (there === undefined) this.#add(here, this.#newDirectory(here, attributes));
      else if (there.type === 'directory') this.#keepDirectory(here);
      else throw notADirectory(here);
    }
  }

  /** A member as it is, with its parents. For archives, whose names are resolved by their reader. */
  put(member: Member): void {
    // What an archive only implies is root's, whatever --chown says.
    this.#addParents(member.path, { uid: 0, gid: 0, mode: 0o755 });
    this.#add(member.path, member);
  }

  /** The members that are planned and were not taken before, sorted so that parents come before their children. */
  take(): Member[] {
    const members = this.#fresh;
    this.#fresh = new Map();
    return [...members.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  /**
   * Where a path leads within the root, as a path without symlinks; parts that do not exist stay as written.
   * `..` never leaves the root.
   */
  resolve(path: ByteString): ByteString {
    const todo = path.split('/').reverse();
    let here: ByteString[] = [];
    let links = 0;
    while (todo.length > 0) {
      const part = todo.pop()!;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        here.pop();
        continue;
      }
      const next = [...here, part];
      const node = this.#at(next.join('/'));
      if (node?.type !== 'symlink') {
        here = next;
        continue;
      }
      if (++links > MAX_LINKS)
        throw new ImagoError('TOO_MANY_LINKS', 'symlinks of the image lead in a circle', { path });
      if (node.linkname.startsWith('/')) here = [];
      todo.push(...node.linkname.split('/').reverse());
    }
    return here.join('/');
  }

  #addFile(target: ByteString, node: SourceNode): void {
    if (target === '' || this.#at(target)?.type === 'directory') {
      throw new ImagoError('IS_A_DIRECTORY', `cannot replace the directory /${displayName(target)} with a file`, {
        remedy: 'end the destination with a slash to copy into it',
      });
    }
    this.#addParents(target);
    this.#add(target, this.#member(target, node));
  }

  #add(path: ByteString, member: Member): void {
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (name.startsWith('.wh.')) {
      throw new ImagoError('RESERVED_NAME', `a layer cannot hold a file named '${displayName(name)}'`, {
        path: displayName(path),
        remedy: "names that start with '.wh.' mean deletions in a layer: rename it, or exclude it in .dockerignore",
      });
    }
    this.#changes = true;
    this.#set(path, member);
  }

  #set(path: ByteString, member: Member): void {
    this.#members.set(path, member);
    this.#fresh.set(path, member);
  }

  #addParents(path: ByteString, attributes: Owner & { mode: number } = this.#created()): void {
    const slash = path.lastIndexOf('/');
    if (slash < 0) return;
    const parent = path.slice(0, slash);
    if (this.#members.has(parent)) {
      if (this.#members.get(parent)!.type !== 'directory') throw notADirectory(parent);
      return;
    }
    this.makeDirectories(parent, attributes);
  }

  /** BuildKit gives `--chmod` and `--chown` to the directories that it has to make, too. */
  #created(): Owner & { mode: number } {
    const { owner, chmod } = this.#options;
    return { uid: owner?.uid ?? 0, gid: owner?.gid ?? 0, mode: chmod?.created ?? 0o755 };
  }

  /** A directory that only what is below it brought along: where there is one, BuildKit gives it the source's mode. */
  #passDirectory(path: ByteString, mode: number): void {
    this.#keepDirectory(path);
    const member = this.#members.get(path)!;
    if (member.mode !== mode) this.#add(path, { ...member, mode });
  }

  #keepDirectory(path: ByteString): void {
    if (path === '' || this.#members.has(path)) return;
    const node = this.#lower.at(path)!;
    const { mode, uid, gid, mtime, xattrs } = node;
    this.#set(path, { ...blank(path), mode, uid, gid, mtime, xattrs });
  }

  #newDirectory(path: ByteString, attributes: Owner & { mode: number }): Member {
    return { ...blank(path), ...attributes, mtime: this.#options.now };
  }

  #member(path: ByteString, node: SourceNode): Member {
    const { owner, chmod } = this.#options;
    const directory = node.type === 'directory';
    const fixed = node.type === 'symlink' || chmod === undefined;
    return {
      path,
      type: node.type,
      mode: fixed ? node.mode : chmod.apply(node.mode, directory),
      uid: owner?.uid ?? node.uid,
      gid: owner?.gid ?? node.gid,
      // Whole seconds, as containerd writes them: a fraction costs two more blocks a file.
      mtime: { sec: node.mtime.sec, nsec: 0 },
      size: node.size,
      linkname: node.type === 'symlink' ? node.linkname : '',
      devmajor: node.devmajor,
      devminor: node.devminor,
      xattrs: directory ? node.xattrs() : undefined,
      source: directory ? undefined : node,
    };
  }

  #at(path: ByteString): Present | undefined {
    return this.#members.get(path) ?? this.#lower.at(path);
  }
}

function blank(path: ByteString): Member {
  const nothing: Time = { sec: 0, nsec: 0 };
  return {
    path,
    type: 'directory',
    mode: 0o755,
    uid: 0,
    gid: 0,
    mtime: nothing,
    size: 0,
    linkname: '',
    devmajor: 0,
    devminor: 0,
    xattrs: undefined,
  };
}

function joinPath(directory: ByteString, name: ByteString): ByteString {
  return directory === '' ? name : name === '' ? directory : `${directory}/${name}`;
}

function notADirectory(path: ByteString): ImagoError {
  return new ImagoError('NOT_A_DIRECTORY', `cannot copy to /${displayName(path)}: it is not a directory in the image`, {
    remedy: 'name another destination, or remove it in a RUN before',
  });
}
