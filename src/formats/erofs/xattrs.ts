import { type ByteString, displayName } from '../../core/bytes.ts';
import type { TarEntry } from '../tar/entry.ts';
import { alignUp, writeName, XATTR_ENTRY, XATTR_HEADER } from './layout.ts';
import { pathError } from './path.ts';

/** linux/fs/erofs/xattr.h. Other namespaces have no number, so EROFS cannot hold them. */
const PREFIXES: readonly [prefix: string, index: number][] = [
  ['user.', 1],
  ['trusted.', 4],
  ['security.', 6],
];
const ACL_ACCESS = 'system.posix_acl_access';
const ACL_DEFAULT = 'system.posix_acl_default';
const OVERLAY = 'trusted.overlay.';
/** linux/limits.h; e_value_len has 16 bits. */
const MAX_XATTR_NAME = 255;
const MAX_XATTR_VALUE = 65535;
/** i_xattr_icount has 16 bits; what the overlay's own two attributes may need is kept free. */
const MAX_XATTR_BODY: number = XATTR_HEADER + 4 * 65534 - 64;

export const OVERLAY_OPAQUE = 'trusted.overlay.opaque';
export const OVERLAY_ORIGIN = 'trusted.overlay.origin';
export const YES: Uint8Array = Uint8Array.of(0x79);
export const NOTHING: Uint8Array = new Uint8Array(0);

/** Whether EROFS can hold an attribute of this name; Docker too leaves out what the file system does not take. */
function isStorableXattr(name: ByteString): boolean {
  return name === ACL_ACCESS || name === ACL_DEFAULT || splitName(name) !== undefined;
}

/** A layer must not steer the overlay: overlayfs shows `trusted.overlay.overlay.x` as `trusted.overlay.x` (6.7). */
export function escapeXattrName(name: ByteString): ByteString {
  return name.startsWith(OVERLAY) ? `${OVERLAY}overlay.${name.slice(OVERLAY.length)}` : name;
}

/** The attributes of a member, of those that its inode has: the inverse of `layerXattrs`, but for what that dropped. */
export function unescapeXattrs(stored: ReadonlyMap<ByteString, Uint8Array>): Map<ByteString, Uint8Array> | undefined {
  const escaped = escapeXattrName(OVERLAY);
  let out: Map<ByteString, Uint8Array> | undefined;
  for (const [name, value] of stored) {
    // The index's own, for the overlay.
    if (name.startsWith(OVERLAY) && !name.startsWith(escaped)) continue;
    out ??= new Map();
    out.set(name.startsWith(escaped) ? OVERLAY + name.slice(escaped.length) : name, value);
  }
  return out;
}

/**
 * The attributes of a member as the index holds them, in the order of their names; undefined where none is left. `onDropped` hears
 * of those in a namespace that EROFS has no number for. Throws `XATTR_TOO_LARGE`, `BAD_XATTR`.
 */
export function layerXattrs(
  entry: Pick<TarEntry, 'path' | 'xattrs' | 'headerOffset'>,
  onDropped: (name: ByteString) => void,
): Map<ByteString, Uint8Array> | undefined {
  const from = entry.xattrs;
  if (from === undefined || from.size === 0) return undefined;
  const out = new Map<ByteString, Uint8Array>();
  let size = XATTR_HEADER;
  for (const name of [...from.keys()].sort()) {
    const value = from.get(name)!;
    if (name.includes('\0')) throw pathError('BAD_XATTR', 'NUL in an attribute name', entry.path, entry.headerOffset);
    if (!isStorableXattr(name)) {
      onDropped(name);
      continue;
    }
    const escaped = escapeXattrName(name);
    size += alignUp(XATTR_ENTRY + escaped.length + value.length, 4);
    if (escaped.length > MAX_XATTR_NAME || value.length > MAX_XATTR_VALUE || size > MAX_XATTR_BODY) {
      const summary = `extended attributes larger than the kernel takes: ${displayName(name.slice(0, 80))}`;
      throw pathError('XATTR_TOO_LARGE', summary, entry.path, entry.headerOffset, value.length);
    }
    out.set(escaped, value);
  }
  return out.size === 0 ? undefined : out;
}

function splitName(name: ByteString): [index: number, rest: ByteString] | undefined {
  if (name === ACL_ACCESS) return [2, ''];
  if (name === ACL_DEFAULT) return [3, ''];
  for (const [prefix, index] of PREFIXES) {
    if (name.startsWith(prefix) && name.length > prefix.length) return [index, name.slice(prefix.length)];
  }
  return undefined;
}

/**
 * The xattr body that follows an inode: header without shared attributes, then the entries in the map's order.
 * Takes what `layerXattrs` let through.
 */
export function encodeXattrs(xattrs: ReadonlyMap<ByteString, Uint8Array>): Uint8Array {
  let size = XATTR_HEADER;
  for (const [name, value] of xattrs) {
    size += alignUp(XATTR_ENTRY + splitName(name)![1].length + value.length, 4);
  }
  const body = new Uint8Array(size);
  let at = XATTR_HEADER;
  for (const [name, value] of xattrs) {
    const [index, rest] = splitName(name)!;
    body[at] = rest.length;
    body[at + 1] = index;
    body[at + 2] = value.length & 0xff;
    body[at + 3] = value.length >>> 8;
    at = writeName(body, at + XATTR_ENTRY, rest);
    body.set(value, at);
    at = alignUp(at + value.length, 4);
  }
  return body;
}

/** The prefix for an index of an xattr entry, for readers. */
export function xattrPrefix(index: number): string | undefined {
  if (index === 2) return ACL_ACCESS;
  if (index === 3) return ACL_DEFAULT;
  return PREFIXES.find(([, i]) => i === index)?.[0];
}
