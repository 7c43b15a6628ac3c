import { type ByteString, displayName } from '../../core/bytes.ts';
import { ImagoError } from '../../core/errors.ts';
import { MAX_NAME } from './layout.ts';

/** PATH_MAX without its NUL: what lies deeper no program could open by its path. */
export const MAX_PATH = 4095;

const SLASH = 0x2f;
const DOT = 0x2e;

/**
 * A member's name as a path from the root of the image: no leading, double or trailing slash, no "."; '' is the root.
 * Throws `PATH_TRAVERSAL` ("..": none is resolved, even where it would stay inside), `ABSOLUTE_PATH` (but "/" alone
 * is the root: Kaniko writes it), `NAME_TOO_LONG`, `BAD_NAME` (a NUL).
 */
export function cleanPath(raw: ByteString, offset?: number): ByteString {
  let from = 0;
  let end = raw.length;
  while (end > 0 && raw.charCodeAt(end - 1) === SLASH) end--;
  if (end > 0 && raw.charCodeAt(0) === SLASH) throw pathError('ABSOLUTE_PATH', 'absolute name in a layer', raw, offset);
  while (from + 1 < end && raw.charCodeAt(from) === DOT && raw.charCodeAt(from + 1) === SLASH) from += 2;
  const path = raw.slice(from, end);
  return checkComponents(path, raw, offset) ? path : path.split('/').filter(isProper).join('/');
}

/**
 * A hardlink's source. Like `cleanPath`, but a leading slash means the root of the image, as for every other
 * engine and GNU tar: there is nothing else that it could name.
 */
export function cleanLinkTarget(raw: ByteString, offset?: number): ByteString {
  return cleanPath(raw.replace(/^\/+/, ''), offset);
}

function isProper(component: string): boolean {
  return component !== '' && component !== '.';
}

/** True where every component is a proper name, false where some are empty or ".". */
function checkComponents(path: ByteString, raw: ByteString, offset: number | undefined): boolean {
  let proper = true;
  let start = 0;
  for (let i = 0; i <= path.length; i++) {
    const c = i < path.length ? path.charCodeAt(i) : SLASH;
    if (c === 0) throw pathError('BAD_NAME', 'NUL byte in a name in a layer', raw, offset);
    if (c !== SLASH) continue;
    const length = i - start;
    // A whiteout's name is longer than what it names, which is no file system's limit.
    const marker = i === path.length && path.startsWith('.wh.', start);
    if (length > MAX_NAME + (marker ? '.wh.'.length : 0)) {
      throw pathError('NAME_TOO_LONG', `name in a layer longer than ${MAX_NAME} bytes`, raw, offset, length);
    }
    if (length === 0 || (length === 1 && path.charCodeAt(start) === DOT)) proper = false;
    else if (length === 2 && path.charCodeAt(start) === DOT && path.charCodeAt(start + 1) === DOT) {
      throw pathError('PATH_TRAVERSAL', 'name with ".." in a layer', raw, offset);
    }
    start = i + 1;
  }
  if (path.length > MAX_PATH) {
    throw pathError('NAME_TOO_LONG', `path in a layer longer than ${MAX_PATH} bytes`, raw, offset, path.length);
  }
  return proper || path === '';
}

const BAD_LAYER = 'the layer is damaged or hostile; nothing was taken from it';

/** An error about one member: its name (shortened), the offset of its header, and what follows for the layer. */
export function pathError(code: string, summary: string, path: ByteString, offset?: number, got?: number): ImagoError {
  const shown = displayName(path.length > 120 ? `${path.slice(0, 120)}...` : path);
  return new ImagoError(code, summary, { op: 'index layer', path: shown, offset, got, remedy: BAD_LAYER });
}
