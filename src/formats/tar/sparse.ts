import type { ImagoError } from '../../core/errors.ts';
import type { SparseSegment } from './entry.ts';
import { tarError } from './errors.ts';
import { BLOCK, readNumber } from './header.ts';

function sparseError(summary: string, offset: number): ImagoError {
  return tarError('TAR_BAD_SPARSE', summary, offset);
}

/**
 * Segments from offset, length pairs: checked to ascend inside `size` and to add up to the `stored` bytes, empty ones
 * dropped (GNU tar ends a map with one), neighbours joined. Data of the segments follow each other without gaps.
 */
export function makeSegments(
  numbers: number[],
  size: number,
  stored: number,
  dataOffset: number,
  headerOffset: number,
): SparseSegment[] {
  if (numbers.length % 2 !== 0) throw sparseError('sparse map with an odd count of numbers', headerOffset);
  const out: SparseSegment[] = [];
  let end = 0;
  let used = 0;
  for (let i = 0; i < numbers.length; i += 2) {
    const offset = numbers[i]!;
    const length = numbers[i + 1]!;
    if (offset < end || offset + length > size) throw sparseError('sparse map out of order or range', headerOffset);
    end = offset + length;
    if (length === 0) continue;
    const last = out.at(-1);
    if (last && last.offset + last.length === offset) last.length += length;
    else out.push({ offset, length, dataOffset: dataOffset + used });
    used += length;
  }
  if (used === stored) return out;
  throw sparseError(`sparse map names ${used} bytes, ${stored} are stored`, headerOffset);
}

/** Old GNU sparse entries of 12 + 12 bytes (tar.h `struct sparse`), ended by an empty one. */
export function readGnuSparse(
  bytes: Uint8Array,
  at: number,
  count: number,
  numbers: number[],
  headerOffset: number,
): void {
  for (let i = at; i < at + count * 24; i += 24) {
    if (bytes[i] === 0 || bytes[i + 12] === 0) return;
    numbers.push(readNumber(bytes, i, 12, 'sparse offset', headerOffset));
    numbers.push(readNumber(bytes, i + 12, 12, 'sparse length', headerOffset));
  }
}

/** The map of PAX sparse format 1.0 at the start of the data: decimal lines (a count, then pairs) in whole blocks. */
export class SparseMapReader {
  readonly numbers: number[] = [];
  #want = -1;
  #value = -1;
  readonly #limit: number;
  readonly #headerOffset: number;

  constructor(limit: number, headerOffset: number) {
    this.#limit = limit;
    this.#headerOffset = headerOffset;
  }

  /** Takes one block; true when the map is complete. */
  push(bytes: Uint8Array, at: number): boolean {
    for (let i = at; i < at + BLOCK; i++) {
      const c = bytes[i]!;
      if (c >= 0x30 && c <= 0x39) {
        this.#value = (this.#value < 0 ? 0 : this.#value * 10) + (c - 0x30);
        if (this.#value > Number.MAX_SAFE_INTEGER)
          throw sparseError('number too large in sparse map', this.#headerOffset);
        continue;
      }
      if (c !== 0x0a || this.#value < 0) throw sparseError('malformed sparse map', this.#headerOffset);
      if (this.#want < 0) {
        if (this.#value > this.#limit) throw sparseError('too many segments in a sparse file', this.#headerOffset);
        this.#want = 2 * this.#value;
      } else this.numbers.push(this.#value);
      this.#value = -1;
      if (this.numbers.length === this.#want) return true;
    }
    return false;
  }
}
