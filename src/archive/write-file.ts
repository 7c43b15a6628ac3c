import { closeSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ImagoError } from '../core/errors.ts';
import { uniqueName, writeAll } from '../system/atomic.ts';
import type { ArchiveSink } from './write-tar.ts';

/** A file as a whole: beside the target, then renamed; into what is no regular file (a device, a pipe) directly. */
export async function writeFileWhole(path: string, write: (sink: ArchiveSink) => Promise<void>): Promise<void> {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isDirectory()) throw new ImagoError('OUTPUT_EXISTS', `'${path}' is a directory`);
  if (stat === undefined && statSync(dirname(path), { throwIfNoEntry: false }) === undefined) {
    throw new ImagoError('NO_SUCH_FILE', `the directory of '${path}' does not exist`);
  }
  const direct = stat !== undefined && !stat.isFile();
  const place = direct ? path : join(dirname(path), `.${basename(path).slice(0, 200)}.${uniqueName()}`);
  // As Docker's: an image may hold what is not for everybody.
  const fd = explainOutput(path, () => openSync(place, direct ? 'w' : 'wx', 0o600));
  try {
    try {
      await write((chunk) => explainOutput(path, () => writeAll(fd, chunk)));
    } finally {
      closeSync(fd);
    }
    if (!direct) explainOutput(path, () => renameSync(place, path));
  } catch (error) {
    if (!direct) rmSync(place, { force: true });
    throw error;
  }
}

/** Names what the user named, not the temporary file beside it. */
function explainOutput<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new ImagoError('CANNOT_WRITE', `cannot write '${path}'`, {
      got: code,
      remedy: code === 'ENOSPC' ? 'there is no space left on its disk' : 'choose another place with -o',
      cause,
    });
  }
}
