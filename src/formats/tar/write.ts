import { type ByteString, bytesOf } from '../../core/bytes.ts';
import { ImagoError } from '../../core/errors.ts';
import type { Time } from '../../core/time.ts';
import type { TarEntryType } from './entry.ts';
import { BLOCK } from './header.ts';

/** What can be written about a member; what is missing is 0, empty, or the type's usual mode. */
export interface TarMember {
  path: ByteString;
  type: TarEntryType;
  mode?: number;
  uid?: number;
  gid?: number;
  uname?: ByteString;
  gname?: ByteString;
  mtime?: Time;
  /** Logical size in bytes; only files have one. */
  size?: number;
  linkname?: ByteString;
  devmajor?: number;
  devminor?: number;
  xattrs?: Map<ByteString, Uint8Array> | undefined;
  /** The stored stretches of a sparse file, ascending; their data follow each other without gaps. */
  sparse?: { offset: number; length: number }[] | undefined;
}

/** Two zero blocks. */
export const END_OF_ARCHIVE: Uint8Array = new Uint8Array(2 * BLOCK);

const ZEROS = new Uint8Array(BLOCK);
/** Magic and version. */
const USTAR = bytesOf('ustar\x0000');
const FLAGS: Record<TarEntryType, number> = {
  file: 0x30,
  hardlink: 0x31,
  symlink: 0x32,
  char: 0x33,
  block: 0x34,
  directory: 0x35,
  fifo: 0x36,
};
const MAX_OCTAL_7 = 0o7777777;
const MAX_OCTAL_11 = 0o77777777777;
const MAX_ID = 0xffffffff;

