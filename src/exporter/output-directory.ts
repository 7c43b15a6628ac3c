import {
  closeSync,
  constants,
  fchownSync,
  ftruncateSync,
  lstatSync,
  openSync,
  rmSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import type { ImageFiles } from '../build/context/image-source.ts';
import { type ByteString, displayName } from '../core/bytes.ts';
import { ImagoError } from '../core/errors.ts';
import type { Time } from '../core/time.ts';
import {
  createFileAt,
  makeDirectoryAt,
  makeLinkAt,
  makeNodeAt,
  makeSymlinkAt,
  openDirectoryAt,
  pathAt,
  setModeAt,
  setModeOf,
  setOwnerAt,
  setTimesAt,
  setTimesOf,
  setXattrsAt,
  setXattrsOf,
} from '../system/at.ts';
import { SystemError } from '../system/call.ts';
import { makeDirectories } from '../system/directories.ts';
import { closeFd } from '../system/mount.ts';
import type { TreeNode } from '../tree/node.ts';
import { sortedChildren } from '../tree/walk.ts';
import { type FileOptions, type FileResult, timeOf } from './output-files.ts';

const PIECE = 1 << 20;
const ENTRIES_A_TURN = 512;

/**
 * All files below a directory, which may have others: those of the same name are replaced, what is a directory in both
 * is merged. Owners, device nodes and privileged attributes as in the image where the caller is root; others' files
 * are their own. No link that is there already is followed. `onSkipped` hears of devices that could not be made.
 */
export async function writeFilesDirectory(
  results: readonly FileResult[],
  path: string,
  options: FileOptions & { onSkipped?: (path: string) => void } = {},
): Promise<void> {
  try {
    makeDirectories(path, 0o777);
    const root = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      for (const result of results) {
        const fd = result.directory === '' ? root : enterDirectory(root, result.directory);
        try {
          await new TreeWriter(fd, result.files, options).write(result.extra);
        } finally {
          if (fd !== root) closeFd(fd);
        }
      }
    } finally {
      closeSync(root);
    }
  } catch (cause) {
    throw explain(path, cause, options.signal);
  }
}

/** Names the directory that the user named, and why. */
function explain(path: string, cause: unknown, signal: AbortSignal | undefined): unknown {
  const { code } = cause as NodeJS.ErrnoException;
  const told = cause instanceof ImagoError && !(cause instanceof SystemError);
  if (told || signal?.aborted || typeof code !== 'string') return cause;
  return new ImagoError('CANNOT_WRITE', `cannot write '${path}'`, {
    got: code,
    remedy: code === 'ENOSPC' ? 'there is no space left on its disk' : 'choose another place with -o',
    cause,
  });
}

const KINDS = { char: 0o020000, block: 0o060000, fifo: 0o010000 } as const;

class TreeWriter {
  readonly #root: number;
  readonly #files: ImageFiles;
  readonly #options: FileOptions & { onSkipped?: (path: string) => void };
  readonly #time: Time | undefined;
  readonly #privileged: boolean = process.getuid?.() === 0;
  readonly #buffer: Buffer = Buffer.allocUnsafeSlow(PIECE);
  readonly #written: Map<TreeNode, ByteString> = new Map();
  #count = 0;

  constructor(root: number, files: ImageFiles, options: FileOptions & { onSkipped?: (path: string) => void }) {
    this.#root = root;
    this.#files = files;
    this.#options = options;
    this.#time = options.epoch === undefined ? undefined : timeOf(options.epoch);
  }

