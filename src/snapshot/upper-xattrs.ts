import type { ByteString } from '../core/bytes.ts';
import { getXattr, listXattrs } from '../system/xattr.ts';

const OVERLAY = 'trusted.overlay.';
const ESCAPED = 'trusted.overlay.overlay.';
const CARRIED: readonly string[] = ['user.', 'trusted.'];
const CARRIED_NAMES: ReadonlySet<string> = new Set([
  'security.capability',
  'system.posix_acl_access',
  'system.posix_acl_default',
]);

/**
 * The extended attributes that belong to a file of a writable layer: capabilities, ACLs, user.* and trusted.*; not
 * the overlay's own, nor labels of this host (security.selinux, …). What the overlay escaped gets its name back.
 */
export function readUpperXattrs(
  path: Buffer,
  names: readonly ByteString[] = listXattrs(path),
): Map<ByteString, Uint8Array> | undefined {
  let out: Map<ByteString, Uint8Array> | undefined;
  for (const stored of names) {
    const name = carriedName(stored);
    const value = name === undefined ? undefined : getXattr(path, stored);
    if (name === undefined || value === undefined) continue;
    out ??= new Map();
    out.set(name, value);
  }
  return out;
}

/** The name in a layer of an attribute in upper; undefined for what does not belong there. */
export function carriedName(stored: ByteString): ByteString | undefined {
  if (stored.startsWith(ESCAPED)) return OVERLAY + stored.slice(ESCAPED.length);
  if (stored.startsWith(OVERLAY)) return undefined;
  return CARRIED_NAMES.has(stored) || CARRIED.some((prefix) => stored.startsWith(prefix)) ? stored : undefined;
}
