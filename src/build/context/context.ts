import {
  type BigIntStats,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { type ByteString, byteString, displayName } from '../../core/bytes.ts';
import { ImagoError } from '../../core/errors.ts';
import type { Time } from '../../core/time.ts';
import type { IgnoreMatcher, MatchState } from '../../formats/dockerfile/ignore.ts';
import { deviceMajor, deviceMinor } from '../../system/files.ts';
import { startReading } from '../../system/read-ahead.ts';
import { getXattr, hasXattrs, listXattrs } from '../../system/xattr.ts';
import { textOf } from '../text.ts';
import type { FileReader, SourceNode } from './source.ts';

type HostPath = string | Buffer;

const NO_CHILDREN: ReadonlyMap<ByteString, SourceNode> = new Map();
const SECOND: bigint = 1_000_000_000n;

/**
 * A directory on this machine as the source of COPY. Read when asked for, each directory once; files that the ignore
 * patterns name are not there. A socket is an empty file, as BuildKit has it: no layer can hold one.
 */
export function openContext(directory: string, ignore: IgnoreMatcher): ContextNode {
  let stat: BigIntStats;
  try {
    stat = lstatSync(`${directory}/.`, { bigint: true });
  } catch (error) {
    throw contextError(error as NodeJS.ErrnoException, directory);
  }
  return new ContextNode(directory, '', stat, { ignore, root: directory }, undefined);
}

interface ContextRoot {
  readonly ignore: IgnoreMatcher;
  readonly root: string;
}

/** What a path's ignore state is known to be, and whether it is itself ignored but may hold what is not. */
interface Ignored {
  readonly state: MatchState;
  readonly itself: boolean;
}

/**
 * A file of the context, as it was when its directory was read. Takes from its stat what is needed and lets go of it:
 * tens of thousands of them are alive at once.
 */
export class ContextNode implements SourceNode {
  readonly path: HostPath;
  /** Relative to the context; '' for the root. */
  readonly name: ByteString;
  /** Changes whenever the file does, to the nanosecond. */
  readonly stamp: string;
  /** Milliseconds since the epoch. */
  readonly changed: number;
  readonly type: SourceNode['type'];
  readonly mode: number;
  readonly uid: number = 0;
  readonly gid: number = 0;
  readonly size: number;
  readonly mtime: Time;
  readonly identity: string | undefined;
  readonly #device: number;
  readonly #socket: boolean;
  readonly #root: ContextRoot;
  readonly #above: Ignored | undefined;
  #children: ReadonlyMap<ByteString, ContextNode> | undefined;
  #linkname: ByteString | undefined;

  constructor(path: HostPath, name: ByteString, stat: BigIntStats, root: ContextRoot, above: Ignored | undefined) {
    this.path = path;
    this.name = name;
    const { dev, ino, mtimeNs, ctimeNs } = stat;
    this.stamp = `${dev},${ino},${stat.size},${mtimeNs},${ctimeNs},${stat.mode}`;
    this.changed = Number(ctimeNs / 1_000_000n);
    this.#root = root;
    this.#above = above;
    const mode = Number(stat.mode);
    this.#socket = stat.isSocket();
    this.mode = mode & 0o7777;
    this.type = typeOf(mode) ?? 'fifo';
    this.size = this.type === 'file' ? Number(stat.size) : 0;
    // Floored, since times before 1970 are negative. A layer has whole seconds.
    this.mtime = { sec: Number((mtimeNs - (((mtimeNs % SECOND) + SECOND) % SECOND)) / SECOND), nsec: 0 };
    this.identity = stat.nlink > 1n && this.type !== 'directory' ? `${dev}:${ino}` : undefined;
    this.#device = this.type === 'char' || this.type === 'block' ? Number(stat.rdev) : 0;
  }

  /** Read once: what goes into the layer is what its digest is of. */
  get linkname(): ByteString {
    if (this.type !== 'symlink') return '';
    this.#linkname ??= this.#readable(() => readlinkSync(this.path, 'latin1'));
    return this.#linkname;
  }

  get devmajor(): number {
    return deviceMajor(this.#device);
  }

  get devminor(): number {
    return deviceMinor(this.#device);
  }

  /** The two kinds that mean something in an image: user.* and file capabilities. */
  xattrs(): Map<ByteString, Uint8Array> | undefined {
    return this.type === 'symlink' ? undefined : this.#readable(() => this.#readXattrs());
  }

  #readXattrs(): Map<ByteString, Uint8Array> | undefined {
    let found: Map<ByteString, Uint8Array> | undefined;
    for (const key of listXattrs(this.path)) {
      if (!key.startsWith('user.') && key !== 'security.capability') continue;
      const value = getXattr(this.path, key);
      if (value === undefined) continue;
      found ??= new Map();
      found.set(key, value);
    }
    return found;
  }

  children(): ReadonlyMap<ByteString, ContextNode> {
    if (this.type !== 'directory') return NO_CHILDREN as ReadonlyMap<ByteString, ContextNode>;
    this.#children ??= this.#readDirectory();
    return this.#children;
  }

  open(): FileReader {
    if (this.#socket) return { read: () => 0, xattrs: () => undefined, close: () => {} };
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const fd = this.#readable(() => openSync(this.path, flags));
    return {
      read: (buffer, offset, length, position) => this.#readable(() => readSync(fd, buffer, offset, length, position)),
      xattrs: () => (hasXattrs(fd) ? this.xattrs() : undefined),
      expect: (length) => startReading(fd, length),
      close: () => closeSync(fd),
    };
  }

  #readable<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw contextError(error as NodeJS.ErrnoException, displayName(this.name) || this.#root.root);
    }
  }

  #readDirectory(): ReadonlyMap<ByteString, ContextNode> {
    const names = this.#readable(() => readdirSync(this.path, 'latin1'));
    const children = new Map<ByteString, ContextNode>();
    for (const name of names.sort()) {
      const child = this.#readChild(name);
      if (child !== undefined) children.set(name, child);
    }
    return children;
  }

  #readChild(name: ByteString): ContextNode | undefined {
    const path = joinHost(this.path, name);
    const relative = this.name === '' ? name : `${this.name}/${name}`;
    const { ignore } = this.#root;
    let match: Ignored | undefined;
    if (!ignore.empty) {
      const { ignored, state } = ignore.match(textOf(relative), this.#above?.state);
      match = { state, itself: ignored };
      if (ignored && !ignore.mayReinclude(textOf(relative))) return undefined;
    }
    const stat = this.#readable(() => lstatSync(path, { bigint: true, throwIfNoEntry: false }));
    // Gone since the directory was read.
    if (stat === undefined || typeOf(Number(stat.mode)) === undefined) return undefined;
    const child = new ContextNode(path, relative, stat, this.#root, match);
    if (match?.itself && (child.type !== 'directory' || child.children().size === 0)) return undefined;
    return child;
  }
}

function typeOf(mode: number): SourceNode['type'] | undefined {
  switch (mode & constants.S_IFMT) {
    case constants.S_IFREG:
    case constants.S_IFSOCK:
      return 'file';
    case constants.S_IFDIR:
      return 'directory';
    case constants.S_IFLNK:
      return 'symlink';
    case constants.S_IFCHR:
      return 'char';
    case constants.S_IFBLK:
      return 'block';
    case constants.S_IFIFO:
      return 'fifo';
    default:
      return undefined;
  }
}

/** Text as long as names are ASCII; bytes below the first that is not. */
function joinHost(directory: HostPath, name: ByteString): HostPath {
  if (typeof directory === 'string' && !/[^\x00-\x7f]/.test(name)) return `${directory}/${name}`;
  return Buffer.concat([Buffer.from(directory as string), Buffer.from(`/${name}`, 'latin1')]);
}

function contextError(error: NodeJS.ErrnoException, path: string): ImagoError {
  const shown = byteString(path) === path ? path : displayName(byteString(path));
  return new ImagoError('CONTEXT_UNREADABLE', `cannot read the build context: ${error.code ?? error.message}`, {
    path: shown.length > 500 ? `${shown.slice(0, 200)}…${shown.slice(-100)}` : shown,
    remedy: remedyOf(error.code),
    cause: error,
  });
}

function remedyOf(code: string | undefined): string {
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return 'give read permission, or name the file in .dockerignore';
    case 'ENAMETOOLONG':
      return 'its path is longer than the system takes: build from a directory nearer to it, or name it in .dockerignore';
    case 'EIO':
      return 'its file system is damaged: name the file in .dockerignore';
    default:
      return 'it changed while it was read: build again';
  }
}
