import { ImagoError } from '../core/errors.ts';

/** Turns an errno of a write into words that say what to do about the store; passes everything else through. */
export function explainWriteError(error: unknown, root: string): unknown {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (error instanceof ImagoError && (error as { errno?: number }).errno === undefined) return error;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const cause = code === 'EDQUOT' ? 'the disk quota is used up' : 'no space left on the disk';
    return new ImagoError('DISK_FULL', `${cause} of the store`, {
      path: root,
      remedy: "nothing was changed; free some space ('imago prune' removes what no image uses) and try again",
      cause: error,
    });
  }
  if (code === 'EROFS') {
    return new ImagoError('STORE_READ_ONLY', 'the store lies on a read-only file system', {
      path: root,
      remedy: 'remount it writable, or choose another with --root',
      cause: error,
    });
  }
  const path = (error as NodeJS.ErrnoException | undefined)?.path;
  // Not what the user named to read, nor a program.
  if ((code === 'EACCES' || code === 'EPERM') && (path === undefined || path.startsWith(root))) {
    return new ImagoError('STORE_NOT_WRITABLE', 'no permission to change the store', {
      path: path ?? root,
      remedy: 'run as the user who owns it, or choose another with --root or IMAGO_ROOT',
      cause: error,
    });
  }
  return error;
}

/** Runs `work`, its write errors explained. */
export function explainWrites<T>(root: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw explainWriteError(error, root);
  }
}
