import { type ByteString, bytesOf, displayName } from '../../core/bytes.ts';
import type { ImagoError } from '../../core/errors.ts';
import type { Time } from '../../core/time.ts';
import { tarError } from './errors.ts';
import type { TarLimits } from './limits.ts';

/** What PAX records say about a member; undefined: the header's own value counts. */
export interface PaxFields {
  path?: ByteString;
  linkpath?: ByteString;
  size?: number;
  uid?: number;
  gid?: number;
  uname?: ByteString;
  gname?: ByteString;
  mtime?: Time;
  devmajor?: number;
  devminor?: number;
  xattrs?: Map<ByteString, Uint8Array>;
  /** Attributes from LIBARCHIVE.xattr.*, which count only where SCHILY.xattr.* has no such name. */
  libarchiveXattrs?: Map<ByteString, Uint8Array>;
  sparse?: PaxSparse;
}

/** GNU.sparse.* of the formats 0.0 (numbers in pairs of records), 0.1 (one map record) and 1.0 (map in the data). */
export interface PaxSparse {
  major?: number;
  minor?: number;
  name?: ByteString;
  size?: number;
  /** offset, length, offset, length… */
  numbers: number[];
  /** Any map seen in the records: formats 0.x. */
  mapped: boolean;
}

interface Place {
  offset: number;
  global: boolean;
  limits: TarLimits;
}

const MAX_ID = 0xffffffff;

export function paxError(summary: string, offset: number, got?: ByteString): ImagoError {
  const details = got === undefined ? {} : { got: JSON.stringify(displayName(got.slice(0, 80))) };
  return tarError('TAR_BAD_PAX', summary, offset, details);
}

/**
 * Applies the records of one PAX header body to `fields` (POSIX.1-2017 pax §pax Extended Header): each is
 * "LENGTH KEY=VALUE\n"; a value may hold "=", newlines and NULs; an empty value takes a record back.
 * `offset` is the body's place in the tar, for errors.
 */
export function readPaxRecords(body: ByteString, fields: PaxFields, place: Place): void {
  let at = 0;
  while (at < body.length) {
    // Some writers pad the body with NULs instead of ending it at its size.
    if (body.charCodeAt(at) === 0) return;
    const offset = place.offset + at;
    const space = body.indexOf(' ', at);
    const digits = space < 0 ? '' : body.slice(at, space);
    const length = /^[0-9]{1,7}$/.test(digits) ? Number(digits) : 0;
    const end = at + length;
    const equals = body.indexOf('=', space + 1);
    if (length === 0 || end > body.length || body[end - 1] !== '\n' || equals < 0 || equals >= end) {
      throw paxError('malformed PAX record', offset, body.slice(at, at + 40));
    }
    applyRecord(body.slice(space + 1, equals), body.slice(equals + 1, end - 1), fields, { ...place, offset });
    at = end;
  }
}

function applyRecord(key: ByteString, value: ByteString, fields: PaxFields, place: Place): void {
  const { offset, global } = place;
  if (global && (key === 'path' || key === 'linkpath' || key === 'size' || key.startsWith('GNU.sparse.'))) {
    throw paxError(`global PAX header sets '${key}', which belongs to one member`, offset);
  }
  switch (key) {
    case 'path':
    case 'linkpath':
    case 'uname':
    case 'gname':
      if (value.includes('\0')) throw paxError(`NUL in PAX ${key}`, offset, value);
      fields[key] = value === '' ? undefined : value;
      return;
    case 'size':
      fields.size = value === '' ? undefined : parseDecimal(key, value, Number.MAX_SAFE_INTEGER, offset);
      return;
    case 'uid':
    case 'gid':
      fields[key] = value === '' ? undefined : parseDecimal(key, value, MAX_ID, offset);
      return;
    case 'mtime':
      fields.mtime = value === '' ? undefined : parsePaxTime(value, offset);
      return;
    case 'SCHILY.devmajor':
      fields.devmajor = value === '' ? undefined : parseDecimal(key, value, MAX_ID, offset);
      return;
    case 'SCHILY.devminor':
      fields.devminor = value === '' ? undefined : parseDecimal(key, value, MAX_ID, offset);
      return;
  }
  if (key.startsWith('SCHILY.xattr.')) {
    // GNU tar (≥ 1.27, xattrs.c) writes "=" and "%" of a name as %3D and %25.
    const name = key.slice(13).replace(/%(3D|25)/g, (_, hex) => (hex === '25' ? '%' : '='));
    fields.xattrs = addXattr(fields.xattrs, name, bytesOf(value), place);
  } else if (key.startsWith('LIBARCHIVE.xattr.')) {
    const name = decodeUrl(key.slice(17));
    fields.libarchiveXattrs = addXattr(fields.libarchiveXattrs, name, decodeBase64(value, offset), place);
  } else if (key.startsWith('GNU.sparse.')) {
    applySparse(key.slice(11), value, fields, place);
  }
}

