/**
 * RPM's own database of packages, Packages.db as SUSE has it (rpm 4.20, lib/backend/ndb/rpmpkg.c). All numbers are
 * 32-bit, little-endian.
 *
 * - Pages of 4096 bytes with slots of 16 each, the first two of which are the head: `RpmP`, version 0, generation,
 *   number of such pages, next package's number.
 * - A slot: `Slot`, the package's number, where its blob begins and how long it is, both in blocks of 16 bytes; 0 where
 *   it is free.
 * - A blob: `BlbS`, the package's number, generation, bytes of data; the data, padded; Adler-32 of all of this, bytes of
 *   data again, `BlbE`.
 */
const PAGE = 4096;
const SLOT = 16;
const BLOCK = 16;
const BLOB_HEAD = 16;
const BLOB_TAIL = 12;
const MAGIC = { file: 'RpmP', slot: 'Slot', blob: 'BlbS', end: 'BlbE' } as const;

/** The packages' headers, in the order of their numbers. Undefined where the file is not what it should be. */
export function readNdb(bytes: Uint8Array): Uint8Array[] | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const word = (at: number): number => view.getUint32(at, true);
  const has = (at: number, magic: string): boolean =>
    at + 4 <= bytes.length && [...magic].every((letter, i) => bytes[at + i] === letter.charCodeAt(0));
  if (bytes.length < PAGE || !has(0, MAGIC.file) || word(4) !== 0) return undefined;
  const end = word(12) * PAGE;
  if (end === 0 || end > bytes.length) return undefined;
  const found: { number: number; data: Uint8Array }[] = [];
  // Blobs do not overlap: more of them than there is room for are a lie, and would take for ever.
  let room = bytes.length;
  for (let slot = 2 * SLOT; slot < end; slot += SLOT) {
    if (!has(slot, MAGIC.slot)) return undefined;
    const [number, start, length] = [word(slot + 4), word(slot + 8) * BLOCK, word(slot + 12) * BLOCK];
    if (start === 0) continue;
    room -= length;
    const tail = start + length - BLOB_TAIL;
    if (room < 0 || start < end || tail + BLOB_TAIL > bytes.length || tail < start + BLOB_HEAD) return undefined;
    const size = word(start + 12);
    const isWhole = has(start, MAGIC.blob) && word(start + 4) === number && has(tail + 8, MAGIC.end);
    if (!isWhole || word(tail + 4) !== size || start + BLOB_HEAD + size > tail) return undefined;
    if (adler32(bytes.subarray(start, tail)) !== word(tail)) return undefined;
    found.push({ number, data: bytes.subarray(start + BLOB_HEAD, start + BLOB_HEAD + size) });
  }
  return found.sort((a, b) => a.number - b.number).map(({ data }) => data);
}

/** RFC 1950 §8.2. */
function adler32(bytes: Uint8Array): number {
  const MODULUS = 65_521;
  /** So many additions stay below 2^53 by far. */
  const PIECE = 65_536;
  let [a, b] = [1, 0];
  for (let from = 0; from < bytes.length; from += PIECE) {
    for (const byte of bytes.subarray(from, from + PIECE)) {
      a += byte;
      b += a;
    }
    a %= MODULUS;
    b %= MODULUS;
  }
  return b * 65_536 + a;
}
