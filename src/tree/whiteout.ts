import type { ByteString } from '../core/bytes.ts';
import { pathError } from '../formats/erofs/path.ts';

/** What a base name means in a layer. OCI image-spec v1.1.1, layer.md §Whiteouts. */
export type NameMeaning = 'plain' | 'opaque' | 'whiteout';

const PREFIX = '.wh.';
const OPAQUE = '.wh..wh..opq';

/** `.wh.NAME` deletes NAME of the layers below, `.wh..wh..opq` all that they have in its directory. */
export function nameMeaning(name: ByteString): NameMeaning {
  if (!name.startsWith(PREFIX)) return 'plain';
  return name === OPAQUE ? 'opaque' : 'whiteout';
}

/** What aufs kept for itself in its branches (`.wh..wh.plnk/…`); every engine leaves it out. */
export function isAufsRecord(path: ByteString): boolean {
  const at = path.indexOf('.wh..wh.');
  if (at < 0) return false;
  return path.split('/').some((name) => name.startsWith('.wh..wh.') && name !== OPAQUE);
}

/** The name that `.wh.NAME` deletes. Throws `BAD_WHITEOUT` for none, '.' and '..'. */
export function whiteoutTarget(name: ByteString, offset?: number): ByteString {
  const target = name.slice(PREFIX.length);
  if (target !== '' && target !== '.' && target !== '..') return target;
  throw pathError('BAD_WHITEOUT', 'whiteout of no possible name in a layer', name, offset);
}
