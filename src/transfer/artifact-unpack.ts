import { createHash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  ftruncateSync,
  futimesSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { inflateArchive } from '../archive/inflate-stream.ts';
import { type ByteString, byteString, displayName } from '../core/bytes.ts';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { TarEntry } from '../formats/tar/entry.ts';
import { readTar } from '../formats/tar/read.ts';
import { writeAll } from '../system/atomic.ts';

const MOST_MEMBERS = 1_000_000;
/** What a blob may become: this much, or so many times its own size. Text packs 5 to 20 times, a bomb 1000 times. */
const LEAST_LIMIT = 2 ** 30;
const LARGEST_RATIO = 200;
/** 2242; no file system here keeps later times than a few hundred years. */
const LATEST = 2 ** 33;
/** As the kernel follows symlinks, path_resolution(7). */
const MOST_LINKS = 40;

export interface UnpackOptions {
  /** The name that all members begin with; its components. */
  title: readonly string[];
  /** Of the tar, where it was told. */
  tarDigest?: Digest;
  /** Bytes of the compressed blob. */
  size: number;
  /** Bytes that it may become. Default: 1 GiB, or 200 times its size. */
  limit?: number;
  signal?: AbortSignal;
}

/**
 * Unpacks a directory that oras or we packed into `directory`, which must be there and nobody else's. Nothing is
 * written through a symlink, and no link leads out. On an error what was written stays: the caller discards it.
 * Throws `BAD_ARTIFACT`, `ARTIFACT_TOO_LARGE`, `DIGEST_MISMATCH` and what `readTar` throws.
 */
export async function unpackDirectory(blob: string, directory: string, options: UnpackOptions): Promise<void> {
  const unpacker = new Unpacker(byteString(directory), options.title.map(byteString));
  const hash = createHash('sha256');
  const limit = options.limit ?? Math.max(LEAST_LIMIT, LARGEST_RATIO * options.size);
  let size = 0;
  const { signal } = options;
  async function* checked(): AsyncGenerator<Uint8Array> {
    for await (const chunk of await inflateArchive(createReadStream(blob, { highWaterMark: 2 ** 18 }))) {
      signal?.throwIfAborted();
      size += chunk.length;
      if (size > limit) throw tooLarge(`at most ${limit} bytes unpacked (of ${options.size} packed)`);
      hash.update(chunk);
      yield chunk;
    }
  }
  let count = 0;
  for await (const { entry, body } of readTar(checked())) {
    if (++count > MOST_MEMBERS) throw tooLarge(`at most ${MOST_MEMBERS} members`);
    await unpacker.add(entry, body());
  }
  const digest: Digest = `sha256:${hash.digest('hex')}`;
  if (options.tarDigest !== undefined && options.tarDigest !== digest) {
    throw new ImagoError('DIGEST_MISMATCH', 'the unpacked directory is not what its digest says', {
      want: options.tarDigest,
      got: digest,
    });
  }
  unpacker.checkLinks();
}

class Unpacker {
  readonly #root: ByteString;
  readonly #title: readonly ByteString[];
  /** Known to be real directories, by their path below the root. */
  readonly #directories: Set<ByteString> = new Set(['']);
  readonly #symlinks: Set<ByteString> = new Set();

  constructor(root: ByteString, title: readonly ByteString[]) {
    this.#root = root;
    this.#title = title;
  }

  async add(entry: TarEntry, body: AsyncIterable<Uint8Array>): Promise<void> {
    const parts = this.#below(entry.path);
    const name = parts.join('/');
    if (entry.type === 'directory') return this.#makeDirectories(parts, entry);
    if (parts.length === 0) throw badArtifact(entry.path, 'no directory');
    this.#makeDirectories(parts.slice(0, -1), entry);
    this.#clear(name, entry);
    if (entry.type === 'symlink') {
      if (entry.linkname.startsWith('/')) throw badArtifact(entry.path, 'a symlink to an absolute path');
      symlinkSync(Buffer.from(entry.linkname, 'latin1'), this.#path(name));
      this.#symlinks.add(name);
    } else if (entry.type === 'hardlink') this.#link(name, entry);
    else if (entry.type === 'file') await this.#writeFile(name, entry, body);
    else throw badArtifact(entry.path, `a ${entry.type} device or pipe`);
  }

  /** Where every symlink leads in the end, now that all of them are there. */
  checkLinks(): void {
    for (const name of this.#symlinks) {
      if (lstatSync(this.#path(name), { throwIfNoEntry: false })?.isSymbolicLink()) this.#follow(name);
    }
  }

  #follow(name: ByteString): void {
    const waiting = name.split('/').reverse();
    const at: ByteString[] = [];
    let links = 0;
    for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (at.pop() === undefined) throw badArtifact(name, 'a symlink that leads out');
        continue;
      }
      at.push(part);
      const path = this.#path(at.join('/'));
      if (!lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) continue;
      if (++links > MOST_LINKS) throw badArtifact(name, 'symlinks in a circle');
      at.pop();
      const target = readlinkSync(path, { encoding: 'buffer' }).toString('latin1');
      waiting.push(...target.split('/').reverse());
    }
  }

  /** Components below the title. */
  #below(path: ByteString): ByteString[] {
    const parts = path.split('/').filter((part) => part !== '' && part !== '.');
    if (path.startsWith('/') || parts.includes('..')) throw badArtifact(path, 'a name that leads out');
    if (this.#title.some((part, i) => parts[i] !== part)) {
      throw badArtifact(path, `a name that is not below '${this.#title.map(displayName).join('/')}'`);
    }
    return parts.slice(this.#title.length);
  }

  #makeDirectories(parts: readonly ByteString[], entry: TarEntry): void {
    let name = '';
    for (const [i, part] of parts.entries()) {
      name = i === 0 ? part : `${name}/${part}`;
      if (this.#directories.has(name)) continue;
      const stat = lstatSync(this.#path(name), { throwIfNoEntry: false });
      if (stat !== undefined && !stat.isDirectory()) throw badArtifact(entry.path, 'a name below what is no directory');
      const last = entry.type === 'directory' && i === parts.length - 1;
      if (stat === undefined) mkdirSync(this.#path(name), { mode: last ? (entry.mode & 0o777) | 0o700 : 0o777 });
      this.#directories.add(name);
    }
  }

  /** A tar may have a member twice: the last one counts. */
  #clear(name: ByteString, entry: TarEntry): void {
    const stat = lstatSync(this.#path(name), { throwIfNoEntry: false });
    if (stat?.isDirectory()) throw badArtifact(entry.path, 'a name that is a directory already');
    if (stat !== undefined) rmSync(this.#path(name));
  }

  #link(name: ByteString, entry: TarEntry): void {
    const source = this.#below(entry.linkname);
    for (let i = 1; i <= source.length; i++) {
      const stat = lstatSync(this.#path(source.slice(0, i).join('/')), { throwIfNoEntry: false });
      const wanted = i === source.length ? stat?.isFile() : stat?.isDirectory();
      if (wanted !== true) throw badArtifact(entry.path, 'a hard link to what is no file in front of it');
    }
    linkSync(this.#path(source.join('/')), this.#path(name));
  }

  async #writeFile(name: ByteString, entry: TarEntry, body: AsyncIterable<Uint8Array>): Promise<void> {
    // The umask applies, and no set-user-ID bit comes through.
    const fd = openSync(this.#path(name), 'wx', entry.mode & 0o777);
    try {
      if (entry.sparse === undefined) for await (const chunk of body) writeAll(fd, chunk);
      else {
        await writeSegments(fd, entry.sparse, body);
        ftruncateSync(fd, entry.size);
      }
      const seconds = Math.min(Math.max(0, entry.mtime.sec), LATEST);
      futimesSync(fd, seconds, seconds);
    } finally {
      closeSync(fd);
    }
  }

  #path(name: ByteString): Buffer {
    return Buffer.from(name === '' ? this.#root : `${this.#root}/${name}`, 'latin1');
  }
}

async function writeSegments(
  fd: number,
  segments: readonly { offset: number; length: number }[],
  body: AsyncIterable<Uint8Array>,
): Promise<void> {
  let [index, done] = [0, 0];
  for await (const chunk of body) {
    for (let at = 0; at < chunk.length; ) {
      const segment = segments[index]!;
      const piece = chunk.subarray(at, at + Math.min(chunk.length - at, segment.length - done));
      writeAll(fd, piece, segment.offset + done);
      at += piece.length;
      done += piece.length;
      if (done === segment.length) [index, done] = [index + 1, 0];
    }
  }
}

function badArtifact(name: ByteString, got: string): ImagoError {
  return new ImagoError('BAD_ARTIFACT', `a packed directory has what is not safe to unpack: '${displayName(name)}'`, {
    want: 'files, directories, and links that stay inside',
    got,
    remedy: 'nothing was written; ask whoever pushed it',
  });
}

function tooLarge(want: string): ImagoError {
  return new ImagoError('ARTIFACT_TOO_LARGE', 'a packed directory is too large', {
    want,
    remedy: 'nothing was written; it may be a bomb',
  });
}
