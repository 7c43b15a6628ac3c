import type { ByteString } from '../../core/bytes.ts';
import type { Time } from '../../core/time.ts';
import type { TreeNode } from '../../tree/node.ts';

/** A file that COPY or ADD may take: from the build context, or from an image or stage. */
export interface SourceNode {
  readonly type: TreeNode['type'];
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  /** 0 for files of the build context: their owner on the host means nothing in an image. */
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Time;
  readonly size: number;
  readonly linkname: ByteString;
  readonly devmajor: number;
  readonly devminor: number;
  /** The same for all names of one file; undefined for a file with one name. */
  readonly identity: unknown;
  xattrs(): Map<ByteString, Uint8Array> | undefined;
  /** Directories only. Sorted by bytes. */
  children(): ReadonlyMap<ByteString, SourceNode>;
  /** Files only. */
  open(): FileReader;
}

/** An open file. Closed by who opened it. */
export interface FileReader {
  /** Up to `length` bytes at `position` into `buffer` at `offset`; fewer only at the end of the file. */
  read(buffer: Uint8Array, offset: number, length: number, position: number): number;
  /** Those of the node, for less where the file is open anyway. */
  xattrs(): Map<ByteString, Uint8Array> | undefined;
  /** Has the kernel begin to read so many bytes. */
  expect?(length: number): void;
  close(): void;
}

/** Linux MAXSYMLINKS. */
const MAX_LINKS = 40;

/**
 * The node at a path, symlinks followed within the root; the last one only if `follow`. Undefined where there is none,
 * or a link loops.
 */
export function findSource(root: SourceNode, path: ByteString, follow: boolean): SourceNode | undefined {
  const todo = path.split('/').reverse();
  const nodes: SourceNode[] = [root];
  let links = 0;
  while (todo.length > 0) {
    const part = todo.pop()!;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      if (nodes.length > 1) nodes.pop();
      continue;
    }
    const here = nodes.at(-1)!;
    const child = here.type === 'directory' ? here.children().get(part) : undefined;
    if (child === undefined) return undefined;
    const last = todo.every((rest) => rest === '' || rest === '.');
    if (child.type !== 'symlink' || (last && !follow)) {
      nodes.push(child);
      continue;
    }
    if (++links > MAX_LINKS || child.linkname === '') return undefined;
    if (child.linkname.startsWith('/')) nodes.length = 1;
    todo.push(...child.linkname.split('/').reverse());
  }
  return nodes.at(-1);
}

/** The whole of a small file. */
export function readSource(node: SourceNode): Buffer {
  const buffer = Buffer.allocUnsafe(node.size);
  const reader = node.open();
  try {
    let at = 0;
    while (at < node.size) {
      const got = reader.read(buffer, at, node.size - at, at);
      if (got === 0) break;
      at += got;
    }
    return buffer.subarray(0, at);
  } finally {
    reader.close();
  }
}