  async write(extra: FileResult['extra']): Promise<void> {
    await this.#children(this.#root, '', this.#files.tree);
    for (const { name, bytes } of extra) {
      removeAt(this.#root, name);
      const fd = createFileAt(this.#root, name, 0o644);
      try {
        for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
        if (this.#time !== undefined) setTimesOf(fd, this.#time);
      } finally {
        closeFd(fd);
      }
    }
  }

  async #children(fd: number, path: ByteString, node: TreeNode): Promise<void> {
    for (const [name, child] of sortedChildren(node)) {
      if (++this.#count % ENTRIES_A_TURN === 0) {
        await setImmediate();
        this.#options.signal?.throwIfAborted();
      }
      const here = path === '' ? name : `${path}/${name}`;
      if (child.type !== 'directory') {
        this.#writeName(fd, name, here, child);
        continue;
      }
      const below = enterDirectory(fd, name);
      try {
        await this.#children(below, here, child);
        this.#finish(below, child);
      } finally {
        closeFd(below);
      }
    }
  }

  #writeName(directory: number, name: ByteString, path: ByteString, node: TreeNode): void {
    removeAt(directory, name);
    const first = node.hardlinked ? this.#written.get(node) : undefined;
    if (first !== undefined) {
      makeLinkAt(this.#root, first, directory, name);
      return;
    }
    if (node.hardlinked) this.#written.set(node, path);
    if (node.type === 'file') {
      const fd = createFileAt(directory, name, 0o600);
      try {
        this.#copy(fd, node);
        this.#finish(fd, node);
      } finally {
        closeFd(fd);
      }
    } else this.#writeSpecial(directory, name, path, node);
  }

  #copy(fd: number, node: TreeNode): void {
    const reader = this.#files.node(node).open();
    try {
      const sparse = node.entry?.sparse;
      // Holes stay holes.
      if (sparse !== undefined) ftruncateSync(fd, node.size);
      for (const { offset, length } of sparse ?? [{ offset: 0, length: node.size }]) {
        for (let done = 0; done < length; ) {
          const got = reader.read(this.#buffer, 0, Math.min(PIECE, length - done), offset + done);
          if (got === 0) throw new ImagoError('BLOB_TRUNCATED', 'a layer grew shorter while it was read');
          for (let out = 0; out < got; ) out += writeSync(fd, this.#buffer, out, got - out, offset + done + out);
          done += got;
        }
      }
    } finally {
      reader.close();
    }
  }

  #writeSpecial(directory: number, name: ByteString, path: ByteString, node: TreeNode): void {
    if (node.type === 'symlink') makeSymlinkAt(directory, name, node.linkname);
    else {
      const kind = KINDS[node.type as keyof typeof KINDS];
      try {
        makeNodeAt(directory, name, kind | 0o600, node.devmajor, node.devminor);
      } catch (error) {
        if (!isRefused(error)) throw error;
        this.#options.onSkipped?.(displayName(path));
        return;
      }
    }
    if (this.#privileged) setOwnerAt(directory, name, node.uid, node.gid);
    if (node.type !== 'symlink') setModeAt(directory, name, node.mode);
    setXattrsAt(directory, name, node.xattrs ?? []);
    setTimesAt(directory, name, this.#time ?? node.mtime);
  }

  /** The owner first: it takes setuid and capabilities away. */
  #finish(fd: number, node: TreeNode): void {
    if (this.#privileged) fchownSync(fd, node.uid, node.gid);
    setModeOf(fd, node.mode);
    setXattrsOf(fd, node.xattrs ?? []);
    setTimesOf(fd, this.#time ?? node.mtime);
  }
}

/** A directory of that name, made where there is none; what else has the name goes. */
function enterDirectory(parent: number, name: ByteString): number {
  const stat = lstatSync(pathAt(parent, name), { throwIfNoEntry: false });
  if (stat === undefined || !stat.isDirectory()) {
    if (stat !== undefined) unlinkSync(pathAt(parent, name));
    makeDirectoryAt(parent, name, 0o755);
  }
  return openDirectoryAt(parent, name);
}

function removeAt(directory: number, name: ByteString): void {
  const path = pathAt(directory, name);
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (stat.isDirectory()) rmSync(path, { recursive: true });
  else unlinkSync(path);
}

function isRefused(error: unknown): boolean {
  return error instanceof SystemError && (error.code === 'EPERM' || error.code === 'EACCES');
}
