import type { ByteString } from '../../core/bytes.ts';
import { tarError } from './errors.ts';
import { BLOCK, byteText, readText } from './header.ts';
import type { TarLimits } from './limits.ts';
import { type PaxFields, readPaxRecords } from './pax.ts';

const GLOBAL = 0x67;
const LONG_NAME = 0x4c;
const LONG_LINK = 0x4b;

/** The headers in front of a member that say more of it: PAX for it or for all that follow, GNU long names. */
export class ExtensionReader {
  readonly #limits: TarLimits;
  /** Kept and grown: a tar may have an extension header for every member. */
  #body: Uint8Array = new Uint8Array(4096);
  #type = 0;
  #offset = 0;
  #filled = 0;
  #size = 0;
  /** The size in whole blocks. */
  #stored = 0;
  #pax: PaxFields | undefined;
  #globals: PaxFields | undefined;
  #globalBytes = 0;
  longName: ByteString | undefined;
  longLink: ByteString | undefined;

  constructor(limits: TarLimits) {
    this.#limits = limits;
  }

  /** What PAX headers say of the next member. */
  get pax(): PaxFields | undefined {
    return this.#pax ?? this.#globals;
  }

  /** Bytes of the body still to come, padding included. */
  get missing(): number {
    return this.#stored - this.#filled;
  }

  /** A header of this type flag, its body of `size` bytes at `offset` of the tar. Throws TAR_HEADER_TOO_LARGE. */
  begin(type: number, size: number, offset: number): void {
    const total = type === GLOBAL ? size + this.#globalBytes : size;
    if (total > this.#limits.extension) {
      throw tarError('TAR_HEADER_TOO_LARGE', 'PAX or long-name header too large', offset - BLOCK, {
        want: `at most ${this.#limits.extension} bytes`,
        got: total,
      });
    }
    if (type === GLOBAL) this.#globalBytes = total;
    this.#type = type;
    this.#offset = offset;
    this.#size = size;
    this.#filled = 0;
    this.#stored = Math.ceil(size / BLOCK) * BLOCK;
    if (this.#body.length < this.#stored) this.#body = new Uint8Array(this.#stored);
    if (size === 0) this.#end();
  }

  /** Takes bytes of the body; returns how many. */
  take(chunk: Uint8Array, at: number): number {
    const count = Math.min(this.missing, chunk.length - at);
    this.#body.set(chunk.subarray(at, at + count), this.#filled);
    this.#filled += count;
    if (this.#filled === this.#stored) this.#end();
    return count;
  }

  /** The member is read: what was said of it alone is forgotten. */
  reset(): void {
    this.longName = undefined;
    this.longLink = undefined;
    this.#pax = undefined;
  }

  #end(): void {
    if (this.#type === LONG_NAME) this.longName = readText(this.#body, 0, this.#size);
    else if (this.#type === LONG_LINK) this.longLink = readText(this.#body, 0, this.#size);
    else {
      const global = this.#type === GLOBAL;
      const fields = global ? (this.#globals ?? {}) : (this.#pax ?? copyFields(this.#globals));
      const text = byteText(this.#body, 0, this.#size);
      readPaxRecords(text, fields, { offset: this.#offset, global, limits: this.#limits });
      if (global) this.#globals = fields;
      else this.#pax = fields;
    }
  }
}

function copyFields(from: PaxFields | undefined): PaxFields {
  if (!from) return {};
  const copy = { ...from };
  if (from.xattrs) copy.xattrs = new Map(from.xattrs);
  if (from.libarchiveXattrs) copy.libarchiveXattrs = new Map(from.libarchiveXattrs);
  return copy;
}
