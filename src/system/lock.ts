import { closeSync, openSync } from 'node:fs';
import { lockSync, tryLock } from './files.ts';

/** A flock(2) on a file or directory, held until it is disposed or its process ends, however it ends. */
export interface FileLock extends Disposable {
  readonly fd: number;
  release(): void;
}

function hold(fd: number): FileLock {
  let open = true;
  const release = (): void => {
    if (open) closeSync(fd);
    open = false;
  };
  return { fd, release, [Symbol.dispose]: release };
}

function openLock(path: string): number {
  try {
    return openSync(path, 'a+', 0o600);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EROFS' && code !== 'EACCES') throw error;
    // Who may only read may still wait for the writers.
    return openSync(path, 'r');
  }
}

/** Waits for the lock, blocking the thread: only for locks that are held for moments. Creates the file. */
export function lockFile(path: string, kind: 'shared' | 'exclusive'): FileLock {
  const fd = openLock(path);
  try {
    lockSync(fd, kind);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return hold(fd);
}

/** The lock on a file or directory that is there; 'gone' where it is not any more. */
export function tryLockIfThere(path: string, kind: 'shared' | 'exclusive'): FileLock | 'held' | 'gone' {
  try {
    return tryLockFile(path, kind) ?? 'held';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'gone';
    throw error;
  }
}

/** The lock, or undefined where somebody holds it. `path` must exist: a file or a directory. */
export function tryLockFile(path: string, kind: 'shared' | 'exclusive'): FileLock | undefined {
  const fd = openSync(path, 'r');
  let got = false;
  try {
    got = tryLock(fd, kind);
  } finally {
    if (!got) closeSync(fd);
  }
  return got ? hold(fd) : undefined;
}
