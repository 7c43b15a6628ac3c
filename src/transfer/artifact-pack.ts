import { createHash } from 'node:crypto';
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import { type ByteString, byteString, compareByteStrings, displayName, latin1 } from '../core/bytes.ts';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { END_OF_ARCHIVE, encodeHeader, paddingBytes, type TarMember } from '../formats/tar/write.ts';

const PIECE = 256 * 1024;

/**
 * A directory as oras packs it (oras-go v2 content/file/utils.go): a gzipped tar whose names begin with `title`, owners
 * left out, ascending by name. The same directory gives the same bytes each time. Throws `BAD_FILE` for what no tar
 * or no receiver takes.
 */
export async function* packDirectory(
  directory: string,
  title: string,
  onTar?: (bytes: Uint8Array) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  const gzip = createGzip({ level: 6, chunkSize: PIECE });
  const source = Readable.from(tarOf(byteString(directory), byteString(title), onTar));
  // A failure of the source reaches whoever reads what is packed.
  source.on('error', (error) => gzip.destroy(error));
  source.pipe(gzip);
  try {
    for await (const chunk of gzip as AsyncIterable<Buffer>) yield chunk;
  } finally {
    source.destroy();
  }
}

export interface PackedSize {
  digest: Digest;
  size: number;
  /** Of the tar inside. */
  tarDigest: Digest;
}

/** Packs it for its digests alone: nothing is kept, so a directory needs no room beside itself to be pushed. */
export async function measurePacked(directory: string, title: string, signal?: AbortSignal): Promise<PackedSize> {
  const [packed, tar] = [createHash('sha256'), createHash('sha256')];
  let size = 0;
  for await (const chunk of packDirectory(directory, title, (bytes) => void tar.update(bytes))) {
    signal?.throwIfAborted();
    packed.update(chunk);
    size += chunk.length;
  }
  return { digest: `sha256:${packed.digest('hex')}`, size, tarDigest: `sha256:${tar.digest('hex')}` };
}

async function* tarOf(
  directory: ByteString,
  title: ByteString,
  onTar?: (bytes: Uint8Array) => void,
): AsyncGenerator<Uint8Array> {
  for (const bytes of membersOf(directory, title, [])) {
    onTar?.(bytes);
    yield bytes;
  }
  onTar?.(END_OF_ARCHIVE);
  yield END_OF_ARCHIVE;
}

/** `below`: components between the directory that was named and this one. */
function* membersOf(path: ByteString, name: ByteString, below: readonly ByteString[]): Generator<Uint8Array> {
  const stat = lstatSync(pathOf(path));
  const member: TarMember = {
    path: name,
    type: 'directory',
    mode: stat.mode & 0o777,
    mtime: { sec: Math.floor(stat.mtimeMs / 1000), nsec: 0 },
  };
  // The directory that was named may be given by a symlink; those inside are kept as they are.
  if (stat.isDirectory() || below.length === 0) {
    yield encodeHeader(member);
    const names = readdirSync(pathOf(path), { encoding: 'buffer' }).map(latin1).sort(compareByteStrings);
    for (const child of names) {
      yield* membersOf(`${path}/${child}`, name === '.' ? child : `${name}/${child}`, [...below, child]);
    }
  } else if (stat.isSymbolicLink()) {
    const linkname = latin1(readlinkSync(pathOf(path), { encoding: 'buffer' }));
    if (climbsOut(below, linkname)) {
      throw badFile(path, `a symlink out of the directory (to ${displayName(linkname)})`);
    }
    yield encodeHeader({ ...member, type: 'symlink', linkname });
  } else if (stat.isFile()) {
    yield encodeHeader({ ...member, type: 'file', size: stat.size });
    yield* contentOf(path, stat.size);
  } else throw badFile(path, 'neither a file, a directory nor a symlink');
}

function* contentOf(path: ByteString, size: number): Generator<Uint8Array> {
  const fd = openSync(pathOf(path), 'r');
  try {
    for (let at = 0; at < size; ) {
      const buffer = Buffer.allocUnsafe(Math.min(PIECE, size - at));
      const got = readSync(fd, buffer, 0, buffer.length, at);
      if (got === 0) throw badFile(path, 'it became shorter while it was read');
      at += got;
      yield buffer.subarray(0, got);
    }
  } finally {
    closeSync(fd);
  }
  const rest = paddingBytes(size);
  if (rest.length > 0) yield rest;
}

/** By its text; a receiver looks at where it really leads. */
function climbsOut(below: readonly ByteString[], target: ByteString): boolean {
  if (target.startsWith('/')) return true;
  let depth = below.length - 1;
  for (const part of target.split('/')) {
    if (part === '..') depth--;
    else if (part !== '' && part !== '.') depth++;
    if (depth < 0) return true;
  }
  return false;
}

function pathOf(path: ByteString): Buffer {
  return Buffer.from(path, 'latin1');
}

function badFile(path: ByteString, got: string): ImagoError {
  return new ImagoError('BAD_FILE', `cannot push '${displayName(path)}'`, {
    want: 'files, directories, and symlinks that stay inside',
    got,
    remedy: 'take it out, or push a tar of the directory as one file',
  });
}
