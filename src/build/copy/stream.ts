import { createHash, hash } from 'node:crypto';
import { type ByteString, displayName } from '../../core/bytes.ts';
import { ImagoError } from '../../core/errors.ts';
import { END_OF_ARCHIVE, encodeHeader, padding, type TarMember } from '../../formats/tar/write.ts';
import type { SourceNode } from '../context/source.ts';
import { type FileTexts, fileText } from './inputs.ts';
import type { Member } from './place.ts';

const CHUNK = 1 << 20;

/**
 * Members in the order given. Files are read as they are needed, synchronously; what was read of them goes into
 * `texts`. A file that is not as long as its stat said is an error (`CONTEXT_CHANGED`). Names of one file become hard
 * links.
 */
export function* writeMembers(out: ChunkWriter, members: Iterable<Member>, texts: FileTexts): Generator<Uint8Array> {
  const links = new Map<unknown, ByteString>();
  for (const member of members) {
    const { source } = member;
    const first = source?.identity === undefined ? undefined : links.get(source.identity);
    if (first !== undefined) {
      const link: TarMember = { ...headerOf(member), type: 'hardlink', linkname: first, size: 0, xattrs: undefined };
      yield* out.write(encodeHeader(link));
      continue;
    }
    if (source?.identity !== undefined) links.set(source.identity, member.path);
    if (member.type === 'file' && source !== undefined) yield* out.copy(source, member, texts);
    else
      yield* out.write(encodeHeader(headerOf(source === undefined ? member : { ...member, xattrs: source.xattrs() })));
  }
}

/** The end of the archive, and what is left of the last chunk. */
export function* finishTar(out: ChunkWriter): Generator<Uint8Array> {
  yield* out.write(END_OF_ARCHIVE);
  yield* out.finish();
}

function headerOf(member: Member): TarMember {
  const { source: _, ...header } = member;
  return header;
}

/** Gathers small writes into chunks of 1 MiB, which are the consumer's to keep. */
export class ChunkWriter {
  #buffer: Buffer = Buffer.allocUnsafeSlow(CHUNK);
  #length = 0;

  *write(bytes: Uint8Array): Generator<Uint8Array> {
    for (let at = 0; at < bytes.length; ) {
      const count = Math.min(bytes.length - at, CHUNK - this.#length);
      this.#buffer.set(count === bytes.length ? bytes : bytes.subarray(at, at + count), this.#length);
      this.#length += count;
      at += count;
      if (this.#length === CHUNK) yield this.#flush();
    }
  }

  *zeros(count: number): Generator<Uint8Array> {
    if (count > 0) yield* this.write(new Uint8Array(count));
  }

  /** A file: header, bytes and padding. */
  *copy(source: SourceNode, member: Member, texts: FileTexts): Generator<Uint8Array> {
    const { size } = member;
    const reader = source.open();
    try {
      const xattrs = reader.xattrs();
      yield* this.write(encodeHeader(headerOf({ ...member, xattrs })));
      // One byte more than the size shows whether the file has grown, without another call.
      if (size < CHUNK - this.#length) {
        const start = this.#length;
        const got = readFully(reader.read, this.#buffer, start, size + 1);
        if (got !== size) throw changed(member.path);
        texts.set(source, fileText(hash('sha256', this.#buffer.subarray(start, start + size), 'hex'), xattrs));
        this.#length += size;
      } else {
        const hasher = createHash('sha256');
        let done = 0;
        for (;;) {
          const count = Math.min(size - done, CHUNK - this.#length);
          const got = reader.read(this.#buffer, this.#length, count, done);
          if (got === 0) break;
          hasher.update(this.#buffer.subarray(this.#length, this.#length + got));
          done += got;
          this.#length += got;
          if (this.#length === CHUNK) yield this.#flush();
          if (done === size) break;
        }
        if (done !== size || reader.read(Buffer.alloc(1), 0, 1, size) !== 0) throw changed(member.path);
        texts.set(source, fileText(hasher.digest('hex'), xattrs));
      }
    } finally {
      reader.close();
    }
    yield* this.zeros(padding(size));
  }

  *finish(): Generator<Uint8Array> {
    if (this.#length > 0) yield this.#flush();
  }

  #flush(): Uint8Array {
    const chunk = this.#buffer.subarray(0, this.#length);
    this.#buffer = Buffer.allocUnsafeSlow(CHUNK);
    this.#length = 0;
    return chunk;
  }
}

type Read = (buffer: Uint8Array, offset: number, length: number, position: number) => number;

function readFully(read: Read, buffer: Uint8Array, offset: number, length: number): number {
  let done = 0;
  while (done < length) {
    const got = read(buffer, offset + done, length - done, done);
    if (got === 0) break;
    done += got;
  }
  return done;
}

function changed(path: ByteString): ImagoError {
  return new ImagoError('CONTEXT_CHANGED', `a file changed while it was copied`, {
    path: displayName(path),
    remedy: 'build again when nothing writes into the build context',
  });
}
