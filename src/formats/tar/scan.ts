import type { TarEntry } from './entry.ts';
import { tarError } from './errors.ts';
import { ExtensionReader } from './extension.ts';
import { BLOCK, checkSum, headerFormat, isZeroBlock, readNumber, wordsOf } from './header.ts';
import { TAR_LIMITS, type TarLimits } from './limits.ts';
import { buildEntry, chooseKind } from './member.ts';
import { type PaxFields, paxError } from './pax.ts';
import { makeSegments, readGnuSparse, SparseMapReader } from './sparse.ts';

export interface TarHandler {
  /**
   * A member, all its headers read. Comes after its data and padding went by (so that `dirtyPadding` is known);
   * before them where `data` is given or the scan is `headersOnly`.
   */
  entry(entry: TarEntry): void;
  /** Stored data of the member that `entry` told last, in order. A view of the pushed chunk: copy it to keep it. */
  data?(chunk: Uint8Array, entry: TarEntry): void;
}

export interface ScanOptions {
  limits?: Partial<TarLimits>;
  /** The data may be left out: after each push, go on at `wantOffset` (see `skipTo`). `dirtyPadding` stays unknown. */
  headersOnly?: boolean;
}

const HEADER = 0;
/** Body of a PAX or long-name header. */
const EXTENSION = 1;
/** Further blocks of an old GNU sparse map. */
const GNU_MAP = 2;
/** A PAX 1.0 sparse map, in front of the data. */
const PAX_MAP = 3;
/** Data in whole blocks; with `headersOnly` all of it, padding included. */
const DATA = 4;
/** The last, partial block of data with its padding. */
const TAIL = 5;
const END = 6;

/**
 * Parses a tar that is pushed to it in chunks of any size: v7, ustar, PAX, old GNU, star. Copies no data and keeps
 * no entries. Ends at the first zero block, as GNU tar does; what follows is taken and ignored. A tar without an end
 * mark is accepted if it stops between members.
 *
 * Throws ImagoError with the byte offset: TAR_TRUNCATED, TAR_BAD_CHECKSUM, TAR_BAD_HEADER, TAR_BAD_PAX, TAR_BAD_SPARSE,
 * TAR_HEADER_TOO_LARGE, TAR_TOO_MANY_XATTRS, TAR_UNSUPPORTED_TYPE. A scanner that threw is not to be used again.
 */
export class TarScanner {
  readonly #handler: TarHandler;
  readonly #limits: TarLimits;
  readonly #headersOnly: boolean;
  /** Bytes taken so far. */
  #offset = 0;
  #state: number = HEADER;
  /** A block that is split over chunks. */
  readonly #block: Uint8Array = new Uint8Array(BLOCK);
  readonly #blockWords: Uint32Array | undefined = wordsOf(this.#block);
  #filled = 0;
  #words: Uint32Array | undefined;
  /** Bytes of whole blocks still to come in state DATA. */
  #remaining = 0;
  #tailLength = 0;
  #entry: TarEntry | undefined;
  /** Start of the first header block of the member being read; -1 between members. */
  #headerOffset = -1;

  readonly #extensions: ExtensionReader;
  #mapReader: SparseMapReader | undefined;
  #numbers: number[] = [];
  #stored = 0;

  constructor(handler: TarHandler, options: ScanOptions = {}) {
    this.#handler = handler;
    this.#limits = options.limits ? { ...TAR_LIMITS, ...options.limits } : TAR_LIMITS;
    this.#headersOnly = options.headersOnly ?? false;
    this.#extensions = new ExtensionReader(this.#limits);
  }

  /** Bytes taken (pushed or skipped) so far. */
  get offset(): number {
    return this.#offset;
  }

  /** True once the end mark was read: all that follows is ignored. */
  get ended(): boolean {
    return this.#state === END;
  }

  /** The next offset whose bytes matter; beyond `offset` only while a `headersOnly` scan stands in data. */
  get wantOffset(): number {
    return this.#headersOnly && this.#state === DATA ? this.#offset + this.#remaining : this.#offset;
  }

