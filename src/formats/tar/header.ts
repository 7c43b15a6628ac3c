import type { ByteString } from '../../core/bytes.ts';
import { tarError } from './errors.ts';

export const BLOCK = 512;

/** What the magic field says: decides whether the prefix field is a name, times or a sparse map. */
export type HeaderFormat = 'v7' | 'ustar' | 'gnu' | 'star';

const USTAR: number[] = [...'ustar'].map((c) => c.charCodeAt(0));

export function isZeroBlock(bytes: Uint8Array, at: number): boolean {
  for (let i = at; i < at + BLOCK; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** The sum of a block's bytes; `words` are the same memory as `bytes`, where it is aligned. */
function sumBlock(bytes: Uint8Array, at: number, words: Uint32Array | undefined): number {
  if (words && at % 4 === 0) {
    // Two sums of 16 bits side by side: 128 words of twice 255 stay below 2^16.
    let lanes = 0;
    for (let i = at / 4, end = i + BLOCK / 4; i < end; i++) {
      const word = words[i]!;
      lanes = (lanes + (word & 0x00ff00ff) + ((word >>> 8) & 0x00ff00ff)) | 0;
    }
    return (lanes & 0xffff) + (lanes >>> 16);
  }
  let sum = 0;
  for (let i = at; i < at + BLOCK; i++) sum += bytes[i]!;
  return sum;
}

/**
 * The checksum of a header: the sum of its bytes, its own field taken as spaces. POSIX says unsigned; some old tars
 * summed signed chars. Throws TAR_BAD_CHECKSUM. `words`: see `wordsOf`.
 */
export function checkSum(bytes: Uint8Array, at: number, words: Uint32Array | undefined, offset: number): void {
  let sum = sumBlock(bytes, at, words) + 8 * 0x20;
  for (let i = at + 148; i < at + 156; i++) sum -= bytes[i]!;
  const got = parseOctal(bytes, at + 148, 8);
  if (got === sum) return;
  let signed = sum;
  for (let i = at; i < at + BLOCK; i++) if (bytes[i]! > 0x7f && (i < at + 148 || i >= at + 156)) signed -= 256;
  if (got === signed) return;
  throw tarError('TAR_BAD_CHECKSUM', offset === 0 ? 'not a tar archive' : 'corrupted tar header', offset, {
    want: `checksum ${sum.toString(8)}`,
    got: got === undefined ? 'no number' : got.toString(8),
    ...(offset === 0 ? { remedy: 'give a tar, as it is or compressed by gzip, zstd, bzip2 or xz' } : {}),
  });
}

/** The 32-bit words of a chunk, undefined where it lies unaligned. */
export function wordsOf(chunk: Uint8Array): Uint32Array | undefined {
  return chunk.byteOffset % 4 === 0 ? new Uint32Array(chunk.buffer, chunk.byteOffset, chunk.length >> 2) : undefined;
}

type Latin1Slice = (this: Uint8Array, start: number, end: number) => ByteString;
/** Node's own decoder where there is one: five times as fast for longer names. */
const latin1Slice: Latin1Slice | undefined = (globalThis as { Buffer?: { prototype: { latin1Slice?: Latin1Slice } } })
  .Buffer?.prototype.latin1Slice;

export function byteText(bytes: Uint8Array, start: number, end: number): ByteString {
  if (latin1Slice && end - start > 16) return latin1Slice.call(bytes, start, end);
  let out = '';
  for (let i = start; i < end; i++) out += String.fromCharCode(bytes[i]!);
  return out;
}

export function headerFormat(bytes: Uint8Array, at: number): HeaderFormat {
  for (let i = 0; i < 5; i++) if (bytes[at + 257 + i] !== USTAR[i]) return 'v7';
  if (bytes[at + 262] === 0x20) return 'gnu';
  // star writes "tar\0" into the last four bytes and times behind a prefix of 131 bytes.
  const star = bytes[at + 508] === 0x74 && bytes[at + 509] === 0x61 && bytes[at + 510] === 0x72;
  return star && bytes[at + 511] === 0 ? 'star' : 'ustar';
}

/** The bytes of a field up to its first NUL. */
export function readText(bytes: Uint8Array, at: number, length: number): ByteString {
  let end = at;
  while (end < at + length && bytes[end] !== 0) end++;
  return end === at ? '' : byteText(bytes, at, end);
}

export function readPath(bytes: Uint8Array, at: number, format: HeaderFormat): ByteString {
  const name = readText(bytes, at, 100);
  if (format === 'v7' || format === 'gnu' || bytes[at + 345] === 0) return name;
  return `${readText(bytes, at + 345, format === 'star' ? 131 : 155)}/${name}`;
}

/** undefined where the field is no octal number; blank is 0. Ends at the first NUL or space after a digit. */
function parseOctal(bytes: Uint8Array, at: number, length: number): number | undefined {
  const end = at + length;
  let i = at;
  while (i < end && (bytes[i] === 0x20 || bytes[i] === 0)) i++;
  let value = 0;
  for (; i < end; i++) {
    const c = bytes[i]!;
    if (c === 0 || c === 0x20) break;
    if (c < 0x30 || c > 0x37) return undefined;
    value = value * 8 + (c - 0x30);
  }
  return value;
}

/** Base-256 (GNU, star): two's complement, big endian, the top bit only a mark. undefined beyond 2^53. */
function parseBase256(bytes: Uint8Array, at: number, length: number): number | undefined {
  const negative = (bytes[at]! & 0x40) !== 0;
  const flip = negative ? 0xff : 0;
  let value = (bytes[at]! ^ flip) & 0x7f;
  for (let i = at + 1; i < at + length; i++) {
    value = value * 256 + (bytes[i]! ^ flip);
    if (value > Number.MAX_SAFE_INTEGER) return undefined;
  }
  return negative ? -1 - value : value;
}

/** A numeric field, octal or base-256. Throws TAR_BAD_HEADER outside min..max (default 0..2^53−1). */
export function readNumber(
  bytes: Uint8Array,
  at: number,
  length: number,
  field: string,
  offset: number,
  max: number = Number.MAX_SAFE_INTEGER,
  min = 0,
): number {
  const value = (bytes[at]! & 0x80) !== 0 ? parseBase256(bytes, at, length) : parseOctal(bytes, at, length);
  if (value !== undefined && value >= min && value <= max) return value;
  throw tarError('TAR_BAD_HEADER', `bad ${field} in tar header`, offset, {
    want: `a number of ${min}..${max}`,
    got: value ?? JSON.stringify(readText(bytes, at, length)),
  });
}
