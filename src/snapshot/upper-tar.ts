import { closeSync, constants, openSync, readlinkSync, readSync } from 'node:fs';
import type { ByteString } from '../core/bytes.ts';
import type { TarEntryType } from '../formats/tar/entry.ts';
import { END_OF_ARCHIVE, encodeHeader, padding, type TarMember } from '../formats/tar/write.ts';
import { dataSegments, deviceMajor, deviceMinor } from '../system/files.ts';
import { fileType } from './file-type.ts';
import { type RootAttributes, splitTime } from './root-attributes.ts';
import { type UpperFile, walkUpper } from './upper-walk.ts';
import { readUpperXattrs } from './upper-xattrs.ts';

export interface UpperTarOptions {
  /**
   * What the layers below have at a path ('a/b'): an overlay marks every new directory opaque, which only means
   * something over a lower directory. Default: every mark counts.
   */
  lower?: (path: ByteString) => 'directory' | 'other' | undefined;
  /** The root's attributes when the upper directory was made: the tar tells the root only where they differ. */
  root?: RootAttributes;
  /** Hears of what cannot be in a layer: sockets, and files whose names would be read as whiteouts. */
  onSkipped?: (path: ByteString, reason: 'socket' | 'reserved-name') => void;
}

const CHUNK = 1 << 20;
/** Holes below this are written as zeros: not every reader of tars knows sparse files. */
const MIN_HOLES = 1 << 16;
const WHITEOUT = '.wh.';

/**
 * A writable layer as a layer tar, in chunks of 1 MiB: parents first, siblings in order of bytes, the same bytes for
 * the same upper directory. Deletions become whiteouts (OCI image-spec v1.1.1, layer.md). Nothing may write into
 * `upper` meanwhile; a file that shrinks is filled up with zeros. Reads synchronously, on the calling thread.
 */
export async function* writeUpperTar(upper: string, options: UpperTarOptions = {}): AsyncGenerator<Uint8Array> {
  yield* upperTarChunks(upper, options);
}

/** `writeUpperTar` for callers that need no event loop, as in a worker. */
export function* upperTarChunks(upper: string, options: UpperTarOptions = {}): Generator<Uint8Array> {
  const out = new ChunkWriter();
  const links = new Map<string, ByteString>();
  /** What is below a directory that was left out. */
  let left: ByteString | undefined;
  for (const file of walkUpper(upper)) {
    if (file.path === '') {
      if (rootDiffers(file, options.root)) yield* out.write(encodeHeader(memberOf(file, 'directory', './')));
      continue;
    }
    if (left !== undefined && file.path.startsWith(left)) continue;
    const name = file.path.slice(file.path.lastIndexOf('/') + 1);
    if (file.whiteout) {
      yield* out.write(encodeHeader(marker(`${file.path.slice(0, file.path.length - name.length)}${WHITEOUT}${name}`)));
      continue;
    }
    const type = fileType(file.stat);
    if (type === undefined || name.startsWith(WHITEOUT)) {
      options.onSkipped?.(file.path, type === undefined ? 'socket' : 'reserved-name');
      left = `${file.path}/`;
      continue;
    }
    const first = file.stat.nlink > 1n && type !== 'directory' ? firstName(links, file) : undefined;
    if (first !== undefined) yield* out.write(encodeHeader({ ...attributes(file), type: 'hardlink', linkname: first }));
    else if (type === 'file') yield* writeFile(out, file);
    else yield* out.write(encodeHeader(memberOf(file, type, file.path)));
    if (file.opaque && (options.lower === undefined || options.lower(file.path) === 'directory')) {
      yield* out.write(encodeHeader(marker(`${file.path}/${WHITEOUT}${WHITEOUT}.opq`)));
    }
  }
  yield* out.write(END_OF_ARCHIVE);
  yield* out.finish();
}

function firstName(links: Map<string, ByteString>, { stat, path }: UpperFile): ByteString | undefined {
  const key = `${stat.dev}:${stat.ino}`;
  const first = links.get(key);
  if (first === undefined) links.set(key, path);
  return first;
}

