import { type Readable, Readable as Stream } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { type ByteString, displayName } from '../../core/bytes.ts';
import { ImagoError } from '../../core/errors.ts';
import { cleanLinkTarget, cleanPath } from '../../formats/erofs/path.ts';
import type { TarEntry } from '../../formats/tar/entry.ts';
import { readTar } from '../../formats/tar/read.ts';
import { TarScanner } from '../../formats/tar/scan.ts';
import { encodeHeader, padding } from '../../formats/tar/write.ts';
import { corrupt, decompressByTool, detectCompression, MAGIC_LENGTH } from '../../system/compression.ts';
import type { SourceNode } from '../context/source.ts';
import type { Member, Placement } from './place.ts';
import type { ChunkWriter } from './stream.ts';

const READ_SIZE = 256 * 1024;
const BLOCK = 512;

/**
 * The tar in a file, inflated, where it is one that ADD unpacks: plain or by gzip, zstd, bzip2 or xz, told by its
 * bytes and not by its name. Undefined where the file is no such archive, or has no member.
 */
export async function openArchive(node: SourceNode): Promise<AsyncIterable<Uint8Array> | undefined> {
  if (node.type !== 'file' || node.size < MAGIC_LENGTH) return undefined;
  const head = Buffer.alloc(MAGIC_LENGTH);
  const reader = node.open();
  reader.read(head, 0, MAGIC_LENGTH, 0);
  reader.close();
  const kind = detectCompression(head);
  const stream = inflate(node, kind);
  const iterator = stream[Symbol.asyncIterator]();
  let first = Buffer.alloc(0);
  try {
    while (first.length < BLOCK) {
      const step = await iterator.next();
      if (step.done) break;
      first = Buffer.concat([first, step.value]);
    }
  } catch {
    // What only looked compressed is copied as a file.
    return undefined;
  }
  if (!startsTar(first)) {
    await iterator.return?.();
    return undefined;
  }
  return (async function* () {
    try {
      yield first;
      for (let step = await iterator.next(); !step.done; step = await iterator.next()) yield step.value;
    } catch (error) {
      if (error instanceof ImagoError || kind === 'none') throw error;
      throw corrupt(kind, (error as Error).message);
    } finally {
      await iterator.return?.();
    }
  })();
}

function startsTar(bytes: Buffer): boolean {
  if (bytes.length < BLOCK || bytes.subarray(0, BLOCK).every((byte) => byte === 0)) return false;
  try {
    new TarScanner({ entry: () => {} }).push(bytes.subarray(0, BLOCK));
    return true;
  } catch {
    return false;
  }
}

function inflate(node: SourceNode, kind: ReturnType<typeof detectCompression>): AsyncIterable<Uint8Array> {
  const source = readChunks(node);
  if (kind === 'none') return source;
  if (kind === 'bzip2' || kind === 'xz') return decompressByTool(source, kind);
  const inflater: Readable = kind === 'gzip' ? createGunzip() : createZstdDecompress();
  const input = Stream.from(source);
  input.on('error', (error) => inflater.destroy(error));
  return input.pipe(inflater as unknown as NodeJS.WritableStream) as unknown as AsyncIterable<Uint8Array>;
}

async function* readChunks(node: SourceNode): AsyncGenerator<Uint8Array> {
  const reader = node.open();
  try {
    for (let at = 0; ; ) {
      const buffer = Buffer.allocUnsafeSlow(READ_SIZE);
      const got = reader.read(buffer, 0, READ_SIZE, at);
      if (got === 0) return;
      at += got;
      yield buffer.subarray(0, got);
    }
  } finally {
    reader.close();
  }
}

/** An archive that is to be unpacked. */
export interface Archive {
  tar: AsyncIterable<Uint8Array>;
  /** A directory of the image, symlinks resolved. */
  dest: ByteString;
}

/**
 * The members of an archive, below a directory of the image. Symlinks of the image on the way to a
 * member are followed within the root, as an unpacking inside of it would.
 */
export async function* writeArchive(
  out: ChunkWriter,
  { tar, dest }: Archive,
  placement: Placement,
): AsyncGenerator<Uint8Array> {
  for await (const { entry, body } of readTar(tar)) {
    const member = memberOf(entry, dest, placement);
    if (member === undefined) continue;
    placement.put(member);
    for (const planned of placement.take()) {
      if (planned.path !== member.path) yield* out.write(encodeHeader(planned));
    }
    yield* out.write(encodeHeader(headerOf(member, entry, dest, placement)));
    if (entry.type !== 'file') continue;
    for await (const chunk of body()) yield* out.write(chunk);
    yield* out.zeros(padding(entry.dataSize));
  }
}

function memberOf(entry: TarEntry, dest: ByteString, placement: Placement): Member | undefined {
  const path = cleanPath(entry.path, entry.headerOffset);
  // The archive's root is the destination, which keeps its attributes.
  if (path === '') return undefined;
  const { owner } = placement;
  const { mode, mtime, size, linkname, devmajor, devminor, xattrs } = entry;
  return {
    path: locate(path, dest, placement),
    type: entry.type === 'hardlink' ? 'file' : entry.type,
    mode,
    uid: owner?.uid ?? entry.uid,
    gid: owner?.gid ?? entry.gid,
    mtime,
    size: entry.type === 'file' ? size : 0,
    linkname,
    devmajor,
    devminor,
    xattrs,
  };
}

/** Its directory is resolved, the name itself is not: a symlink of that name is replaced. */
function locate(path: ByteString, dest: ByteString, placement: Placement): ByteString {
  const slash = path.lastIndexOf('/');
  const directory = placement.resolve(`${dest}/${slash < 0 ? '' : path.slice(0, slash)}`);
  const name = path.slice(slash + 1);
  if (name.startsWith('.wh.')) {
    throw new ImagoError('RESERVED_NAME', `a layer cannot hold a file named '${displayName(name)}'`, {
      path: displayName(path),
      remedy: "names that start with '.wh.' mean deletions in a layer",
    });
  }
  return directory === '' ? name : `${directory}/${name}`;
}

function headerOf(
  member: Member,
  entry: TarEntry,
  dest: ByteString,
  placement: Placement,
): Parameters<typeof encodeHeader>[0] {
  if (entry.type === 'hardlink') {
    const target = locate(cleanLinkTarget(entry.linkname, entry.headerOffset), dest, placement);
    return { ...member, type: 'hardlink', size: 0, linkname: target };
  }
  return { ...member, sparse: entry.sparse };
}