function addXattr(
  map: Map<ByteString, Uint8Array> | undefined,
  name: ByteString,
  value: Uint8Array,
  place: Place,
): Map<ByteString, Uint8Array> {
  if (name === '' || name.includes('\0')) throw paxError('bad extended attribute name', place.offset, name);
  const out = map ?? new Map<ByteString, Uint8Array>();
  out.set(name, value);
  if (out.size > place.limits.xattrs) {
    throw tarError('TAR_TOO_MANY_XATTRS', 'too many extended attributes on one member', place.offset, {
      want: `at most ${place.limits.xattrs}`,
    });
  }
  return out;
}

function applySparse(key: string, value: ByteString, fields: PaxFields, { offset, limits }: Place): void {
  fields.sparse ??= { numbers: [], mapped: false };
  const sparse = fields.sparse;
  const max = Number.MAX_SAFE_INTEGER;
  switch (key) {
    case 'major':
    case 'minor':
      sparse[key] = parseDecimal(key, value, 9, offset);
      return;
    case 'name':
      if (value.includes('\0')) throw paxError('NUL in PAX path', offset, value);
      sparse.name = value;
      return;
    case 'size':
    case 'realsize':
      sparse.size = parseDecimal(key, value, max, offset);
      return;
    case 'numblocks':
      sparse.mapped = true;
      return;
    case 'offset':
    case 'numbytes':
      if (sparse.numbers.length % 2 !== (key === 'offset' ? 0 : 1)) throw paxError('unpaired sparse record', offset);
      sparse.numbers.push(parseDecimal(key, value, max, offset));
      break;
    case 'map':
      sparse.numbers = value === '' ? [] : value.split(',').map((n) => parseDecimal(key, n, max, offset));
      break;
    default:
      return;
  }
  sparse.mapped = true;
  if (sparse.numbers.length > 2 * limits.sparseSegments) throw paxError('too many segments in a sparse file', offset);
}

function parseDecimal(key: string, value: ByteString, max: number, offset: number): number {
  const number = /^[0-9]{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (number <= max) return number;
  throw paxError(`bad PAX ${key}`, offset, value);
}

/** "-5.25" → {sec: -6, nsec: 750000000}. Digits past the nanosecond are cut off. */
function parsePaxTime(value: ByteString, offset: number): Time {
  const match = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(value);
  if (!match) throw paxError('bad PAX time', offset, value);
  const sec = Number(match[2]);
  const nsec = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  if (match[1] === '') return { sec, nsec };
  return nsec === 0 ? { sec: 0 - sec, nsec } : { sec: -sec - 1, nsec: 1e9 - nsec };
}

function decodeUrl(text: ByteString): ByteString {
  return text.replace(/%([0-9a-fA-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function decodeBase64(text: ByteString, offset: number): Uint8Array {
  try {
    return bytesOf(atob(text));
  } catch {
    throw paxError('bad base64 in LIBARCHIVE.xattr', offset, text);
  }
}
