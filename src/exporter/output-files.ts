import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { ArchiveSink } from '../archive/write-tar.ts';
import type { ImageFiles } from '../build/context/image-source.ts';
import { bytesFile } from '../build/context/plain-source.ts';
import type { Member } from '../build/copy/place.ts';
import { ChunkWriter, finishTar, writeMembers } from '../build/copy/stream.ts';
import { type ByteString, displayName } from '../core/bytes.ts';
import type { Time } from '../core/time.ts';
import type { Subject } from '../image/attestation.ts';
import type { TreeNode } from '../tree/node.ts';
import { sortedChildren, walkTree } from '../tree/walk.ts';

const PIECE = 1 << 20;
const ENTRIES_A_TURN = 512;

/** The files of one platform's image, and small ones beside them. */
export interface FileResult {
  /** Directory that they go into; '' is the destination itself. */
  directory: ByteString;
  files: ImageFiles;
  extra: readonly { name: string; bytes: Uint8Array }[];
}

export interface FileOptions {
  /** The time of all files (SOURCE_DATE_EPOCH). */
  epoch?: Date;
  signal?: AbortSignal;
}

/** All files as one tar, sorted: the same files, the same bytes. Names have no './' in front. */
export async function writeFilesTar(
  results: readonly FileResult[],
  sink: ArchiveSink,
  options: FileOptions = {},
): Promise<void> {
  const out = new ChunkWriter();
  const members = (function* (): Generator<Member> {
    for (const result of results) yield* membersOf(result, options);
  })();
  const chunks = (function* () {
    yield* writeMembers(out, members, new Map());
    yield* finishTar(out);
  })();
  for (const chunk of chunks) {
    await sink(chunk);
    await setImmediate();
    options.signal?.throwIfAborted();
  }
}

function* membersOf({ directory, files, extra }: FileResult, { epoch }: FileOptions): Generator<Member> {
  const time = epoch === undefined ? undefined : timeOf(epoch);
  const now = time ?? { sec: 0, nsec: 0 };
  if (directory !== '') yield { ...blank(directory, 'directory', 0o755, now), source: undefined };
  const below = function* (path: ByteString, node: TreeNode): Generator<Member> {
    for (const [name, child] of sortedChildren(node)) {
      const { type, mode, uid, gid, mtime, size, linkname, devmajor, devminor, xattrs } = child;
      const here = path === '' ? name : `${path}/${name}`;
      const source = type === 'directory' ? undefined : files.node(child);
      yield {
        path: here,
        type,
        mode,
        uid,
        gid,
        mtime: time ?? mtime,
        size,
        linkname,
        devmajor,
        devminor,
        xattrs,
        source,
      };
      yield* below(here, child);
    }
  };
  yield* below(directory, files.tree);
  for (const { name, bytes } of extra) {
    const path = directory === '' ? name : `${directory}/${name}`;
    yield { ...blank(path, 'file', 0o644, now), size: bytes.length, source: bytesFile(bytes, 0o644, now) };
  }
}

function blank(path: ByteString, type: 'file' | 'directory', mode: number, mtime: Time): Member {
  return {
    path,
    type,
    mode,
    uid: 0,
    gid: 0,
    mtime,
    size: 0,
    linkname: '',
    devmajor: 0,
    devminor: 0,
    xattrs: undefined,
  };
}

export function timeOf(date: Date): Time {
  return { sec: Math.floor(date.getTime() / 1000), nsec: 0 };
}

/** Every regular file of a tree with its digest, sorted: what attestations of files are about. */
export async function fileSubjects(files: ImageFiles, signal?: AbortSignal): Promise<Subject[]> {
  const out: Subject[] = [];
  const buffer = Buffer.allocUnsafe(PIECE);
  const nodes: [ByteString, TreeNode][] = [];
  walkTree(files.tree, (path, node) => {
    if (node.type === 'file') nodes.push([path, node]);
  });
  for (const [path, node] of nodes) {
    const hash = createHash('sha256');
    const reader = files.node(node).open();
    try {
      for (let done = 0; done < node.size; ) {
        const got = reader.read(buffer, 0, Math.min(PIECE, node.size - done), done);
        if (got === 0) break;
        hash.update(buffer.subarray(0, got));
        done += got;
      }
    } finally {
      reader.close();
    }
    out.push({ name: displayName(path), digest: `sha256:${hash.digest('hex')}` });
    if (out.length % ENTRIES_A_TURN === 0) await setImmediate();
    signal?.throwIfAborted();
  }
  return out;
}
