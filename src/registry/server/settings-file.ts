import { readFileSync } from 'node:fs';
import { ImagoError } from '../../core/errors.ts';

/** Runs what reads a file that the settings name. Its errno becomes `UNREADABLE_FILE`, in words. */
export function readingFile<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    const missing = code === 'ENOENT' || code === 'ENOTDIR';
    throw new ImagoError('UNREADABLE_FILE', missing ? `no such file: ${path}` : `${path} cannot be read (${code})`, {
      cause: error,
      remedy: missing ? 'correct its name in the settings' : 'give it to the user who runs the registry',
    });
  }
}

/** A small text file that the settings name. Throws `UNREADABLE_FILE`. */
export function readSettingsFile(path: string): string {
  return readingFile(path, () => readFileSync(path, 'utf8'));
}