function marker(path: ByteString): TarMember {
  return { path, type: 'file', mode: 0, size: 0 };
}

function attributes({ path, stat }: UpperFile): Omit<TarMember, 'type'> {
  return {
    path,
    mode: Number(stat.mode & 0o7777n),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mtime: splitTime(stat.mtimeNs),
  };
}

function memberOf(file: UpperFile, type: TarEntryType, path: ByteString): TarMember {
  const member: TarMember = { ...attributes(file), path, type, xattrs: readUpperXattrs(file.hostPath, file.xattrs) };
  if (type === 'symlink') member.linkname = readlinkSync(file.hostPath, 'latin1');
  if (type === 'char' || type === 'block') {
    member.devmajor = deviceMajor(Number(file.stat.rdev));
    member.devminor = deviceMinor(Number(file.stat.rdev));
  }
  return member;
}

function rootDiffers(file: UpperFile, root: RootAttributes | undefined): boolean {
  if (root === undefined) return true;
  const now = memberOf(file, 'directory', './');
  if (now.mode !== root.mode || now.uid !== root.uid || now.gid !== root.gid) return true;
  if ((now.xattrs?.size ?? 0) !== (root.xattrs?.size ?? 0)) return true;
  return [...(now.xattrs ?? [])].some(([name, value]) => {
    const before = root.xattrs?.get(name);
    return before === undefined || Buffer.compare(before, value) !== 0;
  });
}

function* writeFile(out: ChunkWriter, file: UpperFile): Generator<Uint8Array> {
  const member = memberOf(file, 'file', file.path);
  if (file.stat.size === 0n) {
    yield* out.write(encodeHeader(member));
    return;
  }
  const fd = openSync(file.hostPath, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NOATIME);
  try {
    const size = Number(file.stat.size);
    member.size = size;
    const segments = size - Number(file.stat.blocks) * 512 >= MIN_HOLES ? dataSegments(fd, size) : undefined;
    const stored = segments?.reduce((sum, [, length]) => sum + length, 0) ?? size;
    if (segments !== undefined && size - stored >= MIN_HOLES && segments.every(([at]) => at % 512 === 0)) {
      member.sparse = segments.map(([offset, length]) => ({ offset, length }));
      yield* out.write(encodeHeader(member));
      for (const [offset, length] of segments) yield* out.copy(fd, offset, length);
      yield* out.zeros(padding(stored));
    } else {
      yield* out.write(encodeHeader(member));
      yield* out.copy(fd, 0, size);
      yield* out.zeros(padding(size));
    }
  } finally {
    closeSync(fd);
  }
}

/** Gathers small writes into chunks; each chunk that it yields is the consumer's to keep. */
class ChunkWriter {
  #buffer: Buffer = Buffer.allocUnsafeSlow(CHUNK);
  #length = 0;

  *write(bytes: Uint8Array): Generator<Uint8Array> {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + CHUNK - this.#length);
      this.#buffer.set(part, this.#length);
      this.#length += part.length;
      at += part.length;
      yield* this.#flushFull();
    }
  }

  *zeros(count: number): Generator<Uint8Array> {
    if (count > 0) yield* this.write(new Uint8Array(count));
  }

  *copy(fd: number, offset: number, length: number): Generator<Uint8Array> {
    for (let done = 0; done < length; ) {
      const got = readSync(
        fd,
        this.#buffer,
        this.#length,
        Math.min(length - done, CHUNK - this.#length),
        offset + done,
      );
      if (got === 0) {
        yield* this.zeros(length - done);
        return;
      }
      done += got;
      this.#length += got;
      yield* this.#flushFull();
    }
  }

  *finish(): Generator<Uint8Array> {
    if (this.#length > 0) yield this.#buffer.subarray(0, this.#length);
    this.#length = 0;
  }

  *#flushFull(): Generator<Uint8Array> {
    if (this.#length < CHUNK) return;
    yield this.#buffer;
    this.#buffer = Buffer.allocUnsafeSlow(CHUNK);
    this.#length = 0;
  }
}
