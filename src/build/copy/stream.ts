import { createHash, hash } from 'node:crypto';
import { type ByteString, displayName } from '../../core/bytes.ts';
import { ImagoError } from '../../core/errors.ts';
import { BLOCK } from '../../formats/tar/header.ts';
import { END_OF_ARCHIVE, encodeHeader, padding } from '../../formats/tar/write.ts';
import type { FileReader, SourceNode } from '../context/source.ts';
import { type FileTexts, fileText } from './inputs.ts';
import type { Member } from './place.ts';
import { ReadAhead } from './read-ahead.ts';

const CHUNK = 1 << 20;

/**
 * Members in the order given. Files are read as they are needed, synchronously; what was read of them goes into
 * `texts`. A file that is not as long as its stat said is an error (`CONTEXT_CHANGED`). Names of one file become hard
 * links.
 */
export function* writeMembers(out: ChunkWriter, members: Iterable<Member>, texts: FileTexts): Generator<Uint8Array> {
  const links = new Map<unknown, ByteString>();
  using ahead = new ReadAhead();
  for (const member of ahead.through(members)) {
    const { source } = member;
    const first = source?.identity === undefined ? undefined : links.get(source.identity);
    if (first !== undefined) {
      yield* out.write(encodeHeader({ ...member, type: 'hardlink', linkname: first, size: 0, xattrs: undefined }));
      continue;
    }
    if (source?.identity !== undefined) links.set(source.identity, member.path);
    if (member.type === 'file' && source !== undefined) yield* out.copy(source, ahead.open(source), member, texts);
    else yield* out.write(encodeHeader(source === undefined ? member : { ...member, xattrs: source.xattrs() }));
  }
}

/** The end of the archive, and what is left of the last chunk. */
export function* finishTar(out: ChunkWriter): Generator<Uint8Array> {
  yield* out.write(END_OF_ARCHIVE);
  yield* out.finish();
}

/** Gathers small writes into chunks of up to 1 MiB. A chunk lives until the next one is asked for. */
export class ChunkWriter {
  readonly #buffer: Buffer = Buffer.allocUnsafeSlow(CHUNK);
  #length = 0;

  *write(bytes: Uint8Array): Generator<Uint8Array> {
    for (let at = 0; at < bytes.length; ) {
      const count = Math.min(bytes.length - at, CHUNK - this.#length);
      this.#put(count === bytes.length ? bytes : bytes.subarray(at, at + count));
      at += count;
      if (this.#length === CHUNK) yield this.#flush();
    }
  }

  *zeros(count: number): Generator<Uint8Array> {
    if (count > 0) yield* this.write(new Uint8Array(count));
  }

  /** A file: header, bytes and padding. Closes `reader`, the source's. */
  *copy(source: SourceNode, reader: FileReader, member: Member, texts: FileTexts): Generator<Uint8Array> {
    const { size } = member;
    try {
      const xattrs = reader.xattrs();
      const header = encodeHeader(xattrs === undefined ? member : { ...member, xattrs });
      // Whole in one chunk, where one can hold it: tens of thousands of small files then need no more than this.
      const whole = header.length + size + BLOCK;
      if (whole <= CHUNK) {
        if (whole > CHUNK - this.#length) yield this.#flush();
        this.#put(header);
        texts.set(source, fileText(this.#take(reader, member), xattrs));
      } else {
        yield* this.write(header);
        const hasher = createHash('sha256');
        for (let done = 0; done < size; ) {
          const count = Math.min(size - done, CHUNK - this.#length);
          const got = reader.read(this.#buffer, this.#length, count, done);
          if (got === 0) throw changed(member.path);
          hasher.update(this.#buffer.subarray(this.#length, this.#length + got));
          done += got;
          this.#length += got;
          if (this.#length === CHUNK) yield this.#flush();
        }
        if (reader.read(Buffer.alloc(1), 0, 1, size) !== 0) throw changed(member.path);
        texts.set(source, fileText(hasher.digest('hex'), xattrs));
        yield* this.zeros(padding(size));
      }
    } finally {
      reader.close();
    }
  }

  *finish(): Generator<Uint8Array> {
    if (this.#length > 0) yield this.#flush();
  }

  /** Reads a file that there is room for, and pads it; its digest. */
  #take(reader: FileReader, { size, path }: Member): string {
    const start = this.#length;
    const end = start + size;
    // One byte more than the size shows whether the file has grown, without another call.
    let at = start;
    let got: number;
    do {
      got = reader.read(this.#buffer, at, end + 1 - at, at - start);
      at += got;
    } while (got > 0 && at < end);
    if (at !== end) throw changed(path);
    this.#length = end + padding(size);
    this.#buffer.fill(0, end, this.#length);
    return hash('sha256', this.#buffer.subarray(start, end), 'hex');
  }

  #put(bytes: Uint8Array): void {
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #flush(): Uint8Array {
    const chunk = this.#buffer.subarray(0, this.#length);
    this.#length = 0;
    return chunk;
  }
}

function changed(path: ByteString): ImagoError {
  return new ImagoError('CONTEXT_CHANGED', `a file changed while it was copied`, {
    path: displayName(path),
    remedy: 'build again when nothing writes into the build context',
  });
}
