import {
  chmodSync,
  constants,
  copyFileSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { ImagoError } from '../core/errors.ts';
import { makeDirectories } from '../system/directories.ts';
import type { LayoutFile } from './layout.ts';

/**
 * The files of a layout as a directory: blobs are hard links into the store where that is possible, else copies
 * (shared extents where the file system has them). It appears as a whole, or not at all.
 * Throws `OUTPUT_EXISTS` where something is there already, unless it is an empty directory.
 */
export async function writeLayoutDirectory(
  files: readonly LayoutFile[],
  path: string,
  signal?: AbortSignal,
): Promise<void> {
  const target = resolve(path);
  refuseExisting(path, target);
  const temporary = mkdtempSync(join(dirname(target), `.${basename(target)}.`));
  try {
    chmodSync(temporary, 0o755);
    for (const file of files) {
      await setImmediate();
      signal?.throwIfAborted();
      const place = join(temporary, file.name);
      makeDirectories(dirname(place), 0o777);
      if ('bytes' in file) writeFileSync(place, file.bytes);
      else linkOrCopy(file.path, place);
    }
    renameSync(temporary, target);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
}

function refuseExisting(path: string, target: string): void {
  let names: string[];
  try {
    names = readdirSync(target);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return;
    if (code !== 'ENOTDIR') throw error;
    names = ['a file'];
  }
  if (names.length === 0) return;
  throw new ImagoError('OUTPUT_EXISTS', `'${path}' exists already and is not an empty directory`, {
    remedy: 'choose another name, or remove it',
  });
}

const NO_LINK = new Set(['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    if (!NO_LINK.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    copyFileSync(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  }
}
