import type { ByteString } from '../../core/bytes.ts';
import { pathError } from './path.ts';

/** OCI image-spec v1.1.1, layer.md §Whiteouts. */
const WHITEOUT_PREFIX = '.wh.';
const OPAQUE_MARKER = '.wh..wh..opq';
/** What AUFS kept for itself; no image holds such names as content (moby pkg/archive/whiteouts.go). */
const AUFS_PREFIX = '.wh..wh.';
/** Where AUFS kept the inodes of hardlinked files: ignored as names, good as sources of links (moby diff.go). */
export const AUFS_LINKS = '.wh..wh.plnk';

type Marker =
  | { kind: 'whiteout'; parent: ByteString; name: ByteString }
  | { kind: 'opaque'; parent: ByteString }
  | { kind: 'aufs' };

/**
 * What a clean path means, if it is a marker and not content; undefined for content.
 * Throws `BAD_WHITEOUT` for one that names nothing, ".", "..", or has entries below it.
 */
export function parseMarker(path: ByteString, offset?: number): Marker | undefined {
  if (!path.includes(WHITEOUT_PREFIX)) return undefined;
  const components = path.split('/');
  const base = components.pop()!;
  for (const component of components) {
    if (component.startsWith(AUFS_PREFIX)) return { kind: 'aufs' };
    if (component.startsWith(WHITEOUT_PREFIX)) {
      throw pathError('BAD_WHITEOUT', 'entry below a whiteout', path, offset);
    }
  }
  if (!base.startsWith(WHITEOUT_PREFIX)) return undefined;
  const parent = components.join('/');
  if (base === OPAQUE_MARKER) return { kind: 'opaque', parent };
  if (base.startsWith(AUFS_PREFIX)) return { kind: 'aufs' };
  const name = base.slice(WHITEOUT_PREFIX.length);
  if (name === '' || name === '.' || name === '..') {
    throw pathError('BAD_WHITEOUT', 'whiteout that does not name an entry', path, offset);
  }
  return { kind: 'whiteout', parent, name };
}
