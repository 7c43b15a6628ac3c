import { type BigIntStats, close, fsync, mkdirSync, open, renameSync, rmSync, writeFile } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ImagoError } from '../../core/errors.ts';
import { uniqueName } from '../../system/atomic.ts';
import { setTimes } from '../../system/files.ts';
import { tryLockFile } from '../../system/lock.ts';
import { sleep } from '../../system/sleep.ts';
import type { Version } from './storage.ts';

export const openFile: (path: string, flags: string, mode?: number) => Promise<number> = promisify(open);
export const closeFile: (fd: number) => Promise<void> = promisify(close);
const syncFile: (fd: number) => Promise<void> = promisify(fsync);
const writeWhole: (fd: number, bytes: Uint8Array) => Promise<void> = promisify(writeFile);

/** A lock is held for moments; only a stopped process or a dying disk keeps one longer. */
const LOCK_PATIENCE_MS = 30_000;

/**
 * The directory of a file storage: where things are, how they are put there, and the lock. Whatever is visible under
 * its final name is whole: written aside in `tmp/`, synced, renamed, and the directory synced. All renames, removals and
 * listings happen under one flock, so processes on one directory see each other's in one order.
 */
export class FileArea {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  path(...parts: string[]): string {
    return join(this.root, ...parts);
  }

  temporary(): string {
    return this.path('tmp', uniqueName());
  }

  /** Runs `section`, which must not wait for anything, while no other process runs one of the other kind. */
  async exclusive<T>(section: () => T, kind: 'exclusive' | 'shared' = 'exclusive'): Promise<T> {
    const deadline = Date.now() + LOCK_PATIENCE_MS;
    for (let wait = 1; ; wait = Math.min(2 * wait, 32)) {
      using lock = this.tryLock(kind);
      if (lock !== undefined) return section();
      if (Date.now() > deadline) {
        throw new ImagoError('STORAGE_BUSY', "the registry's storage has been locked for too long", {
          path: this.path('lock'),
          remedy: "see who holds it ('fuser FILE') and whether that process is stopped",
        });
      }
      await sleep(wait * (0.5 + Math.random()));
    }
  }

  private tryLock(kind: 'exclusive' | 'shared'): Disposable | undefined {
    try {
      return tryLockFile(this.path('lock'), kind);
    } catch (error) {
      throw explainFileError(error, this.root);
    }
  }

  /** `bytes` in a file of its own in `tmp/`, synced; the caller places or removes it. */
  async writeAside(bytes: Uint8Array): Promise<string> {
    const path = this.temporary();
    try {
      const fd = await openFile(path, 'wx', 0o644);
      try {
        await writeWhole(fd, bytes);
        await syncFile(fd);
      } finally {
        await closeFile(fd);
      }
      stampVersion(path);
      return path;
    } catch (error) {
      rmSync(path, { force: true });
      throw explainFileError(error, this.root);
    }
  }

  /** In an exclusive section: renames a synced file to its final name. Returns the directories to sync after it. */
  place(temporary: string, path: string): string[] {
    const changed = [dirname(path)];
    try {
      renameSync(temporary, path);
      return changed;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw explainFileError(error, this.root);
    }
    this.makeParents(dirname(path), changed);
    try {
      renameSync(temporary, path);
      return changed;
    } catch (error) {
      // Also where it was the file that is not there: an upload may be cancelled while it is published.
      throw explainFileError(error, this.root);
    }
  }

  async sync(directories: string[]): Promise<void> {
    for (const path of directories) await this.syncPath(path);
  }

  async syncPath(path: string): Promise<void> {
    let fd: number;
    try {
      fd = await openFile(path, 'r');
    } catch (error) {
      // A directory that was empty again, and removed: what it held is gone.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw explainFileError(error, this.root);
    }
    try {
      await syncFile(fd);
    } catch (error) {
      throw explainFileError(error, this.root);
    } finally {
      await closeFile(fd);
    }
  }

  private makeParents(directory: string, changed: string[]): void {
    try {
      mkdirSync(directory, { mode: 0o755 });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') return;
      if (code !== 'ENOENT' || directory === this.root) throw explainFileError(error, this.root);
      this.makeParents(dirname(directory), changed);
      mkdirSync(directory, { mode: 0o755 });
    }
    changed.push(dirname(directory));
  }
}

/**
 * Gives a file the present time, with the part below a millisecond drawn by lot: inode numbers come back at once, and
 * the kernel's clock for ctime ticks in milliseconds.
 */
export function stampVersion(path: string): void {
  const now = Date.now();
  const nsec = (now % 1000) * 1_000_000 + Math.floor(Math.random() * 1_000_000);
  setTimes(path, { sec: Math.floor(now / 1000), nsec });
}

export function versionOf(stats: BigIntStats): Version {
  return [stats.ino, stats.mtimeNs, stats.ctimeNs, stats.size].map((n) => n.toString(36)).join('-');
}

const CAUSES: Record<string, [code: string, summary: string, remedy: string]> = {
  ENOSPC: [
    'STORAGE_FULL',
    "no space left on the disk of the registry's storage",
    'free some space, or collect garbage',
  ],
  EDQUOT: [
    'STORAGE_FULL',
    "the disk quota of the registry's storage is used up",
    'free some space, or collect garbage',
  ],
  EROFS: ['STORAGE_DENIED', "the registry's storage is on a read-only file system", 'remount it writable'],
  EACCES: ['STORAGE_DENIED', "no permission in the registry's storage", 'run as the user who owns the directory'],
  EPERM: ['STORAGE_DENIED', "no permission in the registry's storage", 'run as the user who owns the directory'],
  EIO: ['STORAGE_UNAVAILABLE', "the disk of the registry's storage fails", 'see the kernel log, and replace the disk'],
  EMFILE: ['STORAGE_UNAVAILABLE', 'too many open files', "raise the limit ('ulimit -n')"],
  ENOENT: [
    'STORAGE_UNAVAILABLE',
    "the registry's storage was removed",
    'create it again by starting the registry anew',
  ],
};

/** An errno in words that say what to do; passes everything else through. */
export function explainFileError(error: unknown, root: string): unknown {
  if (error instanceof ImagoError && (error as { errno?: number }).errno === undefined) return error;
  const { code = '', path } = error as NodeJS.ErrnoException;
  const known = CAUSES[code];
  if (known === undefined) return error;
  return new ImagoError(known[0], known[1], { path: path ?? root, remedy: known[2], cause: error });
}
