import { ImagoError } from '../core/errors.ts';

/** OCI image-spec v1.1.1, annotations.md: the name of a file. */
export const TITLE = 'org.opencontainers.image.title';
export const CREATED = 'org.opencontainers.image.created';
/** ORAS (oras-go v2 content/file): the blob is a tar+gzip to be unpacked, and the digest of its tar. */
export const UNPACK = 'io.deis.oras.content.unpack';
export const TAR_DIGEST = 'io.deis.oras.content.digest';

const LONGEST_PATH = 4096;
const LONGEST_NAME = 255;

/**
 * The components of a file's name from outside, below the directory that files go to; none for '.'. Throws `BAD_TITLE`
 * for what leads elsewhere or cannot be a name.
 */
export function splitTitle(title: string): string[] {
  const bad = (got: string): ImagoError =>
    new ImagoError('BAD_TITLE', `unsafe file name in the artifact: ${got}`, {
      got: JSON.stringify(title.length > 120 ? `${title.slice(0, 120)}…` : title),
      remedy: 'nothing was written; ask whoever pushed it for relative names',
    });
  if (title === '') throw bad('it is empty');
  if (title.startsWith('/')) throw bad('it is absolute');
  if (title.includes('\0')) throw bad('it has a NUL');
  if (Buffer.byteLength(title) > LONGEST_PATH) throw bad(`it is longer than ${LONGEST_PATH} bytes`);
  const parts = title.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw bad("it climbs by '..'");
  if (parts.some((part) => Buffer.byteLength(part) > LONGEST_NAME)) throw bad(`a part of it is longer than 255 bytes`);
  return parts;
}

export interface NamedFile {
  parts: string[];
  /** A directory that comes as a tar. */
  unpack: boolean;
}

/** Throws `BAD_TITLE` where two files want one place, or one would have to be the directory of another. */
export function checkCollisions(files: readonly NamedFile[]): void {
  const taken = new Set<string>();
  const directories = new Set<string>();
  const bad = (parts: readonly string[]): ImagoError =>
    new ImagoError('BAD_TITLE', 'two files of the artifact have one name, or one is inside of the other', {
      got: JSON.stringify(parts.join('/').slice(0, 120)),
    });
  for (const { parts, unpack } of files) {
    const name = parts.join('/');
    if (taken.has(name) || (!unpack && directories.has(name))) throw bad(parts);
    taken.add(name);
    if (unpack) directories.add(name);
    for (let i = parts.length - 1; i > 0; i--) directories.add(parts.slice(0, i).join('/'));
  }
  for (const { parts, unpack } of files) if (!unpack && directories.has(parts.join('/'))) throw bad(parts);
}