  /** Goes on at `offset` (offset..wantOffset) without the bytes in between. */
  skipTo(offset: number): void {
    const count = offset - this.#offset;
    if (count === 0) return;
    if (count < 0 || offset > this.wantOffset) throw new RangeError(`skipTo(${offset}) outside of the member's data`);
    this.#remaining -= count;
    this.#offset = offset;
    if (this.#remaining === 0) this.#state = HEADER;
  }

  push(chunk: Uint8Array): void {
    const length = chunk.length;
    let at = 0;
    this.#words = wordsOf(chunk);
    while (at < length) {
      if (this.#state === DATA) at = this.#takeData(chunk, at);
      else if (this.#state === EXTENSION) at = this.#takeExtension(chunk, at);
      else if (this.#state === END) {
        this.#offset += length - at;
        return;
      } else if (this.#filled === 0 && length - at >= BLOCK) {
        this.#offset += BLOCK;
        this.#takeBlock(chunk, at, this.#words);
        at += BLOCK;
      } else {
        const count = Math.min(BLOCK - this.#filled, length - at);
        this.#block.set(chunk.subarray(at, at + count), this.#filled);
        this.#filled += count;
        this.#offset += count;
        at += count;
        if (this.#filled < BLOCK) return;
        this.#filled = 0;
        // Views of a block that is used again would change under the handler's hands.
        if (this.#state === TAIL) this.#takeBlock(this.#block.slice(), 0, undefined);
        else this.#takeBlock(this.#block, 0, this.#blockWords);
      }
    }
  }

  /** To be called after the last push. Throws TAR_TRUNCATED inside a member. */
  finish(): void {
    const state = this.#state;
    if (state === END) return;
    if (state === HEADER && this.#filled === 0 && this.#headerOffset < 0) return;
    const entry = this.#entry;
    // Only the padding of the last member is missing: Go's and GNU's readers accept that, so images may have it.
    if (state === TAIL && this.#filled >= this.#tailLength && entry) {
      this.#endTail(this.#block.slice(0, this.#tailLength), 0, true);
      return;
    }
    if (state === DATA && this.#headersOnly && entry && this.#offset >= entry.dataOffset + entry.dataSize) return;
    const missing = state === DATA ? this.#remaining + this.#tailLength : BLOCK - this.#filled;
    throw tarError('TAR_TRUNCATED', 'tar ends inside a member', this.#offset, {
      want: `${state === EXTENSION ? this.#extensions.missing : missing} more bytes`,
      got: 'the end of the input',
    });
  }

  #takeData(chunk: Uint8Array, at: number): number {
    const count = Math.min(this.#remaining, chunk.length - at);
    this.#remaining -= count;
    this.#offset += count;
    if (this.#handler.data && !this.#headersOnly) this.#handler.data(chunk.subarray(at, at + count), this.#entry!);
    if (this.#remaining === 0) {
      if (this.#headersOnly) this.#state = HEADER;
      else if (this.#tailLength > 0) this.#state = TAIL;
      else this.#endMember();
    }
    return at + count;
  }

  #takeExtension(chunk: Uint8Array, at: number): number {
    const count = this.#extensions.take(chunk, at);
    this.#offset += count;
    if (this.#extensions.missing === 0) this.#state = HEADER;
    return at + count;
  }

  /** `bytes[at..at+512]` is the block that ends at #offset. */
  #takeBlock(bytes: Uint8Array, at: number, words: Uint32Array | undefined): void {
    if (this.#state === HEADER) this.#takeHeader(bytes, at, words);
    else if (this.#state === TAIL) this.#endTail(bytes, at, false);
    else if (this.#state === GNU_MAP) {
      readGnuSparse(bytes, at, 21, this.#numbers, this.#headerOffset);
      this.#checkSegmentCount();
      if (bytes[at + 504] === 0) this.#endMap();
    } else {
      this.#stored -= BLOCK;
      if (this.#stored < 0) throw tarError('TAR_BAD_SPARSE', 'sparse map longer than the member', this.#headerOffset);
      if (this.#mapReader!.push(bytes, at)) {
        this.#numbers = this.#mapReader!.numbers;
        this.#endMap();
      }
    }
  }

  #takeHeader(bytes: Uint8Array, at: number, words: Uint32Array | undefined): void {
    const start = this.#offset - BLOCK;
    if (bytes[at] === 0 && isZeroBlock(bytes, at)) {
      if (this.#headerOffset >= 0) {
        throw tarError('TAR_BAD_HEADER', 'extension header without a member', this.#headerOffset);
      }
      this.#state = END;
      return;
    }
    checkSum(bytes, at, words, start);
    const kind = chooseKind(bytes[at + 156]!, start);
    const size = readNumber(bytes, at + 124, 12, 'size', start);
    if (kind === 'skip') {
      if (size > 0) throw tarError('TAR_BAD_HEADER', 'volume label with data', start);
      return;
    }
    if (kind === 'extension') {
      if (this.#headerOffset < 0 && bytes[at + 156] !== 0x67) this.#headerOffset = start;
      this.#extensions.begin(bytes[at + 156]!, size, this.#offset);
      if (size > 0) this.#state = EXTENSION;
      return;
    }
    if (this.#headerOffset < 0) this.#headerOffset = start;
    const format = headerFormat(bytes, at);
    const { pax, longName, longLink } = this.#extensions;
    const entry = buildEntry(bytes, at, format, start, pax, longName, longLink);
    entry.headerOffset = this.#headerOffset;
    this.#entry = entry;
    // Types without data have none whatever their size field says (directories: a quota; hardlinks: the target's).
    this.#stored = kind === 'data' ? (pax?.size ?? size) : 0;
    if (entry.type === 'directory' && kind === 'data' && this.#stored > 0 && bytes[at + 156] !== 0x44) {
      throw tarError('TAR_BAD_HEADER', 'directory with data', start);
    }
    if (bytes[at + 156] === 0x53) this.#beginGnuSparse(bytes, at, format === 'gnu', start);
    else if (pax?.sparse && entry.type === 'file') this.#beginPaxSparse(pax);
    else this.#beginData(entry.type === 'file' ? this.#stored : 0);
  }

  #beginGnuSparse(bytes: Uint8Array, at: number, gnu: boolean, start: number): void {
    if (!gnu) throw tarError('TAR_UNSUPPORTED_TYPE', 'sparse member of an unknown format', start);
    this.#entry!.size = readNumber(bytes, at + 483, 12, 'real size', start);
    this.#numbers = [];
    readGnuSparse(bytes, at + 386, 4, this.#numbers, start);
    if (bytes[at + 482] === 0) this.#endMap();
    else this.#state = GNU_MAP;
  }

  #beginPaxSparse(pax: PaxFields): void {
    const sparse = pax.sparse!;
    const entry = this.#entry!;
    if (sparse.name) entry.path = sparse.name;
    if (sparse.size === undefined) throw paxError('sparse member without its size', this.#headerOffset);
    entry.size = sparse.size;
    if (sparse.mapped && sparse.major !== 1) {
      this.#numbers = sparse.numbers;
      this.#endMap();
    } else if (sparse.major === 1 && sparse.minor === 0) {
      this.#mapReader = new SparseMapReader(this.#limits.sparseSegments, this.#headerOffset);
      this.#state = PAX_MAP;
    } else throw paxError('unknown version of PAX sparse format', this.#headerOffset);
  }

  #checkSegmentCount(): void {
    if (this.#numbers.length <= 2 * this.#limits.sparseSegments) return;
    throw tarError('TAR_BAD_SPARSE', 'too many segments in a sparse file', this.#headerOffset);
  }

  #endMap(): void {
    const entry = this.#entry!;
    entry.sparse = makeSegments(this.#numbers, entry.size, this.#stored, this.#offset, this.#headerOffset);
    this.#numbers = [];
    this.#mapReader = undefined;
    this.#beginData(entry.size);
  }

  /** All headers are read; the data start here. */
  #beginData(size: number): void {
    const entry = this.#entry!;
    const stored = this.#stored;
    if (!Number.isSafeInteger(this.#offset + stored + BLOCK)) {
      throw tarError('TAR_BAD_HEADER', 'member larger than 2^53 bytes', this.#headerOffset);
    }
    entry.size = size;
    entry.dataOffset = this.#offset;
    entry.dataSize = stored;
    this.#headerOffset = -1;
    this.#extensions.reset();
    this.#tailLength = stored % BLOCK;
    this.#remaining = stored - this.#tailLength;
    if (this.#headersOnly && this.#tailLength > 0) {
      this.#remaining += BLOCK;
      this.#tailLength = 0;
    }
    this.#state = this.#remaining > 0 ? DATA : this.#tailLength > 0 ? TAIL : HEADER;
    if (this.#headersOnly || this.#handler.data || stored === 0) this.#handler.entry(entry);
  }

  #endTail(bytes: Uint8Array, at: number, dirty: boolean): void {
    const entry = this.#entry!;
    const end = at + this.#tailLength;
    let clean = !dirty;
    for (let i = end; clean && i < at + BLOCK; i++) clean = bytes[i] === 0;
    if (!clean) {
      entry.dirtyPadding = true;
      entry.tail = bytes.slice(at, end);
    }
    this.#handler.data?.(bytes.subarray(at, end), entry);
    this.#endMember();
  }

  #endMember(): void {
    this.#state = HEADER;
    if (!this.#handler.data) this.#handler.entry(this.#entry!);
  }
}
