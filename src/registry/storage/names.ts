import { ImagoError } from '../../core/errors.ts';
import { MAX_DOCUMENT } from './storage.ts';

/** Bytes of a key; S3 has 1024 for the prefix and the key. */
const MAX_KEY = 800;
/** Bytes of a part of a key: what every file system takes as a name, and room for an ending. */
const MAX_PART = 200;
const PART = /^[A-Za-z0-9._:@+=-]+$/;
const UPLOAD_ID = /^[0-9a-f]{32}$/;
const MAX_PAGE = 1000;

/** Returns the key; throws `STORAGE_BAD_KEY` for what `DocumentStorage` does not take. */
export function checkKey(key: string): string {
  const fault = key.length > MAX_KEY ? 'too long' : key.split('/').map(faultOfPart).find(Boolean);
  if (fault === undefined) return key;
  throw new ImagoError('STORAGE_BAD_KEY', `a key of the registry's storage is ${fault}`, {
    want: `parts of at most ${MAX_PART} characters of A-Z a-z 0-9 . _ : @ + = -, none '.' or '..', ${MAX_KEY} in all`,
    got: JSON.stringify(key.slice(0, 100)),
    remedy: 'use a shorter or plainer name',
  });
}

/** Returns the prefix: a key and '/', or nothing for all keys. */
export function checkPrefix(prefix: string): string {
  if (prefix !== '') checkKey(prefix.endsWith('/') ? prefix.slice(0, -1) : `${prefix}//`);
  return prefix;
}

export function isUploadId(id: string): boolean {
  return UPLOAD_ID.test(id);
}

/** How many entries a page has: 1 to 1000. */
export function pageSize(limit: number | undefined): number {
  return Math.max(1, Math.min(MAX_PAGE, Math.floor(limit ?? MAX_PAGE)));
}

export function checkDocumentSize(key: string, size: number): void {
  if (size <= MAX_DOCUMENT) return;
  throw new ImagoError('STORAGE_TOO_LARGE', 'a document of the registry is too large', {
    ref: key,
    want: `at most ${MAX_DOCUMENT} bytes`,
    got: size,
  });
}

function faultOfPart(part: string): string | undefined {
  if (part === '') return 'with an empty part';
  if (part === '.' || part === '..') return `with the part '${part}'`;
  if (part.length > MAX_PART) return 'with a part that is too long';
  return PART.test(part) ? undefined : 'with other characters';
}
