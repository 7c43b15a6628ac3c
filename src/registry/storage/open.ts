import { fileURLToPath } from 'node:url';
import { ImagoError } from '../../core/errors.ts';
import { openFileStorage } from './files.ts';
import type { RegistryStorage } from './storage.ts';

/**
 * The storage that a setting names: `/dir`, `dir`, `file:///dir`, or `s3://bucket/prefix?endpoint=URL&region=NAME`.
 * A directory that is not there is made, unless `create` is false. Throws `STORAGE_BAD_URL`, `STORAGE_MISSING`.
 */
export async function openStorage(location: string, options: { create?: boolean } = {}): Promise<RegistryStorage> {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(location)?.[1]?.toLowerCase();
  if (scheme === undefined || location.startsWith('/'))
    return openFileStorage(location === '' ? fail(scheme) : location, options);
  if (scheme === 'file') return openFileStorage(filePath(location), options);
  if (scheme !== 's3') return fail(scheme);
  const { openS3Storage } = await import('./s3.ts');
  return openS3Storage(location);
}

function filePath(location: string): string {
  try {
    return fileURLToPath(location);
  } catch (error) {
    return fail('file', error);
  }
}

function fail(scheme: string | undefined, cause?: unknown): never {
  throw new ImagoError('STORAGE_BAD_URL', "not a place for the registry's storage", {
    want: '/directory, file:///directory or s3://bucket/prefix?endpoint=URL',
    // Not the rest: people put keys into URLs.
    got: scheme === undefined ? 'nothing' : `${scheme}:…`,
    cause,
  });
}