/** Bytes from the end of `size` data bytes to the next block. */
export function padding(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

export function paddingBytes(size: number): Uint8Array {
  return ZEROS.subarray(0, padding(size));
}

/** Stored data bytes that have to follow the header, before the padding. */
export function storedSize(member: TarMember): number {
  if (member.type !== 'file') return 0;
  if (!member.sparse) return member.size ?? 0;
  return member.sparse.reduce((sum, segment) => sum + segment.length, 0);
}

/**
 * All blocks in front of a member's data: ustar (POSIX.1-2017), with a PAX header only where ustar does not hold a
 * value; extended attributes as SCHILY.xattr.*, sparse files in GNU's PAX format 1.0 with their map. Deterministic.
 * Throws TAR_BAD_MEMBER for what no tar can hold.
 */
export function encodeHeader(member: TarMember): Uint8Array {
  checkMember(member);
  const records: [ByteString, ByteString][] = [];
  const block = new Uint8Array(BLOCK);
  const directory = member.type === 'directory';
  const path = directory && !member.path.endsWith('/') ? `${member.path}/` : member.path;
  const map = member.sparse ? sparseMap(member.sparse, member.size ?? 0) : undefined;
  const size = storedSize(member) + (map?.length ?? 0);
  if (map) {
    records.push(['GNU.sparse.major', '1'], ['GNU.sparse.minor', '0'], ['GNU.sparse.name', path]);
    records.push(['GNU.sparse.realsize', String(member.size ?? 0)]);
    putText(block, 0, 100, `GNUSparseFile.0/${path.slice(path.lastIndexOf('/') + 1)}`);
  } else putPath(block, path, records);
  putNumber(block, 100, 8, (member.mode ?? (directory ? 0o755 : member.type === 'symlink' ? 0o777 : 0o644)) & 0o7777);
  putWide(block, 108, 8, member.uid ?? 0, 'uid', records);
  putWide(block, 116, 8, member.gid ?? 0, 'gid', records);
  putWide(block, 124, 12, size, 'size', records);
  putTime(block, member.mtime ?? { sec: 0, nsec: 0 }, records);
  block[156] = FLAGS[member.type];
  const link = member.type === 'hardlink' || member.type === 'symlink';
  if (link) putLimited(block, 157, 100, member.linkname ?? '', 'linkpath', records);
  block.set(USTAR, 257);
  putLimited(block, 265, 31, member.uname ?? '', 'uname', records);
  putLimited(block, 297, 31, member.gname ?? '', 'gname', records);
  const device = member.type === 'char' || member.type === 'block';
  putWide(block, 329, 8, device ? (member.devmajor ?? 0) : 0, 'SCHILY.devmajor', records);
  putWide(block, 337, 8, device ? (member.devminor ?? 0) : 0, 'SCHILY.devminor', records);
  if (member.xattrs !== undefined) putXattrs(member.xattrs, records);
  putChecksum(block);
  return records.length === 0 ? block : joinBlocks(encodePax(records), block, map);
}

function putXattrs(xattrs: ReadonlyMap<ByteString, Uint8Array>, records: Records): void {
  for (const name of [...xattrs.keys()].sort()) {
    // "=" ends a key: GNU tar's escape, which its reader and ours take back.
    const key = name.replace(/[%=]/g, (c) => (c === '%' ? '%25' : '%3D'));
    records.push([`SCHILY.xattr.${key}`, byteText(xattrs.get(name)!)]);
  }
}

function checkMember(member: TarMember): void {
  const bad =
    member.path.includes('\0') || member.linkname?.includes('\0')
      ? 'a name with a NUL'
      : member.path === ''
        ? 'an empty name'
        : !(isId(member.uid) && isId(member.gid) && isId(member.devmajor) && isId(member.devminor))
          ? 'an owner or device number outside 0..2^32−1'
          : !Number.isSafeInteger(member.size ?? 0) || (member.size ?? 0) < 0
            ? 'a size outside 0..2^53−1'
            : undefined;
  if (bad) throw new ImagoError('TAR_BAD_MEMBER', `cannot write ${bad} to a tar`, { op: 'write tar' });
}

function isId(n: number | undefined): boolean {
  return n === undefined || (Number.isInteger(n) && n >= 0 && n <= MAX_ID);
}

function byteText(bytes: Uint8Array): ByteString {
  let out = '';
  for (const byte of bytes) out += String.fromCharCode(byte);
  return out;
}

function joinBlocks(...parts: (Uint8Array | undefined)[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + (part?.length ?? 0), 0));
  let at = 0;
  for (const part of parts) {
    if (!part) continue;
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function putText(block: Uint8Array, at: number, length: number, text: ByteString): void {
  const end = Math.min(length, text.length);
  for (let i = 0; i < end; i++) block[at + i] = text.charCodeAt(i);
}

/** Octal with leading zeros and a closing NUL. */
function putNumber(block: Uint8Array, at: number, length: number, value: number): void {
  let rest = value;
  for (let i = at + length - 2; i >= at; i--) {
    block[i] = 0x30 + (rest % 8);
    rest = Math.floor(rest / 8);
  }
}

type Records = [ByteString, ByteString][];

function putWide(block: Uint8Array, at: number, length: number, value: number, key: string, records: Records): void {
  const fits = value <= (length === 8 ? MAX_OCTAL_7 : MAX_OCTAL_11);
  putNumber(block, at, length, fits ? value : 0);
  if (!fits) records.push([key, String(value)]);
}

function putTime(block: Uint8Array, time: Time, records: Records): void {
  const fits = time.sec >= 0 && time.sec <= MAX_OCTAL_11;
  putNumber(block, 136, 12, fits ? time.sec : 0);
  if (!fits || time.nsec !== 0) records.push(['mtime', formatTime(time)]);
}

/** {sec: -6, nsec: 750000000} → "-5.25". */
function formatTime({ sec, nsec }: Time): string {
  const whole = sec < 0 && nsec > 0 ? sec + 1 : sec;
  const fraction = sec < 0 && nsec > 0 ? 1e9 - nsec : nsec;
  const digits = fraction === 0 ? '' : `.${String(fraction).padStart(9, '0').replace(/0+$/, '')}`;
  return `${whole === 0 && sec < 0 ? '-0' : whole}${digits}`;
}

function needsRecord(text: ByteString, length: number): boolean {
  return text.length > length || /[^\x01-\x7f]/.test(text);
}

function putLimited(
  block: Uint8Array,
  at: number,
  length: number,
  text: ByteString,
  key: string,
  records: Records,
): void {
  putText(block, at, length, text);
  if (needsRecord(text, length)) records.push([key, text]);
}

function putPath(block: Uint8Array, path: ByteString, records: Records): void {
  // The prefix must leave a name that is not empty; a directory's closing slash belongs to its name.
  const cut = path.length > 100 ? path.indexOf('/', path.length - 101) : -1;
  if (cut > 0 && cut <= 155 && cut < path.length - 1 && !needsRecord(path, 256)) {
    putText(block, 345, 155, path.slice(0, cut));
    putText(block, 0, 100, path.slice(cut + 1));
    return;
  }
  putLimited(block, 0, 100, path, 'path', records);
}

function putChecksum(block: Uint8Array): void {
  let sum = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) sum += block[i]!;
  putText(block, 148, 8, `${sum.toString(8).padStart(6, '0')}\0 `);
}

/** GNU tar makes a file that ends in a hole no longer than its last segment, so an empty one marks the end. */
function sparseMap(segments: { offset: number; length: number }[], size: number): Uint8Array {
  const last = segments.at(-1);
  const all = last && last.offset + last.length === size ? segments : [...segments, { offset: size, length: 0 }];
  const text = `${all.length}\n${all.map((s) => `${s.offset}\n${s.length}\n`).join('')}`;
  const out = new Uint8Array(text.length + padding(text.length));
  putText(out, 0, text.length, text);
  return out;
}

function encodePax(records: Records): Uint8Array {
  const binary = records.some(([key, value]) => !key.startsWith('SCHILY.xattr.') && !isUtf8(value));
  const all: Records = binary ? [['hdrcharset', 'BINARY'], ...records] : records;
  const body = bytesOf(all.map(([key, value]) => formatRecord(key, value)).join(''));
  const block = new Uint8Array(BLOCK);
  putText(block, 0, 100, '././@PaxHeader');
  for (const at of [100, 108, 116]) putNumber(block, at, 8, 0);
  putNumber(block, 124, 12, body.length);
  putNumber(block, 136, 12, 0);
  block[156] = 0x78;
  block.set(USTAR, 257);
  putChecksum(block);
  return joinBlocks(block, body, paddingBytes(body.length));
}

/** "LENGTH KEY=VALUE\n", the length counting its own digits. */
function formatRecord(key: ByteString, value: ByteString): ByteString {
  const rest = key.length + value.length + 3;
  let length = rest + String(rest).length;
  if (String(length).length !== String(rest).length) length = rest + String(length).length;
  return `${length} ${key}=${value}\n`;
}

function isUtf8(text: ByteString): boolean {
  if (/^[\x00-\x7f]*$/.test(text)) return true;
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytesOf(text));
    return true;
  } catch {
    return false;
  }
}
